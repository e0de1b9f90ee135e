//! What is kept: a journal per question, the whole consultation as evidence, records of experts, accounts.

use std::sync::{Mutex, PoisonError};

use bus::{AppendError, BucketHandle, Bus, Entry, WriteError, subjects};
use model::{
    Digest, Record, Timestamp, Token, Verdict,
    expert::{Ballot, Consultation, ConsultationEvent, ConsultationLine, ExpertId},
};
use opinion::{Facts, Policy, Records, State};
use providers::Accounts;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::{Attempt, Error},
    heart::rules::Rule,
};

/// How often a lost race is run again.
const TRIES: u32 = 50;
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
    /// Where the next record goes on top of.
    pub seq: u64,
    /// The version of the last record.
    pub version: u64,
    /// When it was asked.
    pub at: Timestamp,
    /// Who asked, the beginning of the text, the digest of the question.
    pub asked: Option<(String, String, Digest)>,
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

    /// The journal of a question; empty when it was never asked.
    pub async fn story(&self, id: &Token) -> Result<Story, Error> {
        let entries = self.bus.load(&subjects::experts::JOURNAL, id.as_str()).await;
        let mut story = Story::default();
        for entry in entries.attempt("load a consultation")? {
            story.fold(entry);
        }
        Ok(story)
    }

    /// The newest consultations, newest first.
    pub async fn newest(&self, limit: usize) -> Result<Vec<ConsultationLine>, Error> {
        let last = self.bus.last_of_each(&subjects::experts::JOURNAL).await.attempt("list consultations")?;
        let mut last: Vec<(Timestamp, String)> =
            last.into_iter().map(|entry| (entry.record.at, entry.record.id)).collect();
        last.sort_by(|a, b| b.cmp(a));
        let mut lines = Vec::new();
        for (_, id) in last.into_iter().take(limit) {
            if let Ok(id) = id.parse() {
                lines.extend(self.story(&id).await?.line(&id));
            }
        }
        lines.sort_by_key(|line| std::cmp::Reverse(line.at));
        Ok(lines)
    }

    /// Appends one fact on top of what was folded; raced when another writer was first.
    pub async fn append(
        &self,
        id: &Token,
        story: &mut Story,
        event: ConsultationEvent,
        at: Timestamp,
    ) -> Result<(), AppendError> {
        let record = Record {
            id: id.to_string(),
            version: story.version + 1,
            writer: self.me.clone(),
            at,
            trace: None,
            events: vec![event],
        };
        let log = &subjects::experts::JOURNAL;
        let seq = self.bus.append(log, id.as_str(), &record, story.seq).await?;
        story.fold(Entry { seq, record });
        Ok(())
    }

    /// Appends one fact, unless `is_there` finds it; again from the new state when another writer was first.
    pub async fn note(
        &self,
        id: &Token,
        event: ConsultationEvent,
        at: Timestamp,
        is_there: impl Fn(&Story) -> bool,
    ) -> Result<(), Error> {
        for _ in 0..TRIES {
            let mut story = self.story(id).await?;
            if is_there(&story) {
                return Ok(());
            }
            match self.append(id, &mut story, event.clone(), at).await {
                Ok(()) => return Ok(()),
                Err(AppendError::Raced) => {}
                Err(source) => return Err(Error::Write { what: "journal", id: id.to_string(), source }),
            }
        }
        Err(Error::Write { what: "journal", id: id.to_string(), source: AppendError::Raced })
    }

    /// Stores all of a consultation under its digest.
    pub async fn keep(&self, stored: &Stored) -> Result<Digest, Error> {
        let id = || stored.consultation.question.id.clone();
        let bytes = serde_json::to_vec(stored).map_err(|source| Error::Stored { id: id(), source })?;
        self.bus.put_evidence(&bytes).await.attempt("store a consultation")
    }

    /// All of a consultation.
    pub async fn stored(&self, id: &Token, digest: &Digest) -> Result<Stored, Error> {
        let bytes = self.bus.get_evidence(digest).await.attempt("read a stored consultation")?;
        serde_json::from_slice(&bytes).map_err(|source| Error::Stored { id: id.to_string(), source })
    }

    /// What models and programs were worth so far.
    pub async fn records(&self) -> Result<Records, Error> {
        Ok(self.read::<Learnt>(&self.experts, "records").await?.0.records)
    }

    /// How often rules were right, to be shown. Their votes do not weigh by it.
    pub async fn records_of_rules(&self) -> Result<Records, Error> {
        Ok(self.read::<Learnt>(&self.experts, "records").await?.0.rules)
    }

    /// What was spent and set aside.
    pub async fn accounts(&self) -> Result<Accounts, Error> {
        Ok(self.read(&self.spending, "accounts").await?.0)
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
                return false;
            }
            learnt.records.learn(&others, truth, policy);
            learnt.rules.learn(&rules, truth, policy);
            learnt.from.push(id.to_string());
            let surplus = learnt.from.len().saturating_sub(LEARNT);
            learnt.from.drain(..surplus);
            true
        })
        .await
    }

    /// Changes the accounts and says what the change came to.
    pub async fn account<T>(&self, change: impl Fn(&mut Accounts) -> T) -> Result<T, Error> {
        let said = Mutex::new(None);
        self.change(&self.spending, "accounts", |accounts: &mut Accounts| {
            let outcome = change(accounts);
            *said.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            true
        })
        .await?;
        let said = said.into_inner().unwrap_or_else(PoisonError::into_inner);
        let nothing =
            || Error::Write { what: "accounts", id: "today".to_owned(), source: AppendError::Raced };
        said.ok_or_else(nothing)
    }

    async fn read<V: Default + DeserializeOwned>(
        &self,
        bucket: &BucketHandle<serde_json::Value>,
        key: &'static str,
    ) -> Result<(V, Option<u64>), Error> {
        let Some((value, revision)) = bucket.get(key).await.attempt("read what is kept of experts")? else {
            return Ok((V::default(), None));
        };
        let value =
            serde_json::from_value(value).map_err(|source| Error::Stored { id: key.to_owned(), source })?;
        Ok((value, Some(revision)))
    }

    /// Reads, changes and writes by compare-and-set until nobody came between. `change` says whether it did anything.
    async fn change<V: Default + Serialize + DeserializeOwned>(
        &self,
        bucket: &BucketHandle<serde_json::Value>,
        key: &'static str,
        change: impl Fn(&mut V) -> bool,
    ) -> Result<(), Error> {
        for _ in 0..TRIES {
            let (mut value, revision) = self.read::<V>(bucket, key).await?;
            if !change(&mut value) {
                return Ok(());
            }
            let value = serde_json::to_value(&value)
                .map_err(|source| Error::Stored { id: key.to_owned(), source })?;
            let written = match revision {
                Some(revision) => bucket.update(key, &value, revision).await,
                None => bucket.create(key, &value).await,
            };
            match written {
                Ok(_) => return Ok(()),
                Err(WriteError::Raced) => {}
                Err(source) => return Err(Error::Write { what: "value", id: key.to_owned(), source }),
            }
        }
        Err(Error::Write { what: "value", id: key.to_owned(), source: WriteError::Raced })
    }
}

impl Story {
    fn fold(&mut self, entry: Entry<ConsultationEvent>) {
        (self.seq, self.version) = (entry.seq, entry.record.version);
        for event in entry.record.events {
            match event {
                ConsultationEvent::Asked { caller, text, question, .. } => {
                    self.at = entry.record.at;
                    self.asked = Some((caller, text, question));
                }
                ConsultationEvent::Formed { line } => self.line = Some(*line),
                ConsultationEvent::Late { ballot } => self.late.push(*ballot),
                ConsultationEvent::Ended { verdict } => self.ended = Some(verdict),
            }
        }
    }

    /// In one line; none when it was never asked.
    pub fn line(&self, id: &Token) -> Option<ConsultationLine> {
        let (caller, text, _) = self.asked.clone()?;
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
