//! Why a deployment is where it is: gate, measured value against limit, who or what can move it on, the next deadline.
//! No phase is without a reason, and every command that is named can be typed as it stands.

use model::{
    Outcome, Phase, Severity, Step, StepKind, Timestamp, Verdict,
    deployment::CauseKind,
    expert::Concern,
    plan::Snapshot,
    spec::GateMode,
    step::{Agent, Stage, StepResult},
    view::Explanation,
};

use super::{
    state::{Advised, Deployment, Pause, StepState},
    target::Target,
};

/// How many gates or findings are shown before the rest is counted.
const SHOWN: usize = 5;

/// Explains.
pub fn explain(state: &Deployment, target: &Target, now: Timestamp) -> Explanation {
    let mut said = Explanation { headline: headline(state), ..Explanation::default() };
    cause(state, &mut said);
    way_there(state, &mut said);
    match state.phase {
        Phase::AwaitingApproval => awaiting_approval(state, now, &mut said),
        Phase::Queued => queued(state, target, &mut said),
        Phase::NeedsHuman => needs_human(state, &mut said),
        Phase::Decided | Phase::Closed => over(state, target, &mut said),
        _ => under_way(state, &mut said),
    }
    if state.owner.is_none() && !state.is_closed() {
        said.details.push("nobody drives it; the next orchestrator that looks claims it".to_owned());
    }
    said.next_deadline = next_deadline(state);
    said
}

fn headline(state: &Deployment) -> String {
    let why = state.ending.cause.as_ref().map(|cause| cause.text.as_str()).unwrap_or("no reason recorded");
    match state.phase {
        Phase::Received => "received; no orchestrator has looked at it yet".to_owned(),
        Phase::Validated => "the spec is valid; the plan is next".to_owned(),
        Phase::Planned if state.clearance.asked.is_some() => "checked; experts look at the plan".to_owned(),
        Phase::Planned => "planned; agents check the plan".to_owned(),
        Phase::Advised => "checked and advised".to_owned(),
        Phase::AwaitingApproval => match &state.clearance.ballot {
            Some(_) => {
                let given = state.clearance.approvals.len();
                format!("waits for people to sign an approval of the plan: {given} did")
            }
            None => {
                let (given, required) = (state.clearance.approvals.len(), required(state));
                format!("waits for people to approve the plan: {given} of {required} did")
            }
        },
        Phase::Queued => "waits for the target's lock".to_owned(),
        Phase::Locked => "holds the lock; the change begins".to_owned(),
        Phase::Executing => now(state, "the change is under way"),
        Phase::Verifying => now(state, "the change is made and is being looked at"),
        Phase::Promoted => "promoted; tidying up".to_owned(),
        Phase::RollingBack => format!("rolling back: {why}"),
        Phase::RolledBack => format!("rolled back; tidying up: {why}"),
        Phase::NeedsHuman => {
            let stuck = state.ending.stuck.as_ref().map(|stuck| stuck.text.as_str()).unwrap_or(why);
            format!("a person must look: {stuck}")
        }
        Phase::Decided | Phase::Closed => match state.ending.verdict {
            Some(Verdict::Promoted) => format!("promoted: {} runs", modules(&state.spec)),
            Some(verdict) => format!("{verdict}: {why}"),
            None => "over".to_owned(),
        },
    }
}

/// What is done at this moment, or what it waits for.
fn now(state: &Deployment, otherwise: &str) -> String {
    if let Some(Pause { by, .. }) = &state.steering.paused {
        return format!("paused by {by}: nothing new is begun");
    }
    let open: Vec<&Step> = open(state).map(|(step, _)| step).collect();
    let pause = open.iter().find_map(|step| match step.kind {
        StepKind::Pause { duration } => Some(duration.map(|duration| (duration, step.is_hold()))),
        _ => None,
    });
    match pause {
        Some(None) => "waits for a person to let it go on".to_owned(),
        Some(Some((duration, true))) => {
            format!(
                "all traffic has moved; the old set is held for {duration} before the release is promoted"
            )
        }
        Some(Some((duration, false))) => format!("pauses {duration} before it goes on"),
        None if open.is_empty() => otherwise.to_owned(),
        None => {
            let words: Vec<String> = open.iter().take(2).map(|step| step.describe()).collect();
            let more = open.len() - words.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{otherwise}: {}{more}", words.join(", "))
        }
    }
}

