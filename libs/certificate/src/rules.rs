//! What must hold before a certificate may say `PROMOTED`, and what must hold for any certificate. Pure. The certifier
//! asks before it signs, the verifier asks again: nobody has to believe that the certifier looked.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    DeploymentSpec, Digest, Outcome, Plan, Severity, StepKind,
    deployment::Mode,
    digest::canonical_json,
    expert::Action,
    spec::{GateMode, Module, NoData},
    step::Stage,
};
use serde_json::json;

use crate::{
    Deployment, Ending,
    deployment::{Artifact, Gate, Policy, Step},
};

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
            name: image.or(module.run.command.first()).cloned().unwrap_or_default(),
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
    steps(facts, plan, &mut gaps);
    approvals(facts, &mut gaps);
    findings(facts, &mut gaps);
    if facts.policy.experts == GateMode::Require && facts.mode == Mode::Apply {
        match &facts.experts.opinion {
            None => gaps.push(gap("experts.opinion", "the experts had to approve and there is no opinion")),
            Some(opinion) if opinion.action != Action::Approve => {
                let text = format!("the experts had to approve and say {}", opinion.action.as_str());
                gaps.push(gap("experts.opinion.action", text));
            }
            Some(_) => {}
        }
    }
    let own = Digest::of_bytes(&canonical_json(spec));
    match &facts.observed {
        None => gaps.push(gap("observed", "nobody looked at what runs")),
        Some(observed) if observed.expected.as_ref() != Some(&own) => {
            gaps.push(gap("observed.expected", "what runs was compared with another spec"))
        }
        Some(observed) => gaps.extend(
            observed
                .differences
                .iter()
                .enumerate()
                .map(|(at, text)| gap(format!("observed.differences[{at}]"), text.clone())),
        ),
    }
    gaps
}

fn steps(facts: &Deployment, plan: &Plan, gaps: &mut Vec<Gap>) {
    let known: BTreeMap<&str, (usize, &Step)> =
        facts.steps.iter().enumerate().map(|(at, step)| (step.id.as_str(), (at, step))).collect();
    let full = facts.interventions.iter().any(|done| done.what == "promoted_in_full");
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
        // Skipped by a person, who is named among the interventions.
        if full && step.reason.starts_with("skipped:") {
            continue;
        }
        let gates: Vec<&Gate> = facts
            .gates
            .iter()
            .filter(|gate| gate.step == planned.id && gate.attempt == step.attempts)
            .collect();
        judged(&planned.kind, &gates, &mut |text| {
            gaps.push(gap("gates", format!("step {} {text}", planned.id)))
        });
    }
}

/// The gates that a step of this kind must have judged, each well and with a number.
fn judged(kind: &StepKind, gates: &[&Gate], say: &mut dyn FnMut(String)) {
    match kind {
        StepKind::SetWeight { verify: true, weights, .. } if !weights.0.is_empty() => all_good(gates, say),
        StepKind::Smoke { .. } => all_good(gates, say),
        StepKind::Analyse { analysis, .. } => {
            for metric in analysis.metrics.iter().filter(|metric| !metric.dry_run) {
                match gates.iter().find(|gate| gate.gate == metric.name) {
                    None => say(format!("has no gate {}: nothing was measured", metric.name)),
                    Some(gate) if gate.outcome != Outcome::Succeeded => {
                        say(format!("gate {} {}", gate.gate, gate.outcome))
                    }
                    Some(gate) if gate.measured.is_none() && metric.no_data != NoData::Pass => {
                        say(format!("gate {} has no measured value", gate.gate))
                    }
                    Some(_) => {}
                }
            }
        }
        StepKind::SetWeight { .. }
        | StepKind::Review
        | StepKind::Scale { .. }
        | StepKind::RollBatch { .. }
        | StepKind::Pause { .. }
        | StepKind::Hook { .. }
        | StepKind::Validate
        | StepKind::Certify => {}
    }
}

fn all_good(gates: &[&Gate], say: &mut dyn FnMut(String)) {
    if gates.is_empty() {
        say("has no gate: nothing was measured".to_owned());
    }
    for gate in gates {
        if gate.outcome != Outcome::Succeeded {
            say(format!("gate {} {}", gate.gate, gate.outcome));
        } else if gate.measured.is_none() {
            say(format!("gate {} has no measured value", gate.gate));
        }
    }
}

fn approvals(facts: &Deployment, gaps: &mut Vec<Gap>) {
    if facts.mode == Mode::Rollback {
        return;
    }
    let mut people = BTreeSet::new();
    for (at, approval) in facts.approvals.iter().enumerate() {
        let mut wrong = |field: &str, text: String| gaps.push(gap(format!("approvals[{at}].{field}"), text));
        if Some(&approval.plan) != facts.plan.as_ref() {
            wrong("plan", format!("{} approved another plan", approval.by));
        } else if approval.by == facts.initiator {
            wrong("by", format!("{} asked for it and cannot approve it", approval.by));
        } else if !facts.policy.approvers.is_empty() && !facts.policy.approvers.contains(&approval.by) {
            wrong("by", format!("{} may not approve", approval.by));
        } else if approval.until.is_some_and(|until| approval.at > until) {
            wrong("at", format!("{} approved after the time for it", approval.by));
        } else {
            people.insert(&approval.by);
        }
    }
    if people.len() < usize::from(facts.policy.approvals) {
        gaps.push(gap("approvals", format!("{} of {} approvals", people.len(), facts.policy.approvals)));
    }
}

fn findings(facts: &Deployment, gaps: &mut Vec<Gap>) {
    for (at, found) in facts.findings.iter().enumerate() {
        let before = facts
            .steps
            .iter()
            .find(|step| step.id == found.step)
            .is_none_or(|step| matches!(step.stage, Stage::Check | Stage::Execute | Stage::Verify));
        if before && found.severity >= Severity::High && found.waived.is_none() {
            let text =
                format!("{} ({}) was found and not accepted: {}", found.rule, found.severity, found.message);
            gaps.push(gap(format!("findings[{at}]"), text));
        }
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
    for (field, earlier, later) in
        [("ended", facts.received, facts.ended), ("issued", facts.ended, facts.issued)]
    {
        if later < earlier {
            wrong.push(gap(field, format!("{later} is before {earlier}")));
        }
    }
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
