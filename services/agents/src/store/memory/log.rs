//! An audit log in memory, with the proofs that a real one gives.

use ledger::{
    Checkpoint, Frontier, InclusionProof, KeyKind, ProofFile, SignedCheckpoint, SigningKey, leaf_hash,
};
use model::{
    Record,
    audit::{AuditAppend, AuditAwaited, AuditOutcome, AuditProof, AuditReceipt, AuditReceipts, AuditRecord},
};

use crate::error::Result;

const ORIGIN: &str = "test/code-audit";
const STREAM: &str = "LOG_deployment_0";

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

    /// Takes the journal as it is so far, once; says where its record of this version stands.
    pub(super) fn journal(&mut self, records: &[Record], version: u64) -> AuditAwaited {
        let cause = |record: &Record| Some(format!("{}:{}", record.id, record.version));
        for record in records {
            if self.records.iter().any(|known| known.cause == cause(record) && known.source == STREAM) {
                continue;
            }
            for (event, part) in record.events.iter().zip(1..) {
                self.records.push(AuditRecord {
                    v: 1,
                    source: STREAM.to_owned(),
                    counter: record.version,
                    part,
                    parts: record.events.len() as u32,
                    at: record.at,
                    actor: record.writer.clone(),
                    action: format!("deployment.{}", event.name()),
                    subject: record.id.clone(),
                    outcome: AuditOutcome::Done,
                    reason: None,
                    cause: cause(record),
                    trace: None,
                    detail: serde_json::to_value(event).unwrap(),
                    payload: None,
                });
            }
        }
        let record = records.iter().find(|record| record.version == version).unwrap();
        let of_it = |known: &AuditRecord| known.cause == cause(record) && known.source == STREAM;
        let index = self.records.iter().position(of_it).unwrap() as u64;
        AuditAwaited { index, leaves: record.events.len() as u32 }
    }

    /// Each count of a source is kept once, and none may be left out.
    pub(crate) fn append(&mut self, append: &AuditAppend) -> Result<AuditReceipts> {
        let mut receipts = Vec::new();
        for record in &append.records {
            let of_source = self.records.iter().filter(|known| known.source == record.source);
            assert!(record.counter <= of_source.count() as u64 + 1, "a count was left out");
            let is_this =
                |known: &AuditRecord| (&known.source, known.counter) == (&record.source, record.counter);
            let known = self.records.iter().position(is_this);
            if known.is_some_and(|at| self.records[at] != *record) {
                let fault = model::Fault::new(model::Code::Conflict, "counted for another fact before");
                return Err(bus::Failure {
                    what: "hand facts to the audit log".into(),
                    source: bus::AppendError::Unavailable(bus::Error::Fault(fault)),
                }
                .into());
            }
            let index = known.unwrap_or(self.records.len()) as u64;
            if known.is_none() {
                self.records.push(record.clone());
            }
            receipts.push(AuditReceipt { index, repeated: known.is_some() });
        }
        Ok(AuditReceipts { receipts, level: append.level })
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
