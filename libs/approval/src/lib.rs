//! Approvals that their approvers signed: what exactly is signed, by which keys, and when enough people did.
//!
//! An approval is a [`Statement`] in canonical JSON and a signature over its exact bytes ([`sshsig`]) by a key that the
//! operator's file of [`signers`] gives to the approver. The operator's [`Rulebook`] says whose approvals a deployment
//! waits for; a [`Ballot`] counts them. The orchestrator and whoever verifies a certificate count with this same code. What
//! a statement says, field by field, is in `docs/approvals.md`.
//!
//! Pure: it reads no clock, no file and no network, and makes no signature. It must never count what it has not verified.

#![warn(missing_docs)]

mod ballot;
mod key;
mod names;
mod parts;
mod refusal;
mod rules;
pub mod signers;
pub mod sshsig;
mod statement;

pub use ballot::{Ballot, Vote};
pub use key::{BadKey, Key, fingerprint};
pub use names::{NAMESPACE, TYPE};
pub use refusal::Refusal;
pub use rules::{Require, Rulebook, in_words, touches_secrets};
pub use signers::{BadLine, Signers};
pub use statement::{About, Predicate, SKEW, Statement, Words, shown};
