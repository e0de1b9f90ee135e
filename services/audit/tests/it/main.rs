//! The audit log as a service: a real nats-server, real files, real kills.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod crash;
mod denied;
mod fork;
mod process;
mod replay;
mod service;
mod support;
mod witness;
