//! What each line of the table lets each user say and hear, in the broker's own words.
//!
//! The lists are written after the broker's rules: an empty list would allow everything, so none is ever empty; answers go
//! to the inboxes of those who ask and nowhere else, so nobody has a right to answer wherever a question points to.

use std::collections::BTreeSet;

use crate::{
    Role,
    subject::{
        Bucket, Call, DEAD, Door, EVENTS, Event, Evidence, INBOX, Inbox, JOBS, Job, Lane, Log, Reach, SHARDS,
        Signal, Task, Trail, Who, bucket_stream,
    },
};

/// What a user may publish and what it may subscribe to, as subjects of the broker. A subject of a subscription may be
/// followed by a blank and the name of a queue: then it may be heard in that queue only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// What it may publish.
    pub publish: BTreeSet<String>,
    /// What it may subscribe to.
    pub subscribe: BTreeSet<String>,
}

/// Where the broker tells a user what it may do.
pub(crate) const USER_INFO: &str = "$SYS.REQ.USER.INFO";

impl Rights {
    /// What everybody may who is somebody: hear its own inbox and speak into it (the broker is waited for by a message to
    /// oneself), and ask what it may do.
    pub(crate) fn of_anybody(user: &str) -> Rights {
        let mut rights = Rights::default();
        rights.may_hear(format!("_INBOX.{user}.>"));
        rights.may_say(format!("_INBOX.{user}.>"));
        rights.may_say(USER_INFO);
        rights
    }

    /// Everything: for a test's own connection, never for a part of the engine.
    pub fn unbounded() -> Rights {
        let mut rights = Rights::default();
        rights.may_say(">");
        rights.may_hear(">");
        rights
    }

    pub(crate) fn may_say(&mut self, subject: impl Into<String>) {
        self.publish.insert(subject.into());
    }

    pub(crate) fn may_hear(&mut self, subject: impl Into<String>) {
        self.subscribe.insert(subject.into());
    }

    fn may_ask_broker(&mut self, what: &str) {
        self.may_say(format!("$JS.API.{what}"));
    }

    /// The configuration of a stream and how far it goes.
    pub(crate) fn may_inspect(&mut self, stream: &str) {
        self.may_ask_broker(&format!("STREAM.INFO.{stream}"));
    }

    /// Any message of a stream, from its leader.
    pub(crate) fn may_read(&mut self, stream: &str) {
        self.may_inspect(stream);
        self.may_ask_broker(&format!("STREAM.MSG.GET.{stream}"));
    }

    /// A stream as it grows, by consumers that it makes for itself; without a filter all of it.
    pub(crate) fn may_follow(&mut self, stream: &str, filter: Option<&str>) {
        self.may_inspect(stream);
        match filter {
            Some(filter) => self.may_ask_broker(&format!("CONSUMER.CREATE.{stream}.*.{filter}")),
            None => self.may_ask_broker(&format!("CONSUMER.CREATE.{stream}.*")),
        }
        // Asked when the broker was away for a while: whether the consumer is still there.
        self.may_ask_broker(&format!("CONSUMER.INFO.{stream}.*"));
        self.may_ask_broker(&format!("CONSUMER.MSG.NEXT.{stream}.*"));
    }

    /// The messages of a consumer that the provisioner has made. Acknowledgements have two forms, of which the broker
    /// chooses.
    fn may_work(&mut self, lane: &Lane) {
        let Lane { stream, durable, .. } = lane;
        self.may_inspect(stream);
        self.may_ask_broker(&format!("CONSUMER.INFO.{stream}.{durable}"));
        self.may_ask_broker(&format!("CONSUMER.MSG.NEXT.{stream}.{durable}"));
        self.may_say(format!("$JS.ACK.{stream}.{durable}.>"));
        self.may_say(format!("$JS.ACK.*.*.{stream}.{durable}.>"));
        self.may_inspect(DEAD);
        self.may_say(format!("code.v1.dead.{}", lane.filter.trim_start_matches("code.v1.")));
    }

    /// Answers into the inbox of whoever asks.
    fn may_answer(&mut self) {
        self.may_say("_INBOX.>");
    }

    fn may_answer_as(&mut self, service: &str) {
        self.may_answer();
        for of in ["$SRV.*".to_owned(), format!("$SRV.*.{service}"), format!("$SRV.*.{service}.*")] {
            self.may_hear(of);
        }
    }
}

/// A line of the table, to be asked who may do what.
pub(crate) trait Line: Sync {
    /// Who is named on it.
    fn who(&self) -> &Who;
    /// What whoever says it needs.
    fn say(&self, rights: &mut Rights);
    /// What whoever hears it needs; `role` is who.
    fn hear(&self, role: Role, rights: &mut Rights);
    /// What whoever only reads it needs.
    fn read(&self, _: &mut Rights) {}
    /// The consumers that must be there for it.
    fn lanes(&self) -> Vec<Lane> {
        Vec::new()
    }

    /// Adds what a role needs for this line.
    fn give(&self, role: Role, rights: &mut Rights) {
        let who = self.who();
        if who.says.contains(&role) {
            self.say(rights);
        }
        if who.hears.contains(&role) {
            self.hear(role, rights);
        }
        if who.reads.contains(&role) {
            self.read(rights);
        }
    }
}

impl<Req, Rep> Line for Call<Req, Rep> {
    fn who(&self) -> &Who {
        &self.who
    }

    fn say(&self, rights: &mut Rights) {
        match self.reach {
            Reach::Any | Reach::All => rights.may_say(self.subject()),
            Reach::Named => rights.may_say(format!("{}.*", self.subject())),
        }
    }

