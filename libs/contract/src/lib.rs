//! What a new OpenAPI document breaks for clients of the old one. Pure.
//!
//! Two questions: is every request that was valid still valid, and is every answer that may come now one that was
//! allowed before? What cannot be decided, such as whether one regular expression takes all that another one takes, is a
//! note and never called a break. What no document describes belongs to nobody's contract: a field that is new and may be
//! missing breaks nothing, unless fields that are not described were refused.
//!
//! It must never do I/O, read a clock, or take longer than its bounds: a comparison that ends early says so.

#![warn(missing_docs)]

mod answers;
mod compare;
mod document;
mod finding;
mod media;
mod operations;
mod parameters;
mod reading;
mod sample;
mod schemas;
mod security;
mod shape;
mod swagger;
mod validate;
mod value;

#[cfg(test)]
mod tests;

pub use compare::{Report, compare};
pub use document::Document;
pub use finding::{Finding, Kind};
pub use reading::{BYTES, Unread};
