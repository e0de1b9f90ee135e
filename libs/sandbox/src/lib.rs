//! Starts programs of other people: with what they may do, what they may use, and for how long.
//!
//! A [`Profile`] says what a program may not do, [`Limits`] what it may use. What the kernel or the rights of this process
//! do not permit to enforce is told as [`Unenforced`], or refused where [`Missing::Refused`] is asked for; it is never left
//! out silently. This room knows nothing of deployments, and must never start a program with more than it was given.
//!
//! How it is done without code between `fork` and `exec`: a thread of its own gives up rights for good (Landlock, seccomp,
//! `no_new_privs`, a network namespace), starts the program, which inherits that, and ends.

#![warn(missing_docs)]

mod confine;
mod error;
pub mod groups;
pub mod launch;
pub mod output;
mod profile;
mod run;
mod syscalls;

pub use error::{Error, Limit, Unenforced};
pub use groups::Groups;
pub use launch::Launch;
pub use profile::{Limits, Missing, Profile, Writes};
pub use run::{End, Ended, Running};
