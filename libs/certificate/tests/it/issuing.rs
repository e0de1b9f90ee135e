use certificate::{At, Ending, Story, verify};
use model::{GateResult, Timestamp};

use crate::fixture::{self, BEGAN, Office, facts, gate, promoted, promoted_with, rejected, rolled_back};

#[tokio::test]
async fn a_promotion_with_all_its_evidence_is_certified() {
    let office = Office::open();

    let certificate = office.issue(&promoted()).await;
    let verified = verify(&certificate.to_bytes(), &office.ready()).unwrap();

    assert!(verified.is_positive());
    assert_eq!(verified.facts.initiator, "ada");
    assert_eq!(verified.facts.approvals[0].by, "bob");
    assert_eq!(verified.facts.gates.len(), 3);
    assert_eq!(verified.facts.steps.len(), 6);
    assert_eq!(verified.keys.len(), 2);
    assert!(verified.facts.inputs.iter().any(|input| input.kind == "sbom"));
}

#[tokio::test]
async fn a_release_that_went_back_gets_a_valid_no() {
    let office = Office::open();

    let verified = verify(&office.issue(&rolled_back()).await.to_bytes(), &office.ready()).unwrap();

    assert!(!verified.is_positive());
    assert_eq!(verified.facts.ending, Ending::RolledBack);
    let cause = verified.facts.cause.unwrap();
    assert!(cause.gate.unwrap().contains("measured 0.4, limit < 0.05"));
}

#[tokio::test]
async fn what_was_refused_before_a_plan_gets_a_valid_no() {
    let office = Office::open();

    let verified = verify(&office.issue(&rejected()).await.to_bytes(), &office.ready()).unwrap();

    assert_eq!(verified.facts.ending, Ending::Rejected);
    assert!(verified.plan.is_none());
}

#[test]
fn a_promotion_whose_evidence_has_a_gap_is_unproven() {
    let unmeasured = GateResult { measured: None, ..gate("error-rate", 0.0, "< 0.05") };

    for (gates, gap) in [
        (Vec::new(), "step s4-analyse has no gate error-rate: nothing was measured"),
        (vec![gate("latency", 1.0, "< 5")], "step s4-analyse has no gate error-rate: nothing was measured"),
        (vec![unmeasured], "step s4-analyse gate error-rate has no measured value"),
    ] {
        let (facts, _) = facts(&promoted_with(gates));

        assert_eq!(facts.ending, Ending::Unproven);
        assert_eq!(facts.missing, [gap]);
    }
}

#[test]
fn a_promotion_that_nobody_looked_at_is_unproven() {
    let records = promoted();
    let story = Story::read(&records).unwrap();

    let facts = story.facts(None, None, fixture::certifier(), Timestamp(BEGAN + 60_000)).unwrap();

    assert_eq!(facts.missing, ["nobody looked at what runs"]);
}

#[tokio::test]
async fn nobody_gets_a_signature_under_a_promotion_that_is_not_proven() {
    let office = Office::open();
    let (mut facts, documents) = facts(&promoted());
    facts.gates.clear();

    let error = certificate::issue(&facts, documents, &office.classic, &office.quantum).await.unwrap_err();

    assert!(error.to_string().contains("gates: step s3-smoke has no gate"), "{error}");
}

#[test]
fn a_journal_with_a_hole_is_not_certified() {
    let mut records = promoted();
    records.remove(3);

    assert!(Story::read(&records).is_err());
    assert!(Story::read(&records[1..]).is_err());
    assert!(Story::read(&[]).is_err());
}

#[test]
fn a_clock_that_jumped_back_makes_no_certificate_older_than_its_facts() {
    let records = promoted();
    let story = Story::read(&records).unwrap();

    let facts = story.facts(None, None, fixture::certifier(), Timestamp(0)).unwrap();

    assert!(facts.issued >= facts.ended && facts.ended >= facts.received);
    assert!(facts.received > At(Timestamp(0)));
}
