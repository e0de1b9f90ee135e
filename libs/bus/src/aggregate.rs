//! State that is folded from a journal, and changed only on top of it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use model::{Record, Timestamp};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Mutex, watch};

use crate::{
    AppendError, Attempt, Bus, Entry, Error, Examined, Failure, Log,
    cas::{RACES, RACING},
};

/// What a journal says, folded. `Default` is the state before the first record: version 0, sequence 0.
pub trait State: Clone + Default + Send + Sync + 'static {
    /// What a record says.
    type Event: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// Why a record cannot be folded.
    type Bad: std::error::Error + Send + Sync + 'static;

    /// Where the records stand.
    const JOURNAL: &'static Log<Self::Event>;

    /// Records folded so far.
    fn version(&self) -> u64;
    /// The stream's sequence of the last record that was folded; 0 when there is none.
    fn seq(&self) -> u64;
    /// Folds the next record, which stands at `seq`; afterwards version and sequence are the record's. Records come in
    /// order and without a hole. After an error the state is thrown away.
    fn fold(&mut self, record: &Record<Self::Event>, seq: u64) -> Result<(), Self::Bad>;
}

/// One aggregate as one process knows it. Many tasks may use it at once: they see the same state, and one of them
/// writes at a time. Against other processes a record is only appended on top of what was folded.
///
/// What was folded may lag behind the journal. An append on top of it is refused then, so a decision to write is safe;
/// a decision *not* to write is only taken after a look at the journal.
pub struct Aggregate<S: State> {
    bus: Bus,
    id: String,
    writer: String,
    state: watch::Sender<Arc<S>>,
    /// The journal holds more than was folded, or may: nothing was read yet, or the fate of an append is unknown.
    behind: AtomicBool,
    writing: Mutex<()>,
}

impl<S: State> Aggregate<S> {
    /// The aggregate with this id, of which nothing was read yet. `writer` stands in its records.
    pub fn new(bus: Bus, id: impl Into<String>, writer: impl Into<String>) -> Aggregate<S> {
        Aggregate {
            bus,
            id: id.into(),
            writer: writer.into(),
            state: watch::Sender::new(Arc::default()),
            behind: AtomicBool::new(true),
            writing: Mutex::default(),
        }
    }

    /// Whose journal it is.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The state as far as it was folded; the default when nothing was read.
    pub fn state(&self) -> Arc<S> {
        Arc::clone(&self.state.borrow())
    }

    /// The state and its changes.
    pub fn watch(&self) -> watch::Receiver<Arc<S>> {
        self.state.subscribe()
    }

    /// The state, read from the journal if it never was or is known to lag.
    pub async fn loaded(&self) -> Result<Arc<S>, Failure> {
        if self.behind.load(Ordering::Relaxed) { self.fresh().await } else { Ok(self.state()) }
    }

    /// The state as the journal has it now: folds what it holds beyond what was folded. One look at the broker when
    /// there is nothing new.
    pub async fn fresh(&self) -> Result<Arc<S>, Failure> {
        let (seq, version) = {
            let state = self.state.borrow();
            (state.seq(), state.version())
        };
        let what = || format!("load the journal of {}", self.id);
        // A record that cannot be used, or that is missing, is named: nothing is folded over it.
        let found =
            self.bus.examine_after(S::JOURNAL, &self.id, seq, Some(version + 1)).await.attempt(what())?;
        if seq > 0 && !found.unreadable.is_empty() {
            self.fold_anew().await?;
        } else {
            self.fold(&found.whole().attempt(what())?)?;
        }
        self.behind.store(false, Ordering::Relaxed);
        Ok(self.state())
    }

    /// What was folded may be passed over since, by a person with an engine that cannot read it: the journal is folded from
    /// its beginning.
    async fn fold_anew(&self) -> Result<(), Failure> {
        let what = || format!("load the journal of {}", self.id);
        let found = self.bus.examine(S::JOURNAL, &self.id).await;
        let mut anew = S::default();
        for entry in found.and_then(Examined::whole).attempt(what())? {
            if let Err(source) = anew.fold(&entry.record, entry.seq) {
                let bad = Error::Unfoldable { id: self.id.clone(), source: source.into() };
                return Err(bad).attempt(format!("fold the journal of {}", self.id));
            }
        }
        self.state.send_if_modified(|now| {
            let is_newer = anew.seq() > now.seq();
            if is_newer {
                *now = Arc::new(std::mem::take(&mut anew));
            }
            is_newer
        });
        Ok(())
    }

