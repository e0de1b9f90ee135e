//! What must hold before a certificate may say `PROMOTED`, and what must hold for any certificate. Pure. The certifier
//! asks before it signs, the verifier asks again: nobody has to believe that the certifier looked.

mod gates;
mod people;
mod plan;
mod times;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{
    DeploymentSpec, Digest, Outcome, Plan, Principal, StepKind,
    deployment::Mode,
    digest::canonical_json,
    spec::{GateMode, Module},
    step::Stage,
};
use serde_json::json;

use crate::{
    Deployment, Ending,
    deployment::{Artifact, Audit, Intervention, Policy, Step},
};
pub(crate) use gates::{beyond, tolerates};
pub use plan::lacks;

/// By how much the clocks of the engine's machines may differ: what two of them say is held against each other with it.
pub use approval::SKEW;

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The field of the predicate.
    pub field: String,
    /// What is wrong with it, for a person.
    pub text: String,
}

fn gap(field: impl Into<String>, text: impl Into<String>) -> Gap {
    Gap { field: field.into(), text: text.into() }
}

/// The rules that a spec asks to be judged by. `experts` is the gate that was in force, which may be stricter.
pub fn policy(spec: &DeploymentSpec, experts: GateMode) -> Policy {
    let judged: Vec<_> = spec
        .modules
        .iter()
        .map(|module| {
            json!({"module": module.name, "analysis": module.analysis, "smoke": module.smoke, "strategy": spec.strategy_of(module)})
        })
        .collect();
    let rules = json!({"gates": spec.gates, "waivers": spec.waivers, "modules": judged});
    let approvals = spec.gates.approvals.as_ref();
    Policy {
        digest: Digest::of_bytes(&canonical_json(&rules)),
        approvals: approvals.map_or(0, |approvals| approvals.required),
        approvers: approvals.map(|approvals| approvals.from.clone()).unwrap_or_default(),
        experts: experts.max(spec.gates.experts),
    }
}

/// What a spec deploys.
pub fn artifacts(spec: &DeploymentSpec) -> Vec<Artifact> {
    let artifact = |module: &Module| {
        let image = module.run.image.as_ref();
        let pinned = image.and_then(|image| image.rsplit_once('@')?.1.parse().ok());
        Artifact {
            module: module.name.clone(),
            version: module.version.clone(),
            revision: module.revision(),
            name: image.or(module.run.program()).cloned().unwrap_or_default(),
            digest: module.run.digest.clone().or(pinned),
        }
    };
    spec.modules.iter().map(artifact).collect()
}

/// Why this may not be called promoted: empty when every required gate has its evidence.
pub fn gaps(facts: &Deployment, spec: &DeploymentSpec, plan: Option<&Plan>) -> Vec<Gap> {
    let Some(plan) = plan else {
        return vec![gap("plan", "there is no plan, so nothing can have been promoted by it")];
    };
    let mut gaps = Vec::new();
    if let Some(cause) = &facts.cause {
        gaps.push(gap("cause", format!("it turned back: {}", cause.text)));
    }
    mode(facts, plan, &mut gaps);
    steps(facts, spec, plan, &mut gaps);
    people::approvals(facts, spec, &mut gaps);
    people::denials(facts, &mut gaps);
    people::findings(facts, spec, &mut gaps);
    people::experts(facts, &mut gaps);
    times::within(facts, &mut gaps);
    observed(facts, &mut gaps);
    gaps
}

