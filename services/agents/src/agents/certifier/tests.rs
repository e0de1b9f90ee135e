use certificate::{Trust, Verified, verify};
use model::{
    Event, GateResult, Plan, Record, StepKind, Timestamp, Verdict,
    audit::{AuditAppend, AuditLevel},
    deployment::{Cause, CauseKind, Mode},
    plan::Snapshot,
    step::{Agent, Stage, Step},
};

use super::*;
use crate::{
    deploy::tests::{World, job, scale, spec, weight},
    store::memory::Log,
};

/// The one that the steps of these tests belong to.
fn deployment() -> DeploymentId {
    job(Stage::Finish, 20, StepKind::Certify).deployment
}

fn record(version: u64, events: Vec<Event>) -> Record {
    Record {
        id: deployment().to_string(),
        version,
        writer: "rep-1".to_owned(),
        at: Timestamp(version as i64),
        trace: None,
        events,
    }
}

/// What is deployed: blue-green, so that the traffic moves at once.
fn release(build: &str) -> model::DeploymentSpec {
    let strategy = serde_json::from_value(serde_json::json!({ "blueGreen": { "hold": "0s" } })).unwrap();
    model::DeploymentSpec { strategy, ..spec(build) }
}

/// Every step that the spec asks for; the fourth moves the traffic, and its gates are judged.
fn steps() -> Vec<Step> {
    let (module, revision) = (release("two").modules[0].name.clone(), release("two").modules[0].revision());
    let by = |number: u64, stage, agent, kind| Step { agent, ..job(stage, number, kind).step };
    vec![
        by(1, Stage::Check, Agent::Architect, StepKind::Review),
        by(2, Stage::Check, Agent::Integrator, StepKind::Review),
        by(3, Stage::Check, Agent::Security, StepKind::Review),
        weight(4, 100, true).step,
        scale(5, "two", 3).step,
        by(10, Stage::Execute, Agent::Guardian, StepKind::Guard { module, revision }),
        by(6, Stage::Verify, Agent::Validator, StepKind::Validate),
        by(7, Stage::Verify, Agent::Performance, StepKind::Validate),
        by(8, Stage::Verify, Agent::Guardian, StepKind::Validate),
        Step { stage: Stage::Finish, ..scale(9, "one", 0).step },
    ]
}

/// A promoted deployment of one verified share, whose step has these gates.
fn journal(gates: Vec<GateResult>) -> Vec<Record> {
    let baseline = Snapshot { deployment: "dep-0".parse().unwrap(), spec: release("one"), at: Timestamp(0) };
    let plan = Plan {
        target: release("two").target_id(),
        spec: Digest::of(&release("two")),
        baseline: Some(baseline.digest()),
        changes: Vec::new(),
        steps: steps(),
        no_return_after: None,
        at_least: model::Span::seconds(0),
    };
    let received = Event::Received {
        spec: Box::new(release("two")),
        spec_digest: Digest::of(&release("two")),
        mode: Mode::Apply,
        initiator: model::Principal::stated("ada").unwrap(),
        expected_plan: None,
        force: None,
    };
    let planned = Event::Planned { plan: Box::new(plan), baseline: Some(Box::new(baseline)) };
    let (mut done, until) = (Vec::new(), Timestamp(2_000_000));
    for step in steps().into_iter().filter(|step| step.stage != Stage::Finish) {
        let gates = match step.id.as_str() {
            "s04-step" => gates.clone(),
            "s08-step" => vec![GateResult {
                limit: "== 0".to_owned(),
                measured: Some(0.0),
                gate: "soak".to_owned(),
                ..gate()
            }],
            _ => Vec::new(),
        };
        done.extend(match step.id.as_str() {
            "s04-step" => vec![
                Event::LockAwaited { until },
                Event::Locked { token: 1 },
                Event::ExecutionBegan { until },
            ],
            "s06-step" => vec![Event::VerificationBegan {}],
            _ => Vec::new(),
        });
        let result = StepResult { gates, ..StepResult::new(Outcome::Succeeded, "done") };
        let (attempt, idem_key) = (1, format!("key-{}", step.id));
        let fence = model::Fence { lock: 1, epoch: 2 };
        done.push(Event::StepScheduled { step: step.id.clone(), attempt, idem_key, fence, until });
        done.push(Event::StepFinished { step: step.id, attempt, runner: "rep-2".to_owned(), result });
    }
    vec![record(1, vec![received, planned]), record(2, done), record(3, vec![Event::Promoted {}])]
}

fn rolled_back() -> Vec<Record> {
    let mut records = journal(Vec::new());
    let cause = Cause {
        kind: CauseKind::Failed,
        step: None,
        gate: None,
        text: "error-rate 0.4, limit < 0.05".to_owned(),
        at: Timestamp(2),
    };
    let began = Event::RollbackBegan { cause, epoch: 3, steps: Vec::new(), until: Timestamp(9) };
    records[2] = record(3, vec![began, Event::RolledBack {}]);
    records
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
        evidence: None,
    }
}

