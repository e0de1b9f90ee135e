//! The kinds of lines in the table of speech, and how each spells its subject.

use std::{fmt, marker::PhantomData};

use model::{Principal, Token};

use crate::Role;

pub(crate) const JOBS: &str = "JOBS";
pub(crate) const EVENTS: &str = "EVENTS";
pub(crate) const INBOX: &str = "INBOX";
pub(crate) const DEAD: &str = "DEAD";
pub(crate) const ADVISORY: &str = "ADVISORY";
/// What services say to the audit log.
pub(crate) const TRAIL: &str = "TRAIL";

/// A log is spread over so many streams, because a durable publish is one fsync and one stream makes them in turn.
/// Changing this number moves ids to other streams: it needs a migration.
pub const SHARDS: u32 = 4;

/// Which shard an id belongs to: the first 32 bits of its SHA-256 modulo [`SHARDS`]. Stable over versions and
/// platforms, and even for ids that differ in one character.
pub fn shard_of(id: &str) -> u32 {
    let digest = model::Digest::of_bytes(id.as_bytes()).short();
    u32::from_str_radix(&digest[..8], 16).unwrap_or_default() % SHARDS
}

/// Fails the build when a name in the table is not a token.
const fn token(text: &'static str) -> &'static str {
    let bytes = text.as_bytes();
    assert!(
        !bytes.is_empty() && bytes.len() <= 63 && bytes[0] != b'-',
        "a subject token has 1 to 63 characters"
    );
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        assert!(
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-',
            "a subject token is made of a-z, 0-9 and -"
        );
        at += 1;
    }
    text
}

/// Who says a line and who hears it: the broker lets nobody else. A line that names nobody is a test's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Who {
    pub says: &'static [Role],
    pub hears: &'static [Role],
    /// Who may look what is stored and does not follow it.
    pub reads: &'static [Role],
}

impl Who {
    const NOBODY: Who = Who { says: &[], hears: &[], reads: &[] };

    /// Whether somebody who may say the line can be this principal. The broker keeps out users that may not say it, and does
    /// not tell us who of the others said it: a client that calls itself the engine is kept out here, where only clients or
    /// other services speak.
    pub(crate) fn may_say(&self, principal: &Principal) -> bool {
        match principal {
            Principal::Engine { service, .. } => {
                let is_it = |role: &Role| role.service() == Some(service.as_str());
                self.says.is_empty() || self.says.iter().any(is_it)
            }
            Principal::Unauthenticated { .. }
            | Principal::EventSource { .. }
            | Principal::Publisher { .. }
            | Principal::Signer { .. } => true,
        }
    }

    /// Who may, in words.
    pub(crate) fn sayers(&self) -> String {
        self.says.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// Says in the table who says a line.
macro_rules! said_by {
    () => {
        /// These say it.
        pub(crate) const fn said_by(mut self, roles: &'static [Role]) -> Self {
            self.who.says = roles;
            self
        }
    };
}

/// Says in the table who hears a line.
macro_rules! heard_by {
    () => {
        /// These hear it.
        pub(crate) const fn heard_by(mut self, roles: &'static [Role]) -> Self {
            self.who.hears = roles;
            self
        }
    };
}

/// Says in the table who looks at what is stored, and does not follow it.
macro_rules! read_by {
    () => {
        /// These look at what stands there.
        pub(crate) const fn read_by(mut self, roles: &'static [Role]) -> Self {
            self.who.reads = roles;
            self
        }
    };
}

/// A consumer that the provisioner makes: whose messages, under which name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    pub stream: &'static str,
    pub durable: String,
    pub filter: String,
}

/// Whom a call reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// One of those who serve it.
    Any,
    /// One of those who answer to a name.
    Named,
    /// All of them.
    All,
}

/// `code.v1.rpc.<service>.<verb>`: one answer or a fault before a deadline.
#[derive(Debug)]
pub struct Call<Request, Reply> {
    pub(crate) service: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) who: Who,
    pub(crate) reach: Reach,
    kind: PhantomData<fn(Request) -> Reply>,
}

