//! One consultation, from the question to the opinion and what came late.
//!
//! It runs in a task of its own, so that an asker who hangs up neither loses the answers nor what they cost; whoever
//! asks the same question meanwhile waits for the same task. What was asked is in the journal before anyone is asked;
//! the opinion is in the journal before anyone is told. A crash in between asks again, which costs again and decides
//! nothing twice.

mod fan_out;
mod reading;
mod steward;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bus::{Attempt, Bus, subjects};
use chassis::{Clock, Tasks};
use model::{
    Digest, Token,
    expert::{
        AskingStep, Ballot, Consultation, ConsultationEvent, ConsultationLine, ConsultationProgress,
        ExpertId, Opinion, WeighRequest,
    },
};
use opinion::{Facts, Records, Risk};
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    config::ExpertsConfig,
    error::Error,
    heart::question::{Asked, beginning},
    metrics::Counts,
    panel::Everyone,
    store::{Basis, Store, Stored, Story, of_panel},
};
use fan_out::Late;

/// Longest beginning of a question in lists.
const TEXT: usize = 200;

/// How a question is asked.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// How much is at stake.
    pub risk: Risk,
    /// Mechanical checks that have failed already: whatever the votes say, they do not come to an approval.
    pub failed_gates: Vec<String>,
    /// Wait for everyone, even for those who cannot change the action.
    pub for_all: bool,
    /// Cancelled when nobody wants the answer any more: who has not answered by then is not waited for.
    pub unwanted: CancellationToken,
}

/// A consultation and the digest it is stored under.
pub type Formed = (Consultation, Option<Digest>);

type Outcome = Option<Result<Formed, Arc<Error>>>;

/// All that asking needs.
pub struct Asking {
    /// The bus.
    pub bus: Bus,
    /// What time it is.
    pub clock: Clock,
    /// Settings.
    pub config: Arc<ExpertsConfig>,
    /// Who can be asked.
    pub everyone: Everyone,
    /// What is kept.
    pub store: Store,
    /// What is counted.
    pub counts: Counts,
    tasks: Tasks,
    /// Nobody else knows it, so nobody who writes evidence knows the nonces that are made of it.
    secret: [u8; 32],
    open: Mutex<BTreeMap<Token, (Digest, watch::Receiver<Outcome>)>>,
}

/// One consultation under way.
#[derive(Clone)]
struct One {
    asking: Arc<Asking>,
    asked: Arc<Asked>,
    how: How,
    begun: Instant,
}

impl Asking {
    /// Nothing is asked yet.
    pub fn new(
        bus: Bus,
        clock: Clock,
        config: Arc<ExpertsConfig>,
        everyone: Everyone,
        store: Store,
        counts: Counts,
        tasks: Tasks,
    ) -> Asking {
        let open = Mutex::default();
        Asking { bus, clock, config, everyone, store, counts, tasks, secret: rand::random(), open }
    }

    /// The recorded consultation of this question, or a new one.
    pub async fn consult(self: &Arc<Self>, asked: Asked, how: How) -> Result<Formed, Arc<Error>> {
        let mut outcome = self.join(asked, how)?;
        let formed = outcome.wait_for(Option::is_some).await.map_err(|_| Error::Stopping)?;
        formed.clone().unwrap_or_else(|| Err(Arc::new(Error::Stopping)))
    }

    /// The task that asks this question, begun if need be.
    fn join(self: &Arc<Self>, asked: Asked, how: How) -> Result<watch::Receiver<Outcome>, Error> {
        let mut open = self.open();
        if let Some((digest, outcome)) = open.get(&asked.id) {
            if *digest != asked.digest {
                return Err(Error::AnotherQuestion(asked.id.to_string()));
            }
            return Ok(outcome.clone());
        }
        let (say, outcome) = watch::channel(None);
        open.insert(asked.id.clone(), (asked.digest.clone(), outcome.clone()));
        drop(open);
        let (asking, say, asked) = (Arc::clone(self), Arc::new(say), Arc::new(asked));
        let name = format!("consult {}", asked.id);
        self.tasks.restarted(name, chassis::Backoff::default(), move || {
            let (asking, say, asked) = (Arc::clone(&asking), Arc::clone(&say), Arc::clone(&asked));
            let how = how.clone();
            async move {
                asking.run(asked, how, &say).await;
                Ok::<(), Error>(())
            }
        });
        Ok(outcome)
    }

