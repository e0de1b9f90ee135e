//! Calls, advice and the inbox: load, decide, save, say.

use std::{sync::Arc, time::Duration};

use bus::{AppendError, Attempt, CloudEvent, Entry, Failure, Meta, subjects};
use model::{
    Code, DeploymentId, DeploymentSpec, Fault, Fence, Plan,
    command::{
        Command, DriftReply, DriftRequest, HistoryReply, HistoryRequest, HoldingsReply, HoldingsRequest,
        ListReply, ListRequest, PlanReply, PlanRequest, ReviewReply, ReviewRequest, StatusReply,
        StatusRequest, Submit, Submitted, TargetAction, TargetCommand, TargetView,
    },
    deployment::Mode,
    expert::{AdviceReport, Matter, PlanAdvice, passes},
    journal::{JournalReply, JournalRequest},
    plan::Snapshot,
    spec::{GateMode, Gates},
};

use crate::{
    error::Error,
    heart::{
        Context,
        compile::compile,
        decide,
        replica::first_record,
        state::Deployment,
        target::{Target, Wish},
        way_back::way_back,
    },
    hub::Hub,
};

/// What every handler has.
pub type Ctx = Arc<Hub>;

/// How long the agents may take to review a plan that is only looked at.
const REVIEW: Duration = Duration::from_secs(10);
/// How long the agents may take to stop what nothing asks for.
const CLEARING: Duration = Duration::from_secs(60);
/// How long experts may take over a plan that is only looked at: less than a client waits by default.
const ADVICE: Duration = Duration::from_secs(8);
/// For how long looking at the same plan again is the same question, in milliseconds.
const AGAIN_MS: i64 = 600_000;

/// Journals a deployment. The same request id gives the same deployment, however often and wherever it is sent.
pub async fn on_submit(hub: Ctx, submit: Submit, meta: Meta) -> Result<Submitted, Fault> {
    submit_once(hub, submit, meta.trace).await
}

async fn submit_once(hub: Ctx, submit: Submit, trace: Option<String>) -> Result<Submitted, Fault> {
    // What is journalled stays: a secret in plain text is refused before anything is written.
    let spec = spec::admit(&submit.document, hub.clock.now())?.spec;
    let id = match &submit.request_id {
        Some(key) => DeploymentId::derived(&format!("{}\n{key}", submit.initiator)),
        None => DeploymentId::new(),
    };
    let target = hub.targets.fresh(&spec.target_id()).await?;
    let now = hub.clock.now();

    let context = Context { now, ..hub.context(&target) };
    let received = decide::receive(&submit, spec);
    let record = first_record(&id, received, trace, context, hub.is_draining()).map_err(Error::from)?;

    match hub.bus.append(&subjects::deployment::JOURNAL, id.as_str(), &record, 0).await {
        Ok(seq) => {
            let state = Deployment::begin(&record, seq).map_err(Error::from)?;
            hub.counted(&record.events);
            hub.adopt(&id, state);
            Ok(Submitted { deployment: id, repeated: false })
        }
        Err(AppendError::Raced) => Ok(Submitted { deployment: id, repeated: true }),
        Err(source) => {
            Err(Failure { what: format!("journal the new deployment {id}").into(), source }.into())
        }
    }
}

/// Shows what would be done. Changes nothing.
pub async fn on_plan(hub: Ctx, request: PlanRequest, meta: Meta) -> Result<PlanReply, Fault> {
    let spec = spec::admit(&request.document, hub.clock.now())?.spec;
    let target = hub.targets.fresh(&spec.target_id()).await?;
    let plan = compile(&spec, target.snapshot.as_ref(), Mode::Apply)
        .map_err(|error| Fault::new(Code::Invalid, error.to_string()))?;

    let mut obstacles = obstacles(&spec, &target);
    let asked = ReviewRequest {
        spec: spec.clone(),
        baseline: target.snapshot.as_ref().map(|snapshot| snapshot.spec.clone()),
        plan: plan.clone(),
    };
    let reviews: Vec<ReviewReply> = match hub.bus.call(&subjects::agents::REVIEW, &asked, REVIEW).await {
        Ok(reviews) => reviews.reviews,
        Err(error) => {
            obstacles.push(format!("the agents did not review the plan: {error}"));
            Vec::new()
        }
    };
    for review in reviews.iter().filter(|review| !review.passed) {
        obstacles.push(format!("{} would refuse it: {}", review.agent, review.summary));
    }
    let advice = advice(&hub, &spec, &target, &plan, &reviews, meta.sender, &mut obstacles).await;
    let experts = spec.gates.experts.max(hub.policy().experts);
    Ok(PlanReply {
        digest: plan.digest(),
        gates: Gates { experts, ..spec.gates.clone() },
        advice,
        way_back: way_back_in_words(&spec, &plan, target.snapshot.as_ref()),
        plan,
        reviews,
        obstacles,
    })
}

