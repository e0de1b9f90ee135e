//! Does what a replica asks for, each thing in a future of its own that ends with what came of it.

use std::{future::Future, time::Duration};

use bus::{AppendError, subjects};
use ground::Backoff;
use model::{
    Phase, Record, StepId,
    audit::{AuditAwait, AuditLevel},
    deployment::{StepAnswer, StepJob, StepProgress},
    view::Summary,
};
use tracing::{Instrument, debug, info_span, warn};

use super::Drive;
use crate::{
    error::{Attempt, Error},
    heart::{
        effects::Effect,
        replica::{Input, NotAppended, Question, Said},
        state::Deployment,
        view,
    },
    hub::Hub,
    store, trace,
};

/// How long a rival may take to answer before it is asked again.
const RIVAL: Duration = Duration::from_secs(2);
/// How often the end of a deployment is tried to be announced before it is left to others.
const ANNOUNCEMENTS: u32 = 8;
/// Between two of these tries.
const ANNOUNCE_AGAIN: Backoff = Backoff::millis(2_000, 32_000);
/// How long one look at the audit log may take before the next.
const AUDIT: Duration = Duration::from_secs(2);

impl Drive {
    /// Appends one record.
    pub(super) fn append(
        &self,
        record: Box<Record>,
        expected: u64,
    ) -> impl Future<Output = Input> + Send + use<> {
        let span = info_span!("journal", deployment = record.id, version = record.version);
        let (hub, span) = (self.hub.clone(), self.under(span));
        let append = async move {
            let journal = &subjects::deployment::JOURNAL;
            match hub.bus.append(journal, &record.id, &record, expected).await {
                Ok(seq) => {
                    hub.counted(&record.events);
                    Input::Appended(Ok(seq))
                }
                Err(AppendError::Raced) => {
                    hub.counts.raced();
                    Input::Appended(Err(NotAppended::Raced))
                }
                Err(source) => {
                    let error = Error::Append { id: record.id.clone(), source };
                    let cause = chassis::chain(&error);
                    warn!(deployment = record.id, cause, "a record may not be durable, will look");
                    Input::Appended(Err(NotAppended::Unknown(error.into())))
                }
            }
        };
        append.instrument(span)
    }

    pub(super) fn load(&self, after: u64) -> impl Future<Output = Input> + Send + use<> {
        let (hub, id) = (self.hub.clone(), self.replica.state().id.clone());
        async move {
            let loaded = store::load_after(&hub.bus, &id, after).await;
            Input::Loaded(loaded.map_err(|error| {
                hub.aside.took(&error);
                let cause = chassis::chain(&error);
                warn!(deployment = %id, cause, "could not read the journal, will try again");
                error.into()
            }))
        }
    }

    pub(super) fn look(&self) -> impl Future<Output = Input> + Send + use<> {
        let (hub, target) = (self.hub.clone(), self.replica.state().spec.target_id());
        async move {
            let looked = hub.targets.fresh(&target).await;
            Input::Looked(looked.map_err(|error| {
                hub.aside.took(&error);
                let cause = chassis::chain(&error);
                warn!(%target, cause, "could not read the target, will try again");
                error.into()
            }))
        }
    }

    /// Asks about a step; whatever comes of it is said.
    pub(super) fn call(
        &self,
        step: StepId,
        call: u64,
        what: Question,
        patience: Duration,
    ) -> impl Future<Output = Input> + Send + use<> {
        let hub = self.hub.clone();
        let state = self.replica.state();
        let going_back = matches!(state.phase, Phase::RollingBack | Phase::RolledBack | Phase::NeedsHuman);
        let recorded = (hub.config.audited && !going_back).then_some(state.version);
        let span = match &what {
            Question::Offer(job) => {
                info_span!("send", deployment = %state.id, %step, attempt = job.attempt)
            }
            Question::Find(_) | Question::State(..) => tracing::Span::none(),
        };
        let span = self.under(span);
        let ask = async move {
            let bus = &hub.bus;
            let answer = match &what {
                Question::Offer(job) => offer(&hub, job, recorded, patience).await,
                Question::Find(question) => bus.call(&subjects::agents::STEP_FIND, question, patience).await,
                Question::State(runner, question) => match subjects::agents::STEP_STATE.to(runner) {
                    Ok(call) => bus.call_to(&call, question, patience).await,
                    Err(bad) => Err(bad.into()),
                },
            };
            Input::Heard { step, call, said: said(answer) }
        };
        ask.instrument(span)
    }