    async fn run(self: Arc<Self>, asked: Arc<Asked>, how: How, say: &watch::Sender<Outcome>) {
        let one = One { asking: Arc::clone(&self), asked, how, begun: Instant::now() };
        let asked = &one.asked;
        let (outcome, late) = match one.consult().await {
            Ok((formed, late)) => (Ok(formed), late),
            Err(error) => {
                warn!(question = %asked.id, cause = chassis::chain(&error), "a consultation failed");
                (Err(Arc::new(error)), None)
            }
        };
        say.send_replace(Some(outcome));
        self.open().remove(&asked.id);
        if let Some(late) = late {
            one.take_down(late).await;
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<Token, (Digest, watch::Receiver<Outcome>)>> {
        self.open.lock()
    }

    /// One opinion of these ballots: by a consensus worker, or here when none answers in time.
    async fn weigh(&self, ballots: &[Ballot], basis: &Basis) -> Opinion {
        let json = |value: Result<serde_json::Value, serde_json::Error>| value.unwrap_or_default();
        let request = WeighRequest {
            ballots: ballots.to_vec(),
            facts: json(serde_json::to_value(&basis.facts)),
            records: json(serde_json::to_value(&basis.records)),
            policy: json(serde_json::to_value(&basis.policy)),
        };
        match self.bus.call(&subjects::consensus::WEIGH, &request, self.config.consensus.0).await {
            Ok(opinion) => opinion,
            Err(error) => {
                debug!(%error, "no consensus worker answered, the opinion is computed here");
                self.counts.computed_here();
                again(ballots, basis)
            }
        }
    }

    /// Says how far a question is; whoever does not hear it misses nothing that is decided on.
    async fn progress(&self, id: &Token, expert: Option<ExpertId>, step: AskingStep, begun: Instant) {
        let progress =
            ConsultationProgress { question: id.clone(), expert, step, at_ms: millis(begun.elapsed()) };
        let said = self.bus.signal(&subjects::experts::PROGRESS, id.as_str(), &progress).await;
        if let Err(error) = said {
            debug!(question = %id, %error, "progress was not said");
        }
    }
}

/// The opinion on these ballots: the same for ever.
pub fn again(ballots: &[Ballot], basis: &Basis) -> Opinion {
    opinion::weigh(&basis.facts, ballots, &basis.records, &basis.policy)
}

impl One {
    async fn consult(&self) -> Result<(Formed, Option<Late>), Error> {
        let (store, id) = (&self.asking.store, &self.asked.id);
        let panel = self.asking.everyone.panel(&self.asked.question)?;
        if let Some(formed) = self.recorded(&*store.story(id).await?).await? {
            return Ok((formed, None));
        }
        let asked_at = self.asking.clock.now();
        // Another copy of this service may be asked the same: both ask, one of the opinions is recorded.
        let event = ConsultationEvent::Asked {
            caller: self.asked.caller.clone(),
            text: beginning(&self.asked.question.text, TEXT),
            question: self.asked.digest.clone(),
            panel: panel.ids(),
        };
        store.note(id, event, asked_at, |story| story.asked.is_some()).await?;
        if !self.asked.masked.is_empty() {
            info!(question = %id, places = self.asked.masked.len(), "secrets in a question were masked");
        }

        let records = store.records().await?;
        let facts = Facts {
            evidence: self.asked.question.evidence.iter().map(|exhibit| exhibit.id.to_string()).collect(),
            failed_gates: self.how.failed_gates.clone(),
            risk: self.how.risk,
        };
        let (ballots, late) = self.ask_all(panel, &facts, &records).await?;
        let formed = self.form(ballots, facts, records, asked_at).await?;
        Ok((formed, late))
    }

    /// What was recorded under the id, if it is this question's.
    async fn recorded(&self, story: &Story) -> Result<Option<Formed>, Error> {
        let Some(opening) = &story.asked else { return Ok(None) };
        if opening.question != self.asked.digest {
            return Err(Error::AnotherQuestion(self.asked.id.to_string()));
        }
        let Some(digest) = story.line.as_ref().and_then(|line| line.consultation.clone()) else {
            return Ok(None);
        };
        let stored = self.asking.store.stored(&self.asked.id, &digest).await?;
        Ok(Some((stored.consultation, Some(digest))))
    }

    async fn form(
        &self,
        ballots: Vec<Ballot>,
        facts: Facts,
        records: Records,
        asked_at: model::Timestamp,
    ) -> Result<Formed, Error> {
        let (asking, id) = (&self.asking, &self.asked.id);
        let panel: Vec<ExpertId> = ballots.iter().map(|ballot| ballot.expert.clone()).collect();
        let records = of_panel(&records, &panel);
        let basis = Basis { facts, records, policy: asking.config.policy.clone() };
        let opinion = asking.weigh(&ballots, &basis).await;
        let consultation = Consultation {
            question: self.asked.question.clone(),
            caller: self.asked.caller.clone(),
            asked_at,
            cost_micro_usd: ballots.iter().map(|ballot| ballot.usage.cost_micro_usd).sum(),
            ballots,
            opinion,
            took_ms: millis(self.begun.elapsed()),
        };
        let stored = Stored { consultation, basis };
        let digest = asking.store.keep(&stored).await?;
        let consultation = stored.consultation;
        let line = ConsultationLine {
            question: id.clone(),
            caller: consultation.caller.clone(),
            text: beginning(&consultation.question.text, TEXT),
            at: asked_at,
            action: Some(consultation.opinion.action),
            reason: consultation.opinion.reason.clone(),
            consultation: Some(digest.clone()),
            votes: consultation.opinion.votes,
            cost_micro_usd: consultation.cost_micro_usd,
            took_ms: consultation.took_ms,
            outcome: None,
        };
        let event = ConsultationEvent::Formed { line: Box::new(line.clone()) };
        let story = asking.store.note(id, event, asking.clock.now(), |story| story.line.is_some()).await?;
        // Another copy may have been first; then its opinion is the one.
        let formed = self.recorded(&story).await?.unwrap_or((consultation, Some(digest)));
        let said =
            asking.bus.say(&subjects::experts::FORMED, id.as_str(), &line, &format!("{id}-formed")).await;
        said.attempt("say that an opinion is formed")?;
        let action = formed.0.opinion.action;
        asking.counts.formed(&formed.0);
        asking.progress(id, None, AskingStep::Formed { action }, self.begun).await;
        info!(question = %id, action = action.as_str(), took_ms = formed.0.took_ms, "an opinion is formed");
        Ok(formed)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
