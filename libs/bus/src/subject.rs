//! The kinds of lines in the table of speech, and how each spells its subject.

use std::marker::PhantomData;

use model::Token;

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

/// `code.v1.rpc.<service>.<verb>`: one answer or a fault before a deadline.
#[derive(Debug)]
pub struct Call<Request, Reply> {
    pub(crate) service: &'static str,
    pub(crate) verb: &'static str,
    kind: PhantomData<fn(Request) -> Reply>,
}

impl<Request, Reply> Call<Request, Reply> {
    /// A line of the table.
    pub const fn new(service: &'static str, verb: &'static str) -> Self {
        Call { service: token(service), verb: token(verb), kind: PhantomData }
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
        Ok(Addressed { service: self.service, endpoint, subject, kind: PhantomData })
    }
}

/// `code.v1.rpc.<service>.<verb>.<name>`: a call to one name. Several who answer the same name share its questions.
#[derive(Debug)]
pub struct Addressed<Request, Reply> {
    pub(crate) service: &'static str,
    pub(crate) endpoint: String,
    pub(crate) subject: String,
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
    kind: PhantomData<fn(M)>,
}

impl<M> Job<M> {
    /// A line of the table.
    pub const fn new(service: &'static str, verb: &'static str) -> Self {
        Job { service: token(service), verb: token(verb), kind: PhantomData }
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

/// `code.v1.log.<noun>.<shard>.<id>`: an aggregate's journal.
#[derive(Debug)]
pub struct Log<E> {
    pub(crate) noun: &'static str,
    kind: PhantomData<fn(E) -> E>,
}

impl<E> Log<E> {
    /// A line of the table.
    pub const fn new(noun: &'static str) -> Self {
        Log { noun: token(noun), kind: PhantomData }
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
    kind: PhantomData<fn(M)>,
}

impl<M> Event<M> {
    /// A line of the table; `verb` is a past participle.
    pub const fn new(noun: &'static str, verb: &'static str) -> Self {
        Event { noun: token(noun), verb: token(verb), kind: PhantomData }
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
    kind: PhantomData<fn(M)>,
}

impl<M> Signal<M> {
    /// A line of the table.
    pub const fn new(noun: &'static str, verb: &'static str) -> Self {
        Signal { noun: token(noun), verb: token(verb), kind: PhantomData }
    }

    pub(crate) fn subject(&self, id: &str) -> String {
        format!("code.v1.sig.{}.{}.{id}", self.noun, self.verb)
    }
}

/// `code.v1.trail.<noun>.<source>`: a fact for the audit log; stored, never deleted by anyone, at least once.
#[derive(Debug)]
pub struct Trail<M> {
    pub(crate) noun: &'static str,
    kind: PhantomData<fn(M)>,
}

impl<M> Trail<M> {
    /// A line of the table.
    pub const fn new(noun: &'static str) -> Self {
        Trail { noun: token(noun), kind: PhantomData }
    }

    pub(crate) fn subject(&self, source: &str) -> String {
        format!("code.v1.trail.{}.{source}", self.noun)
    }
}

/// A bucket of keys and values, written by compare-and-set. A key is one or more tokens joined by points.
#[derive(Debug)]
pub struct Bucket<V> {
    pub(crate) name: &'static str,
    kind: PhantomData<fn(V) -> V>,
}

impl<V> Bucket<V> {
    /// A line of the table.
    pub const fn new(name: &'static str) -> Self {
        Bucket { name: token(name), kind: PhantomData }
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