    /// A record came by while the journals are followed. One that was folded before changes nothing; when records are
    /// missing in between, they are read.
    pub async fn heard(&self, entry: &Entry<S::Event>) -> Result<(), Failure> {
        let (seq, version) = {
            let state = self.state.borrow();
            (state.seq(), state.version())
        };
        if entry.seq > seq && entry.record.version <= version {
            return self.fresh().await.map(|_| ());
        }
        match self.fold(std::slice::from_ref(entry))? {
            None => Ok(()),
            Some(_) => self.fresh().await.map(|_| ()),
        }
    }

    /// Appends what `decide` gives for the state, in one record, and folds it. When another writer was first, it
    /// decides again from the new state; to write nothing, or to refuse, is decided only on the journal as it is. True:
    /// something was written. Gives up after 50 lost races, having written nothing.
    pub async fn change<E: From<Failure>>(
        &self,
        at: Timestamp,
        trace: Option<&str>,
        mut decide: impl FnMut(&S) -> Result<Vec<S::Event>, E>,
    ) -> Result<bool, E> {
        let _writing = self.writing.lock().await;
        let mut is_fresh = false;
        for lost in 1..=RACES {
            if self.behind.load(Ordering::Relaxed) {
                self.fresh().await?;
                is_fresh = true;
            }
            let state = self.state();
            match decide(&state) {
                Ok(events) if !events.is_empty() => {
                    if self.append(&state, events, at, trace).await? {
                        return Ok(true);
                    }
                    RACING.pause(lost).await;
                }
                nothing if is_fresh => return nothing.map(|_| false),
                _ => self.behind.store(true, Ordering::Relaxed),
            }
        }
        Err(self.not_appended(AppendError::Raced).into())
    }

    /// False: another writer was first.
    async fn append(
        &self,
        on: &S,
        events: Vec<S::Event>,
        at: Timestamp,
        trace: Option<&str>,
    ) -> Result<bool, Failure> {
        let record = Record {
            id: self.id.clone(),
            version: on.version() + 1,
            writer: self.writer.clone(),
            at,
            trace: trace.map(str::to_owned),
            events,
        };
        match self.bus.append(S::JOURNAL, &self.id, &record, on.seq()).await {
            Ok(seq) => {
                self.heard(&Entry { seq, record }).await?;
                Ok(true)
            }
            Err(error) => {
                // Also when its fate is unknown: it may have been written all the same.
                self.behind.store(true, Ordering::Relaxed);
                if matches!(error, AppendError::Raced) { Ok(false) } else { Err(self.not_appended(error)) }
            }
        }
    }

    fn not_appended(&self, source: AppendError) -> Failure {
        Failure { what: format!("append to the journal of {}", self.id).into(), source }
    }

    /// Folds what follows on the state; gives the first entry before which records are missing.
    fn fold<'a>(&self, entries: &'a [Entry<S::Event>]) -> Result<Option<&'a Entry<S::Event>>, Failure> {
        let (mut bad, mut early) = (None, None);
        self.state.send_if_modified(|now| {
            let mut next: Option<S> = None;
            for entry in entries {
                let version = next.as_ref().unwrap_or(now).version();
                if entry.record.version <= version {
                    continue;
                }
                if entry.record.version > version + 1 {
                    early = Some(entry);
                    break;
                }
                if let Err(error) = next.get_or_insert_with(|| (**now).clone()).fold(&entry.record, entry.seq)
                {
                    bad = Some(error);
                    return false;
                }
            }
            let is_new = next.is_some();
            if let Some(next) = next {
                *now = Arc::new(next);
            }
            is_new
        });
        match bad {
            None => Ok(early),
            Some(source) => Err(Error::Unfoldable { id: self.id.clone(), source: source.into() })
                .attempt(format!("fold the journal of {}", self.id)),
        }
    }
}
