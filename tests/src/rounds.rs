//! Rounds of damage against a real engine: `codectl up`, real instances, a client that keeps asking, a deployment under
//! way, and one or two damages at a moment that a seed gives.
//!
//! What a round has to end in is judged from outside: by commands, files, processes and requests, never by the engine's
//! word alone where it can be counted otherwise. [`judge`] is pure and knows nothing of how things were seen.

pub mod judge;
pub mod kinds;
mod look;
mod run;
mod stage;
mod story;
mod streams;
mod strike;
pub mod totals;

pub use kinds::Kind;
pub use run::{Host, Lie, Report};
pub use story::Story;
