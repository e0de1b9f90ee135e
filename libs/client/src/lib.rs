//! What a program says to the engine: every call of the table as a method, for the command line, gateways and operators.
//!
//! A method is one question and its answer, or something that is followed. This room knows no terminal and no arguments,
//! gives no advice on commands, and must never decide anything about deployments.

#![warn(missing_docs)]

mod audit;
mod certificates;
mod connect;
mod deployments;
mod error;
mod experts;
mod replicas;
mod targets;
mod watch;

pub use connect::Client;
pub use error::Error;
pub use watch::{Sight, Watch};
