//! What gates measured, as documents that are known by their digest, and the one way from such a document to a verdict.
//!
//! An agent fills a document with what it asked and counted, and tells the verdict that [`Document::judge`] gives; whoever
//! has the document later judges it again by the same function. Pure and deterministic: no I/O, no clock, no randomness.
//! It must never turn a document that it cannot judge into a verdict. The format is in `docs/certificate.md`.
//!
//! - [`analysis`]: a metric, look by look, by the judges of [`stats`].
//! - [`smoke`]: requests that must succeed.
//! - [`traffic`]: shares of the traffic that arrived.
//! - [`regression`]: a revision against the one before.
//! - [`soak`]: instances that must stay well.

#![warn(missing_docs)]

pub mod analysis;
mod asked;
mod document;
pub mod regression;
pub mod smoke;
pub mod soak;
pub mod traffic;
mod verdict;

pub use document::{Document, MOST_BYTES, Measurements};
pub use verdict::{Difference, Unjudged};
