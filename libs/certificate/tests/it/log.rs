//! A made-up audit log with a witness. Also read by a benchmark.
#![allow(dead_code, reason = "the benchmark needs only some of it")]

use certificate::{Certificate, Deployment, Inclusion, Range, Trust, deployment::Audit, log, trust::Ready};
use ledger::{
    Checkpoint, InclusionProof, KeyKind, ProofFile, SignedCheckpoint, SigningKey, leaf_hash, root_of,
};
use model::{
    Event, Record, Timestamp,
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
        let mut entries: Vec<String> = (0..OTHERS).map(|at| format!("entry {at}")).collect();
        entries.insert(2, entry.to_owned());
        self.prove(&entries, 2, witnessed)
    }

    /// The proof of one of these entries in a log that has no others, signed an hour after the deployment began.
    pub fn prove(&self, entries: &[String], index: usize, witnessed: bool) -> String {
        let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry.as_bytes())).collect();
        let root = root_of(leaves.iter().copied());
        let size = leaves.len() as u64;
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root };
        let time = (BEGAN / 1000 + 3600) as u64;
        let mut signed = SignedCheckpoint::sign(checkpoint.clone(), &self.keys, time).unwrap();
        if witnessed {
            signed.add([self.witness.sign(&checkpoint, time).unwrap()]);
        }
        let proof = InclusionProof { index: index as u64, size, hashes: path(&leaves, index) };
        ProofFile::new(proof, signed).to_string()
    }

    /// Whoever holds the log's keys is believed, without a witness.
    pub fn alone(&self) -> String {
        let logs: Vec<String> = self.keys.iter().map(|key| format!("log {}", key.verifying_key())).collect();
        format!("{}\nquorum none\n", logs.join("\n"))
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
        cause: Some(format!("{}:{}", facts.deployment, facts.journal.version)),
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

/// The leaves of a journal, as the log hears it.
pub fn leaves(records: &[Record]) -> Vec<String> {
    leaves_but(records, |_| {})
}

/// The same, with something that each says otherwise.
pub fn leaves_but(records: &[Record], change: impl Fn(&mut AuditRecord)) -> Vec<String> {
    let leaf = |record: &Record, event: &Event, part: u32| AuditRecord {
        v: 1,
        source: "LOG_deployment_2".to_owned(),
        counter: record.version,
        part,
        parts: record.events.len() as u32,
        at: record.at,
        actor: record.writer.clone(),
        action: format!("deployment.{}", event.name()),
        subject: record.id.clone(),
        outcome: AuditOutcome::Done,
        reason: None,
        cause: Some(format!("{}:{}", record.id, record.version)),
        trace: None,
        detail: serde_json::to_value(event).unwrap(),
        payload: None,
    };
    let of = |record: &Record| -> Vec<String> {
        let parts = record.events.iter().zip(1..);
        let changed = parts.map(|(event, part)| {
            let mut leaf = leaf(record, event, part);
            change(&mut leaf);
            text(&leaf)
        });
        changed.collect()
    };
    records.iter().flat_map(of).collect()
}

/// The proof that the log holds the journal behind `before` other entries, and where.
pub fn range(log: &Log, records: &[Record], before: usize) -> (Audit, Range) {
    range_of(log, records, before, leaves(records))
}

/// The same of these leaves.
pub fn range_of(log: &Log, records: &[Record], before: usize, leaves: Vec<String>) -> (Audit, Range) {
    let mut entries: Vec<String> = (0..before).map(|at| format!("entry {at}")).collect();
    entries.extend(leaves);
    let last = entries.len() - 1;
    let inclusion =
        |at: usize| Inclusion { entry: entries[at].clone(), proof: log.prove(&entries, at, true) };
    let root = root_of(entries.iter().map(|entry| leaf_hash(entry.as_bytes())));
    let audit = Audit {
        origin: ORIGIN.to_owned(),
        first: before as u64,
        last: last as u64,
        records: records.len() as u64,
        size: entries.len() as u64,
        root: root.to_string(),
    };
    (audit, Range { first: inclusion(before), last: inclusion(last) })
}
