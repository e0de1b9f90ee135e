//! What goes into a replica and what comes out of it.

use std::{sync::Arc, time::Duration};

use approval::Rulebook;
use model::{
    DeploymentId, Fault, Principal, Record, ReplicaId, StepId, Timestamp,
    command::Command,
    deployment::{StepAnswer, StepJob, StepQuestion},
    expert::AdviceReport,
    view::{DeploymentView, Summary},
};

use crate::heart::{Policy, effects::Effect, target::Target};

/// What holds for every deployment of a replica.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who we are.
    pub me: ReplicaId,
    /// What the operator wants of every deployment.
    pub policy: Policy,
    /// What the operator wants of approvals, until [`Input::Approvals`] says otherwise.
    pub approvals: Option<Arc<Rulebook>>,
    /// How soon experts are asked again.
    pub resend: Duration,
}

/// When something happens.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// What the clock shows; it may jump.
    pub wall: Timestamp,
    /// Time that only passes, since a point of the replica's own.
    pub mono: Duration,
    /// The replica hands over what it owns and takes nothing new.
    pub draining: bool,
}

/// What someone wants; answered by [`Output::Answer`] under the same ticket.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Experts advise; answered when it is journalled or found not to matter.
    Advice(Box<AdviceReport>),
    /// A person commands; answered when it is journalled or refused.
    Command(Box<Command>, Principal),
    /// The engine tells it to make way for this one; answered when it is journalled or refused. No message of the bus
    /// can ask for it.
    MakeWay(DeploymentId),
    /// Someone wants to see it.
    Show,
    /// This owner is silent: claim it, if it still is the owner.
    Claim(ReplicaId),
    /// Let go of it.
    Release,
}

/// What an asker gets.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Something was journalled, as this version; none when there was nothing to write.
    Written(Option<u64>),
    /// How it stands.
    View(Box<DeploymentView>),
}

/// Why a record is not known to be durable.
#[derive(Clone, Debug)]
pub enum NotAppended {
    /// Another writer was first.
    Raced,
    /// It may have been written or not.
    Unknown(Fault),
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A runner answered.
    Answer(StepAnswer),
    /// It was refused: no room, leaving, or nothing may begin now.
    Refused,
    /// Nobody is there to be asked.
    Nobody,
    /// No answer came in time: what became of the question is unknown.
    Silence,
}

/// What happens to a deployment.
#[derive(Clone, Debug)]
pub enum Input {
    /// A record came by.
    Record(Box<Record>, u64),
    /// The target changed, as far as it was followed.
    Target(Arc<Target>),
    /// What the operator wants of approvals changed.
    Approvals(Option<Arc<Rulebook>>),
    /// Someone asks, under a ticket.
    Asked(u64, Ask),
    /// What came of [`Output::Append`].
    Appended(Result<u64, NotAppended>),
    /// What came of [`Output::Load`].
    Loaded(Result<Vec<(Record, u64)>, Fault>),
    /// What came of [`Output::Look`].
    Looked(Result<Arc<Target>, Fault>),
    /// What came of [`Output::Call`].
    Heard {
        /// About which step.
        step: StepId,
        /// The call's number.
        call: u64,
        /// What was said.
        said: Said,
    },
    /// [`Output::Effect`] was carried out, or failed.
    Done(String, bool),
    /// [`Output::Say`] was said, or was not.
    Told(bool),
    /// Time passed, or the task began.
    Woke,
}

/// What is to be done. Of `Append`, `Load` and `Look` one is under way at a time.
#[derive(Clone, Debug)]
pub enum Output {
    /// Make this durable on top of the record at this sequence.
    Append(Box<Record>, u64),
    /// Read what the journal holds beyond this sequence.
    Load(u64),
    /// Read the target as its journal has it now.
    Look,
    /// Ask about a step.
    Call {
        /// Which step.
        step: StepId,
        /// The call's number.
        call: u64,
        /// Whom, and what.
        what: Question,
        /// An answer is waited for so long.
        patience: Duration,
    },
    /// Carry this out; the key comes back in [`Input::Done`].
    Effect {
        /// Names it.
        key: String,
        /// What.
        effect: Effect,
        /// How often it was done before.
        times: u32,
    },
    /// Tell the world where the deployment is, as of this version.
    Say(Box<Summary>, u64),
    /// Answer who asked.
    Answer(u64, Result<Reply, Fault>),
}

/// A question about a step.
#[derive(Clone, Debug)]
pub enum Question {
    /// To the lane of its agent: who takes it?
    Offer(Box<StepJob>),
    /// To all runners: who has it?
    Find(StepQuestion),
    /// To the runner of this name: how does it go?
    State(String, StepQuestion),
}

/// A piece of our own safety that is left out, so that the simulation shows that it would notice. Nothing but the
/// simulation makes one: `tests/it/house.rs` sees to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// After a lost race the old decision goes behind the new record.
    StaleAppend,
    /// Steps are handed over before the record that schedules them is durable.
    SendBeforeJournal,
    /// Plans are made, and ends found, from the target as it was heard so far.
    BlindTarget,
    /// A step is handed over three times and then no more.
    GiveUp,
    /// What an earlier owner scheduled is not looked for.
    ForgetInherited,
    /// The lock is given back before the verdict is durable.
    LeaveEarly,
    /// Results are folded without being journalled.
    Unjournalled,
    /// A runner that is silent is taken for one that has succeeded.
    TrustSilence,
    /// Who turns back once all traffic has moved only takes away what is new.
    ForgetHeld,
}
