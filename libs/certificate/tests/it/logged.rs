//! The audit log's word on a certificate.

use certificate::{At, Certificate, Inclusion, Range, Story, Trust, deployment::Audit, verify::check};
use model::{Timestamp, audit::AuditRecord};

use crate::{
    fixture::{BEGAN, NOW, Office, facts, journal, promoted, rolled_back},
    log::{self, Log, ORIGIN, logged, record, text},
    mutations::sign,
};

#[tokio::test]
async fn a_certificate_that_the_log_holds_says_where() {
    let (office, log) = (Office::open(), Log::new());
    let (certificate, _) = logged(&office, &log).await;

    let verified = check(&certificate, &log.trust(&office), NOW).unwrap();

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
            "log.entry",
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
        let problems = check(&certificate, &trust, NOW).expect_err(what);

        assert_eq!(problems[0].field, field, "{what}: {}", problems[0]);
    }
}

#[tokio::test]
async fn the_record_of_one_certificate_is_not_the_record_of_another() {
    let (office, log) = (Office::open(), Log::new());
    let (one, _) = logged(&office, &log).await;
    let two = Certificate { log: one.log, ..office.issue(&rolled_back()).await };

    let problems = check(&two, &log.trust(&office), NOW).unwrap_err();

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

    assert!(check(&certificate, &trust(BEGAN + 7200 * 1000), NOW).is_ok());
    let problems = check(&certificate, &trust(BEGAN + 1800 * 1000), NOW).unwrap_err();
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

/// The log's proof under a trust file whose first key is valid until then.
fn until(office: &Office, log: String, seconds: i64) -> certificate::trust::Ready {
    let mut trust = Trust { log: Some(log), ..office.trust() };
    trust.keys[0].valid_until = Some(At(Timestamp(BEGAN + seconds * 1000)));
    trust.ready().unwrap()
}

#[tokio::test]
async fn a_key_that_is_over_cannot_date_a_certificate_back() {
    let (office, log) = (Office::open(), Log::new());
    let (certificate, facts) = logged(&office, &log).await;
    assert!(facts.issued < At(Timestamp(BEGAN + 1800 * 1000)), "by its own word it is in time");

    // The log and its witness show it an hour after the deployment began.
    for policy in [log.policy(), log.alone()] {
        let problems = check(&certificate, &until(&office, policy.clone(), 1800), NOW).unwrap_err();
        assert_eq!(problems[0].field, "trust.keys");
        assert!(problems[0].text.contains("shows the certificate only since"), "{}", problems[0]);
        assert!(check(&certificate, &until(&office, policy, 7200), NOW).is_ok());
    }
}

#[tokio::test]
async fn without_a_logs_time_a_key_is_believed_only_while_it_is_valid() {
    let office = Office::open();
    let certificate = office.issue(&promoted()).await;
    let trust = office.trusts(|key| key.valid_until = Some(At(Timestamp(BEGAN + 7200 * 1000))));

    assert!(check(&certificate, &trust, Timestamp(BEGAN + 7199 * 1000)).is_ok());
    let problems = check(&certificate, &trust, Timestamp(BEGAN + 7200 * 1000)).unwrap_err();
    assert!(problems[0].text.contains("no log's time shows"), "{}", problems[0]);
}

#[tokio::test]
async fn what_the_log_saw_cannot_have_been_issued_later() {
    let (office, log) = (Office::open(), Log::new());
    let (mut told, documents) = facts(&promoted());
    told.issued = At(Timestamp(BEGAN + 7200 * 1000));
    let certificate = sign(&office, &told, documents, journal(&promoted())).await;
    let entry = text(&record(&certificate, &told));
    let proof = log.take(&entry, true);
    let certificate = Certificate { log: Some(Inclusion { entry, proof }), ..certificate };

    let problems = check(&certificate, &log.trust(&office), NOW).unwrap_err();

    assert_eq!(problems[0].field, "predicate.issued");
    assert!(problems[0].text.contains("the audit log shows it since"), "{}", problems[0]);
}

/// A certificate whose journal and whose own record are in the log.
pub async fn ranged(office: &Office, log: &Log, change: impl Fn(&mut Audit, &mut Range)) -> Certificate {
    ranged_by(office, log, log::leaves(&promoted()), change).await
}

/// The same of these leaves of the journal.
pub async fn ranged_by(
    office: &Office,
    log: &Log,
    leaves: Vec<String>,
    change: impl Fn(&mut Audit, &mut Range),
) -> Certificate {
    let records = promoted();
    let (mut audit, mut range) = log::range_of(log, &records, 3, leaves.clone());
    change(&mut audit, &mut range);
    let (mut told, documents) = facts(&records);
    told.audit = Some(audit);
    let journal = Story::read(&records).unwrap().enclosed(Some(range));
    let certificate = sign(office, &told, documents, journal).await;
    let mut entries: Vec<String> = (0..3).map(|at| format!("entry {at}")).collect();
    entries.extend(leaves);
    let entry = text(&record(&certificate, &told));
    entries.push(entry.clone());
    let proof = log.prove(&entries, entries.len() - 1, true);
    Certificate { log: Some(Inclusion { entry, proof }), ..certificate }
}

#[tokio::test]
async fn a_place_in_the_log_that_the_log_does_not_prove_is_refused() {
    let (office, log, stranger) = (Office::open(), Log::new(), Log::new());
    let trust = log.trust(&office);
    assert!(check(&ranged(&office, &log, |_, _| {}).await, &trust, NOW).is_ok());
    let foreign = log::range(&stranger, &promoted(), 3).1;
    let other = log::range(&log, &rolled_back(), 3).1;

    type Lie<'a> = &'a dyn Fn(&mut Audit, &mut Range);
    let lies: [(&str, &str, Lie<'_>); 12] = [
        ("an earlier beginning", "predicate.audit.first", &|audit, _| audit.first -= 1),
        ("a later beginning", "predicate.audit.first", &|audit, _| audit.first += 1),
        ("an earlier end", "predicate.audit.last", &|audit, _| audit.last -= 1),
        ("a later end", "predicate.audit.size", &|audit, _| audit.last += 1),
        ("more records", "predicate.audit.records", &|audit, _| audit.records += 1),
        ("another log", "predicate.audit.origin", &|audit, _| audit.origin = "acme/elsewhere".to_owned()),
        ("a larger log", "predicate.audit.size", &|audit, _| audit.size += 500),
        ("another root", "predicate.audit.root", &|audit, _| {
            audit.root = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned()
        }),
        ("the ends changed", "journal.range.first.entry", &|_, range| {
            std::mem::swap(&mut range.first, &mut range.last)
        }),
        ("the last record of another journal", "journal.range.last.entry", &|_, range| {
            range.last = other.last.clone()
        }),
        ("the proof of a log without our keys", "journal.range.last.proof", &|_, range| {
            range.last = foreign.last.clone()
        }),
        ("a changed entry", "journal.range.first.proof", &|_, range| {
            range.first.entry = range.first.entry.replace("\"LOG_deployment_2\"", "\"LOG_deployment_3\"")
        }),
    ];
    for (what, field, lie) in lies {
        let problems = check(&ranged(&office, &log, lie).await, &trust, NOW).expect_err(what);

        let named: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert!(named.contains(&field), "{what}: {named:?}");
    }
    let mut without = ranged(&office, &log, |_, _| {}).await;
    without.journal.range = None;
    assert_eq!(check(&without, &trust, NOW).unwrap_err()[0].field, "journal.range");
}

pub type Change = fn(&mut AuditRecord);

/// What whoever may hand facts to the log, or has its keys, might pass off as the journal's leaves.
pub const PASSED_OFF: &[(&str, Change)] = &[
    ("told by a service", |leaf| leaf.source = "mallory-1".to_owned()),
    ("of another journal", |leaf| leaf.source = "LOG_target_2".to_owned()),
    ("of a stream without a number", |leaf| leaf.source = "LOG_deployment_".to_owned()),
    ("of another time", |leaf| leaf.at = Timestamp(leaf.at.0 + 1)),
    ("with another name in it", |leaf| leaf.detail["event"] = "validated".into()),
    ("with a field more", |leaf| leaf.detail["more"] = 1.into()),
    ("without a detail", |leaf| leaf.detail = serde_json::Value::Null),
    ("by the digest of another event", |leaf| {
        let digest = model::Digest::of_bytes(b"another");
        leaf.payload = Some(model::audit::AuditPayload { digest, size: 7 });
    }),
];

#[tokio::test]
async fn only_what_the_streams_of_the_journals_said_proves_a_journal() {
    let (office, log) = (Office::open(), Log::new());
    let trust = log.trust(&office);
    let by = |change: Change| log::leaves_but(&promoted(), change);
    let renamed = by(|leaf| leaf.source = "LOG_deployment_2#3".to_owned());
    assert!(check(&ranged_by(&office, &log, renamed, |_, _| {}).await, &trust, NOW).is_ok());
    let long = by(|leaf| {
        let text = model::digest::canonical_json(&leaf.detail);
        let (digest, size) = (model::Digest::of_bytes(&text), text.len() as u64);
        leaf.payload = Some(model::audit::AuditPayload { digest, size });
        leaf.detail = serde_json::json!({ "event": leaf.detail["event"] });
    });
    assert!(check(&ranged_by(&office, &log, long, |_, _| {}).await, &trust, NOW).is_ok());

    for (what, change) in PASSED_OFF {
        let certificate = ranged_by(&office, &log, by(*change), |_, _| {}).await;
        let problems = check(&certificate, &trust, NOW).expect_err(what);

        let named = problems.iter().any(|problem| problem.field.starts_with("journal.range."));
        assert!(named, "{what}: {problems:?}");
    }
}
