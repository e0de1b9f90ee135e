//! Who may do what: one question, [`Rights::authorize`], with one answer that says why.
//!
//! Rights are files: policies in Cedar, roles as templates of such policies, and grants of roles in TOML. They are held
//! against a schema before any of them counts, and known by one digest. Whatever no policy permits is denied, a policy that
//! errs denies, and rights that could not be loaded deny everything and say so. What belongs to another organisation is
//! not there, whatever the policies say.
//!
//! This crate does no I/O and knows no clock: who asks, and what is true at that moment, comes with each question. It must
//! never believe a name: that somebody is who they say has been proven before. Nothing in the engine asks it yet.

#![warn(missing_docs)]

mod action;
mod cases;
mod clauses;
mod decision;
mod elevation;
mod facts;
mod flaw;
mod grant;
mod load;
mod place;
mod rights;
mod schema;
mod slice;
mod subject;

pub use action::{Action, BadAction, CALLS, Group, Who};
pub use cases::{Outcome, check};
pub use decision::{Decision, Reason, Verdict};
pub use elevation::{Ask, BREAK_GLASS_AT_MOST, Command, Elevation, Event, ORDINARY_AT_MOST, Refused, State};
pub use facts::{Asked, Facts, PlanFacts};
pub use flaw::Flaw;
pub use grant::{BREAK_GLASS, Grant};
pub use load::{Source, load};
pub use place::{BadPlace, Level, Place};
pub use rights::{Bare, Question, Rights};
pub use schema::text as schema;
pub use subject::{BadSubject, Grantee, Kind, Subject};
