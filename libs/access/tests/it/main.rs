//! Identities as a whole: directories, sessions, refresh tokens that race, tokens that are attacked, and ways to sign in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod actor;
mod attacks;
mod directory;
mod forge;
mod methods;
mod refresh;
mod sessions;
