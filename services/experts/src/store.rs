//! What is kept: a journal per question, the whole consultation as evidence, records of experts, accounts.

use std::sync::Arc;

use bus::{Aggregate, AppendError, Attempt, BucketHandle, Bus, Change, subjects};
use model::{
    Digest, Principal, Record, Timestamp, Token, Verdict,
    expert::{Ballot, Consultation, ConsultationEvent, ConsultationLine, ExpertId},
};
use opinion::{Facts, Policy, Records, State};
use providers::Accounts;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tracing::warn;

use crate::{error::Error, heart::rules::Rule};

/// Deployments whose end was learnt from, kept so that hearing of one twice teaches once.
const LEARNT: usize = 2000;

/// A consultation with all that its opinion was computed from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// What was asked and said.
    pub consultation: Consultation,
    /// What the opinion was computed from, beside the answers.
    pub basis: Basis,
}

/// What an opinion is computed from, beside the answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Basis {
    /// What was known beside the answers.
    pub facts: Facts,
    /// What the experts of the panel were worth then.
    pub records: Records,
    /// What counted as agreement then.
    pub policy: Policy,
}

/// A question's journal, folded.
#[derive(Clone, Debug, Default)]
pub struct Story {
    seq: u64,
    version: u64,
    /// When it was asked.
    pub at: Timestamp,
    /// What was asked; none when it never was.
    pub asked: Option<Opening>,
    /// The opinion in short.
    pub line: Option<ConsultationLine>,
    /// Answers that came later.
    pub late: Vec<Ballot>,
    /// What became of the deployment.
    pub ended: Option<Verdict>,
}

/// What was learnt from the ends of deployments.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Learnt {
    /// Of models and programs: what their votes weigh follows from it.
    records: Records,
    /// Of rules, to be shown: what a rule checks is so or is not, whatever traffic shows later.
    rules: Records,
    from: Vec<String>,
}

/// All that is kept, on one connection.
#[derive(Clone)]
pub struct Store {
    bus: Bus,
    me: String,
    experts: BucketHandle<serde_json::Value>,
    spending: BucketHandle<serde_json::Value>,
}

impl Store {
    /// On this connection; `me` stands in the records as their writer.
    pub fn new(bus: Bus, me: String) -> Store {
        Store {
            experts: bus.bucket(&subjects::buckets::EXPERTS),
            spending: bus.bucket(&subjects::buckets::SPENDING),
            bus,
            me,
        }
    }

    fn question(&self, id: &Token) -> Aggregate<Story> {
        Aggregate::new(self.bus.clone(), id.as_str(), self.me.as_str())
    }

    /// The journal of a question; empty when it was never asked.
    pub async fn story(&self, id: &Token) -> Result<Arc<Story>, Error> {
        Ok(self.question(id).loaded().await?)
    }

    /// The newest consultations, newest first.
    pub async fn newest(&self, limit: usize) -> Result<Vec<ConsultationLine>, Error> {
        let last = self.bus.last_of_each(&subjects::experts::JOURNAL).await.attempt("list consultations")?;
        for bad in &last.unreadable {
            warn!(
                subject = bad.subject,
                seq = bad.seq,
                why = bad.why,
                "a consultation that cannot be read is left out"
            );
        }
        let mut last: Vec<(Timestamp, String)> =
            last.entries.into_iter().map(|entry| (entry.record.at, entry.record.id)).collect();
        last.sort_by(|a, b| b.cmp(a));
        let mut lines = Vec::new();
        for (_, id) in last.into_iter().take(limit) {
            if let Ok(id) = id.parse() {
                match self.story(&id).await {
                    Ok(story) => lines.extend(story.line(&id)),
                    Err(error) => match &error {
                        Error::Bus(failure) if let Some(bad) = failure.unreadable() => {
                            warn!(%id, seq = bad.seq, why = bad.why, "a consultation that cannot be read is left out");
                        }
                        _ => return Err(error),
                    },
                }
            }
        }
        lines.sort_by_key(|line| std::cmp::Reverse(line.at));
        Ok(lines)
    }

    /// Appends one fact, unless `is_there` finds it, and gives the journal as it is then.
    pub async fn note(
        &self,
        id: &Token,
        event: ConsultationEvent,
        at: Timestamp,
        is_there: impl Fn(&Story) -> bool,
    ) -> Result<Arc<Story>, Error> {
        let question = self.question(id);
        let unless_there =
            |story: &Story| Ok::<_, Error>(if is_there(story) { Vec::new() } else { vec![event.clone()] });
        question.change(at, None, unless_there).await?;
        Ok(question.state())
    }

    /// Stores all of a consultation under its digest.
    pub async fn keep(&self, stored: &Stored) -> Result<Digest, Error> {
        let id = || stored.consultation.question.id.clone();
        let bytes = serde_json::to_vec(stored).map_err(|source| Error::Stored { id: id(), source })?;
        Ok(self.bus.put_evidence(&bytes).await.attempt("store a consultation")?)
    }

    /// All of a consultation.
    pub async fn stored(&self, id: &Token, digest: &Digest) -> Result<Stored, Error> {
        let bytes = self.bus.get_evidence(digest).await.attempt("read a stored consultation")?;
        serde_json::from_slice(&bytes).map_err(|source| Error::Stored { id: id.to_string(), source })
    }

    /// What models and programs were worth so far.
    pub async fn records(&self) -> Result<Records, Error> {
        Ok(self.read::<Learnt>(&self.experts, "records").await?.records)
    }

