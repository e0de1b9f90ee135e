//! Asks language models of any vendor behind one trait, [`Expert`].
//!
//! What is asked, of whom, at what price and within which limits is configuration ([`Catalogue`]); what stands in code
//! is the shape of each wire format. An answer comes back as raw text: what it means is for `opinion` to say.
//!
//! It must never print, log or return a key, never read the environment (keys are resolved by the caller), never send
//! a sampling parameter that was not configured, and never ask again after a part of an answer was handed out.
//!
//! - [`ask`]: what is asked and answered; the trait.
//! - [`catalogue`]: providers and experts as configuration; [`circle`] opens them.
//! - [`failure`]: why there is no answer, and whether asking again helps.
//! - [`account`]: tokens, money, budgets. [`cache`]: answers that need not be asked for again.
//! - [`hedge`]: what to do when one is slow or down.
//! - [`sse`], [`wait`]: event streams and `retry-after`, as they really come.

#![warn(missing_docs)]

pub mod account;
pub mod ask;
pub mod cache;
pub mod catalogue;
pub mod circle;
pub mod failure;
pub mod hedge;
pub mod latency;
pub mod sse;
pub mod wait;

mod remote;
mod schema;
mod wire;

pub use account::{Accounts, Budgets, Estimate, OverBudget, Price, Tokens};
pub use ask::{Ask, BreakerState, Condition, Expert, Piece, Pieces, Reply, Schema, Stop, Troubles};
pub use cache::Cache;
pub use catalogue::{Catalogue, Dialect, KeySource};
pub use circle::Circle;
pub use failure::{Class, Failure, Phase};
pub use latency::Latencies;
