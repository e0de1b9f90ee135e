//! The pure heart: what a deployment does next, given its journal, its target's journal and the time.
//!
//! Values in, values out. No I/O, no clock, no randomness, no `async`. [`replica`] is all that a replica does with one
//! deployment; the shell in [`crate::hub`] and the simulation in `tests/` only do what it says and tell it what came of
//! it.
//!
//! - [`compile`] turns a spec and what runs now into a plan.
//! - [`state`] folds events into a deployment.
//! - [`decide`] says which events follow.
//! - [`effects`] says what should be under way outside.
//! - [`replica`] brings both together with messages, time and what is asked for outside.
//! - [`target`] is the other aggregate: lock, queue, snapshot, quarantine.
//! - [`admit`] begins a deployment; [`preview`] shows what would become of one.
//! - [`view`] and [`explain`] show it to people; [`asked`] is what it asks for at this moment.

pub mod admit;
pub mod asked;
pub mod compile;
pub mod decide;
pub mod diff;
pub mod effects;
pub mod explain;
pub mod preview;
pub mod replica;
pub mod state;
pub mod target;
pub mod view;
pub mod way_back;

use std::time::Duration;

use approval::Rulebook;
use model::{ReplicaId, Timestamp, spec::GateMode};

/// What a decision may look at beside the deployment itself.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Now, as the caller's clock has it.
    pub now: Timestamp,
    /// Who asks.
    pub me: &'a ReplicaId,
    /// The target, as far as its journal was folded.
    pub target: &'a target::Target,
    /// What the operator of the engine wants of every deployment.
    pub policy: Policy,
    /// What the operator wants of approvals; none: whoever says a name approves, unauthenticated.
    pub approvals: Option<&'a Rulebook>,
}

/// What the operator of the engine wants of every deployment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// The mildest gate for experts; a spec can only be stricter.
    pub experts: GateMode,
    /// How long experts may take.
    pub advice: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { experts: GateMode::Off, advice: Duration::from_secs(60) }
    }
}

#[cfg(test)]
mod tests;
