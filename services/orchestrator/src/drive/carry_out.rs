//! Carries out what should be under way outside, and tells the world where the deployment is.

use std::time::Duration;

use bus::subjects;
use model::{
    Phase,
    audit::{AuditAwait, AuditLevel},
    deployment::{StepJob, StepProgress},
};
use tokio::time::Instant;
use tracing::{Instrument, debug, info_span, warn};

use super::Drive;
use crate::{
    error::{Attempt, Error},
    heart::{effects::Effect, view},
    trace,
};

/// How often runners are told again to stop.
const STOP_AGAIN: Duration = Duration::from_secs(1);
/// How often a rival is asked again to make way, and how long it may take to answer.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How often the end of a deployment is tried to be announced before it is left to others.
const ANNOUNCEMENTS: u32 = 8;

/// How long one look at the audit log may take before the next.
const AUDIT: Duration = Duration::from_secs(2);

/// An effect that was carried out.
pub(super) struct Done {
    /// The last time.
    at: Instant,
    /// How often.
    times: u32,
}

impl Drive {
    /// Sees to every effect; one that fails keeps no other from being seen to.
    pub(super) async fn carry_out(&mut self) -> Result<(), Error> {
        let mut trouble = Ok(());
        for effect in self.effects() {
            let seen_to = self.see_to(effect).await;
            trouble = trouble.and(seen_to);
        }
        trouble
    }

    async fn see_to(&mut self, effect: Effect) -> Result<(), Error> {
        let resend = self.hub.config.resend.0;
        let (key, again) = match &effect {
            Effect::Send(job) => (format!("send {}", message_id(job)), resend),
            Effect::Stop(stop) => {
                (format!("stop {:?} {} {:?}", stop.step, stop.below, stop.kind), STOP_AGAIN)
            }
            Effect::Wish(wish) => (format!("wish {:?}", std::mem::discriminant(wish)), Duration::ZERO),
            Effect::Ask(command) => (format!("ask {}", command.deployment), ASK_AGAIN),
            Effect::Advise(_) => ("advise".to_owned(), resend),
        };
        let before = self.done.get(&key);
        let times = before.map_or(0, |done| done.times);
        let again =
            if matches!(effect, Effect::Send(_)) { again * (1 << times.clamp(1, 6)) / 2 } else { again };
        if before.is_some_and(|done| done.at.elapsed() < again) {
            return Ok(());
        }
        let span = match &effect {
            Effect::Send(job) => {
                info_span!("send", deployment = %self.state.id, step = %job.step.id, attempt = job.attempt)
            }
            Effect::Stop(_) => info_span!("stop", deployment = %self.state.id),
            Effect::Wish(_) => info_span!("wish", deployment = %self.state.id),
            Effect::Advise(_) => info_span!("advise", deployment = %self.state.id),
            Effect::Ask(rival) => info_span!("ask", deployment = %self.state.id, rival = %rival.deployment),
        };
        let span = trace::under(span, self.state.trace.as_deref());
        self.do_it(effect, times).instrument(span).await?;
        self.done.insert(key, Done { at: Instant::now(), times: times + 1 });
        Ok(())
    }

