//! Reads a deployment spec from YAML or JSON, with line and column on every complaint; imports Compose files;
//! writes the JSON Schema.
//!
//! Text in, values out: it must never do I/O, read a clock, expand what is larger than [`model::limits`] allow, or
//! stop at the first mistake where it can name them all. The document is read by [`document`], held against the
//! types by [`shape`] and against the rules that go beyond types by [`check()`].

#![warn(missing_docs)]

mod check;
mod document;
pub mod import;
mod order;
mod read;
mod reference;
mod schema;
mod secrets;
mod shape;
mod value;

pub use check::check;
pub use document::Bounds;
pub use order::{Cycle, order};
pub use read::{Read, read, read_bytes};
pub use reference::reference;
pub use schema::schema;
pub use secrets::{Leak, PLAINTEXT_SECRET, SECRET_CURE, admit, leaks};
pub use value::value;
