//! The pure heart: what a question is, how it is put, what rules answer, what goes into a deployment's journal.
//!
//! Values in, values out. No I/O, no clock, no randomness, no `async`: nonces and times come from the caller.
//!
//! - [`question`]: what may be asked; secrets are masked here.
//! - [`prompt`]: the question in words for a model, with everything untrusted fenced as data.
//! - [`rules`]: the deterministic experts.
//! - [`matter`]: a plan as a question; a consultation as advice.
//! - [`replay`]: whether an opinion computed again is the same.
//! - [`decoy`]: a good and a bad plan that every expert can be tested with.
//! - [`learning`]: what a deployment's end says about the votes on it.

pub mod decoy;
pub mod learning;
pub mod matter;
pub mod prompt;
pub mod question;
pub mod replay;
pub mod rules;
