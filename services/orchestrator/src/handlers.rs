//! Calls, advice and the inbox: load, decide, save, say.

mod words;

use std::{sync::Arc, time::Duration};

use bus::{AppendError, Attempt, CloudEvent, Entry, Failure, Meta, subjects};
use model::{
    Code, DeploymentId, DeploymentSpec, Fault, Fence, Principal, TargetId,
    asked::UnderWay,
    command::{
        Command, DriftReply, DriftRequest, HistoryReply, HistoryRequest, HoldingsReply, HoldingsRequest,
        ListReply, ListRequest, PlanReply, PlanRequest, StatusReply, StatusRequest, Submit, Submitted,
        TargetAction, TargetCommand, TargetView,
    },
    deployment::Mode,
    expert::AdviceReport,
    journal::{JournalReply, JournalRequest},
    target::Quarantine,
};

use crate::{
    error::Error,
    heart::{
        admit::admit,
        asked,
        preview::{Heard, Preview},
        state::Deployment,
        target::Wish,
    },
    hub::Hub,
    store,
};

/// What every handler has.
pub type Ctx = Arc<Hub>;

/// How long the agents may take to review a plan that is only looked at.
const REVIEW: Duration = Duration::from_secs(10);
/// How long the agents may take to stop what nothing asks for.
const CLEARING: Duration = Duration::from_secs(60);
/// How often what runs is looked at again because what should run changed meanwhile.
const LOOKS: usize = 5;
/// How long experts may take over a plan that is only looked at: less than a client waits by default.
const ADVICE: Duration = Duration::from_secs(8);

/// Journals a deployment. The same request id gives the same deployment, however often and wherever it is sent.
pub async fn on_submit(hub: Ctx, submit: Submit, meta: Meta) -> Result<Submitted, Fault> {
    submit_once(hub, words::of_submit(submit), &meta.principal, meta.trace).await
}

async fn submit_once(
    hub: Ctx,
    submit: Submit,
    by: &Principal,
    trace: Option<String>,
) -> Result<Submitted, Fault> {
    // What is journalled stays: a secret in plain text is refused before anything is written.
    let spec = spec::admit(&submit.document, hub.clock.now())?.spec;
    let target = hub.targets.fresh(&spec.target_id()).await?;
    let approvals = hub.approvals.borrow().clone();
    let moment = (hub.context(&target, approvals.as_deref()), hub.is_draining());
    let (id, record) = admit(&submit, by, spec, DeploymentId::new(), trace, moment).map_err(Error::from)?;

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
    let approvals = hub.approvals.borrow().clone();
    let preview = Preview::new(spec, &target, hub.policy(), approvals.as_deref())
        .map_err(|error| Fault::new(Code::Invalid, error.to_string()))?;

    let mut heard = Heard::default();
    let (review, looked) = (preview.review(), preview.look());
    let drifts = async {
        match &looked {
            None => Ok(Vec::new()),
            Some(request) => {
                hub.bus.call(&subjects::agents::DRIFT, request, REVIEW).await.map(|reply| reply.drifts)
            }
        }
    };
    let (reviewed, drifts) = tokio::join!(hub.bus.call(&subjects::agents::REVIEW, &review, REVIEW), drifts);
    match reviewed {
        Ok(reviews) => heard.reviews = reviews.reviews,
        Err(error) => heard.unheard.push(format!("the agents did not review the plan: {error}")),
    }
    match drifts {
        Ok(drifts) => heard.drifts = drifts,
        Err(error) => heard.unheard.push(format!("what runs could not be looked at: {error}")),
    }
    let now = hub.clock.now();
    if let Some(matter) = preview.matter(&heard.reviews, meta.principal, now, now.plus(ADVICE)) {
        match hub.bus.call(&subjects::experts::ADVISE_NOW, &matter, ADVICE).await {
            Ok(advice) => heard.advice = Some(advice),
            Err(error) => heard.unheard.push(format!("experts did not look at the plan: {error}")),
        }
    }
    Ok(preview.reply(heard))
}