impl<Request, Reply> Call<Request, Reply> {
    /// A line of the table.
    pub const fn new(service: &'static str, verb: &'static str) -> Self {
        let (who, reach) = (Who::NOBODY, Reach::Any);
        Call { service: token(service), verb: token(verb), who, reach, kind: PhantomData }
    }

    said_by!();
    heard_by!();

    /// It is asked of one name, by [`Call::to`].
    pub(crate) const fn of_a_name(mut self) -> Self {
        self.reach = Reach::Named;
        self
    }

    /// It is asked of all who serve it.
    pub(crate) const fn of_all(mut self) -> Self {
        self.reach = Reach::All;
        self
    }

    /// The subject that is asked on.
    pub fn subject(&self) -> String {
        format!("code.v1.rpc.{}.{}", self.service, self.verb)
    }

    /// The same call to one of those who serve it: a replica by its id, or a lane by its name.
    ///
    /// # Errors
    /// The name is no token.
    pub fn to(&self, name: &str) -> Result<Addressed<Request, Reply>, model::id::BadToken> {
        let name: Token = name.parse()?;
        let subject = format!("{}.{name}", self.subject());
        let endpoint = format!("{}-{name}", self.verb);
        Ok(Addressed { service: self.service, endpoint, subject, who: self.who, kind: PhantomData })
    }
}

/// `code.v1.rpc.<service>.<verb>`: a call that says how far it is before it answers, and that ends when its asker goes away.
/// What askers say meanwhile is on `code.v1.sig.task.control.<service>-<verb>`.
#[derive(Debug)]
pub struct Task<Request, Progress, Reply> {
    pub(crate) service: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) who: Who,
    kind: PhantomData<fn(Request, Progress) -> Reply>,
}

impl<Request, Progress, Reply> Task<Request, Progress, Reply> {
    /// A line of the table.
    pub const fn new(service: &'static str, verb: &'static str) -> Self {
        Task { service: token(service), verb: token(verb), who: Who::NOBODY, kind: PhantomData }
    }

    said_by!();
    heard_by!();

    /// The subject that is asked on.
    pub fn subject(&self) -> String {
        format!("code.v1.rpc.{}.{}", self.service, self.verb)
    }

    pub(crate) fn control(&self) -> String {
        format!("code.v1.sig.task.control.{}-{}", self.service, self.verb)
    }
}

/// `code.v1.rpc.<service>.<verb>.<name>`: a call to one name. Several who answer the same name share its questions.
#[derive(Debug)]
pub struct Addressed<Request, Reply> {
    pub(crate) service: &'static str,
    pub(crate) endpoint: String,
    pub(crate) subject: String,
    pub(crate) who: Who,
    kind: PhantomData<fn(Request) -> Reply>,
}

impl<Request, Reply> Addressed<Request, Reply> {
    /// The subject that is asked on.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

/// `code.v1.job.<service>.<verb>[.<lane>]`: at least once, to one worker of the lane.
#[derive(Debug)]
pub struct Job<M> {
    pub(crate) service: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) who: Who,
    kind: PhantomData<fn(M)>,
}

impl<M> Job<M> {
    /// A line of the table.
    pub const fn new(service: &'static str, verb: &'static str) -> Self {
        Job { service: token(service), verb: token(verb), who: Who::NOBODY, kind: PhantomData }
    }

    said_by!();
    heard_by!();

    pub(crate) fn lane(&self, lane: Option<&str>) -> Lane {
        Lane { stream: JOBS, durable: self.durable(lane), filter: self.subject(lane) }
    }

    pub(crate) fn subject(&self, lane: Option<&str>) -> String {
        match lane {
            Some(lane) => format!("code.v1.job.{}.{}.{lane}", self.service, self.verb),
            None => format!("code.v1.job.{}.{}", self.service, self.verb),
        }
    }

    pub(crate) fn durable(&self, lane: Option<&str>) -> String {
        match lane {
            Some(lane) => format!("{}-{}-{lane}", self.service, self.verb),
            None => format!("{}-{}", self.service, self.verb),
        }
    }
}

/// `code.v1.ext.<noun>.<name>`: one answer before a deadline, by whoever serves the name.
#[derive(Debug)]
pub struct Door {
    noun: &'static str,
    pub(crate) who: Who,
}

