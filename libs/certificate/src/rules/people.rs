//! What people and experts said: who approved, what was waived, whether the votes carry the opinion.

use std::collections::BTreeSet;

use model::{
    DeploymentSpec, Principal, Severity,
    deployment::Mode,
    expert::{Action, AnswerStatus, Stance},
    spec::{GateMode, Waiver},
    step::{Agent, Stage},
};

use super::{Gap, SKEW, gap};
use crate::{
    At, Deployment,
    deployment::{Found, Opinion},
};

/// As many as had to approve did, each of them in time.
pub(super) fn approvals(facts: &Deployment, spec: &DeploymentSpec, gaps: &mut Vec<Gap>) {
    if facts.mode == Mode::Rollback {
        if let Some(approval) = facts.approvals.first() {
            let text = format!("{} approved a way back, which asks nobody", approval.by);
            gaps.push(gap("approvals[0].by", text));
        }
        return;
    }
    let mut people = BTreeSet::new();
    for (at, approval) in facts.approvals.iter().enumerate() {
        let by = &approval.by;
        let wrong = if Some(&approval.plan) != facts.plan.as_ref() {
            Some(("plan", format!("{by} approved another plan")))
        } else if !by.is_person() {
            Some(("by", format!("{by} is no person and cannot approve it")))
        } else if by.goes_by_the_name_of(&facts.initiator) {
            Some(("by", format!("{by} asked for it and cannot approve it")))
        } else if !by.is_signed() && !may(&facts.policy.approvers, by) {
            Some(("by", format!("{by} may not approve")))
        } else {
            in_time(facts, spec, by, approval.at, approval.until)
        };
        match wrong {
            Some((field, text)) => gaps.push(gap(format!("approvals[{at}].{field}"), text)),
            // Whoever signs may do so by the operator's rules, and counts for the spec's where it names them.
            None if may(&facts.policy.approvers, by) => drop(people.insert(by)),
            None => {}
        }
    }
    if people.len() < usize::from(facts.policy.approvals) {
        gaps.push(gap("approvals", format!("{} of {} approvals", people.len(), facts.policy.approvals)));
    }
}

/// Whoever denies ends it.
pub(super) fn denials(facts: &Deployment, gaps: &mut Vec<Gap>) {
    for (at, done) in facts.interventions.iter().enumerate().filter(|(_, done)| done.what == "denied") {
        gaps.push(gap(format!("interventions[{at}]"), format!("{} denied it", done.by)));
    }
}

/// An empty list means anyone.
fn may(approvers: &[String], by: &Principal) -> bool {
    approvers.is_empty() || approvers.iter().any(|entry| by.is_meant_by(entry))
}

fn in_time(
    facts: &Deployment,
    spec: &DeploymentSpec,
    by: &Principal,
    at: At,
    until: Option<At>,
) -> Option<(&'static str, String)> {
    let Some(until) = until else {
        return Some(("until", format!("{by} approved, and nothing says until when that was possible")));
    };
    if at > until {
        Some(("at", format!("{by} approved after the time for it")))
    } else if until.0 > at.0.plus(spec.deadlines.human.0 + SKEW) {
        let most = spec.deadlines.human;
        Some(("until", format!("approvals were taken until {until}, the spec waits {most} for people")))
    } else if at.0 > facts.ended.0.plus(SKEW) {
        Some(("at", format!("{by} approved when it was over")))
    } else if at.0.plus(SKEW) < facts.received.0 {
        Some(("at", format!("{by} approved before it was asked for")))
    } else {
        None
    }
}

