//! Turns the experts' answers on a question into one opinion, and says what it is worth.
//!
//! Pure arithmetic on values: it must never ask a model, reach the network, read a clock or draw chance, and never
//! derive a verdict from prose. The only I/O is where it is named: [`batch::read`] reads two files of votes, [`pool`]
//! asks the system for its processors. Experts err together: no posterior here multiplies independent likelihoods.
//!
//! - [`parse()`]: bytes from a model into an answer in the closed schema, or no answer.
//! - [`weigh()`]: ballots into an opinion; [`Panel::tally`]: votes only, some hundred nanoseconds.
//! - [`can_missing_change`]: whether waiting is worth it.
//! - [`Records`]: what experts were worth so far, learnt from outcomes.

#![warn(missing_docs)]

pub mod batch;
pub mod cluster;
pub mod kernel;
pub mod learn;
pub mod likelihood;
pub mod parse;
pub mod pattern;
pub mod policy;
pub mod pool;
pub mod rank;
pub mod record;
pub mod schema;
pub mod text;
pub mod vector;

mod facts;
mod first_day;
mod judge;
mod panel;
mod weigh;

pub use facts::Facts;
pub use judge::can_missing_change;
pub use panel::{Panel, Said, Tally};
pub use parse::{Reading, Unreadable, parse};
pub use policy::{Policy, Risk, State};
pub use record::Records;
pub use weigh::{approves, weigh};
