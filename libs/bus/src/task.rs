//! Tasks: calls that say how far they are before they answer, and that end when nobody waits any more.
//!
//! Progress travels to the asker's own subject in numbered frames, before the answer, which says how many there were: a
//! frame that is lost is noticed. No more than [`WINDOW`] frames are on their way: the handler waits until the asker has
//! taken some. What an asker says meanwhile (`cancel`, or up to where it has heard) goes to all who serve the task; whoever
//! works for it heeds it.

use std::{
    future::Future,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{HeaderMap, Message as Raw, StatusCode, Subject, Subscriber};
use futures::StreamExt;
use model::Fault;
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use wire::Message;

use crate::{
    Bus, Error, Serving, Task,
    answer::{Answered, Place},
    control::{Control, Entry, Register, TOLD},
    frame,
    frame::Meta,
};

/// Frames on their way at most.
const WINDOW: u64 = 32;
/// An asker that hears nothing says so often up to where it has heard, in case that was lost.
const IDLE: Duration = Duration::from_secs(1);
/// The number of a frame of progress, from 0.
const PROGRESS: &str = "Code-Progress";

/// What is heard of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Told<Progress, Reply> {
    /// How far it is.
    Progress(Progress),
    /// So many frames of progress were lost.
    Lost(u64),
    /// The answer; the last that is heard.
    Answer(Reply),
}

/// A task that somebody works on. Dropped before the answer is heard, it tells the handler to end.
#[must_use = "the task is cancelled when this is dropped"]
pub struct Ongoing<Progress, Reply> {
    bus: Bus,
    subject: String,
    control: String,
    asker: Subject,
    heard: Subscriber,
    deadline: Duration,
    until: Instant,
    next: u64,
    held: Option<Raw>,
    over: bool,
    kind: PhantomData<fn() -> (Progress, Reply)>,
}

impl Bus {
    /// Has a task done within `deadline`. Nobody who serves it is told by the first [`Ongoing::next`].
    pub async fn begin<Req: Message, Progress: Message, Reply: Message>(
        &self,
        task: &Task<Req, Progress, Reply>,
        request: &Req,
        deadline: Duration,
    ) -> Result<Ongoing<Progress, Reply>, Error> {
        let subject = task.subject();
        let headers = frame::question::<Req>(self.said_by(), deadline);
        let payload = request.encode();
        self.fits(&subject, &headers, &payload)?;
        let failed = |error: async_nats::Error| Error::broker(format!("asking {subject}"), error);
        let asker = Subject::from(self.client.new_inbox());
        let heard = self.client.subscribe(asker.clone()).await.map_err(|error| failed(error.into()))?;
        let sent = self.client.publish_with_reply_and_headers(
            subject.clone(),
            asker.clone(),
            headers,
            payload.into(),
        );
        sent.await.map_err(|error| failed(error.into()))?;
        Ok(Ongoing {
            bus: self.clone(),
            control: task.control(),
            subject,
            asker,
            heard,
            deadline,
            until: Instant::now() + deadline,
            next: 0,
            held: None,
            over: false,
            kind: PhantomData,
        })
    }

    /// Does tasks, at most `concurrency` at once, otherwise as [`Bus::answer`]. The handler is told by
    /// [`Teller::stopped`] that nobody waits any more.
    pub async fn serve<Req, Progress, Reply, H, F>(
        &self,
        task: &Task<Req, Progress, Reply>,
        concurrency: usize,
        handler: H,
    ) -> Result<Serving, Error>
    where
        Req: Message + Send + 'static,
        Progress: Message + Send + Sync + 'static,
        Reply: Message + Send + 'static,
        H: Fn(Req, Meta, Teller<Progress>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Reply, Fault>> + Send + 'static,
    {
        let heard = self.client.subscribe(task.control()).await;
        let heard = heard.map_err(|error| Error::broker(format!("serving {}", task.subject()), error))?;
        let register: Arc<Mutex<Register>> = Arc::default();
        let control = Control::new(heard, Arc::clone(&register));
        let bus = self.clone();
        let handler = move |asked, meta, asker: Option<Subject>| {
            let (teller, entry) = Teller::new(bus.clone(), asker, &register);
            let sent = Arc::clone(&teller.sent);
            let work = handler(asked, meta, teller);
            async move {
                let _entry = entry;
                let outcome = work.await;
                Answered { outcome, told: Some(sent.load(Ordering::SeqCst)) }
            }
        };
        let (service, endpoint, who) = (task.service, task.verb, task.who);
        let place = Place { service, endpoint, subject: task.subject(), who };
        self.answer_on(place, concurrency, handler, Some(control)).await
    }
}

impl<Progress: Message, Reply: Message> Ongoing<Progress, Reply> {
    /// What is heard next. After the answer or an error nothing more comes.
    pub async fn next(&mut self) -> Result<Told<Progress, Reply>, Error> {
        loop {
            let Some(message) = self.hear().await? else { continue };
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                self.over = true;
                return Err(Error::NoResponders { subject: self.subject.clone() });
            }
            let headers = message.headers.as_ref();
            let number = |name| frame::text(headers, name).and_then(|text| text.parse::<u64>().ok());
            let (progress, told) = (number(PROGRESS), number(TOLD));
            if let Some(reached) = progress.or(told).filter(|reached| *reached > self.next) {
                let lost = reached - self.next;
                (self.next, self.held) = (reached, Some(message));
                return Ok(Told::Lost(lost));
            }
            match progress {
                // It came before.
                Some(number) if number < self.next => {}
                Some(_) => {
                    self.next += 1;
                    if self.next.is_multiple_of(WINDOW / 2) {
                        self.say_how_far().await;
                    }
                    return Ok(Told::Progress(frame::decode(headers, &message.payload)?));
                }
                None => {
                    self.over = true;
                    return match frame::fault_in(headers, &message.payload) {
                        Some(fault) => Err(Error::Fault(fault)),
                        None => Ok(Told::Answer(frame::decode(headers, &message.payload)?)),
                    };
                }
            }
        }
    }

