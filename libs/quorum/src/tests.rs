//! The whole of it, with planted bugs that must be found.

mod cluster;
mod disk;
mod faults;
mod history;
mod kv;
mod life;
mod net;
mod power;
mod suite;
mod tls;
mod volume;

/// A piece of safety that is left out, to see that it is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Entries and votes are acknowledged before they are flushed.
    AcknowledgeBeforeFlush,
    /// A vote is given and not put down.
    VoteNotSaved,
    /// A snapshot holds the state, but not which retries it has seen.
    MemoNotInSnapshot,
}

/// The seeds of a test: as many as given, or as asked for: `QUORUM_SEEDS=500`, `QUORUM_SEED=7`.
pub(crate) fn seeds(many: u64) -> Vec<u64> {
    let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (asked("QUORUM_SEED"), asked("QUORUM_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, many_more) => (0..many_more.unwrap_or(many)).collect(),
    }
}
