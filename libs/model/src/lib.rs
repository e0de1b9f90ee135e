//! The nouns of CODE: typed ids, the deployment spec, plans, steps, events, verdicts, faults and limits.
//!
//! Everything else stands on this crate. It holds plain values and the rules that make them valid; it never
//! does I/O, never reads a clock and never knows how a value travels (that is `wire`) or is decided
//! (that is a service's heart).

#![warn(missing_docs)]

pub mod approval;
pub mod asked;
pub mod audit;
pub mod certificate;
pub mod command;
pub mod deployment;
pub mod digest;
pub mod evidence;
pub mod expert;
pub mod fault;
mod fence;
pub mod id;
pub mod journal;
pub mod limits;
mod number;
pub mod placeholder;
pub mod plan;
pub mod principal;
pub mod route;
pub mod spec;
pub mod step;
pub mod target;
pub mod time;
pub mod view;

pub use deployment::{Event, Phase, Record, Verdict};
pub use digest::Digest;
pub use evidence::{Finding, GateResult, Outcome, Severity};
pub use fault::{Code, Fault};
pub use fence::Fence;
pub use id::{DeploymentId, ReplicaId, TargetId, Token};
pub use number::number;
pub use plan::Plan;
pub use principal::Principal;
pub use spec::DeploymentSpec;
pub use step::{Step, StepId, StepKind};
pub use time::{At, Span, Timestamp};