/// What the journal says runs: three instances of this revision, with all traffic.
async fn running(version: &str, records: Vec<Record>) -> World {
    let world = World::new();
    world.store.with(|shared| shared.history = records);
    let share = if version == "two" { 100 } else { 0 };
    for job in [scale(1, version, 3), weight(2, share, false)] {
        let result = world.run(&job).await;
        assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    }
    world
}

async fn certify_in(world: &World) -> StepResult {
    let mut job = job(Stage::Finish, 20, StepKind::Certify);
    job.step.agent = Agent::Certifier;
    world.run(&job).await
}

/// The stored certificate, verified with the published keys and, if there is one, by the audit log.
fn stored(world: &World) -> (CertificateEntry, Verified) {
    world.store.with(|shared| {
        let (entry, _) = shared.certificates[&deployment().to_string()].clone();
        let trust = Trust { keys: shared.keys.clone(), log: shared.log.as_ref().map(Log::policy) };
        let verified =
            verify(&shared.evidence[&entry.file.to_string()], &trust.ready().unwrap(), world.engine.now())
                .unwrap();
        (entry, verified)
    })
}

#[tokio::test(start_paused = true)]
async fn a_promotion_is_signed_with_every_number_and_limit() {
    let world = running("two", journal(vec![gate()])).await;

    let result = certify_in(&world).await;

    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    assert!(result.reason.starts_with("certified as PROMOTED, not in the audit log:"), "{}", result.reason);
    let (entry, verified) = stored(&world);
    assert_eq!(result.evidence, Some(entry.file));
    assert!(verified.is_positive());
    assert_eq!(verified.facts.initiator, model::Principal::stated("ada").unwrap());
    let gate = &verified.facts.gates[0];
    assert_eq!((gate.measured, gate.limit.as_str()), (Some(100.0), "100 ± 5.0 %"));
}

#[tokio::test(start_paused = true)]
async fn the_audit_log_holds_what_was_signed() {
    let world = running("two", journal(vec![gate()])).await;
    world.store.with(|shared| shared.log = Some(Log::new()));

    let result = certify_in(&world).await;

    assert_eq!(result.reason, "certified as PROMOTED, entry 25 of the audit log");
    let (entry, verified) = stored(&world);
    assert_eq!(entry.index, Some(25));
    assert_eq!(verified.log.unwrap().index, 25);
    let audit = verified.facts.audit.unwrap();
    assert_eq!((audit.first, audit.last, audit.records, audit.size), (0, 24, 3, 25));
}