/// No grave finding is left that nobody accepted, and what is called accepted is accepted by the spec.
pub(super) fn findings(facts: &Deployment, spec: &DeploymentSpec, gaps: &mut Vec<Gap>) {
    for (at, found) in facts.findings.iter().enumerate() {
        let step = facts.steps.iter().find(|step| step.id == found.step);
        let Some(step) = step else {
            let text = format!("step {}, which found {}, is not there", found.step, found.rule);
            gaps.push(gap(format!("findings[{at}].step"), text));
            continue;
        };
        match &found.waived {
            Some(why) => {
                // By the clock of who scheduled it: the one who judged may have done so a moment before midnight.
                let day = step.scheduled.or(step.finished).unwrap_or(facts.ended);
                let held = step.agent == Agent::Security
                    && spec.waivers.iter().any(|waiver| waives(waiver, found, why, day));
                if !held {
                    let text =
                        format!("{} is called accepted ({why}), and no waiver of the spec does", found.rule);
                    gaps.push(gap(format!("findings[{at}].waived"), text));
                }
            }
            None if matches!(step.stage, Stage::Check | Stage::Execute | Stage::Verify)
                && found.severity >= Severity::High =>
            {
                let text = format!(
                    "{} ({}) was found and not accepted: {}",
                    found.rule, found.severity, found.message
                );
                gaps.push(gap(format!("findings[{at}]"), text));
            }
            None => {}
        }
    }
}

/// A waiver holds through the day it names (UTC); a critical finding only by a reason that names what is accepted.
fn waives(waiver: &Waiver, found: &Found, why: &str, day: At) -> bool {
    let day: String = day.to_string().chars().take(10).collect();
    let kind = found.rule.rsplit('/').next().unwrap_or_default();
    waiver.rule == found.rule
        && waiver.module.as_ref().is_none_or(|module| found.module.as_ref() == Some(module))
        && waiver.expires.len() == day.len()
        && waiver.expires >= day
        && (found.severity < Severity::Critical || waiver.reason.contains(kind))
        && why == format!("{} (until {})", waiver.reason, waiver.expires)
}

/// The opinion was asked for where it had to be, approves where it had to, and follows from the votes.
pub(super) fn experts(facts: &Deployment, gaps: &mut Vec<Gap>) {
    let experts = &facts.experts;
    if facts.mode == Mode::Rollback {
        if experts.opinion.is_some() {
            gaps.push(gap("experts.opinion", "there is an opinion on a way back, which asks nobody"));
        }
        return;
    }
    match &experts.opinion {
        None if facts.policy.experts == GateMode::Require => {
            gaps.push(gap("experts.opinion", "the experts had to approve and there is no opinion"));
        }
        Some(opinion) if facts.policy.experts == GateMode::Require => {
            if opinion.action != Action::Approve {
                let text = format!("the experts had to approve and say {}", opinion.action.as_str());
                gaps.push(gap("experts.opinion.action", text));
            }
            votes(opinion, gaps);
        }
        // What only advises proves nothing, and need not prove itself.
        None | Some(_) => {}
    }
}

fn votes(opinion: &Opinion, gaps: &mut Vec<Gap>) {
    let count = |stance: Stance| {
        let voted = opinion.votes.iter().filter(|vote| vote.status == AnswerStatus::Ok);
        voted.filter(|vote| vote.vote == Some(stance)).count()
    };
    let (approve, reject, change) =
        (count(Stance::Approve), count(Stance::Reject), count(Stance::NeedsChange));
    let counted = approve + reject + change;
    if opinion.counted as usize != counted {
        let text = format!("{} votes are said to count, {counted} stand there", opinion.counted);
        gaps.push(gap("experts.opinion.counted", text));
    }
    if !(0.0..=counted as f64 + 1e-6).contains(&opinion.effective) {
        let text = format!("{counted} votes are said to be worth {}", opinion.effective);
        gaps.push(gap("experts.opinion.effective", text));
    }
    // How votes weigh against each other is in the consultation: without one for it there is no approval.
    if opinion.action == Action::Approve && approve == 0 {
        let text = format!("is approve, with none of {counted} votes for it, {reject} against");
        gaps.push(gap("experts.opinion.action", text));
    }
    let mute = |status| !matches!(status, AnswerStatus::Ok | AnswerStatus::Abstained);
    for (at, vote) in opinion.votes.iter().enumerate() {
        let twice = opinion.votes.iter().take(at).any(|before| before.expert == vote.expert);
        if twice {
            gaps.push(gap(
                format!("experts.opinion.votes[{at}].expert"),
                format!("{} votes twice", vote.expert),
            ));
        } else if mute(vote.status) && vote.vote.is_some() {
            let text = format!("{} has a vote and gave no answer ({})", vote.expert, vote.status.as_str());
            gaps.push(gap(format!("experts.opinion.votes[{at}].vote"), text));
        }
    }
}
