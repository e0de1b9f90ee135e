//! The audit log's word on a certificate.

use certificate::{Certificate, Deployment, Inclusion, Trust, log, trust::Ready, verify::check};
use ledger::{
    Checkpoint, InclusionProof, KeyKind, ProofFile, SignedCheckpoint, SigningKey, leaf_hash, root_of,
};
use model::{
    Timestamp,
    audit::{AuditOutcome, AuditRecord},
};

use crate::fixture::{BEGAN, Office, facts, promoted, rolled_back};

/// An audit log with a witness.
pub struct Log {
    keys: Vec<SigningKey>,
    witness: SigningKey,
}

const ORIGIN: &str = "acme/code-audit/test";
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

    fn policy(&self) -> String {
        let logs: Vec<String> = self.keys.iter().map(|key| format!("log {}", key.verifying_key())).collect();
        format!("{}\nwitness w1 {}\nquorum w1\n", logs.join("\n"), self.witness.verifying_key())
    }

    fn trust(&self, office: &Office) -> Ready {
        Trust { log: Some(self.policy()), ..office.trust() }.ready().unwrap()
    }

    /// Takes the entry, and has the witness sign that it grew.
    fn take(&self, entry: &str, witnessed: bool) -> String {
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

fn record(certificate: &Certificate, facts: &Deployment) -> AuditRecord {
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

fn text(record: &AuditRecord) -> String {
    String::from_utf8(record.to_leaf()).unwrap()
}

pub async fn logged(office: &Office, log: &Log) -> (Certificate, Deployment) {
    let (facts, _) = facts(&promoted());
    let certificate = office.issue(&promoted()).await;
    let entry = text(&record(&certificate, &facts));
    let proof = log.take(&entry, true);
    (Certificate { log: Some(Inclusion { entry, proof }), ..certificate }, facts)
}

#[tokio::test]
async fn a_certificate_that_the_log_holds_says_where() {
    let (office, log) = (Office::open(), Log::new());
    let (certificate, _) = logged(&office, &log).await;

    let verified = check(&certificate, &log.trust(&office)).unwrap();

    let found = verified.log.unwrap();
    assert_eq!((found.origin.as_str(), found.index, found.size), (ORIGIN, 2, 6));
    assert_eq!(found.witnesses, ["w1"]);
    assert_eq!(found.at.unwrap().to_string(), "2026-11-21T06:51:00.000Z");
}

#[tokio::test]
async fn what_the_log_does_not_hold_is_not_valid_where_the_log_is_wanted() {
    let (office, log, stranger) = (Office::open(), Log::new(), Log::new());
    let (whole, facts) = logged(&office, &log).await;
    let trust = log.trust(&office);
    let with =
        |entry: String, proof: String| Certificate { log: Some(Inclusion { entry, proof }), ..whole.clone() };
    let inclusion = whole.log.clone().unwrap();
    let told = |change: fn(&mut AuditRecord)| {
        let mut record = record(&whole, &facts);
        change(&mut record);
        let entry = text(&record);
        let proof = log.take(&entry, true);
        with(entry, proof)
    };

    for (what, field, certificate) in [
        ("no proof", "log", Certificate { log: None, ..whole.clone() }),
        ("another entry", "log.entry", with("{}".to_owned(), inclusion.proof.clone())),
        (
            "an entry with a blank",
            "log.proof",
            with(format!("{} ", inclusion.entry), inclusion.proof.clone()),
        ),
        ("no proof file", "log.proof", with(inclusion.entry.clone(), String::new())),
        ("no witness", "log.proof", with(inclusion.entry.clone(), log.take(&inclusion.entry, false))),
        ("another log", "log.proof", with(inclusion.entry.clone(), stranger.take(&inclusion.entry, true))),
        (
            "unsigned data",
            "log.proof",
            with(inclusion.entry.clone(), inclusion.proof.replace("\nindex", "\nextra AAAA\nindex")),
        ),
        (
            "a record of something else",
            "log.entry",
            told(|record| record.action = "deployment.approved".to_owned()),
        ),
        ("a record of another deployment", "log.entry", told(|record| record.subject = "dep-2".to_owned())),
        ("another statement", "log.entry", told(|record| record.detail["statement"] = "sha256:00".into())),
        ("another summary", "log.entry", told(|record| record.detail["summary"] = "sha256:00".into())),
        ("another ending", "log.entry", told(|record| record.detail["ending"] = "ROLLED_BACK".into())),
        ("a record that says more", "log.entry", told(|record| record.detail["more"] = 1.into())),
        ("no detail", "log.entry", told(|record| record.detail = serde_json::Value::Null)),
    ] {
        let problems = check(&certificate, &trust).expect_err(what);

        assert_eq!(problems[0].field, field, "{what}: {}", problems[0]);
    }
}

#[tokio::test]
async fn the_record_of_one_certificate_is_not_the_record_of_another() {
    let (office, log) = (Office::open(), Log::new());
    let (one, _) = logged(&office, &log).await;
    let two = Certificate { log: one.log, ..office.issue(&rolled_back()).await };

    let problems = check(&two, &log.trust(&office)).unwrap_err();

    assert_eq!(problems[0].field, "log.entry");
}

#[tokio::test]
async fn what_the_log_saw_before_a_key_was_lost_still_counts() {
    let (office, log) = (Office::open(), Log::new());
    let (certificate, _) = logged(&office, &log).await;
    let trust = |revoked| {
        let mut trust = Trust { log: Some(log.policy()), ..office.trust() };
        trust.keys[0].revoked = Some(certificate::At(Timestamp(revoked)));
        trust.ready().unwrap()
    };

    assert!(check(&certificate, &trust(BEGAN + 7200 * 1000)).is_ok());
    let problems = check(&certificate, &trust(BEGAN + 1800 * 1000)).unwrap_err();
    assert!(
        problems[0].to_string().contains("the log's witnesses saw the certificate at"),
        "{}",
        problems[0]
    );
}

#[test]
fn a_policy_that_cannot_be_read_is_no_trust() {
    let office = Office::open();

    for policy in ["", "quorum none\n", "nonsense"] {
        assert!(Trust { log: Some(policy.to_owned()), ..office.trust() }.ready().is_err(), "{policy:?}");
    }
}
