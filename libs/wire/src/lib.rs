//! How the nouns of `model` travel: as protobuf bytes, converted back only after a check.
//!
//! What is hot or crosses languages is a native protobuf message; what has a digest or a JSON Schema travels as JSON
//! inside a `code.v1.Document`, so that its digest is taken over the same JSON everywhere
//! (docs/decisions/0002-frames-are-protobuf-documents-are-json.md). This crate never does I/O, never decides, and
//! never lets a value through that `model` would not have made: ids, names and digests are parsed on the way in.

#![warn(missing_docs)]

mod check;
mod consensus;
mod document;
mod error;
mod fault;
mod journal;
pub mod service;
mod step;
mod traffic;

#[rustfmt::skip]
#[path = "gen/code.v1.rs"]
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "made by wire-gen from the proto files")]
pub(crate) mod proto;

pub use error::Error;
pub use service::{Beat, Drain};

/// A value that travels. Encoding cannot fail; decoding checks everything.
pub trait Message: Sized {
    /// The message's full protobuf name, or that of the schema of the document inside the frame. It stands in the
    /// content type; a version change is a new name.
    const NAME: &'static str;

    /// The bytes of this value.
    fn encode(&self) -> Vec<u8>;

    /// Reads the bytes back. Fails on anything that is not a valid value of this type; never panics.
    fn decode(bytes: &[u8]) -> Result<Self, Error>;
}

/// Reads bytes that say of themselves that they are `name`. An unknown name or version is an error: it is never
/// guessed what it could mean.
pub fn decode_named<M: Message>(name: &str, bytes: &[u8]) -> Result<M, Error> {
    if name != M::NAME {
        return Err(Error::Name { expected: M::NAME, found: name.to_owned() });
    }
    M::decode(bytes)
}