/// Gate, step and time behind a turn back or a refusal; the text itself is in the headline.
fn cause(state: &Deployment, said: &mut Explanation) {
    let Some(cause) = &state.ending.cause else { return };
    if state.ending.stuck.is_some() {
        let what = if state.retreat.steps.is_empty() {
            "it could not go on because"
        } else {
            "it turned back because"
        };
        said.details.push(format!("{what}: {}", cause.text));
    }
    if let Some(gate) = &cause.gate {
        said.details.push(format!("gate: {gate}"));
    }
    if let Some(step) = &cause.step {
        let stand = state.state_of(step);
        let words = state.step(step).map(Step::describe).unwrap_or_default();
        said.details.push(format!("step: {step}, {words}, attempt {}", stand.attempt));
        findings(&stand, said);
    }
    said.details.push(format!("at: {}", cause.at));
}

/// What a step found that blocks.
fn findings(stand: &StepState, said: &mut Explanation) {
    let findings = stand.result.iter().flat_map(|(result, _)| &result.findings);
    let blocking = findings.filter(|finding| finding.severity >= Severity::High && finding.waived.is_none());
    some(
        blocking.map(|finding| {
            let place = if finding.field.is_empty() { String::new() } else { format!("{}: ", finding.field) };
            let cure =
                if finding.cure.is_empty() { String::new() } else { format!("; cure: {}", finding.cure) };
            format!("finding: {} {}: {place}{}{cure}", finding.severity, finding.rule, finding.message)
        }),
        said,
    );
}

/// What was found, said and granted on the way here.
fn way_there(state: &Deployment, said: &mut Explanation) {
    let validated = state.all_steps().filter(|step| step.agent == Agent::Validator);
    let results: Vec<StepResult> =
        validated.filter_map(|step| state.state_of(&step.id).result.map(|(result, _)| result)).collect();
    let told = results.iter().flat_map(|result| &result.findings);
    let told = told.filter(|finding| finding.severity == Severity::Medium && finding.waived.is_none());
    some(told.map(|finding| format!("found, and let pass: {}", finding.message)), said);
    if let Some(Advised { source, summary }) =
        state.clearance.said.as_ref().filter(|said| said.source != "off")
    {
        said.details.push(format!("advice ({source}): {summary}"));
    }
    if let Some(advice) = &state.clearance.counsel {
        some(advice.findings.iter().map(concern), said);
        said.details.push(format!("all of it: codectl experts history {}", advice.question));
    }
    if let Some(reason) = &state.force {
        said.details.push(format!("forced by {}: {reason}", state.initiator));
    }
    if let Some(by) = state.steering.full.as_ref().filter(|_| !state.is_closed()) {
        said.details.push(format!("promoted in full by {by}: pauses and analyses are skipped"));
    }
}

fn concern(found: &Concern) -> String {
    let who: Vec<&str> = found.experts.iter().map(model::Token::as_str).collect();
    let on = if found.evidence.is_empty() { String::new() } else { format!(" [{}]", found.evidence) };
    format!("  {}: {}{on} ({})", found.weight.as_str(), found.statement, who.join(", "))
}

fn required(state: &Deployment) -> u8 {
    state.spec.gates.approvals.as_ref().map_or(0, |rule| rule.required)
}

