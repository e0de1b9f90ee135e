//! The orchestrator on a real nats-server, with obedient agents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod audited;
mod damage;
mod foreign;
mod jobs;
mod life;
mod many;
mod outage;
mod records;
mod replicas;
mod trace;
mod world;
