//! Rights as a whole: decisions and their reasons, files that are wrong, properties, and the table in docs/rights.md.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod decisions;
mod files;
mod matrix;
mod properties;
mod stage;
