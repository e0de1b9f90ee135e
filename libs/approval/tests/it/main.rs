//! Approvals against OpenSSH itself: its keys, its signatures, its verdicts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod algebra;
mod hardware;
mod lines;
mod mutations;
mod scene;
