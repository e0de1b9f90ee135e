//! Masks what looks like a secret in a text, and takes out what a reader cannot see, before the text leaves the engine.
//!
//! The shapes are those that issuers document, plus values that stand behind a telling name. It is the last of several
//! guards, not the only one: a secret without a known shape or name passes. It must never make a text longer than it
//! was without a mark, never break a JSON document that was one, and never let the masked value into its result.

#![warn(missing_docs)]

mod address;
mod assigned;
mod blocks;
mod encoded;
mod name;
mod secrets;
mod shapes;
mod suspicion;
mod value;
mod visible;

pub use secrets::{Scrubbed, Secret, find, scrub};
pub use suspicion::{Suspicion, shaped, suspicious};
pub use visible::{deceives, one_line, visible};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