fn awaiting_approval(state: &Deployment, now: Timestamp, said: &mut Explanation) {
    if !state.clearance.approvals.is_empty() {
        let who: Vec<String> = state.clearance.approvals.iter().map(ToString::to_string).collect();
        said.details.push(format!("approved by {}", who.join(", ")));
    }
    let plan = state.change.digest.as_ref().map(ToString::to_string).unwrap_or_default();
    if let Some(ballot) = &state.clearance.ballot {
        let standing = ballot.standing(now);
        said.details.push(format!("asked for are {}, not {}", standing.requirement, state.initiator));
        said.details.extend(standing.missing.into_iter().map(|missing| format!("missing: {missing}")));
        said.unblocked_by
            .push(format!("codectl approve {} --plan {plan}  (signed with a key of theirs)", state.id));
        return;
    }
    let rule = state.spec.gates.approvals.as_ref();
    let who = match rule.map(|rule| rule.from.join(", ")).filter(|from| !from.is_empty()) {
        Some(from) => format!("one of {from}, not {}", state.initiator),
        None => format!("anyone but {}, who asked for it", state.initiator),
    };
    said.unblocked_by.push(format!("codectl approve {} --plan {plan}  ({who})", state.id));
}

fn queued(state: &Deployment, target: &Target, said: &mut Explanation) {
    if let Some((holder, token)) = &target.holder {
        said.details.push(format!("{holder} holds the lock (token {token})"));
        said.unblocked_by.push(format!("the end of {holder}: see codectl explain {holder}"));
    }
    if let Some(hold) = &target.held {
        said.details.push(hold.to_string());
        said.unblocked_by.push(format!("codectl lock release {}", state.spec.target_id()));
    }
    match target.queue.iter().position(|waiting| *waiting == state.id) {
        Some(place) => {
            said.details.push(format!("place {} of {} in the queue", place + 1, target.queue.len()));
        }
        None if target.holder.is_none() && target.held.is_none() => {
            said.details.push("the target is free: the lock is being asked for".to_owned());
        }
        None => {}
    }
}

fn needs_human(state: &Deployment, said: &mut Explanation) {
    if let Some(stuck) = &state.ending.stuck {
        if let Some(step) = &stuck.step {
            let words = state.step(step).map(Step::describe).unwrap_or_default();
            let stand = state.state_of(step);
            said.details.push(format!("stuck at: {step}, {words}, attempt {}", stand.attempt));
            findings(&stand, said);
        }
        if let Some(gate) = &stuck.gate {
            said.details.push(format!("gate: {gate}"));
        }
        said.details.push(format!("since: {}", stuck.at));
    }
    if let Some(snapshot) = &state.change.baseline {
        said.details.push(format!("good release: {}", release(snapshot)));
    }
    if let Some(token) = state.change.lock {
        said.details.push(format!("{} stays locked (token {token}) until then", state.spec.target_id()));
    }
    if !state.retreat.steps.is_empty() {
        said.unblocked_by.push(format!("codectl retry {}  (tries the way back again)", state.id));
    }
    said.unblocked_by.push(format!("codectl abort {} --close  (once it is set right by hand)", state.id));
}

fn under_way(state: &Deployment, said: &mut Explanation) {
    if matches!(state.phase, Phase::RollingBack | Phase::RolledBack) {
        said.details.push(match &state.change.baseline {
            Some(snapshot) => format!("back to: {}", release(snapshot)),
            None => "back to nothing: there was no release before this one".to_owned(),
        });
    }
    if let Some(stage) = state.open_stage() {
        let steps: Vec<&Step> = state.stage(stage).collect();
        let done = steps.iter().filter(|step| state.state_of(&step.id).is_done()).count();
        said.details.push(format!("{done} of {} steps of this part are done", steps.len()));
    }
    if state.steering.paused.is_some() {
        said.unblocked_by.push(format!("codectl resume {}", state.id));
    }
    for (step, _) in open(state).filter(|(step, _)| matches!(step.kind, StepKind::Pause { .. })) {
        open_pause(state, step, said);
    }
    let work = open(state).filter(|(step, _)| !matches!(step.kind, StepKind::Pause { .. }));
    some(work.map(|(step, stand)| open_work(step, &stand)), said);
    for step in state.open_stage().into_iter().flat_map(|stage| state.stage(stage)) {
        let stand = state.state_of(&step.id);
        let Some((result, _)) = &stand.result else { continue };
        let next = match result.outcome {
            Outcome::Errored => "erred and is tried again",
            Outcome::Inconclusive => "could not tell and is measured once more",
            Outcome::Failed if stage_is_back(step) => "failed and is tried again",
            Outcome::Failed | Outcome::Succeeded => continue,
        };
        said.details.push(format!("{}: attempt {} {next}: {}", step.id, stand.attempt, result.reason));
    }
}

