//! One whole engine in one thread, in virtual time and with every fault a seed can draw: the machines that the product
//! runs, of the orchestrator's replicas and of the runners of agents, on journals, a bus, a platform and traffic that are
//! simulated.
//!
//! - [`scenario`] tells what is deployed and how it must end.
//! - [`chaos`] says which faults happen and which of our own safety is left out.
//! - `kernel` moves time; `orchestrator`, `runner` and `people` are the parts.
//! - `invariants` holds one promise per file.
//! - [`matrix`] runs it by the hundred.

pub mod chaos;
mod invariants;
pub mod journal;
mod kernel;
pub mod matrix;
mod orchestrator;
mod people;
pub mod random;
mod runner;
pub mod scenario;
pub mod world;

use std::fmt;

use model::Verdict;

pub use chaos::{Chaos, Kill, Planted, Victim};
pub use kernel::Simulation;
pub use scenario::Scenario;

/// What kind of promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// Something is not as it must be.
    Wrong,
    /// A deployment does not end.
    Stuck,
    /// Something was done twice.
    Duplicate,
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which promise: the name of the file in `invariants/`.
    pub rule: &'static str,
    /// What kind.
    pub harm: Harm,
    /// Virtual milliseconds since the beginning.
    pub at: i64,
    /// What was seen.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} s  {}: {}", self.at as f64 / 1000.0, self.rule, self.text)
    }
}

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Run {
    /// How each release ended; none when it did not.
    pub verdicts: Vec<Option<Verdict>>,
    /// Broken promises, at most a few of each.
    pub violations: Vec<Violation>,
    /// A hash over everything that happened, in order.
    pub trace: u64,
    /// Records journalled, of deployments and targets.
    pub records: usize,
    /// Writes to the platform and the routes that took effect.
    pub effects: usize,
    /// Faults that happened.
    pub faults: usize,
    /// Virtual time it took, in milliseconds.
    pub took: i64,
    /// What happened, when it was asked for.
    pub log: Vec<String>,
}

impl Run {
    /// No promise was broken.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// The worst that happened.
    pub fn harm(&self) -> Option<Harm> {
        self.violations.iter().map(|violation| violation.harm).max()
    }
}

/// Runs one story with these faults. The same arguments give the same run.
pub fn run(scenario: &Scenario, seed: u64, chaos: &Chaos) -> Run {
    Simulation::new(scenario.clone(), seed, chaos.clone()).run()
}