/// What experts say about a plan that is only looked at. Looking again within ten minutes is the same question and costs
/// nothing; later it is asked anew, because the experts who were silent then may answer now.
async fn advice(
    hub: &Hub,
    spec: &DeploymentSpec,
    target: &Target,
    plan: &Plan,
    reviews: &[ReviewReply],
    caller: String,
    obstacles: &mut Vec<String>,
) -> Option<PlanAdvice> {
    let gate = spec.gates.experts.max(hub.policy().experts);
    if gate == GateMode::Off {
        return None;
    }
    let matter = Matter {
        question: format!("plan-{}-{}", plan.digest().short(), hub.clock.now().0 / AGAIN_MS).parse().ok()?,
        spec: Box::new(spec.clone()),
        baseline: target.snapshot.as_ref().map(|snapshot| Box::new(snapshot.spec.clone())),
        plan: Box::new(plan.clone()),
        findings: reviews.to_vec(),
        caller,
        until: hub.clock.now().plus(ADVICE),
    };
    let advice = match hub.bus.call(&subjects::experts::ADVISE_NOW, &matter, ADVICE).await {
        Ok(advice) => Some(advice),
        Err(error) => {
            obstacles.push(format!("experts did not look at the plan: {error}"));
            None
        }
    };
    if let Some(advice) = advice.as_ref().filter(|_| !passes(gate, advice.as_ref())) {
        let action = advice.action.as_str().replace('_', " ");
        obstacles.push(format!("the gate for experts would hold it back: they say {action}"));
    }
    advice
}

fn obstacles(spec: &DeploymentSpec, target: &Target) -> Vec<String> {
    let mut obstacles = Vec::new();
    if let Some((by, why)) = target.quarantined.get(&model::Digest::of(spec)) {
        obstacles.push(format!("this spec was rolled back by {by} ({why}): it needs --force and a reason"));
    }
    if let Some((holder, _)) = &target.holder {
        obstacles.push(format!("{holder} holds the target; {} wait", target.queue.len()));
    }
    if let Some((by, reason)) = &target.held {
        obstacles.push(format!("{by} holds the target: {reason}"));
    }
    obstacles
}

fn way_back_in_words(spec: &DeploymentSpec, plan: &Plan, baseline: Option<&Snapshot>) -> Vec<String> {
    if let Some(step) = &plan.no_return_after {
        return vec![format!("none after {step}: it cannot be undone, and a person is called instead")];
    }
    way_back(spec, plan, baseline)
        .iter()
        .map(|step| format!("{}. {}", step.wave + 1, step.describe()))
        .collect()
}

/// Shows one deployment.
pub async fn on_status(hub: Ctx, request: StatusRequest, _: Meta) -> Result<StatusReply, Fault> {
    Ok(StatusReply { view: hub.show(&request.deployment).await? })
}

/// Lists deployments, newest first.
pub async fn on_list(hub: Ctx, request: ListRequest, _: Meta) -> Result<ListReply, Fault> {
    let limit = request.limit.unwrap_or(50).clamp(1, 1000) as usize;
    let mut deployments = hub.list();
    deployments.retain(|summary| {
        request.target.as_ref().is_none_or(|target| *target == summary.target)
            && (!request.active || summary.closed.is_none())
    });
    deployments.truncate(limit);
    Ok(ListReply { deployments })
}

/// Shows a journal.
pub async fn on_history(hub: Ctx, request: HistoryRequest, _: Meta) -> Result<HistoryReply, Fault> {
    let id = request.deployment;
    let entries = hub.bus.load(&subjects::deployment::JOURNAL, id.as_str()).await;
    let entries = entries.attempt(format!("load the journal of {id}"))?;
    if entries.is_empty() {
        return Err(Fault::new(Code::NotFound, format!("there is no deployment {id}")));
    }
    Ok(HistoryReply { records: entries.into_iter().map(|Entry { record, .. }| record).collect() })
}

/// Journals a person's command, or says why not.
pub async fn on_command(hub: Ctx, command: Command, _: Meta) -> Result<model::command::Accepted, Fault> {
    hub.command(command).await
}

/// Journals what experts say. Safe to repeat: advice that is not waited for changes nothing.
pub async fn on_advice(hub: Ctx, report: AdviceReport, _: Meta) -> Result<(), Fault> {
    hub.advice(report).await
}

