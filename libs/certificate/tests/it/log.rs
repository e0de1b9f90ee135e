//! A made-up audit log with a witness. Also read by a benchmark.
#![allow(dead_code, reason = "the benchmark needs only some of it")]

use certificate::{Certificate, Deployment, Inclusion, Trust, log, trust::Ready};
use ledger::{
    Checkpoint, InclusionProof, KeyKind, ProofFile, SignedCheckpoint, SigningKey, leaf_hash, root_of,
};
use model::{
    Timestamp,
    audit::{AuditOutcome, AuditRecord},
};

use crate::fixture::{BEGAN, Office, facts, promoted};

/// An audit log with a witness.
pub struct Log {
    keys: Vec<SigningKey>,
    witness: SigningKey,
}

pub const ORIGIN: &str = "acme/code-audit/test";
/// In the log before and after the certificate.
const OTHERS: usize = 5;

impl Log {
    pub fn new() -> Log {
        let key = |name: &str, kind| SigningKey::generate(name, kind).unwrap();
        Log {
            keys: vec![key(ORIGIN, KeyKind::Ed25519), key(ORIGIN, KeyKind::MlDsa44)],
            witness: key("witness.example/w1", KeyKind::MlDsa44),
        }
    }

    pub fn policy(&self) -> String {
        let logs: Vec<String> = self.keys.iter().map(|key| format!("log {}", key.verifying_key())).collect();
        format!("{}\nwitness w1 {}\nquorum w1\n", logs.join("\n"), self.witness.verifying_key())
    }

    pub fn trust(&self, office: &Office) -> Ready {
        Trust { log: Some(self.policy()), ..office.trust() }.ready().unwrap()
    }

    /// Takes the entry, and has the witness sign that it grew.
    pub fn take(&self, entry: &str, witnessed: bool) -> String {
        let mut leaves: Vec<_> = (0..OTHERS).map(|at| leaf_hash(format!("entry {at}").as_bytes())).collect();
        leaves.insert(2, leaf_hash(entry.as_bytes()));
        let root = root_of(leaves.iter().copied());
        let size = leaves.len() as u64;
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root };
        let time = (BEGAN / 1000 + 3600) as u64;
        let mut signed = SignedCheckpoint::sign(checkpoint.clone(), &self.keys, time).unwrap();
        if witnessed {
            signed.add([self.witness.sign(&checkpoint, time).unwrap()]);
        }
        let proof = InclusionProof { index: 2, size, hashes: path(&leaves, 2) };
        ProofFile::new(proof, signed).to_string()
    }
}

/// The path of RFC 6962 for the leaf at `index`.
fn path(leaves: &[ledger::Hash], index: usize) -> Vec<ledger::Hash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let split = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(split);
    let (mut hashes, sibling) = if index < split {
        (path(left, index), root_of(right.iter().copied()))
    } else {
        (path(right, index - split), root_of(left.iter().copied()))
    };
    hashes.push(sibling);
    hashes
}

pub fn record(certificate: &Certificate, facts: &Deployment) -> AuditRecord {
    AuditRecord {
        v: 1,
        source: "TRAIL_record".to_owned(),
        counter: 12,
        part: 1,
        parts: 1,
        at: Timestamp(BEGAN + 60_000),
        actor: "certifier".to_owned(),
        action: log::ACTION.to_owned(),
        subject: facts.deployment.to_string(),
        outcome: AuditOutcome::Done,
        reason: None,
        cause: None,
        trace: None,
        detail: log::detail(certificate, facts),
        payload: None,
    }
}

pub fn text(record: &AuditRecord) -> String {
    String::from_utf8(record.to_leaf()).unwrap()
}

pub async fn logged(office: &Office, log: &Log) -> (Certificate, Deployment) {
    let (facts, _) = facts(&promoted());
    let certificate = office.issue(&promoted()).await;
    let entry = text(&record(&certificate, &facts));
    let proof = log.take(&entry, true);
    (Certificate { log: Some(Inclusion { entry, proof }), ..certificate }, facts)
}