fn open_pause(state: &Deployment, step: &Step, said: &mut Explanation) {
    match step.kind {
        StepKind::Pause { duration: None } => {
            said.details.push(format!("{} waits for a person", step.id));
            said.unblocked_by.push(format!("codectl promote {} --expect {}", state.id, state.version));
        }
        StepKind::Pause { duration: Some(duration) } if step.is_hold() => {
            said.details.push(format!("{} holds the old set for {duration}", step.id));
            said.unblocked_by.push("time alone".to_owned());
            said.unblocked_by.push(format!("codectl promote {}  (promotes it now)", state.id));
            said.unblocked_by.push(format!("codectl abort {}  (switches back to the old set)", state.id));
        }
        StepKind::Pause { duration: Some(duration) } => {
            said.details.push(format!("{} pauses {duration}", step.id));
            said.unblocked_by.push("time alone".to_owned());
            said.unblocked_by.push(format!("codectl promote {}  (ends this pause now)", state.id));
        }
        _ => {}
    }
}

fn open_work(step: &Step, stand: &StepState) -> String {
    let who = match &stand.runner {
        Some(runner) => format!("{runner} works on it"),
        None => format!("no {} agent has taken it yet", step.agent),
    };
    format!("{}: {}: {who}, attempt {}", step.id, step.describe(), stand.attempt)
}

/// What became of it, and what can be done now.
fn over(state: &Deployment, target: &Target, said: &mut Explanation) {
    let again = format!("codectl retry {}  (deploys the same spec again)", state.id);
    let forced = format!("codectl retry {} --force REASON  (deploys the same spec again)", state.id);
    match state.ending.verdict {
        Some(Verdict::Promoted) => {
            let results = state.all_steps().filter_map(|step| state.state_of(&step.id).result);
            let gates: Vec<_> = results.flat_map(|(result, _)| result.gates).collect();
            some(gates.iter().map(|gate| format!("gate: {}", gate.text)), said);
        }
        Some(Verdict::RolledBack | Verdict::Superseded) if !state.retreat.steps.is_empty() => {
            said.details.push(match &state.change.baseline {
                Some(snapshot) => format!("runs again: {}", release(snapshot)),
                None => "nothing runs: there was no release before this one".to_owned(),
            });
        }
        Some(Verdict::Rejected | Verdict::Cancelled | Verdict::Superseded | Verdict::RolledBack) => {
            said.details.push("nothing was touched".to_owned());
        }
        Some(Verdict::NeedsHuman) => said.details.push("closed by hand; the target is free again".to_owned()),
        None => {}
    }
    if let Some(closed) = state.ending.closed {
        said.details.push(format!("took: {:.1} s", closed.since(state.received).as_secs_f64()));
    }
    let quarantined = target.quarantined.contains_key(&state.spec_digest);
    match (state.ending.verdict, state.ending.cause.as_ref().map(|cause| cause.kind)) {
        (None | Some(Verdict::Promoted | Verdict::NeedsHuman), _) => {}
        _ if quarantined => {
            said.details.push("the spec is quarantined: it does not run again without a reason".to_owned());
            said.unblocked_by.push("cure the release, then codectl apply it".to_owned());
            said.unblocked_by.push(forced);
        }
        (_, Some(CauseKind::Invalid)) => {
            said.unblocked_by.push("cure the spec, then codectl apply it".to_owned());
        }
        (Some(Verdict::Rejected), Some(CauseKind::Failed)) => {
            said.unblocked_by
                .push("cure the findings or waive them in the spec, then codectl apply it".to_owned());
        }
        (_, Some(CauseKind::Advice)) => {
            said.unblocked_by.push("cure what experts found, then codectl apply the spec".to_owned());
            said.unblocked_by.push(again);
        }
        (_, Some(CauseKind::PlanChanged)) => {
            said.unblocked_by
                .push("codectl plan, then codectl apply --plan with the digest it shows".to_owned());
        }
        (_, Some(CauseKind::Busy)) => {
            if let Some((holder, _)) = &target.holder {
                said.unblocked_by.push(format!("the end of {holder}: see codectl explain {holder}"));
            }
            said.unblocked_by.push(again);
        }
        _ => said.unblocked_by.push(again),
    }
}