fn steps(facts: &Deployment, spec: &DeploymentSpec, plan: &Plan, gaps: &mut Vec<Gap>) {
    let known: BTreeMap<&str, (usize, &Step)> =
        facts.steps.iter().enumerate().map(|(at, step)| (step.id.as_str(), (at, step))).collect();
    for planned in
        plan.steps.iter().filter(|step| matches!(step.stage, Stage::Check | Stage::Execute | Stage::Verify))
    {
        let Some((at, step)) = known.get(planned.id.as_str()) else {
            gaps.push(gap("steps", format!("step {} of the plan is not there", planned.id)));
            continue;
        };
        match step.outcome {
            None => {
                gaps.push(gap(format!("steps[{at}].outcome"), format!("step {} has no result", planned.id)))
            }
            Some(Outcome::Succeeded) => {}
            Some(outcome) => {
                gaps.push(gap(format!("steps[{at}].outcome"), format!("step {} {outcome}", planned.id)))
            }
        }
        if let Some(by) = &step.skipped_by {
            if !may_skip(facts, planned, by) {
                let text = format!("step {} is called skipped by {by}, who could not", planned.id);
                gaps.push(gap(format!("steps[{at}].skippedBy"), text));
            }
            continue;
        }
        if step.outcome.is_some() && step.scheduled.is_none() {
            let text = format!("step {} ended and never began", planned.id);
            gaps.push(gap(format!("steps[{at}].scheduled"), text));
        }
        let gates = facts.gates.iter().enumerate();
        let gates = gates.filter(|(_, gate)| gate.step == planned.id && gate.attempt == step.attempts);
        gates::Judged { step: planned, gates: gates.collect() }.gaps(spec, gaps);
    }
    for (at, gate) in facts.gates.iter().enumerate() {
        let step = known.get(gate.step.as_str()).map(|(_, step)| *step);
        if step.is_none_or(|step| gate.attempt == 0 || gate.attempt > step.attempts) {
            let text = format!(
                "gate {} is of attempt {} of {}, which there is not",
                gate.gate, gate.attempt, gate.step
            );
            gaps.push(gap(format!("gates[{at}].attempt"), text));
        }
    }
}

/// Whoever promoted in full skips pauses and analyses, and nothing else.
fn may_skip(facts: &Deployment, planned: &model::Step, by: &Principal) -> bool {
    let promoted = |done: &Intervention| done.what == "promoted_in_full" && done.by == *by;
    matches!(planned.kind, StepKind::Analyse { .. } | StepKind::Pause { .. })
        && facts.interventions.iter().any(promoted)
}

/// A way back passes no gates: it is no way past them.
fn mode(facts: &Deployment, plan: &Plan, gaps: &mut Vec<Gap>) {
    let gated = |step: &&model::Step| {
        matches!(
            step.kind,
            StepKind::Review
                | StepKind::Pause { .. }
                | StepKind::Analyse { .. }
                | StepKind::Guard { .. }
                | StepKind::Smoke { .. }
        )
    };
    if facts.mode == Mode::Rollback
        && let Some(step) = plan.steps.iter().find(gated)
    {
        let text = format!("is called a way back, and the plan goes through gates: {}", step.id);
        gaps.push(gap("mode", text));
    }
}

/// Somebody looked at what runs, and nothing differed.
fn observed(facts: &Deployment, gaps: &mut Vec<Gap>) {
    let Some(observed) = &facts.observed else {
        return gaps.push(gap("observed", "nobody looked at what runs"));
    };
    for (at, text) in observed.differences.iter().enumerate() {
        gaps.push(gap(format!("observed.differences[{at}]"), text.clone()));
    }
}

