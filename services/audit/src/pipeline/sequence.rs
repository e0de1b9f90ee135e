//! Puts everything into one order and on disk, in batches, and has it signed.

use std::{sync::Arc, time::Duration};

use ground::blocking;
use ledger::Frame;
use model::audit::{AuditReceipt, AuditRecord};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{Ctx, Input, Reply, sign::Signer};
use crate::{
    Error,
    heart::{
        admit::{Admission, HOLE, OWN},
        handed::{self, Fate, Handed, Place, Request},
    },
    log::{self, Writer},
};

/// Leaves that are accepted and not in the tiles, and their bytes; more make everybody wait.
const MOST_PENDING: u64 = 200_000;
const MOST_PENDING_BYTES: u64 = 64 << 20;
/// How soon a failed write is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// The one writer.
pub(crate) struct Sequencer {
    ctx: Ctx,
    writer: Option<Writer>,
    admission: Admission,
    pending: Vec<Arc<Frame>>,
    signer: Option<Signer>,
    /// Comes back with the signer when it has signed.
    signing: Option<oneshot::Receiver<Signed>>,
    /// What is being put into the tiles.
    handed: Held,
}

struct Signed {
    signer: Signer,
    /// What could not be put into the tiles.
    left: Vec<Arc<Frame>>,
    outcome: Result<(), Error>,
}

/// How much lies in batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    leaves: u64,
    bytes: u64,
}

impl Held {
    fn of(frames: &[Arc<Frame>]) -> Held {
        frames.iter().flat_map(|frame| &frame.entries).fold(Held::default(), |held, leaf| Held {
            leaves: held.leaves + 1,
            bytes: held.bytes + leaf.len() as u64,
        })
    }
}

/// Whoever waits for a batch, with what they get for each of their facts.
struct Waiting {
    reply: Reply,
    receipts: Vec<AuditReceipt>,
}

#[derive(Default)]
struct Batch {
    leaves: Vec<Vec<u8>>,
    kept: Vec<(u64, AuditRecord, ledger::Hash)>,
    waiting: Vec<Waiting>,
    /// Told when the batch is on disk.
    forks: Vec<oneshot::Sender<()>>,
    began: Option<Instant>,
}

impl Batch {
    /// Where a count stands that is kept in this batch.
    fn place_of(&self, record: &AuditRecord) -> Option<Place> {
        let same = |(_, kept, _): &&(u64, AuditRecord, ledger::Hash)| {
            kept.source == record.source && kept.counter == record.counter
        };
        self.kept.iter().find(same).map(|(index, _, leaf)| Place { index: *index, leaf: *leaf })
    }
}

impl Sequencer {
    pub fn new(
        ctx: Ctx,
        writer: Writer,
        admission: Admission,
        pending: Vec<Frame>,
        signer: Signer,
    ) -> Sequencer {
        Sequencer {
            ctx,
            writer: Some(writer),
            admission,
            pending: pending.into_iter().map(Arc::new).collect(),
            signer: Some(signer),
            signing: None,
            handed: Held::default(),
        }
    }

