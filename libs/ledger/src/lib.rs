//! The tamper-evident log: what was written cannot be changed, dropped, moved or forked unnoticed.
//!
//! An RFC 6962 Merkle tree over SHA-256, stored as static [tlog-tiles](https://c2sp.org/tlog-tiles), with checkpoints
//! as [signed notes](https://c2sp.org/tlog-checkpoint) by Ed25519 and ML-DSA-44, offline proofs, trust policies and
//! witnesses. Everything but [`store`], [`journal`] and [`witness::WitnessFile`] is pure: values in, values out. It must
//! never sign two views that contradict each other, never take a missing signature, tile or proof for a good one, and
//! never know what the entries mean.
//!
//! - [`tree`]: hashes and the growing edge of the tree.
//! - [`proof`]: inclusion and consistency, made and checked.
//! - [`key`], [`note`], [`checkpoint`]: who signed which state of the tree.
//! - [`proof_file`], [`policy`]: what is checked offline, and whom to trust.
//! - [`witness`]: cosigns only growth.
//! - [`tile`], [`store`]: the files, readable by any web server and by rsync.
//! - [`journal`]: what was accepted and is not in the tiles yet; one fsync per batch.
//! - [`verify`]: recomputes all of it and names the first index that is wrong.

#![warn(missing_docs)]

pub mod checkpoint;
pub mod error;
pub mod journal;
pub mod key;
pub mod note;
pub mod policy;
pub mod proof;
pub mod proof_file;
pub mod store;
pub mod tile;
pub mod tree;
pub mod verify;
pub mod witness;

mod disk;
mod hash;
mod mldsa;
mod text;
#[cfg(test)]
mod vectors;

pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use error::Error;
pub use hash::Hash;
pub use journal::{Frame, Journal};
pub use key::{KeyKind, SigningKey, VerifyingKey};
pub use note::{Note, NoteSignature};
pub use policy::Policy;
pub use proof::{ConsistencyProof, InclusionProof};
pub use proof_file::ProofFile;
pub use store::Store;
pub use tree::{Frontier, leaf_hash, node_hash, root_of};
pub use verify::{Finding, Report};
pub use witness::Witness;

/// The longest entry, in bytes: an entry's length is 16 bits in an entry bundle.
pub const MAX_ENTRY: usize = 65_535;