/// What no certificate may say, however the deployment ended: facts that contradict the enclosed documents or
/// each other.
pub fn contradictions(facts: &Deployment, spec: &DeploymentSpec, plan: Option<&Plan>) -> Vec<Gap> {
    let mut wrong = Vec::new();
    if facts.target != spec.target_id() {
        wrong.push(gap("target", format!("the spec is for {}", spec.target_id())));
    }
    if facts.artifacts != artifacts(spec) {
        wrong.push(gap("artifacts", "are not those of the spec"));
    }
    let asked = policy(spec, facts.policy.experts);
    if facts.policy != asked {
        let field = match () {
            () if facts.policy.approvals != asked.approvals => "policy.approvals",
            () if facts.policy.approvers != asked.approvers => "policy.approvers",
            () if facts.policy.experts != asked.experts => "policy.experts",
            () => "policy.digest",
        };
        wrong.push(gap(field, "is not what the spec asks for"));
    }
    if let Some(plan) = plan {
        if plan.spec != facts.spec {
            wrong.push(gap("plan", "is the plan of another spec"));
        }
        if plan.target != facts.target {
            wrong.push(gap("plan", format!("is a plan for {}", plan.target)));
        }
        if plan.baseline != facts.baseline {
            wrong.push(gap("baseline", "is not where the plan starts from"));
        }
        same_steps(facts, plan, &mut wrong);
    } else if !facts.steps.is_empty() {
        wrong.push(gap("steps", "there are steps without a plan"));
    }
    wrong.extend(times::order(facts));
    wrong.extend(looked(facts));
    wrong.extend(facts.audit.as_ref().and_then(|audit| place(audit, facts)));
    let promoted = matches!(facts.ending, Ending::Promoted | Ending::Unproven);
    match (&facts.cause, promoted) {
        (None, false) => wrong.push(gap("cause", format!("{} has no cause", facts.ending))),
        (Some(_), true) => wrong.push(gap("cause", format!("{} has a cause to turn back", facts.ending))),
        (None, true) | (Some(_), false) => {}
    }
    if facts.missing.is_empty() == (facts.ending == Ending::Unproven) {
        wrong.push(gap("missing", format!("{} with {} things missing", facts.ending, facts.missing.len())));
    }
    wrong
}

/// What runs is held against what should: the new release, or where the plan starts from.
fn looked(facts: &Deployment) -> Option<Gap> {
    let expected = facts.observed.as_ref().map(|observed| &observed.expected)?;
    match facts.ending {
        Ending::Promoted | Ending::Unproven => (expected.as_ref() != Some(&facts.spec))
            .then(|| gap("observed.expected", "what runs was compared with another spec")),
        Ending::RolledBack => (*expected != facts.baseline)
            .then(|| gap("observed.expected", "is not the baseline, which should run again")),
        Ending::Rejected | Ending::Cancelled | Ending::Superseded | Ending::NeedsHuman => {
            Some(gap("observed", format!("{} says nothing about what should run", facts.ending)))
        }
    }
}

/// Where the audit log has the journal: a range that can be.
fn place(audit: &Audit, facts: &Deployment) -> Option<Gap> {
    let wrong = |field: &str, text: String| Some(gap(format!("audit.{field}"), text));
    if audit.origin.is_empty() || audit.origin.chars().any(char::is_whitespace) {
        return wrong("origin", format!("{:?} is no name of a log", audit.origin));
    }
    if audit.records != facts.journal.version {
        let text =
            format!("{} records are in the log, the journal has {}", audit.records, facts.journal.version);
        return wrong("records", text);
    }
    // Every record is a leaf or more.
    if audit.last < audit.first || audit.last - audit.first + 1 < audit.records {
        let text = format!("{} records do not fit between {} and {}", audit.records, audit.first, audit.last);
        return wrong("last", text);
    }
    if audit.size <= audit.last {
        return wrong("size", format!("a log of {} entries has no entry {}", audit.size, audit.last));
    }
    if STANDARD.decode(&audit.root).is_ok_and(|root| root.len() == 32) {
        return None;
    }
    wrong("root", "is no root of a log".to_owned())
}

fn same_steps(facts: &Deployment, plan: &Plan, wrong: &mut Vec<Gap>) {
    let mut told = facts.steps.iter().filter(|step| step.stage != Stage::Rollback);
    for planned in &plan.steps {
        let Some(step) = told.next() else {
            wrong.push(gap("steps", format!("step {} of the plan is not there", planned.id)));
            return;
        };
        let same = step.id == planned.id
            && step.stage == planned.stage
            && step.agent == planned.agent
            && step.what == planned.describe();
        if !same {
            let text = format!("step {} stands where the plan has {}", step.id, planned.id);
            wrong.push(gap("steps", text));
            return;
        }
    }
    if let Some(step) = told.next() {
        wrong.push(gap("steps", format!("step {} is not in the plan", step.id)));
    }
}