#[tokio::test(start_paused = true)]
async fn what_was_signed_while_no_log_was_kept_is_brought_to_it_later() {
    let world = running("two", journal(vec![gate()])).await;
    certify_in(&world).await;
    assert!(log_missing(&world.engine).await.is_err());

    world.store.with(|shared| shared.log = Some(Log::new()));
    log_missing(&world.engine).await.unwrap();
    log_missing(&world.engine).await.unwrap();

    let (entry, verified) = stored(&world);
    assert_eq!(entry.index, Some(0));
    assert!(verified.log.is_some());
    assert_eq!(world.store.with(|shared| shared.log.as_ref().unwrap().records.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_promotion_whose_gate_has_no_evidence_is_not_certified_as_one() {
    let world = running("two", journal(Vec::new())).await;

    let result = certify_in(&world).await;

    assert_eq!(result.outcome, Outcome::Failed);
    assert!(result.reason.contains("has no gate: nothing was measured"), "{}", result.reason);
    assert_eq!(stored(&world).1.facts.ending, Ending::Unproven);
}

#[tokio::test(start_paused = true)]
async fn a_promotion_beside_which_something_else_runs_is_not_certified_as_one() {
    let world = running("one", journal(vec![gate()])).await;

    let result = certify_in(&world).await;

    assert_eq!(result.outcome, Outcome::Failed);
    let facts = stored(&world).1.facts;
    assert_eq!(facts.ending, Ending::Unproven);
    assert!(!facts.observed.unwrap().differences.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_release_that_went_back_gets_a_signed_no() {
    let world = running("one", rolled_back()).await;

    let result = certify_in(&world).await;

    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    let verified = stored(&world).1;
    assert!(!verified.is_positive());
    assert_eq!(verified.facts.ending, Ending::RolledBack);
    assert_eq!(verified.facts.observed.unwrap().expected, Some(Digest::of(&release("one"))));
}

#[tokio::test(start_paused = true)]
async fn what_never_came_to_the_certifier_is_certified_when_it_is_over() {
    let mut records = journal(Vec::new());
    records.truncate(1);
    let cause = Cause {
        kind: CauseKind::Quarantined,
        step: None,
        gate: None,
        text: "was rolled back before".to_owned(),
        at: Timestamp(2),
    };
    records.push(record(2, vec![Event::Decided { verdict: Verdict::Rejected, cause: Some(cause) }]));
    let world = World::new();
    world.store.with(|shared| shared.history = records);

    issue(&world.engine, &deployment()).await.unwrap();

    let facts = stored(&world).1.facts;
    assert_eq!((facts.ending, facts.observed), (Ending::Rejected, None));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_stands_is_not_made_again() {
    let world = running("two", journal(vec![gate()])).await;

    let (first, second) = (certify_in(&world).await, certify_in(&world).await);

    assert_eq!(first.evidence, second.evidence);
    assert_eq!(second.outcome, Outcome::Succeeded);
    assert_eq!(world.store.with(|shared| shared.keys.len()), 2);
}

/// The clock was two hours ahead when it was signed, for a moment.
#[tokio::test(start_paused = true)]
async fn a_certificate_that_a_wrong_clock_dated_ahead_is_issued_anew_once_the_clock_is_right() {
    let world = running("two", journal(vec![gate()])).await;
    world.store.with(|shared| shared.log = Some(Log::new()));
    let right = world.engine.now();
    // The keys are older than that moment.
    world.engine.signing.keys.open(world.engine.store.as_ref(), right).await.unwrap();
    world.hands.set(right.plus(Duration::from_secs(7_200)));
    certify_in(&world).await;
    renew(&world.engine).await.unwrap();
    let ahead = world.store.with(|shared| shared.certificates[&deployment().to_string()].0.clone());
    assert!(ahead.issued > right, "while the clock is wrong nothing is known of it");

    world.hands.set(right);
    renew(&world.engine).await.unwrap();
    let (entry, verified) = stored(&world);
    renew(&world.engine).await.unwrap();

    assert!(entry.issued <= right.plus(Duration::from_secs(300)) && entry.file != ahead.file, "{entry:?}");
    assert_eq!((verified.facts.ending, entry.index.is_some()), (Ending::Promoted, true));
    assert_eq!(stored(&world).0, entry, "and not again");
    let issued = world.store.with(|shared| {
        let log = &shared.log.as_ref().unwrap().records;
        log.iter().filter(|record| record.action == log::ACTION).count()
    });
    assert_eq!(issued, 2, "the earlier one stays in the log");
}

#[tokio::test(start_paused = true)]
async fn a_message_under_the_certifiers_name_keeps_no_certificate_from_the_log() {
    let world = running("two", journal(vec![gate()])).await;
    let planted = AuditRecord {
        v: 1,
        source: "certifier-test".to_owned(),
        counter: 1,
        part: 1,
        parts: 1,
        at: Timestamp(1),
        actor: "grace".to_owned(),
        action: "deployment.approved".to_owned(),
        subject: deployment().to_string(),
        outcome: AuditOutcome::Done,
        reason: None,
        cause: None,
        trace: None,
        detail: serde_json::Value::Null,
        payload: None,
    };
    let append = AuditAppend { records: vec![planted], level: AuditLevel::Accepted };
    world.store.with(|shared| shared.log.insert(Log::new()).append(&append).map(drop)).unwrap();

    let result = certify_in(&world).await;

    assert!(result.reason.ends_with("of the audit log"), "{}", result.reason);
    assert!(stored(&world).1.log.is_some());
    let log = world.store.with(|shared| shared.log.as_ref().unwrap().records.clone());
    let alarm = log.iter().find(|record| record.action == crate::signing::TAKEN).unwrap();
    assert_eq!((alarm.subject.as_str(), alarm.outcome), ("certifier-test", AuditOutcome::Failed));
    let own = log.last().unwrap();
    assert!(own.source.starts_with("certifier-test-") && own.source == alarm.source, "{}", own.source);
    assert_eq!((alarm.counter, own.counter), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_revocation_is_told_without_another_certificate_and_never_taken_back() {
    let world = running("two", journal(vec![gate()])).await;
    certify_in(&world).await;
    let told = || world.store.with(|shared| shared.keys.clone());
    let before = told();
    let folder = world.keys.path().to_owned();

    certificate::keys::file::revoke(&folder, &before[0].id, world.engine.now()).unwrap();
    world.engine.signing.keys.publish_news(world.engine.store.as_ref()).await.unwrap();

    let revoked = told().into_iter().find(|key| key.id == before[0].id).unwrap();
    assert!(revoked.revoked.is_some());
    world.engine.store.publish_key(&before[0]).await.unwrap();
    assert!(told().contains(&revoked), "whoever has not heard of it takes it back");
}