    pub(super) fn effect(
        &self,
        key: String,
        effect: Effect,
        times: u32,
    ) -> impl Future<Output = Input> + Send + use<> {
        let id = &self.replica.state().id;
        let span = match &effect {
            Effect::Send(_) => info_span!("send", deployment = %id),
            Effect::Stop(_) => info_span!("stop", deployment = %id),
            Effect::Wish(_) => info_span!("wish", deployment = %id),
            Effect::Advise(_) => info_span!("advise", deployment = %id),
            Effect::MakeWay(rival) => info_span!("ask", deployment = %id, %rival),
        };
        let (hub, span, id) = (self.hub.clone(), self.under(span), id.clone());
        let (target, trace) = (self.replica.state().spec.target_id(), self.replica.state().trace.clone());
        let carry_out = async move {
            let done = match effect {
                // Steps travel as calls.
                Effect::Send(_) => Ok(()),
                Effect::Stop(stop) => {
                    let said = hub.bus.signal(&subjects::agents::STOP, stop.deployment.as_str(), &stop).await;
                    said.attempt("stop steps")
                }
                Effect::Advise(job) => {
                    // The same question has the same answer, so asking again costs nothing.
                    let message_id = format!("advise-{}-{times}", job.deployment);
                    let sent = hub.bus.send(&subjects::experts::ADVISE, None, &*job, &message_id).await;
                    sent.attempt("ask experts for advice")
                }
                Effect::Wish(wish) => {
                    hub.targets.wish(&target, &wish, hub.clock.now(), trace.as_deref()).await
                }
                Effect::MakeWay(rival) => {
                    match tokio::time::timeout(RIVAL, hub.make_way(&rival, id)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(fault)) => debug!(%fault, "the rival does not make way yet"),
                        Err(_) => debug!("the rival does not answer yet"),
                    }
                    Ok(())
                }
            };
            if let Err(error) = &done {
                hub.aside.took(error);
                warn!(key, cause = chassis::chain(error), "not done, will try again");
            }
            Input::Done(key, done.is_ok())
        };
        carry_out.instrument(span)
    }

    /// The owner tells where the deployment is, each phase in which it rests once and a new owner again: the one before
    /// may have died before it could. The journal is the truth.
    pub(super) fn say(
        &self,
        summary: Box<Summary>,
        version: u64,
    ) -> impl Future<Output = Input> + Send + use<> {
        let hub = self.hub.clone();
        let span = info_span!("say", deployment = %summary.deployment, phase = %summary.phase);
        let span = self.under(span);
        let say = async move {
            let said = hub.say(&summary, version).await;
            if let Err(error) = &said {
                let cause = chassis::chain(error);
                warn!(deployment = %summary.deployment, cause, "could not say that it moved on, will try again");
            }
            Input::Told(said.is_ok())
        };
        say.instrument(span)
    }

    fn under(&self, span: tracing::Span) -> tracing::Span {
        trace::under(span, self.replica.state().trace.as_deref())
    }
}

/// Every replica says that it is over, under the same name: the owner may have died after the last record.
pub(super) async fn announce_the_end(hub: &Hub, state: &Deployment) {
    let (id, summary) = (&state.id, view::summary(state));
    for attempt in 1..=ANNOUNCEMENTS {
        let span = info_span!("say", deployment = %id, phase = %state.phase);
        let span = trace::under(span, state.trace.as_deref());
        let Err(error) = hub.say(&summary, state.version).instrument(span).await else { return };
        let cause = chassis::chain(&error);
        warn!(deployment = %id, cause, attempt, "could not say that it is over");
        tokio::select! {
            () = hub.stopping.cancelled() => return,
            () = tokio::time::sleep(ANNOUNCE_AGAIN.wait(attempt)) => {}
        }
    }
}

async fn offer(
    hub: &Hub,
    job: &StepJob,
    recorded: Option<u64>,
    patience: Duration,
) -> Result<StepAnswer, bus::Error> {
    if let Some(version) = recorded {
        await_the_log(hub, job, version).await?;
    }
    let lane = subjects::agents::STEP.to(job.step.agent.as_str())?;
    hub.bus.call_to(&lane, job, patience).await
}

/// Nothing is begun before the audit log has what was decided, so that nothing is done unrecorded: when the log takes
/// nothing, the step is not handed over and whoever watches is told why. The way back waits for nobody.
async fn await_the_log(hub: &Hub, job: &StepJob, version: u64) -> Result<(), bus::Error> {
    let (noun, journal) = (subjects::deployment::JOURNAL.noun().to_owned(), job.deployment.to_string());
    let request = AuditAwait { noun, journal, version, level: AuditLevel::Accepted };
    let kept = hub.bus.call(&subjects::audit::AWAIT, &request, AUDIT).await;
    let Err(error) = kept else { return Ok(()) };
    let progress = StepProgress {
        deployment: job.deployment.clone(),
        step: job.step.id.clone(),
        text: format!("not begun: the audit log does not have it: {}", chassis::chain(&error)),
        share: None,
        traffic: Vec::new(),
        gates: Vec::new(),
    };
    // Only for watchers; the step is handed over once the log has it.
    let _ = hub.bus.signal(&subjects::agents::PROGRESS, job.deployment.as_str(), &progress).await;
    let text = format!("the audit log does not have the record: {}", chassis::chain(&error));
    Err(bus::Error::Fault(model::Fault::new(model::Code::Unavailable, text)))
}

fn said(answer: Result<StepAnswer, bus::Error>) -> Said {
    match answer {
        Ok(answer) => Said::Answer(answer),
        Err(bus::Error::NoResponders { .. }) => Said::Nobody,
        Err(bus::Error::Fault(fault)) if fault.code != model::Code::Timeout => {
            debug!(%fault, "a step was not taken, will ask again");
            Said::Refused
        }
        Err(error) => {
            debug!(cause = chassis::chain(&error), "nothing was heard of a step, will ask again");
            Said::Silence
        }
    }
}
