//! What must come before what. Instants are by the clocks of several machines: these are held against each other with
//! [`SKEW`]; what one program knew to be later is later.

use super::{Gap, SKEW, gap};
use crate::{At, Deployment};

/// The end comes after the beginning, the look after the end, the certificate after both.
pub(super) fn order(facts: &Deployment) -> Vec<Gap> {
    let seen = facts.observed.as_ref().map_or(facts.ended, |observed| observed.at);
    [
        ("ended", facts.received, facts.ended),
        ("observed.at", facts.ended, seen),
        ("issued", facts.ended, facts.issued),
        ("issued", seen, facts.issued),
    ]
    .into_iter()
    .filter(|(_, earlier, later)| later < earlier)
    .map(|(field, earlier, later)| gap(field, format!("{later} is before {earlier}")))
    .collect()
}

/// Everything that was done on the way lies between the request and the certificate.
pub(super) fn within(facts: &Deployment, gaps: &mut Vec<Gap>) {
    let mut between = |field: String, at: At| {
        if at.0.plus(SKEW) < facts.received.0 {
            gaps.push(gap(field, format!("{at} is before it was asked for, {}", facts.received)));
        } else if at.0 > facts.issued.0.plus(SKEW) {
            gaps.push(gap(field, format!("{at} is after the certificate, {}", facts.issued)));
        }
    };
    for (at, step) in facts.steps.iter().enumerate() {
        step.scheduled.into_iter().for_each(|when| between(format!("steps[{at}].scheduled"), when));
        step.finished.into_iter().for_each(|when| between(format!("steps[{at}].finished"), when));
    }
    for (at, gate) in facts.gates.iter().enumerate() {
        between(format!("gates[{at}].at"), gate.at);
    }
    for (at, done) in facts.interventions.iter().enumerate() {
        between(format!("interventions[{at}].at"), done.at);
    }
    for (at, step) in facts.steps.iter().enumerate() {
        if let (Some(scheduled), Some(finished)) = (step.scheduled, step.finished)
            && finished.0.plus(SKEW) < scheduled.0
        {
            let text = format!("step {} ended at {finished}, before it began", step.id);
            gaps.push(gap(format!("steps[{at}].finished"), text));
        }
    }
}