    async fn do_it(&self, effect: Effect, times: u32) -> Result<(), Error> {
        match effect {
            Effect::Send(job) => self.send(&job, times).await,
            Effect::Stop(stop) => {
                let id = stop.deployment.clone();
                let said = self.hub.bus.signal(&subjects::agents::STOP, id.as_str(), &stop).await;
                said.attempt("stop steps")
            }
            Effect::Advise(job) => {
                // The same question has the same answer, so asking again costs nothing.
                let message_id = format!("advise-{}-{times}", job.deployment);
                let sent = self.hub.bus.send(&subjects::experts::ADVISE, None, &*job, &message_id).await;
                sent.attempt("ask experts for advice")
            }
            Effect::Wish(wish) => {
                let (target, now) = (self.state.spec.target_id(), self.hub.clock.now());
                self.hub.targets.wish(&target, &wish, now, self.state.trace.as_deref()).await
            }
            Effect::Ask(command) => {
                match tokio::time::timeout(ASK_AGAIN, self.hub.command(command)).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(fault)) => debug!(%fault, "the rival does not make way yet"),
                    Err(_) => debug!("the rival does not answer yet"),
                }
                Ok(())
            }
        }
    }

    /// The first time under the name that every owner gives it, so that a new owner sends nothing twice; later, when no
    /// runner has taken it, under a new one: the broker would drop a name that it knows, although the job is gone.
    async fn send(&self, job: &StepJob, times: u32) -> Result<(), Error> {
        let is_taken = self.state.steps.get(&job.step.id).is_some_and(|stand| stand.runner.is_some());
        if is_taken {
            // It stays in the queue until its runner, or another after it, is done with it.
            return Ok(());
        }
        self.recorded(job).await?;
        let mut message_id = message_id(job);
        if times > 0 {
            debug!(attempt = job.attempt, times, "no runner has taken a step, its job is sent again");
            message_id = format!("{message_id}-{}-{times}", self.hub.me);
        }
        let lane = job.step.agent.as_str();
        let sent = self.hub.bus.send(&subjects::agents::STEP, Some(lane), job, &message_id).await;
        sent.attempt("send a step to its agent")
    }

    /// Nothing is begun before the audit log has what was decided, so that nothing is done unrecorded: when the log takes
    /// nothing, the step is not sent and whoever watches is told why. The way back waits for nobody.
    async fn recorded(&self, job: &StepJob) -> Result<(), Error> {
        let going_back =
            matches!(self.state.phase, Phase::RollingBack | Phase::RolledBack | Phase::NeedsHuman);
        if !self.hub.config.audited || going_back {
            return Ok(());
        }
        let request = AuditAwait {
            journal: self.state.id.to_string(),
            version: self.state.version,
            level: AuditLevel::Accepted,
        };
        let kept = self.hub.bus.call(&subjects::audit::AWAIT, &request, AUDIT).await;
        if let Err(error) = &kept {
            let progress = StepProgress {
                deployment: job.deployment.clone(),
                step: job.step.id.clone(),
                text: format!("not begun: the audit log does not have it: {}", chassis::chain(error)),
                share: None,
                traffic: Vec::new(),
                gates: Vec::new(),
            };
            // Only for watchers; the error below is what counts.
            let _ =
                self.hub.bus.signal(&subjects::agents::PROGRESS, job.deployment.as_str(), &progress).await;
        }
        kept.map(|_| ()).attempt("have a step recorded by the audit log before it begins")
    }

    /// The owner tells where the deployment is, each phase once and a new owner again: the one before may have died
    /// before it could. The journal is the truth; what fails is said at the next turn.
    pub(super) async fn announce(&mut self) {
        if !self.is_ours() || self.state.is_closed() || self.said == Some(self.state.phase) {
            return;
        }
        match self.say().await {
            Ok(()) => self.said = Some(self.state.phase),
            Err(error) => {
                let cause = chassis::chain(&error);
                warn!(deployment = %self.state.id, cause, "could not say that it moved on, will try again");
            }
        }
    }

    /// Every replica says that it is over, under the same name: the owner may have died after the last record.
    pub(super) async fn announce_the_end(&mut self) {
        for attempt in 1..=ANNOUNCEMENTS {
            let Err(error) = self.say().await else { return };
            let cause = chassis::chain(&error);
            warn!(deployment = %self.state.id, cause, attempt, "could not say that it is over");
            tokio::select! {
                () = self.hub.stopping.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(1 << attempt.min(5))) => {}
            }
        }
    }

    async fn say(&self) -> Result<(), Error> {
        let span = info_span!("say", deployment = %self.state.id, phase = %self.state.phase);
        let span = trace::under(span, self.state.trace.as_deref());
        self.hub.say(&view::summary(&self.state), self.state.version).instrument(span).await
    }
}

fn message_id(job: &StepJob) -> String {
    format!("{}-{}-{}", job.idem_key, job.attempt, job.fence)
}
