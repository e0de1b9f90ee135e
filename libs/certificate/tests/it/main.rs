//! Certificates as others meet them: made from a journal, signed, changed in every way, checked by other software.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod emulator;
mod fixture;
mod forged;
mod interop;
mod issuing;
mod keys;
mod log;
mod logged;
mod mutations;
mod recounted;
mod removals;
mod second;
mod signed;
mod untrue;
mod untrusted;
mod vault;
