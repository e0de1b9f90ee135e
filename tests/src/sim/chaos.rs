//! Which faults happen, and which of our own safety is left out.

use std::{fmt, str::FromStr};

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

/// A piece of safety that is left out of the shell around the heart, to see that the harness notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Records are appended whatever was appended before.
    SkipCas,
    /// Neither runner nor platform compares fences.
    SkipFence,
    /// Only writes that change something raise the fence, not the beginning of a step.
    LazyFence,
    /// A runner says that it is done, and acknowledges, before it begins.
    AckBeforeEffect,
    /// After a lost race the old decision is appended behind the new record.
    StaleCache,
    /// Jobs are sent before the record that schedules them is durable.
    SendBeforeJournal,
    /// Traffic is moved without asking whether anyone healthy is there.
    BlindTraffic,
    /// A replica that lags behind the journal acknowledges a report that it does not understand yet.
    LaggingReport,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 8] = [
        Planted::SkipCas,
        Planted::SkipFence,
        Planted::LazyFence,
        Planted::AckBeforeEffect,
        Planted::StaleCache,
        Planted::SendBeforeJournal,
        Planted::BlindTraffic,
        Planted::LaggingReport,
    ];

    /// The name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Planted::SkipCas => "skip-cas",
            Planted::SkipFence => "skip-fence",
            Planted::LazyFence => "lazy-fence",
            Planted::AckBeforeEffect => "ack-before-effect",
            Planted::StaleCache => "stale-cache",
            Planted::SendBeforeJournal => "send-before-journal",
            Planted::BlindTraffic => "blind-traffic",
            Planted::LaggingReport => "lagging-report",
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
