//! Which faults happen, and which of our own safety is left out.

use std::{fmt, str::FromStr};

use agents::runner::machine;
use orchestrator::heart::replica;

use super::random::Random;

/// Faults. Shares are of 100 000 opportunities.
#[derive(Clone, Debug, Default)]
pub struct Chaos {
    /// A process dies at a point between two durable things.
    pub crash: u32,
    /// At most so many die by chance.
    pub crashes: u32,
    /// A process is stopped for 1 to 60 s and goes on with what it knew.
    pub pause: u32,
    /// At most so many.
    pub pauses: u32,
    /// A message comes twice, the second up to two minutes later.
    pub duplicate: u32,
    /// A message or record takes up to 5 s.
    pub slow: u32,
    /// A signal is lost.
    pub loss: u32,
    /// An append's outcome stays unknown: it happened, did not, or happens later.
    pub unknown: u32,
    /// A platform write errs.
    pub trouble: u32,
    /// Times a replica's clock jumps by up to an hour, either way.
    pub jumps: u32,
    /// Times a replica believes a living owner to be gone.
    pub false_claims: u32,
    /// Processes that die at exact records.
    pub kills: Vec<Kill>,
    /// What is left out of our own safety.
    pub planted: Option<Planted>,
    /// Write down what happens.
    pub log: bool,
}

/// One process dies right after one record became durable.
#[derive(Clone, Debug)]
pub struct Kill {
    /// Which record of all, from 1.
    pub record: usize,
    /// Who.
    pub victim: Victim,
    /// Begins again after so many milliseconds; none: never.
    pub back: Option<i64>,
}

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The orchestrator that wrote the record, before it folds it or acts on it.
    Writer,
    /// The runner that has something to do; the first one when none has.
    Runner,
}

impl Chaos {
    /// Nothing goes wrong.
    pub fn none() -> Chaos {
        Chaos::default()
    }

    /// A mixture that the seed draws; clock jumps are drawn only for `patient` stories, whose deadlines outlast them.
    pub fn drawn(seed: u64, patient: bool) -> Chaos {
        let mut random = Random::new(seed ^ 0x00c0_ffee);
        let mut share = |most: i64| if random.chance(60_000) { random.between(0, most) as u32 } else { 0 };
        Chaos {
            crash: share(1_500),
            crashes: 4,
            pause: share(1_000),
            pauses: 4,
            duplicate: share(30_000),
            slow: share(20_000),
            loss: share(50_000),
            unknown: share(10_000),
            trouble: share(2_000),
            jumps: if patient { share(4) } else { 0 },
            false_claims: share(4),
            kills: Vec::new(),
            planted: None,
            log: false,
        }
    }

    /// Everything often: for finding planted bugs.
    pub fn wild() -> Chaos {
        Chaos {
            crash: 1_500,
            crashes: 6,
            pause: 2_500,
            pauses: 8,
            duplicate: 40_000,
            slow: 30_000,
            loss: 30_000,
            unknown: 10_000,
            trouble: 0,
            jumps: 0,
            false_claims: 6,
            kills: Vec::new(),
            planted: None,
            log: false,
        }
    }
}

/// A piece of safety that is left out of the product, to see that the harness notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Of the orchestrator.
    Replica(replica::Bug),
    /// Of the runner of agents.
    Runner(machine::Bug),
}

impl Planted {
    /// All that the harness is known to notice.
    pub const ALL: [Planted; 13] = [
        Planted::Replica(replica::Bug::StaleAppend),
        Planted::Replica(replica::Bug::SendBeforeJournal),
        Planted::Replica(replica::Bug::GiveUp),
        Planted::Replica(replica::Bug::ForgetInherited),
        Planted::Replica(replica::Bug::LeaveEarly),
        Planted::Replica(replica::Bug::Unjournalled),
        Planted::Replica(replica::Bug::TrustSilence),
        Planted::Replica(replica::Bug::ForgetHeld),
        Planted::Runner(machine::Bug::LazyFence),
        Planted::Runner(machine::Bug::AnswerBeforeEffect),
        Planted::Runner(machine::Bug::RunTwice),
        Planted::Runner(machine::Bug::ForgetAttempt),
        Planted::Runner(machine::Bug::TrustBegun),
    ];

    /// The name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Planted::Replica(bug) => match bug {
                replica::Bug::StaleAppend => "stale-append",
                replica::Bug::SendBeforeJournal => "send-before-journal",
                replica::Bug::BlindTarget => "blind-target",
                replica::Bug::GiveUp => "give-up",
                replica::Bug::ForgetInherited => "forget-inherited",
                replica::Bug::LeaveEarly => "leave-early",
                replica::Bug::Unjournalled => "unjournalled",
                replica::Bug::TrustSilence => "trust-silence",
                replica::Bug::ForgetHeld => "forget-held",
            },
            Planted::Runner(bug) => match bug {
                machine::Bug::LazyFence => "lazy-fence",
                machine::Bug::AnswerBeforeEffect => "answer-before-effect",
                machine::Bug::RunTwice => "run-twice",
                machine::Bug::ForgetAttempt => "forget-attempt",
                machine::Bug::StopTooMuch => "stop-too-much",
                machine::Bug::TrustBegun => "trust-begun",
            },
        }
    }
}

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Planted {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let names = Planted::ALL.map(Planted::as_str).join(", ");
        Planted::ALL
            .into_iter()
            .find(|planted| planted.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a planted bug: expected {names} or all"))
    }
}
