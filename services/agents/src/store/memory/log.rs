//! An audit log in memory, with the proofs that a real one gives.

use ledger::{
    Checkpoint, Frontier, InclusionProof, KeyKind, ProofFile, SignedCheckpoint, SigningKey, leaf_hash,
};
use model::audit::{AuditAppend, AuditProof, AuditReceipt, AuditReceipts, AuditRecord, AuditStatus};

const ORIGIN: &str = "test/code-audit";

pub(crate) struct Log {
    key: SigningKey,
    pub(crate) records: Vec<AuditRecord>,
}

impl Log {
    pub(crate) fn new() -> Log {
        Log { key: SigningKey::generate(ORIGIN, KeyKind::Ed25519).unwrap(), records: Vec::new() }
    }

    pub(crate) fn policy(&self) -> String {
        format!("log {}\nquorum none\n", self.key.verifying_key())
    }

    /// Each count of a source is kept once, and none may be left out.
    pub(super) fn append(&mut self, append: &AuditAppend) -> AuditReceipts {
        let mut receipts = Vec::new();
        for record in &append.records {
            let of_source = self.records.iter().filter(|known| known.source == record.source);
            assert!(record.counter <= of_source.count() as u64 + 1, "a count was left out");
            let is_this =
                |known: &AuditRecord| (&known.source, known.counter) == (&record.source, record.counter);
            let known = self.records.iter().position(is_this);
            let index = known.unwrap_or(self.records.len()) as u64;
            if known.is_none() {
                self.records.push(record.clone());
            }
            receipts.push(AuditReceipt { index, repeated: known.is_some() });
        }
        AuditReceipts { receipts, level: append.level }
    }

    fn leaves(&self) -> Vec<ledger::Hash> {
        self.records.iter().map(|record| leaf_hash(&record.to_leaf())).collect()
    }

    fn signed(&self) -> SignedCheckpoint {
        let mut tree = Frontier::default();
        self.leaves().into_iter().for_each(|leaf| tree.push(leaf));
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: tree.size(), root: tree.root() };
        SignedCheckpoint::sign(checkpoint, std::slice::from_ref(&self.key), 0).unwrap()
    }

    pub(super) fn prove(&self, index: u64) -> AuditProof {
        let leaves = self.leaves();
        let proof =
            InclusionProof { index, size: leaves.len() as u64, hashes: path(&leaves, index as usize) };
        let leaf = String::from_utf8(self.records[index as usize].to_leaf()).unwrap();
        AuditProof { index, leaf, proof: ProofFile::new(proof, self.signed()).to_string() }
    }

    pub(super) fn state(&self) -> AuditStatus {
        AuditStatus {
            origin: ORIGIN.to_owned(),
            accepted: self.records.len() as u64,
            included: self.records.len() as u64,
            checkpoint: self.signed().to_string(),
            keys: vec![self.key.verifying_key().to_string()],
            searchable: 0,
            sources: Vec::new(),
            alarms: Vec::new(),
        }
    }
}

fn path(leaves: &[ledger::Hash], index: usize) -> Vec<ledger::Hash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut hashes, sibling) = if index < left.len() {
        (path(left, index), ledger::root_of(right.iter().copied()))
    } else {
        (path(right, index - left.len()), ledger::root_of(left.iter().copied()))
    };
    hashes.push(sibling);
    hashes
}