impl Door {
    /// A line of the table.
    pub const fn new(noun: &'static str) -> Door {
        Door { noun: token(noun), who: Who::NOBODY }
    }

    said_by!();

    /// The subject that is asked on.
    pub fn subject(&self, name: &Token) -> String {
        format!("{}.{name}", self.prefix())
    }

    pub(crate) fn prefix(&self) -> String {
        format!("code.v1.ext.{}", self.noun)
    }
}

/// `code.v1.log.<noun>.<shard>.<id>`: an aggregate's journal.
#[derive(Debug)]
pub struct Log<E> {
    pub(crate) noun: &'static str,
    pub(crate) who: Who,
    kind: PhantomData<fn(E) -> E>,
}

impl<E> Log<E> {
    /// A line of the table.
    pub const fn new(noun: &'static str) -> Self {
        Log { noun: token(noun), who: Who::NOBODY, kind: PhantomData }
    }

    said_by!();
    heard_by!();
    read_by!();

    /// What its journals are of, such as `deployment`.
    pub const fn noun(&self) -> &'static str {
        self.noun
    }

    pub(crate) fn subject(&self, id: &str) -> String {
        format!("code.v1.log.{}.{}.{id}", self.noun, shard_of(id))
    }

    /// What stands behind the shard in a subject of this log.
    pub(crate) fn id_of<'a>(&self, subject: &'a str) -> &'a str {
        let behind = subject.strip_prefix("code.v1.log.").and_then(|rest| rest.strip_prefix(self.noun));
        let behind = behind.and_then(|rest| rest.strip_prefix('.')?.split_once('.'));
        behind.map_or(subject, |(_, id)| id)
    }

    pub(crate) fn filter(&self, shard: u32) -> String {
        format!("code.v1.log.{}.{shard}.>", self.noun)
    }

    pub(crate) fn stream(&self, shard: u32) -> String {
        log_stream(self.noun, shard)
    }
}

pub(crate) fn log_stream(noun: &str, shard: u32) -> String {
    format!("LOG_{}_{shard}", noun.replace('-', "_"))
}

/// `code.v1.evt.<noun>.<past-verb>.<id>`: stored, to all who care.
#[derive(Debug)]
pub struct Event<M> {
    pub(crate) noun: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) who: Who,
    kind: PhantomData<fn(M)>,
}

impl<M> Event<M> {
    /// A line of the table; `verb` is a past participle.
    pub const fn new(noun: &'static str, verb: &'static str) -> Self {
        Event { noun: token(noun), verb: token(verb), who: Who::NOBODY, kind: PhantomData }
    }

    said_by!();
    heard_by!();

    /// The consumer under whose name these hear.
    pub(crate) fn lane(&self, durable: &str) -> Lane {
        let durable = format!("{}-{}-{durable}", self.noun, self.verb);
        Lane { stream: EVENTS, durable, filter: self.subject("*") }
    }

    pub(crate) fn subject(&self, id: &str) -> String {
        format!("code.v1.evt.{}.{}.{id}", self.noun, self.verb)
    }
}

/// `code.v1.sig.<noun>.<verb>.<id>`: at most once, now or never.
#[derive(Debug)]
pub struct Signal<M> {
    pub(crate) noun: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) who: Who,
    kind: PhantomData<fn(M)>,
}

impl<M> Signal<M> {
    /// A line of the table.
    pub const fn new(noun: &'static str, verb: &'static str) -> Self {
        Signal { noun: token(noun), verb: token(verb), who: Who::NOBODY, kind: PhantomData }
    }

    said_by!();
    heard_by!();

    pub(crate) fn subject(&self, id: &str) -> String {
        format!("code.v1.sig.{}.{}.{id}", self.noun, self.verb)
    }
}

/// `code.v1.trail.<noun>.<source>`: a fact for the audit log; stored, never deleted by anyone, at least once.
#[derive(Debug)]
pub struct Trail<M> {
    pub(crate) noun: &'static str,
    pub(crate) who: Who,
    kind: PhantomData<fn(M)>,
}