/// Shows, holds or lets go of a target.
pub async fn on_target(hub: Ctx, command: TargetCommand, meta: Meta) -> Result<TargetView, Fault> {
    let now = hub.clock.now();
    match &command.action {
        TargetAction::Show {} => {}
        TargetAction::Hold { reason } => {
            let hold = Wish::Hold(command.by.clone(), reason.clone());
            hub.targets.wish(&command.target, &hold, now, meta.trace.as_deref()).await?;
        }
        TargetAction::Unhold {} => {
            let unhold = Wish::Unhold(command.by.clone());
            hub.targets.wish(&command.target, &unhold, now, meta.trace.as_deref()).await?;
        }
    }
    let target = hub.targets.fresh(&command.target).await?;
    let token = command.target.token();
    let entries =
        hub.bus.load(&subjects::target::JOURNAL, &token).await.attempt("load a target's journal")?;
    let events: Vec<_> = entries.into_iter().flat_map(|entry| entry.record.events).collect();
    let newest = events.len().saturating_sub(100);
    Ok(TargetView {
        target: command.target,
        holder: target.holder.clone(),
        expires: target.expires,
        queue: target.queue.clone(),
        held: target.held.clone(),
        snapshot: target.snapshot.clone(),
        quarantined: target
            .quarantined
            .iter()
            .map(|(spec, (deployment, reason))| (spec.clone(), deployment.clone(), reason.clone()))
            .collect(),
        events: events.into_iter().skip(newest).collect(),
    })
}

/// Fills in what should run and asks the agents what does.
pub async fn on_drift(hub: Ctx, mut request: DriftRequest, _: Meta) -> Result<DriftReply, Fault> {
    if request.spec.is_none() {
        let snapshot = hub.targets.fresh(&request.target).await?.snapshot.clone();
        let none = || Fault::new(Code::NotFound, format!("nothing was ever promoted on {}", request.target));
        request.spec = Some(snapshot.ok_or_else(none)?.spec);
    }
    hub.bus.call(&subjects::agents::DRIFT, &request, REVIEW).await.map_err(Fault::from)
}

/// What a target holds. To take away what nothing asks for, the target is held meanwhile, so that no deployment gets it;
/// one that holds it already is in the way. Both are in the target's journal, with who asked.
pub async fn on_holdings(hub: Ctx, mut request: HoldingsRequest, _: Meta) -> Result<HoldingsReply, Fault> {
    let id = request.target.clone();
    let target = hub.targets.fresh(&id).await?;
    let (held, by) = (target.held.is_some(), request.by.clone());
    if !request.take_away {
        request.spec = target.snapshot.as_ref().map(|snapshot| snapshot.spec.clone());
        return hub.bus.call(&subjects::agents::HOLDINGS, &request, REVIEW).await.map_err(Fault::from);
    }
    if !held {
        let hold = Wish::Hold(by.clone(), "takes away what nothing asks for".to_owned());
        hub.targets.wish(&id, &hold, hub.clock.now(), None).await?;
    }
    let target = hub.targets.fresh(&id).await?;
    let cleared = match &target.holder {
        Some((holder, _)) => {
            let text = format!(
                "{holder} holds {id}: what it started is its own; end it first, with codectl abort {holder} (and --close \
                 when it needs a human)"
            );
            Err(Fault::new(Code::Conflict, text))
        }
        None => {
            request.spec = target.snapshot.as_ref().map(|snapshot| snapshot.spec.clone());
            // Above whatever the last holder did, below whoever holds it next.
            request.clear = Some(Fence { lock: target.grants, epoch: u64::MAX });
            hub.bus.call(&subjects::agents::HOLDINGS, &request, CLEARING).await.map_err(Fault::from)
        }
    };
    if !held {
        hub.targets.wish(&id, &Wish::Unhold(by), hub.clock.now(), None).await?;
    }
    cleared
}

/// Names records that cannot be used, or has them passed over.
pub async fn on_journal(hub: Ctx, request: JournalRequest, _: Meta) -> Result<JournalReply, Fault> {
    hub.aside.answer(&hub.bus, &hub.me, hub.clock.now(), &request.by, request.action).await
}

/// The world asks for a deployment by a CloudEvent. Its source and id are the request id, so that a repeat starts
/// nothing.
pub async fn on_inbox(hub: Ctx, event: CloudEvent, meta: Meta) -> Result<serde_json::Value, Fault> {
    let trace = meta.trace.or_else(|| event.extensions.get("traceparent").cloned());
    let submit = Submit {
        document: event.document(),
        initiator: event.source.clone(),
        request_id: Some(event.key()),
        plan: None,
        force: None,
        mode: Mode::Apply,
    };
    let submitted = submit_once(hub, submit, trace).await?;
    serde_json::to_value(submitted).map_err(|error| Fault::new(Code::Internal, error.to_string()))
}