    /// The answer; progress is not looked at.
    pub async fn answer(mut self) -> Result<Reply, Error> {
        loop {
            if let Told::Answer(reply) = self.next().await? {
                return Ok(reply);
            }
        }
    }

    /// Tells the handler to end, and waits until that has left this process: for askers that end themselves.
    pub async fn cancel(mut self) {
        self.over = true;
        let said = format!("cancel {}", self.asker);
        let _ = self.bus.client.publish(self.control.clone(), said.into()).await;
        self.bus.flush().await;
    }

    /// One message, or none within a while.
    async fn hear(&mut self) -> Result<Option<Raw>, Error> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        if self.over {
            return Err(Error::Missing(format!("more of {}", self.subject)));
        }
        let idle = Instant::now() + IDLE;
        match tokio::time::timeout_at(idle.min(self.until), self.heard.next()).await {
            Ok(Some(message)) => Ok(Some(message)),
            Ok(None) => {
                self.over = true;
                Err(Error::broker(format!("hearing of {}", self.subject), "the connection is closed"))
            }
            Err(_) if Instant::now() >= self.until => {
                Err(self.bus.unanswered(self.subject.clone(), self.deadline))
            }
            Err(_) => {
                if self.next > 0 {
                    self.say_how_far().await;
                }
                Ok(None)
            }
        }
    }

    /// The handler goes on sending from here. If it is lost, it is said again.
    async fn say_how_far(&self) {
        let said = format!("heard {} {}", self.asker, self.next);
        let _ = self.bus.client.publish(self.control.clone(), said.into()).await;
    }
}

impl<Progress, Reply> Drop for Ongoing<Progress, Reply> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let (bus, control, said) = (self.bus.clone(), self.control.clone(), format!("cancel {}", self.asker));
        let cancel = async move {
            // The handler ends at its deadline if this is lost.
            let _ = bus.client.publish(control, said.into()).await;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(cancel);
        }
    }
}

/// What a handler says how far it is with, and is told by that nobody waits any more.
pub struct Teller<Progress> {
    bus: Bus,
    asker: Option<Subject>,
    sent: Arc<AtomicU64>,
    heard: watch::Receiver<u64>,
    stopped: CancellationToken,
    /// One frame at a time, so that they leave in order.
    line: Arc<tokio::sync::Mutex<()>>,
    kind: PhantomData<fn(Progress)>,
}

impl<Progress> Clone for Teller<Progress> {
    fn clone(&self) -> Self {
        Teller {
            bus: self.bus.clone(),
            asker: self.asker.clone(),
            sent: Arc::clone(&self.sent),
            heard: self.heard.clone(),
            stopped: self.stopped.clone(),
            line: Arc::clone(&self.line),
            kind: PhantomData,
        }
    }
}

impl<Progress: Message> Teller<Progress> {
    fn new(bus: Bus, asker: Option<Subject>, register: &Arc<Mutex<Register>>) -> (Self, Entry) {
        let (say, heard) = watch::channel(0);
        let stopped = CancellationToken::new();
        let name = asker.as_ref().map(ToString::to_string).unwrap_or_default();
        let entry = Entry::begin(register, name, stopped.clone(), say);
        let (sent, line) = (Arc::default(), Arc::default());
        (Teller { bus, asker, sent, heard, stopped, line, kind: PhantomData }, entry)
    }

    /// Says how far it is; waits while the asker has not taken in what was said before. False: nobody listens any more.
    pub async fn tell(&self, progress: &Progress) -> bool {
        let _line = self.line.lock().await;
        let number = self.sent.load(Ordering::SeqCst);
        let mut heard = self.heard.clone();
        tokio::select! {
            biased;
            () = self.stopped.cancelled() => return false,
            room = heard.wait_for(|heard| number < heard + WINDOW) => if room.is_err() { return false },
        }
        let Some(asker) = &self.asker else { return false };
        let mut headers: HeaderMap = frame::answer::<Progress>();
        headers.insert(PROGRESS, number.to_string());
        self.sent.store(number + 1, Ordering::SeqCst);
        // A frame that does not leave is noticed by its number.
        let _ = self.bus.client.publish_with_headers(asker.clone(), headers, progress.encode().into()).await;
        true
    }
}

impl<Progress> Teller<Progress> {
    /// Cancelled when the asker went away, and when the handler is done.
    pub fn stopped(&self) -> CancellationToken {
        self.stopped.clone()
    }
}
