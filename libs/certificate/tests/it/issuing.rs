use certificate::{At, Ending, Story, verify, verify::check};
use model::{Digest, GateResult, Outcome, Timestamp};

use crate::fixture::{
    self, BEGAN, NOW, Office, facts, gate, person, promoted, promoted_with, rejected, retried, rolled_back,
};
use crate::{fixture::planned_again, mutations::sign};

#[tokio::test]
async fn a_promotion_with_all_its_evidence_is_certified() {
    let office = Office::open();

    let certificate = office.issue(&promoted()).await;
    let verified = verify(&certificate.to_bytes(), &office.ready(), NOW).unwrap();

    assert!(verified.is_positive());
    assert_eq!(verified.facts.initiator, person("ada"));
    assert_eq!(verified.facts.approvals[0].by, person("bob"));
    assert_eq!(verified.facts.gates.len(), 4);
    assert_eq!(verified.facts.steps.len(), 13);
    assert_eq!(verified.keys.len(), 2);
    assert!(verified.facts.inputs.iter().any(|input| input.kind == "sbom"));
}

#[tokio::test]
async fn a_release_that_went_back_gets_a_valid_no() {
    let office = Office::open();

    let verified = verify(&office.issue(&rolled_back()).await.to_bytes(), &office.ready(), NOW).unwrap();

    assert!(!verified.is_positive());
    assert_eq!(verified.facts.ending, Ending::RolledBack);
    let cause = verified.facts.cause.unwrap();
    assert!(cause.gate.unwrap().contains("measured 0.4, limit < 0.05"));
}

#[tokio::test]
async fn what_was_refused_before_a_plan_gets_a_valid_no() {
    let office = Office::open();

    let verified = verify(&office.issue(&rejected()).await.to_bytes(), &office.ready(), NOW).unwrap();

    assert_eq!(verified.facts.ending, Ending::Rejected);
    assert!(verified.plan.is_none());
}

#[test]
fn a_promotion_whose_evidence_has_a_gap_is_unproven() {
    let unmeasured = GateResult { measured: None, ..gate("error-rate", 0.0, "< 0.05") };

    for (gates, gap) in [
        (Vec::new(), "step s7-analyse has no gate error-rate: nothing was measured"),
        (
            vec![gate("error-rate", 0.06, "< 0.05")],
            "step s7-analyse gate error-rate measured 0.06, which is beyond < 0.05",
        ),
        (vec![unmeasured], "step s7-analyse gate error-rate has no measured value"),
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

    let error = certificate::issue(
        &facts,
        documents,
        fixture::journal(&promoted()),
        &office.classic,
        &office.quantum,
    )
    .await
    .unwrap_err();

    assert!(error.to_string().contains("gates: step s5-smoke has no gate"), "{error}");
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

#[tokio::test]
async fn a_deployment_that_was_planned_again_is_held_against_what_it_returned_to() {
    let office = Office::open();
    let (records, returned_to) = planned_again();
    let story = Story::read(&records).unwrap();

    assert_eq!(story.should_run(), Some(Some(&returned_to)));
    let (truth, documents) = facts(&records);
    assert_eq!(truth.observed.as_ref().unwrap().expected, Some(Digest::of(&returned_to)));
    assert_eq!(truth.baseline, Some(Digest::of(&returned_to)));
    let verified = check(&office.issue(&records).await, &office.ready(), NOW).unwrap();
    assert!(
        verified.believed.iter().any(|belief| belief.text.contains("a plan from another baseline")),
        "{:?}",
        verified.believed
    );

    let mut told = truth;
    let observed = told.observed.as_mut().unwrap();
    observed.expected = Some(Digest::of(&fixture::spec("1.0.0")));
    observed.differences = vec!["web runs 1.5.0, 1.0.0 should".to_owned()];
    let problems = check(&sign(&office, &told, documents, story.enclosed(None)).await, &office.ready(), NOW)
        .unwrap_err();
    assert_eq!(problems[0].field, "predicate.observed.expected");
}

#[tokio::test]
async fn a_way_back_that_was_asked_for_again_is_told_by_its_last_attempt() {
    let office = Office::open();
    let (facts, _) = facts(&retried());

    let step = facts.steps.last().unwrap();

    assert_eq!((step.id.as_str(), step.attempts, step.outcome), ("r1-validate", 1, Some(Outcome::Succeeded)));
    assert_eq!(facts.interventions[0].what, "rollback_retried");
    assert!(check(&office.issue(&retried()).await, &office.ready(), NOW).is_ok());
}
