//! Why a deployment is where it is: gate, measured value against limit, who or what can move it on, the next deadline.
//! No phase is without a reason.

use model::{Phase, StepKind, view::Explanation};

use super::{state::Deployment, target::Target};

/// Explains.
pub fn explain(state: &Deployment, target: &Target) -> Explanation {
    let mut said = Explanation { headline: headline(state), ..Explanation::default() };
    let details = &mut said.details;
    if let Some(cause) = &state.cause {
        details.push(format!("cause: {}", cause.text));
        if let Some(gate) = &cause.gate {
            details.push(format!("gate: {gate}"));
        }
        if let Some(step) = &cause.step {
            details.push(format!("step: {step}"));
        }
        details.push(format!("at: {}", cause.at));
    }
    if let Some(stuck) = &state.stuck {
        details.push(format!("the way back: {}", stuck.text));
    }
    if let Some(snapshot) =
        state.baseline.as_ref().filter(|_| state.phase >= Phase::RollingBack && state.cause.is_some())
    {
        let versions: Vec<String> = snapshot
            .spec
            .modules
            .iter()
            .map(|module| format!("{} {}", module.name, module.version))
            .collect();
        details.push(format!("good release: {} of {}", versions.join(", "), snapshot.deployment));
    }
    if let Some((source, summary)) = &state.advice {
        details.push(format!("advice ({source}): {summary}"));
    }
    if let Some(by) = &state.paused {
        details.push(format!("paused by {by}"));
        said.unblocked_by.push(format!("codectl resume {}", state.id));
    }
    open_steps(state, &mut said);
    match state.phase {
        Phase::AwaitingApproval => {
            let required = state.spec.gates.approvals.as_ref().map_or(0, |rule| rule.required);
            said.details.push(format!("{} of {required} approvals", state.approvals.len()));
            let plan = state.plan_digest.as_ref().map(ToString::to_string).unwrap_or_default();
            said.unblocked_by
                .push(format!("codectl approve {} --plan {plan} (not by {})", state.id, state.initiator));
        }
        Phase::Queued => {
            if let Some((holder, token)) = &target.holder {
                said.details.push(format!("{holder} holds the lock (token {token})"));
                said.unblocked_by.push(format!("the end of {holder}"));
            }
            if let Some((by, reason)) = &target.held {
                said.details.push(format!("{by} holds the target: {reason}"));
                said.unblocked_by.push(format!("codectl lock release {} by {by}", state.spec.target_id()));
            }
            if let Some(place) = target.queue.iter().position(|waiting| *waiting == state.id) {
                said.details.push(format!("place {} of {} in the queue", place + 1, target.queue.len()));
            }
        }
        Phase::NeedsHuman => {
            said.unblocked_by.push(format!("codectl retry {} (tries the way back again)", state.id));
            said.unblocked_by
                .push(format!("codectl abort {} --close (after setting things right by hand)", state.id));
        }
        _ => {}
    }
    let (until, then) = match state.phase {
        Phase::AwaitingApproval | Phase::Queued => (state.wait_until, "rejected, nothing touched"),
        Phase::Executing | Phase::Verifying => {
            let steps =
                state.all_steps().filter_map(|step| state.steps.get(&step.id)).filter(|step| step.is_open());
            (steps.filter_map(|step| step.until).chain(state.total_until).min(), "rolls back")
        }
        Phase::RollingBack => (state.rollback_until, "a human is called"),
        _ => (None, ""),
    };
    said.next_deadline = until.map(|until| (until, then.to_owned()));
    said
}

fn headline(state: &Deployment) -> String {
    let why = state.cause.as_ref().map(|cause| cause.text.as_str()).unwrap_or("no reason recorded");
    match state.phase {
        Phase::Received => "received; no orchestrator has looked at it yet".to_owned(),
        Phase::Validated => "the spec is valid; the plan is next".to_owned(),
        Phase::Planned => "planned; agents check the plan".to_owned(),
        Phase::Advised => "checked and advised".to_owned(),
        Phase::AwaitingApproval => "waits for people to approve the plan".to_owned(),
        Phase::Queued => "waits for the target's lock".to_owned(),
        Phase::Locked => "holds the lock; the change begins".to_owned(),
        Phase::Executing => "the change is under way".to_owned(),
        Phase::Verifying => "the change is made and is being looked at".to_owned(),
        Phase::Promoted => "promoted; tidying up".to_owned(),
        Phase::RollingBack => format!("rolling back: {why}"),
        Phase::RolledBack => format!("rolled back; tidying up: {why}"),
        Phase::NeedsHuman => format!("a person must look: {why}"),
        Phase::Decided | Phase::Closed => match state.verdict {
            Some(model::Verdict::Promoted) => "promoted".to_owned(),
            Some(verdict) => format!("{}: {why}", verdict.as_str().replace('_', " ")),
            None => "over".to_owned(),
        },
    }
}

fn open_steps(state: &Deployment, said: &mut Explanation) {
    for step in state.all_steps() {
        let stand = state.state_of(&step.id);
        if !stand.is_open() || state.cause.is_some() && step.stage != model::step::Stage::Rollback {
            continue;
        }
        let who = stand.runner.clone().unwrap_or_else(|| format!("agent {}", step.agent));
        match step.kind {
            StepKind::Pause { duration: None } => {
                said.details.push(format!("{} waits for a person", step.id));
                said.unblocked_by.push(format!("codectl promote {}", state.id));
            }
            StepKind::Pause { duration: Some(duration) } => {
                said.details.push(format!("{} pauses {duration}", step.id));
                said.unblocked_by.push(format!("time, or codectl promote {}", state.id));
            }
            _ => said.details.push(format!(
                "{}: {} ({who}, attempt {})",
                step.id,
                step.describe(),
                stand.attempt
            )),
        }
    }
}