impl<M> Trail<M> {
    /// A line of the table.
    pub const fn new(noun: &'static str) -> Self {
        Trail { noun: token(noun), who: Who::NOBODY, kind: PhantomData }
    }

    said_by!();

    pub(crate) fn subject(&self, source: &str) -> String {
        format!("code.v1.trail.{}.{source}", self.noun)
    }
}

/// A bucket of keys and values, written by compare-and-set. A key is one or more tokens joined by points.
#[derive(Debug)]
pub struct Bucket<V> {
    pub(crate) name: &'static str,
    pub(crate) who: Who,
    kind: PhantomData<fn(V) -> V>,
}

impl<V> Bucket<V> {
    /// A line of the table.
    pub const fn new(name: &'static str) -> Self {
        Bucket { name: token(name), who: Who::NOBODY, kind: PhantomData }
    }

    said_by!();
    heard_by!();
    read_by!();
}

/// Bytes that are known by their digest, in a NATS object store.
#[derive(Debug)]
pub struct Evidence {
    pub(crate) name: &'static str,
    pub(crate) who: Who,
}

impl Evidence {
    /// A line of the table.
    pub const fn new(name: &'static str) -> Evidence {
        Evidence { name: token(name), who: Who::NOBODY }
    }

    said_by!();
    read_by!();

    pub(crate) fn stream(&self) -> String {
        format!("OBJ_{}", self.name)
    }
}

/// `code.v1.in.<publisher>.<noun>.<verb>`: what the world asks for by CloudEvents. The broker lets a publisher speak under
/// its own name only.
#[derive(Debug)]
pub struct Inbox {
    pub(crate) noun: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) who: Who,
}

impl fmt::Display for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.noun, self.verb)
    }
}

impl Inbox {
    /// Those who answer share the questions.
    pub(crate) const QUEUE: &'static str = "inbox";

    /// A line of the table.
    pub const fn new(noun: &'static str, verb: &'static str) -> Inbox {
        Inbox { noun: token(noun), verb: token(verb), who: Who::NOBODY }
    }

    heard_by!();

    /// Where this publisher says it.
    pub fn subject(&self, publisher: &Token) -> String {
        format!("code.v1.in.{publisher}.{}.{}", self.noun, self.verb)
    }

    pub(crate) fn filter(&self) -> String {
        format!("code.v1.in.*.{}.{}", self.noun, self.verb)
    }

    pub(crate) fn lane(&self) -> Lane {
        Lane { stream: INBOX, durable: format!("{}-{}", self.noun, self.verb), filter: self.filter() }
    }

    /// Who says it, by the subject, which the broker has checked.
    pub(crate) fn publisher(subject: &str) -> Option<Token> {
        subject.strip_prefix("code.v1.in.")?.split('.').next()?.parse().ok()
    }
}

pub(crate) fn bucket_stream(name: &str) -> String {
    format!("KV_{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_of_an_id_never_changes() {
        let shards = ["a", "b", "dep-1", "prod--docker--shop", "foobar"].map(shard_of);

        assert_eq!(shards, [2, 2, 3, 3, 1]);
    }

    #[test]
    fn ids_spread_over_all_shards() {
        let mut counts = [0; SHARDS as usize];
        for number in 0..4000 {
            counts[shard_of(&format!("dep-{number}")) as usize] += 1;
        }

        assert!(counts.iter().all(|count| *count > 800), "{counts:?}");
    }

    #[test]
    fn subjects_are_spelled_by_their_kind() {
        assert_eq!(
            Call::<(), ()>::new("orchestrator", "submit").subject(),
            "code.v1.rpc.orchestrator.submit"
        );
        assert_eq!(
            Job::<()>::new("agents", "step").subject(Some("deployer")),
            "code.v1.job.agents.step.deployer"
        );
        assert_eq!(Job::<()>::new("orchestrator", "report").subject(None), "code.v1.job.orchestrator.report");
        assert_eq!(
            Event::<()>::new("deployment", "closed").subject("dep-1"),
            "code.v1.evt.deployment.closed.dep-1"
        );
        assert_eq!(Signal::<()>::new("step", "stop").subject("dep-1"), "code.v1.sig.step.stop.dep-1");
    }
}