    fn hear(&self, _: Role, rights: &mut Rights) {
        rights.may_answer_as(self.service);
        match self.reach {
            Reach::Any => rights.may_hear(format!("{} q", self.subject())),
            Reach::Named => rights.may_hear(format!("{}.* q", self.subject())),
            Reach::All => rights.may_hear(self.subject()),
        }
    }
}

impl<Req, Progress, Rep> Line for Task<Req, Progress, Rep> {
    fn who(&self) -> &Who {
        &self.who
    }

    fn say(&self, rights: &mut Rights) {
        rights.may_say(self.subject());
        rights.may_say(self.control());
    }

    fn hear(&self, _: Role, rights: &mut Rights) {
        rights.may_answer_as(self.service);
        rights.may_hear(format!("{} q", self.subject()));
        rights.may_hear(self.control());
    }
}

impl<M> Line for Job<M> {
    fn who(&self) -> &Who {
        &self.who
    }

    fn say(&self, rights: &mut Rights) {
        rights.may_inspect(JOBS);
        rights.may_say(self.subject(None));
    }

    fn hear(&self, _: Role, rights: &mut Rights) {
        rights.may_work(&self.lane(None));
    }

    fn lanes(&self) -> Vec<Lane> {
        if self.who.hears.is_empty() { Vec::new() } else { vec![self.lane(None)] }
    }
}

impl<M> Line for Event<M> {
    fn who(&self) -> &Who {
        &self.who
    }

    fn say(&self, rights: &mut Rights) {
        rights.may_inspect(EVENTS);
        rights.may_say(self.subject("*"));
    }

    fn hear(&self, role: Role, rights: &mut Rights) {
        if let Some(service) = role.service() {
            rights.may_work(&self.lane(service));
        }
    }

    fn lanes(&self) -> Vec<Lane> {
        self.who.hears.iter().filter_map(|role| role.service()).map(|service| self.lane(service)).collect()
    }
}

impl<M> Line for Signal<M> {
    fn who(&self) -> &Who {
        &self.who
    }

    fn say(&self, rights: &mut Rights) {
        rights.may_say(self.subject("*"));
    }

    fn hear(&self, _: Role, rights: &mut Rights) {
        rights.may_hear(self.subject("*"));
    }
}

impl<M> Line for Trail<M> {
    fn who(&self) -> &Who {
        &self.who
    }

    fn say(&self, rights: &mut Rights) {
        rights.may_say(self.subject("*"));
    }

    /// Heard with everything else that is stored.
    fn hear(&self, _: Role, _: &mut Rights) {}
}

impl<E> Line for Log<E> {
    fn who(&self) -> &Who {
        &self.who
    }

    fn say(&self, rights: &mut Rights) {
        self.read(rights);
        for shard in 0..SHARDS {
            rights.may_say(format!("code.v1.log.{}.{shard}.*", self.noun));
        }
    }

    fn hear(&self, _: Role, rights: &mut Rights) {
        self.read(rights);
        for shard in 0..SHARDS {
            rights.may_follow(&self.stream(shard), Some(&self.filter(shard)));
        }
    }

    fn read(&self, rights: &mut Rights) {
        (0..SHARDS).for_each(|shard| rights.may_read(&self.stream(shard)));
    }
}

impl<V> Line for Bucket<V> {
    fn who(&self) -> &Who {
        &self.who
    }

    fn say(&self, rights: &mut Rights) {
        self.read(rights);
        rights.may_say(format!("$KV.{}.>", self.name));
    }

    fn hear(&self, _: Role, rights: &mut Rights) {
        self.read(rights);
        rights.may_follow(&bucket_stream(self.name), Some(&format!("$KV.{}.>", self.name)));
    }

    fn read(&self, rights: &mut Rights) {
        rights.may_read(&bucket_stream(self.name));
    }
}

impl Line for Evidence {
    fn who(&self) -> &Who {
        &self.who
    }

    /// Names are digests, so nothing is ever replaced and nobody may take anything away.
    fn say(&self, rights: &mut Rights) {
        self.read(rights);
        let (stream, name) = (self.stream(), self.name);
        rights.may_ask_broker(&format!("DIRECT.GET.{stream}.$O.{name}.M.*"));
        rights.may_say(format!("$O.{name}.C.*"));
        rights.may_say(format!("$O.{name}.M.*"));
    }

    fn hear(&self, _: Role, _: &mut Rights) {}

    fn read(&self, rights: &mut Rights) {
        rights.may_read(&self.stream());
    }
}

impl Line for Door {
    fn who(&self) -> &Who {
        &self.who
    }

    fn say(&self, rights: &mut Rights) {
        rights.may_say(format!("{}.*", self.prefix()));
    }

    /// Who stands behind a door is no part of the engine, and has an account of its own.
    fn hear(&self, _: Role, _: &mut Rights) {}
}

impl Line for Inbox {
    fn who(&self) -> &Who {
        &self.who
    }

    /// Who publishes is no part of the engine, and has an account of its own.
    fn say(&self, _: &mut Rights) {}

    fn hear(&self, _: Role, rights: &mut Rights) {
        rights.may_hear(format!("{} {}", self.filter(), Inbox::QUEUE));
        rights.may_work(&self.lane());
        rights.may_inspect(INBOX);
        // What is refused for a secret in plain text is overwritten.
        rights.may_ask_broker(&format!("STREAM.MSG.DELETE.{INBOX}"));
        rights.may_answer();
        // Where answers into another account go.
        rights.may_say("_R_.>");
    }

    fn lanes(&self) -> Vec<Lane> {
        vec![self.lane()]
    }
}
