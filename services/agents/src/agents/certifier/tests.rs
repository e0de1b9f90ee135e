use model::{GateResult, Plan, deployment::Mode, step::Agent};

use super::*;
use crate::deploy::tests::{World, job, spec, weight};

fn record(version: u64, events: Vec<Event>) -> Record {
    Record {
        id: "dep-1".to_owned(),
        version,
        writer: "rep-1".to_owned(),
        at: Timestamp(version as i64),
        trace: None,
        events,
    }
}

/// A promoted deployment of one verified share, whose step has these gates.
fn journal(gates: Vec<GateResult>) -> Vec<Record> {
    let step = weight(4, 100, true).step;
    let plan = Plan {
        target: spec("two").target_id(),
        spec: model::Digest::of(&spec("two")),
        baseline: None,
        changes: Vec::new(),
        steps: vec![step.clone()],
        no_return_after: None,
        at_least: model::Span::seconds(0),
    };
    let result = StepResult { gates, ..StepResult::new(Outcome::Succeeded, "done") };
    let received = Event::Received {
        spec: Box::new(spec("two")),
        spec_digest: model::Digest::of(&spec("two")),
        mode: Mode::Apply,
        initiator: "ada".to_owned(),
        expected_plan: None,
        force: None,
    };
    vec![
        record(1, vec![received, Event::Planned { plan: Box::new(plan), baseline: None }]),
        record(
            2,
            vec![Event::StepFinished { step: step.id, attempt: 1, runner: "rep-2".to_owned(), result }],
        ),
        record(3, vec![Event::Promoted {}]),
    ]
}

fn gate() -> GateResult {
    GateResult {
        gate: "traffic-share".to_owned(),
        outcome: Outcome::Succeeded,
        measured: Some(100.0),
        limit: "100 ± 5.0 %".to_owned(),
        samples: 120,
        text: "100 % of 120 requests arrived".to_owned(),
        at: Timestamp(1),
    }
}

async fn certified(records: Vec<Record>) -> (StepResult, Value) {
    let world = World::new();
    world.store.with(|shared| shared.history = records);
    let mut job = job(Stage::Finish, 20, StepKind::Certify);
    job.step.agent = Agent::Certifier;
    let result = world.run(&job).await;
    let digest = result.evidence.as_ref().expect("the record is kept").to_string();
    let bytes = world.store.with(|shared| shared.evidence[&digest].clone());
    (result, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test(start_paused = true)]
async fn every_number_and_limit_stands_in_the_record() {
    let (result, record) = certified(journal(vec![gate()])).await;

    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    assert!(result.reason.ends_with(UNSIGNED), "{}", result.reason);
    let gate = &record["steps"][0]["attempts"][0]["result"]["gates"][0];
    assert_eq!((gate["measured"].as_f64(), gate["limit"].as_str()), (Some(100.0), Some("100 ± 5.0 %")));
    assert_eq!(record["verdict"], "promoted");
    assert_eq!(record["initiator"], "ada");
    assert_eq!(record["signature"], UNSIGNED);
}

#[tokio::test(start_paused = true)]
async fn a_promotion_whose_gate_has_no_evidence_is_not_certified() {
    let (result, record) = certified(journal(Vec::new())).await;

    assert_eq!(result.outcome, Outcome::Failed);
    assert!(result.reason.contains("has no gate: nothing was measured"), "{}", result.reason);
    assert_eq!(record["missing"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_release_that_went_back_is_recorded_as_such() {
    let mut records = journal(Vec::new());
    records[2] = self::record(3, vec![Event::RolledBack {}]);

    let (result, record) = certified(records).await;

    assert_eq!(result.outcome, Outcome::Succeeded);
    assert_eq!(record["verdict"], "rolled_back");
}
