//! The experts' service with a real nats-server, and vendors that are played. Order is asserted by events and gates,
//! never by a wall clock.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where its ground is missing"
)]

mod advice;
mod faults;
mod injection;
mod money;
mod panels;
mod records;
mod rules;
mod stage;
