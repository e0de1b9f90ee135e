//! Makes and verifies deployment certificates: who deployed what where, on whose approval, on what evidence.
//!
//! A certificate says the same twice, for two kinds of tools: an in-toto statement with our deployment predicate in a
//! Sigstore bundle (ECDSA P-256), and a SLSA verification summary in a bare DSSE envelope (ECDSA P-256 and ML-DSA-65).
//! The second names the digest of the first, so a forger needs to break both kinds of signature. What is in it, field
//! by field, is in `docs/certificate.md`; what must hold for a promotion is in [`rules`], which the one who certifies
//! and the one who verifies both use.
//!
//! It must never call a certificate valid because something is missing from it, never decide about a deployment,
//! never read a clock, and never print a key or a passphrase.

#![warn(missing_docs)]

mod at;
pub mod bundle;
mod certificate;
pub mod deployment;
pub mod dsse;
mod error;
pub mod evidence;
mod export;
mod issue;
pub mod journal;
pub mod key;
pub mod keys;
pub mod log;
pub mod rules;
pub mod statement;
pub mod trust;
pub mod verify;
pub mod vsa;

pub use certificate::{Certificate, Documents, Inclusion, Journal, MEDIA_TYPE, Range};
pub use deployment::{Deployment, Ending};
pub use error::Error;
pub use export::files;
pub use issue::issue;
pub use journal::Story;
pub use key::{Algorithm, PublicKey};
pub use keys::Signer;
pub use model::At;
pub use trust::{Trust, TrustedKey};
pub use verify::{Problem, Verified, verify};
