//! Masks what looks like a secret in a text, and takes out what a reader cannot see, before the text leaves the engine.
//!
//! The shapes are those that issuers document, plus values that stand behind a telling name. It is the last of several
//! guards, not the only one: a secret without a known shape or name passes. It must never make a text longer than it
//! was without a mark, never break a JSON document that was one, and never let the masked value into its result.

#![warn(missing_docs)]

mod secrets;
mod visible;

pub use secrets::{Scrubbed, scrub};
pub use visible::visible;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
