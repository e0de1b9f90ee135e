//! The figures of the project, and what the programs that measure them share.
//!
//! Every figure stands against a named baseline that was measured in the same run on the same machine, because a
//! number alone says more about the machine than about us. Rounds of ours and of the baseline take turns, so that a
//! disturbance meets both. It must never be a dependency of what runs in production, and never hide a figure that
//! falls short.

#![warn(missing_docs)]

pub mod agents;
pub mod engine;
pub mod figure;
pub mod machine;
pub mod output;
pub mod plot;
pub mod raw;
pub mod rounds;
pub mod stage;
pub mod suite;
pub mod watch;

use std::path::PathBuf;

/// What every measuring program understands.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Fewer and smaller rounds: a minute in all rather than ten; the figures scatter more.
    #[arg(long)]
    pub quick: bool,
    /// Also write the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Options {
    /// One of two sizes.
    pub fn size<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}
