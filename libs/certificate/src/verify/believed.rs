//! What a valid certificate says and nothing enclosed shows: each with who is believed for it.

use std::collections::BTreeSet;

use model::{Principal, StepKind, deployment::Mode, spec::GateMode};

use super::{Belief, Verified};
use crate::{Story, rules};

/// Everything that is left to believe, in the order of the statement.
pub(super) fn list(verified: &Verified, story: &Story<'_>) -> Vec<Belief> {
    let facts = &verified.facts;
    let mut believed = Vec::new();
    let mut add = |field: &str, by: String, text: &str| {
        believed.push(Belief { field: format!("predicate.{field}"), by, text: text.to_owned() });
    };
    let certifier = format!("certifier {}", facts.certifier.replica);

    people(verified, story, &mut add);
    if facts.forced.is_some() {
        let text = "that a quarantine was to be overruled: whether there was one is not in the journal";
        add("forced", facts.initiator.to_string(), text);
    }
    if facts.mode == Mode::Apply {
        let before =
            if facts.baseline.is_some() { "that this ran before" } else { "that nothing ran before" };
        add("baseline", "the orchestrator".to_owned(), before);
        if facts.policy.experts != GateMode::Require {
            let text = "that the operator asked for no stricter say of the experts";
            add("policy.experts", "the orchestrator".to_owned(), text);
        }
    }
    let when = match verified.log.as_ref().and_then(super::Logged::seen) {
        Some(seen) => {
            format!("the instants, by the engine's clocks; the audit log shows the certificate since {seen}")
        }
        None => "the instants, by the engine's clocks: no log's time bounds them".to_owned(),
    };
    add("issued", certifier.clone(), &when);
    if facts.artifacts.iter().any(|artifact| artifact.digest.is_none()) {
        let text = "what an artefact without a digest is: only its name was asked for";
        add("artifacts", "the platform".to_owned(), text);
    }
    measured(verified, story, &mut add);
    if facts.experts.opinion.is_some() {
        let text = "that the opinion follows from the answers: of these only the votes are enclosed";
        add("experts.opinion", "consensus".to_owned(), text);
    }
    if facts.observed.is_some() {
        add("observed", certifier.clone(), "what was seen to run, and when");
    }
    for (at, input) in facts.inputs.iter().enumerate() {
        let (by, text) = if input.name.starts_with("code/") {
            ("the spec's author", "a label names it: nobody read it")
        } else {
            ("the runners", "known by its digest only: it is not enclosed")
        };
        add(&format!("inputs[{at}]"), by.to_owned(), text);
    }
    let (by, text) = match (&facts.audit, &verified.log) {
        (Some(audit), Some(_)) => (
            format!("{certifier} and log {}", audit.origin),
            "the records between the first and the last, which the log proves",
        ),
        (Some(audit), None) => (
            format!("{certifier} and log {}", audit.origin),
            "that this is the journal, and its place in the log, whose keys the trust file does not name",
        ),
        (None, _) => (certifier, "that this is the journal: no log is named that has it"),
    };
    add("journal", by, text);
    believed
}

fn people(verified: &Verified, story: &Story<'_>, add: &mut impl FnMut(&str, String, &str)) {
    let facts = &verified.facts;
    let mut who = |field: &str, all: BTreeSet<&Principal>, text: &str| {
        let unproven: Vec<String> =
            all.into_iter().filter(|by| !by.is_signed()).map(ToString::to_string).collect();
        if !unproven.is_empty() {
            add(field, unproven.join(", "), text);
        }
    };
    let stated = "that it was they: unauthenticated, a message only states who sends it";
    let asked = match &facts.initiator {
        Principal::Publisher { .. } => {
            "that it was they: the broker knew their key, and nothing of that is kept"
        }
        _ => stated,
    };
    who("initiator", BTreeSet::from([&facts.initiator]), asked);
    let unsigned = "that it was they: not signed, a message only states who sends it";
    who("approvals", facts.approvals.iter().map(|approval| &approval.by).collect(), unsigned);
    who("interventions", facts.interventions.iter().map(|done| &done.by).collect(), stated);
    if facts.mode == Mode::Apply {
        let text = match story.requirement() {
            None => "that nobody had to sign: then whoever says a name approves",
            Some(_) => {
                "that the requirement and the signers were the operator's, and that no more was asked for"
            }
        };
        add("approvals", "the orchestrator".to_owned(), text);
    }
}

fn measured(verified: &Verified, story: &Story<'_>, add: &mut impl FnMut(&str, String, &str)) {
    let facts = &verified.facts;
    let runners: BTreeSet<&str> = facts.steps.iter().filter_map(|step| step.runner.as_deref()).collect();
    let runners = runners.into_iter().collect::<Vec<_>>().join(", ");
    if facts.steps.iter().any(|step| step.outcome.is_some()) {
        add("steps", runners.clone(), "that what they report was done and found");
    }
    if !facts.gates.is_empty() {
        let kept = facts.gates.iter().filter(|gate| gate.evidence.is_some()).count();
        let text = format!(
            "the measured values and samples: the measurements are not enclosed; of {kept} of {} gates they are kept under \
             the digest in `evidence`, from which --evidence judges again",
            facts.gates.len()
        );
        add("gates", runners, &text);
    }
    if let Some(first) = story.checked_before().first().filter(|_| facts.mode == Mode::Apply) {
        let text = format!(
            "{first} and what was checked with it: they looked at a plan from another baseline, which was made anew while \
             the deployment waited"
        );
        add("steps", "the runners".to_owned(), &text);
    }
    for (at, gate) in facts.gates.iter().enumerate() {
        let step = verified.plan.iter().find_map(|plan| plan.step(&gate.step));
        let Some(StepKind::Analyse { analysis, .. }) = step.map(|step| &step.kind) else { continue };
        let metric = analysis.metrics.iter().find(|metric| metric.name == gate.gate);
        let far = metric.filter(|metric| rules::tolerates(metric)).is_some_and(|metric| {
            gate.measured.is_some_and(|value| rules::beyond(metric, value).unwrap_or(true))
        });
        if far {
            let text = "that no more measurements were bad than are tolerated: the last one was";
            add(&format!("gates[{at}]"), "the runners".to_owned(), text);
        }
    }
}