/// Why a spec is quarantined, as its deployment is shown; where that is no longer remembered, as it was written down.
fn shown(hub: &Hub, quarantine: &Quarantine) -> Quarantine {
    let known = hub.list().into_iter().find(|summary| summary.deployment == quarantine.deployment);
    let reason = known.map_or_else(|| quarantine.reason.clone(), |summary| summary.reason);
    Quarantine { reason, ..quarantine.clone() }
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
pub async fn on_command(hub: Ctx, command: Command, meta: Meta) -> Result<model::command::Accepted, Fault> {
    hub.command(words::of_command(command), meta.principal).await
}

/// Journals what experts say. Safe to repeat: advice that is not waited for changes nothing.
pub async fn on_advice(hub: Ctx, report: AdviceReport, _: Meta) -> Result<(), Fault> {
    hub.advice(report).await
}

/// Shows, holds or lets go of a target.
pub async fn on_target(hub: Ctx, command: TargetCommand, meta: Meta) -> Result<TargetView, Fault> {
    let (command, now) = (words::of_target(command), hub.clock.now());
    match &command.action {
        TargetAction::Show {} => {}
        TargetAction::Hold { reason } => {
            let hold = Wish::Hold { by: meta.principal, reason: reason.clone() };
            hub.targets.wish(&command.target, &hold, now, meta.trace.as_deref()).await?;
        }
        TargetAction::Unhold {} => {
            let unhold = Wish::Unhold { by: meta.principal };
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
        quarantined: target.quarantined.values().map(|quarantine| shown(&hub, quarantine)).collect(),
        events: events.into_iter().skip(newest).collect(),
    })
}

/// Fills in what should run and asks the agents what does. What changes while they look is looked at again, so that no
/// difference is one of two moments.
pub async fn on_drift(hub: Ctx, mut request: DriftRequest, _: Meta) -> Result<DriftReply, Fault> {
    if request.spec.is_some() {
        return hub.bus.call(&subjects::agents::DRIFT, &request, REVIEW).await.map_err(Fault::from);
    }
    let mut should = should_run(&hub, &request.target).await?;
    for _ in 0..LOOKS {
        (request.spec, request.under_way) = (should.spec.clone(), should.under_way.clone());
        if should.is_nothing() {
            let text = format!("nothing was ever promoted on {}", request.target);
            return Err(Fault::new(Code::NotFound, text));
        }
        let reply = hub.bus.call(&subjects::agents::DRIFT, &request, REVIEW).await?;
        let now = should_run(&hub, &request.target).await?;
        if now == should {
            return Ok(reply);
        }
        should = now;
    }
    let text = format!(
        "{}: what should run changed {LOOKS} times while it was looked at; ask again",
        request.target
    );
    Err(Fault::new(Code::Unavailable, text))
}

/// What should run on a target.
#[derive(PartialEq)]
struct Should {
    /// What was promoted last.
    spec: Option<DeploymentSpec>,
    /// What changes it.
    under_way: Option<UnderWay>,
}

impl Should {
    fn is_nothing(&self) -> bool {
        self.spec.is_none() && self.under_way.is_none()
    }
}

async fn should_run(hub: &Ctx, target: &TargetId) -> Result<Should, Fault> {
    let target = hub.targets.fresh(target).await?;
    let spec = target.snapshot.as_ref().map(|snapshot| snapshot.spec.clone());
    let under_way = match &target.holder {
        Some((holder, _)) => store::load(&hub.bus, holder).await?.as_ref().and_then(asked::under_way),
        None => None,
    };
    Ok(Should { spec, under_way })
}

/// What a target holds. To take away what nothing asks for, the target is held meanwhile, so that no deployment gets it;
/// one that holds it already is in the way. Both are in the target's journal, with who asked.
pub async fn on_holdings(hub: Ctx, mut request: HoldingsRequest, meta: Meta) -> Result<HoldingsReply, Fault> {
    let id = request.target.clone();
    let target = hub.targets.fresh(&id).await?;
    let (held, by) = (target.held.is_some(), meta.principal);
    if !request.take_away {
        let should = should_run(&hub, &id).await?;
        (request.spec, request.trial) = (should.spec, should.under_way.map(|under_way| *under_way.spec));
        return hub.bus.call(&subjects::agents::HOLDINGS, &request, REVIEW).await.map_err(Fault::from);
    }
    if !held {
        let reason = "takes away what nothing asks for".to_owned();
        let hold = Wish::Hold { by: by.clone(), reason };
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
        hub.targets.wish(&id, &Wish::Unhold { by }, hub.clock.now(), None).await?;
    }
    cleared
}

/// Names records that cannot be used, or has them passed over.
pub async fn on_journal(hub: Ctx, request: JournalRequest, meta: Meta) -> Result<JournalReply, Fault> {
    let action = words::of_journal(request).action;
    hub.aside.answer(&hub.bus, &hub.me, hub.clock.now(), &meta.principal, action).await
}

/// The world asks for a deployment by a CloudEvent. Its source and id are the request id, so that a repeat starts
/// nothing.
pub async fn on_inbox(hub: Ctx, event: CloudEvent, meta: Meta) -> Result<serde_json::Value, Fault> {
    let trace = meta.trace.or_else(|| event.extensions.get("traceparent").cloned());
    let submit = Submit {
        document: event.document(),
        request_id: Some(event.key()),
        plan: None,
        force: None,
        mode: Mode::Apply,
    };
    // What is given up on is kept to be looked at, but for what could give a secret away.
    let leaks = !scrub::find(&submit.document).is_empty();
    let submitted = submit_once(hub, submit, &meta.principal, trace).await;
    let submitted =
        submitted.map_err(|fault| Fault { confidential: fault.confidential || leaks, ..fault })?;
    serde_json::to_value(submitted).map_err(|error| Fault::new(Code::Internal, error.to_string()))
}