/// The steps that are out and still matter.
fn open(state: &Deployment) -> impl Iterator<Item = (&Step, StepState)> {
    let turned_back = state.ending.cause.is_some();
    let counts = move |step: &Step| !turned_back || matches!(step.stage, Stage::Rollback | Stage::Finish);
    state
        .all_steps()
        .filter(move |step| counts(step))
        .map(|step| (step, state.state_of(&step.id)))
        .filter(|(_, stand)| stand.is_open())
}

/// The next time at which something happens by itself, and what.
fn next_deadline(state: &Deployment) -> Option<(Timestamp, String)> {
    let (until, then) = match state.phase {
        Phase::AwaitingApproval | Phase::Queued => {
            (state.clearance.until, "it is rejected, nothing was touched")
        }
        Phase::Executing | Phase::Verifying => return change_deadline(state),
        Phase::RollingBack => (state.retreat.until, "a person is called"),
        Phase::Planned => {
            let then = match state.clearance.asked.map(|inquiry| inquiry.gate) {
                Some(GateMode::Require) => "it is rejected, nothing was touched",
                Some(GateMode::Advise | GateMode::Off) | None => "it goes on without advice",
            };
            (state.clearance.asked.map(|inquiry| inquiry.until), then)
        }
        _ => (None, ""),
    };
    until.map(|until| (until, then.to_owned()))
}

fn change_deadline(state: &Deployment) -> Option<(Timestamp, String)> {
    let mut times: Vec<(Timestamp, String)> = Vec::new();
    let mut waits_apart = false;
    for (step, stand) in open(state) {
        waits_apart |= step.is_wait_apart();
        match step.kind {
            // A timed pause ends by itself.
            StepKind::Pause { duration: Some(duration) } => {
                let end = stand.scheduled.map(|at| at.plus(duration.0));
                let then = if step.is_hold() { "it is promoted" } else { "it goes on by itself" };
                times.extend(end.map(|end| (end, then.to_owned())));
            }
            StepKind::Pause { duration: None } => {
                let then = "nobody promoted it: it rolls back".to_owned();
                times.extend(stand.until.map(|until| (until, then)));
            }
            _ => {
                let then = format!("{} took too long: it rolls back", step.id);
                times.extend(stand.until.map(|until| (until, then)));
            }
        }
    }
    if let Some(until) = state.change.until.filter(|_| !waits_apart) {
        let total = state.spec.deadlines.total;
        times.push((until, format!("the deployment took longer than {total}: it rolls back")));
    }
    times.into_iter().min_by_key(|(until, _)| *until)
}

fn stage_is_back(step: &Step) -> bool {
    step.stage == Stage::Rollback
}

fn modules(spec: &model::DeploymentSpec) -> String {
    let names: Vec<String> =
        spec.modules.iter().map(|module| format!("{} {}", module.name, module.version)).collect();
    names.join(", ")
}

fn release(snapshot: &Snapshot) -> String {
    format!("{} of {}", modules(&snapshot.spec), snapshot.deployment)
}

/// The first few lines; the rest is counted.
fn some(lines: impl Iterator<Item = String>, said: &mut Explanation) {
    let lines: Vec<String> = lines.collect();
    let more = lines.len().saturating_sub(SHOWN);
    said.details.extend(lines.into_iter().take(SHOWN));
    if more > 0 {
        said.details.push(format!("and {more} more"));
    }
}

#[cfg(test)]
mod tests;
