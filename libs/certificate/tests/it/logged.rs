//! The audit log's word on a certificate.

use certificate::{Certificate, Inclusion, Trust, verify::check};
use model::{Timestamp, audit::AuditRecord};

use crate::{
    fixture::{BEGAN, Office, rolled_back},
    log::{Log, ORIGIN, logged, record, text},
};

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