    /// How often rules were right, to be shown. Their votes do not weigh by it.
    pub async fn records_of_rules(&self) -> Result<Records, Error> {
        Ok(self.read::<Learnt>(&self.experts, "records").await?.rules)
    }

    /// What was spent and set aside.
    pub async fn accounts(&self) -> Result<Accounts, Error> {
        self.read(&self.spending, "accounts").await
    }

    /// Learns from one end; hearing of it again teaches nothing.
    pub async fn learn(
        &self,
        id: &Token,
        ballots: &[Ballot],
        truth: State,
        policy: &Policy,
    ) -> Result<(), Error> {
        let (rules, others): (Vec<Ballot>, Vec<Ballot>) =
            ballots.iter().cloned().partition(|ballot| Rule::of(&ballot.expert).is_some());
        self.change(&self.experts, "records", |learnt: &mut Learnt| {
            if learnt.from.iter().any(|known| known == id.as_str()) {
                return;
            }
            learnt.records.learn(&others, truth, policy);
            learnt.rules.learn(&rules, truth, policy);
            learnt.from.push(id.to_string());
            let surplus = learnt.from.len().saturating_sub(LEARNT);
            learnt.from.drain(..surplus);
        })
        .await
    }

    /// Changes the accounts and says what the change came to.
    pub async fn account<T>(&self, change: impl Fn(&mut Accounts) -> T) -> Result<T, Error> {
        self.change(&self.spending, "accounts", change).await
    }

    async fn read<V: Default + DeserializeOwned>(
        &self,
        bucket: &BucketHandle<serde_json::Value>,
        key: &'static str,
    ) -> Result<V, Error> {
        let found = bucket.get(key).await.attempt(format!("read the {key} of experts"))?;
        parsed(key, found.as_ref().map(|(value, _)| value))
    }

    /// Changes a value, which is the default when there is none, and says what the last run of `change` came to. What
    /// comes out as it was is not written.
    async fn change<V: Default + Serialize + DeserializeOwned, T>(
        &self,
        bucket: &BucketHandle<serde_json::Value>,
        key: &'static str,
        change: impl Fn(&mut V) -> T,
    ) -> Result<T, Error> {
        let mut said = None;
        let changed = bucket.change(key, |found| {
            let mut value: V = parsed(key, found)?;
            said = Some(change(&mut value));
            let value = serde_json::to_value(&value).map_err(|source| stored(key, source))?;
            Ok::<_, Error>(if found == Some(&value) { Change::Keep } else { Change::Put(value) })
        });
        changed.await?;
        let nothing = || bus::Failure {
            what: format!("change the {key} of experts").into(),
            source: AppendError::Raced,
        };
        Ok(said.ok_or_else(nothing)?)
    }
}

fn parsed<V: Default + DeserializeOwned>(key: &str, value: Option<&serde_json::Value>) -> Result<V, Error> {
    value
        .map_or_else(|| Ok(V::default()), |value| V::deserialize(value).map_err(|source| stored(key, source)))
}

fn stored(id: &str, source: serde_json::Error) -> Error {
    Error::Stored { id: id.to_owned(), source }
}

/// How a consultation began.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// Who asked.
    pub caller: Principal,
    /// The beginning of the question.
    pub text: String,
    /// The digest of the question.
    pub question: Digest,
}

impl bus::State for Story {
    type Event = ConsultationEvent;
    type Bad = std::convert::Infallible;

    const JOURNAL: &'static bus::Log<ConsultationEvent> = &subjects::experts::JOURNAL;

    fn version(&self) -> u64 {
        self.version
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn fold(&mut self, record: &Record<ConsultationEvent>, seq: u64) -> Result<(), Self::Bad> {
        for event in &record.events {
            match event {
                ConsultationEvent::Asked { caller, text, question, .. } => {
                    self.at = record.at;
                    let (caller, text, question) = (caller.clone(), text.clone(), question.clone());
                    self.asked = Some(Opening { caller, text, question });
                }
                ConsultationEvent::Formed { line } => self.line = Some((**line).clone()),
                ConsultationEvent::Late { ballot } => self.late.push((**ballot).clone()),
                ConsultationEvent::Ended { verdict } => self.ended = Some(*verdict),
            }
        }
        (self.version, self.seq) = (record.version, seq);
        Ok(())
    }
}

impl Story {
    /// In one line; none when it was never asked.
    pub fn line(&self, id: &Token) -> Option<ConsultationLine> {
        let Opening { caller, text, .. } = self.asked.clone()?;
        let open = || ConsultationLine {
            question: id.clone(),
            caller,
            text,
            at: self.at,
            action: None,
            reason: "experts are asked, or the asking was cut off".to_owned(),
            consultation: None,
            votes: 0,
            cost_micro_usd: 0,
            took_ms: 0,
            outcome: None,
        };
        let line = self.line.clone().unwrap_or_else(open);
        Some(ConsultationLine { outcome: self.ended, ..line })
    }

    /// Whether a late answer of this expert is in it.
    pub fn has_late(&self, expert: &ExpertId) -> bool {
        self.late.iter().any(|ballot| ballot.expert == *expert)
    }
}

/// The records of these experts' families, without the cases that only tempering is fitted on.
pub fn of_panel(records: &Records, panel: &[ExpertId]) -> Records {
    let mut some = records.clone();
    some.families.retain(|family, _| panel.iter().any(|expert| expert.family.as_str() == family));
    some.cases.clear();
    some
}