    pub async fn run(mut self, mut inputs: mpsc::Receiver<Input>) -> Result<(), Error> {
        let ctx = self.ctx.clone();
        let mut tick = tokio::time::interval(ctx.config.checkpoint_every.0.min(Duration::from_millis(250)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut due = Instant::now();
        self.sign()?;
        loop {
            let room = self.has_room();
            tokio::select! {
                biased;
                () = ctx.stopping.cancelled() => break,
                signed = wait(&mut self.signing) => self.signed(signed)?,
                () = ctx.sign.notified() => due = Instant::now(),
                _ = tick.tick() => self.look_for_holes().await?,
                input = inputs.recv(), if room => match input {
                    Some(input) => self.batch(input, &mut inputs).await?,
                    None => break,
                },
            }
            if Instant::now() >= due && self.signer.is_some() {
                due = Instant::now() + ctx.config.checkpoint_every.0;
                self.sign()?;
            }
        }
        self.finish(inputs).await
    }

    /// The orderly end: what was handed over is kept, and all of it is signed.
    async fn finish(mut self, mut inputs: mpsc::Receiver<Input>) -> Result<(), Error> {
        inputs.close();
        while let Ok(input) = inputs.try_recv() {
            self.batch(input, &mut inputs).await?;
        }
        if self.signing.is_some() {
            let signed = wait(&mut self.signing).await;
            self.signed(signed)?;
        }
        self.sign()?;
        if self.signing.is_some() {
            let signed = wait(&mut self.signing).await;
            self.signed(signed)?;
        }
        if let Some(signer) = &mut self.signer {
            signer.release().await;
        }
        Ok(())
    }

    /// What is accepted and not in the tiles is bounded, by number and by size.
    fn has_room(&self) -> bool {
        let pending = Held::of(&self.pending);
        pending.leaves + self.handed.leaves < MOST_PENDING
            && pending.bytes + self.handed.bytes < MOST_PENDING_BYTES
    }

    fn wants_signing(&self, signer: &Signer) -> bool {
        let unsigned = signer.size() > *self.ctx.included.borrow();
        !self.pending.is_empty()
            || unsigned
            || self.ctx.reader().checkpoint().is_ok_and(|shown| shown.is_none())
    }

    async fn look_for_holes(&mut self) -> Result<(), Error> {
        let (now, patience) = (self.ctx.clock.now(), self.ctx.config.hole_patience.0);
        let records = self.admission.overdue(now, patience);
        let mut batch = Batch::default();
        for record in records {
            self.keep(&mut batch, record);
        }
        self.accept(batch).await
    }

    /// Gathers what is there, or comes within the wait, into one batch.
    async fn batch(&mut self, first: Input, inputs: &mut mpsc::Receiver<Input>) -> Result<(), Error> {
        let mut batch = Batch { began: Some(Instant::now()), ..Batch::default() };
        let until = Instant::now() + self.ctx.config.batch_wait.0;
        let mut next = Some(first);
        while let Some(input) = next {
            self.take(&mut batch, input).await;
            if batch.leaves.len() >= self.ctx.config.batch_leaves {
                break;
            }
            next = match inputs.try_recv() {
                Ok(input) => Some(input),
                Err(_) => tokio::time::timeout_at(until, inputs.recv()).await.ok().flatten(),
            };
        }
        self.accept(batch).await
    }

    async fn take(&mut self, batch: &mut Batch, input: Input) {
        let now = self.ctx.clock.now();
        match input {
            Input::Heard { stream, seq, content } => {
                let before = self.admission.counted_of(&stream);
                let records = self.admission.heard(&stream, seq, content, now);
                if records.is_empty() && self.admission.counted_of(&stream) == before {
                    self.ctx.counts.repeated.inc();
                }
                for record in records {
                    self.keep(batch, record);
                }
            }
            Input::Forked { stream, from, same, done } => {
                if let Some(record) = self.admission.fork(&stream, &from, same, now) {
                    tracing::error!(stream, same, "a stream has lost what it said");
                    self.keep(batch, record);
                }
                batch.forks.push(done);
            }
            Input::Told { records, reply } => self.told(batch, records, reply).await,
            Input::Own(record) => {
                let known = match &record.cause {
                    Some(cause) => self.place_of_own(cause).await.is_ok_and(|place| place.is_some()),
                    None => false,
                };
                if !known {
                    let record = self.admission.own(*record);
                    self.keep(batch, record);
                }
            }
        }
    }

    /// Where the log's own fact with this cause stands.
    async fn place_of_own(&self, cause: &str) -> Result<Option<(u64, u32)>, Error> {
        let recent = self.ctx.recent.lock().of_cause(OWN, cause);
        match recent {
            Some(place) => Ok(Some(place)),
            None => self.ctx.index.of_cause(OWN, cause).await,
        }
    }

    async fn told(&mut self, batch: &mut Batch, records: Vec<AuditRecord>, reply: Reply) {
        let mut handed = Vec::with_capacity(records.len());
        for record in records {
            let known = match batch.place_of(&record) {
                Some(place) => Ok(Some(place)),
                None => self.known(&record).await,
            };
            match known {
                Ok(known) => handed.push(Handed { record, known }),
                Err(error) => {
                    let _ = reply.send(Err(error));
                    return;
                }
            }
        }
        let Request { fates, refused } = handed::decide(&mut self.admission, handed, self.ctx.clock.now());
        let mut receipts: Vec<AuditReceipt> = Vec::with_capacity(fates.len());
        for fate in fates {
            let receipt = match fate {
                Fate::Kept(index) => {
                    self.ctx.counts.repeated.inc();
                    AuditReceipt { index, repeated: true }
                }
                Fate::New(record) => AuditReceipt { index: self.keep(batch, *record), repeated: false },
                Fate::Again(at) => {
                    AuditReceipt { index: receipts.get(at).map_or(0, |first| first.index), repeated: true }
                }
            };
            receipts.push(receipt);
        }
        match refused {
            None => batch.waiting.push(Waiting { reply, receipts }),
            Some(refused) => {
                let _ = reply.send(Err(refused.into()));
            }
        }
    }

    /// Where a count stands that is kept already; none when it is new.
    async fn known(&self, record: &AuditRecord) -> Result<Option<Place>, Error> {
        let recent = self.ctx.recent.lock().of_count(&record.source, record.counter);
        if recent.is_some() {
            return Ok(recent);
        }
        let source = self.admission.counted().sources.get(&record.source);
        let kept = source.is_some_and(|source| {
            (record.counter <= source.counted && !source.lost.contains(&record.counter))
                || source.ahead.contains(&record.counter)
        });
        if !kept {
            return Ok(None);
        }
        let index = self.ctx.index.of_count(&record.source, record.counter).await?;
        let index = index.ok_or_else(|| {
            Error::Refusing(format!("{} of {} is kept and not searchable yet", record.counter, record.source))
        })?;
        let reader = self.ctx.reader();
        let leaf = blocking(move || reader.entry(index)).await??;
        Ok(Some(Place { index, leaf: ledger::leaf_hash(&leaf) }))
    }

    /// Gives a fact its index.
    fn keep(&mut self, batch: &mut Batch, record: AuditRecord) -> u64 {
        let start = self.writer.as_ref().map_or(0, Writer::next);
        let index = start + batch.leaves.len() as u64;
        let leaf = record.to_leaf();
        if record.action == HOLE {
            self.ctx.counts.holes.inc();
            self.ctx.alarm("hole", record.reason.clone());
        }
        batch.kept.push((index, record, ledger::leaf_hash(&leaf)));
        batch.leaves.push(leaf);
        index
    }

    /// Keeps a batch on disk, however long the disk takes; then answers those who wait.
    async fn accept(&mut self, batch: Batch) -> Result<(), Error> {
        let Batch { leaves, kept, mut waiting, forks, began } = batch;
        if !leaves.is_empty() {
            let delta = self.admission.delta();
            let mut writer = self.writer.take().ok_or(Error::Ended("the writer"))?;
            let frame = Arc::new(writer.frame(leaves, &delta));
            loop {
                let frame = Arc::clone(&frame);
                let (back, outcome) = blocking(move || {
                    let outcome = writer.accept(&frame, &log::no_points());
                    (writer, outcome)
                })
                .await?;
                writer = back;
                match outcome {
                    Ok(()) => break,
                    Err(error @ Error::Ledger(ledger::Error::Poisoned(_))) => return Err(error),
                    Err(error) => {
                        let why = chassis::chain(&error);
                        for waiting in waiting.drain(..) {
                            let _ = waiting.reply.send(Err(Error::Refusing(why.clone())));
                        }
                        self.in_trouble(Some(why));
                        tokio::select! {
                            () = self.ctx.stopping.cancelled() => return Err(error),
                            () = tokio::time::sleep(AGAIN) => {}
                        }
                    }
                }
            }
            self.in_trouble(None);
            let next = writer.next();
            self.writer = Some(writer);
            self.ctx.counts.accepted.inc_by(kept.len() as u64);
            if let Some(began) = began {
                self.ctx.counts.batch_seconds.observe(began.elapsed().as_secs_f64());
            }
            {
                let mut recent = self.ctx.recent.lock();
                kept.iter().for_each(|(index, record, leaf)| recent.add(*index, record, *leaf));
            }
            self.ctx.counted.lock().merge(delta);
            self.pending.push(frame);
            self.ctx.accepted.send_replace(next);
        }
        for done in forks {
            let _ = done.send(());
        }
        let unsure = self.ctx.refuses();
        for waiting in waiting {
            if let Some(why) = &unsure {
                let _ = waiting.reply.send(Err(Error::Refusing(why.clone())));
                continue;
            }
            // Whoever gave up waiting asks again and is told the same.
            let _ = waiting.reply.send(Ok(waiting.receipts));
        }
        Ok(())
    }

    fn in_trouble(&self, why: Option<String>) {
        let mut trouble = self.ctx.trouble.lock();
        if trouble.is_some() != why.is_some() {
            self.ctx.alarm("disk", why.clone());
            *trouble = why.map(|why| (why.clone(), self.ctx.health.latch(format!("the audit log: {why}"))));
        }
    }

    /// Has what is pending put into the tiles and signed, while more is accepted; when there is nothing, makes sure that
    /// this copy is still the writer.
    fn sign(&mut self) -> Result<(), Error> {
        let Some(mut signer) = self.signer.take() else { return Ok(()) };
        if let Some(Err(error)) = self.writer.as_mut().map(Writer::rotate) {
            // Tried again at the next turn; what is accepted meanwhile is safe where it is.
            self.ctx.alarm("sign", Some(chassis::chain(&error)));
            self.signer = Some(signer);
            return Ok(());
        }
        let wanted = self.wants_signing(&signer);
        let frames = std::mem::take(&mut self.pending);
        self.handed = Held::of(&frames);
        let (back, signing) = oneshot::channel();
        self.signing = Some(signing);
        let work = async move {
            let mut left = Vec::new();
            let mut outcome = Ok(());
            if !frames.is_empty() {
                outcome = signer.integrate(frames.clone()).await;
                if outcome.is_err() {
                    left = frames;
                }
            }
            if outcome.is_ok() {
                outcome = if wanted { signer.publish().await } else { signer.confirm().await };
            }
            let _ = back.send(Signed { signer, left, outcome });
        };
        self.ctx.tasks.critical("sign", async move {
            work.await;
            Ok::<(), Error>(())
        });
        Ok(())
    }

    fn signed(&mut self, signed: Option<Signed>) -> Result<(), Error> {
        let Signed { signer, mut left, outcome } = signed.ok_or(Error::Ended("the signer"))?;
        self.handed = Held::default();
        self.signer = Some(signer);
        let integrated = left.is_empty();
        left.append(&mut self.pending);
        self.pending = left;
        match outcome {
            Ok(()) => self.ctx.alarm("sign", None),
            Err(error @ (Error::Fenced(_) | Error::Ended(_))) => return Err(error),
            Err(Error::Ledger(error @ (ledger::Error::Inconsistent(_) | ledger::Error::Root { .. }))) => {
                return Err(error.into());
            }
            Err(error) => self.ctx.alarm("sign", Some(chassis::chain(&error))),
        }
        if integrated
            && let Some(Err(error)) = self.writer.as_ref().map(|writer| writer.forget(&log::no_points()))
        {
            // Dropped with the next ones.
            tracing::warn!(
                error = chassis::chain(&error),
                "a part of the journal that is in the tiles stays"
            );
        }
        Ok(())
    }
}

async fn wait(signing: &mut Option<oneshot::Receiver<Signed>>) -> Option<Signed> {
    match signing {
        Some(receiver) => {
            let signed = receiver.await.ok();
            *signing = None;
            signed
        }
        None => std::future::pending().await,
    }
}
