//! What the consensus promises, as properties and on real votes. It must never need the network or a service.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where its ground is missing"
)]

mod circle;
mod crowd;
mod kernels;
mod panels;
mod parsing;
mod patterns;
mod pools;
mod simulated;
