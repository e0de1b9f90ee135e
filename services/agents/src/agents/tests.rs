//! Agents that look at what runs: against the scripted platform, with instances that really answer where it matters.

use std::{sync::Arc, time::Duration};

use gates::Measurements;
use model::{
    DeploymentId, Digest, Outcome, Severity, StepKind,
    asked::{Asked, Share},
    deployment::StepJob,
    step::{Agent, Stage, StepResult},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::validator;
use crate::{
    context::{Ctx, Stop},
    deploy::tests::{World, job, revision, scale, spec, web, weight},
    door::Met,
};

fn by(agent: Agent, stage: Stage, kind: StepKind) -> StepJob {
    let mut job = job(stage, 9, kind);
    job.step.agent = agent;
    job
}

fn validate(stage: Stage) -> StepJob {
    by(Agent::Validator, stage, StepKind::Validate)
}

/// The new revision is promoted, the old one still stands beside it.
async fn moved() -> World {
    moved_in(World::new()).await
}

async fn moved_in(world: World) -> World {
    for job in [scale(1, "one", 3), scale(2, "two", 3), weight(3, 100, false)] {
        let result = world.run(&job).await;
        assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    }
    world
}

fn told(result: &StepResult) -> Vec<&str> {
    result.findings.iter().map(|found| found.message.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_runs_as_planned_is_valid_with_the_old_set_beside_it() {
    let result = moved().await.run(&validate(Stage::Verify)).await;

    assert_eq!(
        (result.outcome, result.reason.as_str()),
        (Outcome::Succeeded, "what runs equals the plan"),
        "{result:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn on_the_way_back_nothing_of_the_new_revision_may_be_left() {
    let world = moved().await;

    let too_early = world.run(&validate(Stage::Rollback)).await;
    for (epoch, mut job) in [(4, weight(4, 0, false)), (5, scale(5, "two", 0))] {
        (job.step.stage, job.fence.epoch) = (Stage::Rollback, epoch);
        assert_eq!(world.run(&job).await.outcome, Outcome::Succeeded);
    }
    let back = world.run(&validate(Stage::Rollback)).await;

    assert_eq!(too_early.outcome, Outcome::Failed);
    assert!(told(&too_early).iter().any(|text| text.contains("is left over")), "{:?}", told(&too_early));
    assert_eq!(
        (back.outcome, back.reason.as_str()),
        (Outcome::Succeeded, "what runs equals the baseline"),
        "{back:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_and_an_ended_instance_are_told_with_their_numbers() {
    let world = moved().await;
    let target = spec("two").target_id();
    let id = |slot| platform::instance_id(&target, &web(), &revision(&spec("two")), slot);
    world.platform.lose(&target, &id(0));
    world.platform.crash(&target, &id(1), 7);

    let result = world.run(&validate(Stage::Verify)).await;

    assert_eq!(result.outcome, Outcome::Failed);
    let told = told(&result).join("\n");
    assert!(told.contains("1 instances of web") && told.contains("3 should"), "{told}");
    assert!(told.contains("has ended with exit status 7"), "{told}");
    assert!(told.contains("which does not run"), "{told}");
}

/// A tenth of the traffic is on trial: that is what the release under way asks for.
#[tokio::test(start_paused = true)]
async fn what_a_release_under_way_asks_for_is_no_drift_and_what_differs_from_it_is() {
    let world = World::new();
    for job in [scale(1, "one", 3), scale(2, "two", 1), weight(3, 10, false)] {
        assert_eq!(world.run(&job).await.outcome, Outcome::Succeeded);
    }
    let (old, new) = (spec("one"), spec("two"));
    let target = new.target_id();
    let of = |spec: &model::DeploymentSpec, count, percent| Asked {
        module: web(),
        revision: revision(spec),
        least: count,
        most: count,
        traffic: Some(Share::exactly(percent)),
    };
    let asked = [of(&old, 3, 90), of(&new, 1, 10)];
    let look = async |asked: &[Asked]| {
        let drifts = validator::against(&world.engine, &target, asked, &[&new, &old]).await.unwrap();
        drifts.into_iter().map(|drift| drift.text).collect::<Vec<_>>()
    };

    assert_eq!(look(&asked).await, Vec::<String>::new());
    let alone = look(&Asked::by(&old)).await.join("; ");
    let other = look(&[of(&old, 3, 50), of(&new, 1, 50)]).await.join("; ");
    world.platform.crash(&target, &platform::instance_id(&target, &web(), &revision(&new), 0), 3);
    let died = look(&asked).await.join("; ");

    assert!(alone.contains("is left over") && alone.contains("all of it should go to"), "{alone}");
    assert!(other.contains("50 % should go to"), "{other}");
    assert!(died.contains("0 instances of web") && died.contains("exit status 3"), "{died}");
}

#[tokio::test(start_paused = true)]
async fn traffic_that_goes_elsewhere_is_not_valid() {
    let world = moved().await;
    world.run(&weight(4, 30, false)).await;

    let result = world.run(&validate(Stage::Verify)).await;

    assert!(told(&result).iter().any(|text| text.contains("all of it should go to")), "{:?}", told(&result));
}

#[tokio::test(start_paused = true)]
async fn what_clients_do_not_reach_is_not_valid() {
    let mut world = moved().await;
    assert_eq!(world.run(&validate(Stage::Verify)).await.outcome, Outcome::Succeeded);

    *world.door.instead.lock().unwrap() = Some(Met { status: 200, ..Met::default() });
    let elsewhere = world.run(&validate(Stage::Verify)).await;
    *world.door.instead.lock().unwrap() = None;
    world.plane.closed = Some("cannot listen".to_owned());
    // It says so with its next count.
    world.beside(tokio::time::sleep(Duration::from_secs(1))).await;
    let closed = world.run(&validate(Stage::Verify)).await;

    for (result, rule) in [(elsewhere, "validator/closed-door"), (closed, "validator/late-data-plane")] {
        assert_eq!(result.outcome, Outcome::Failed, "{result:?}");
        assert_eq!(result.findings[0].rule, rule);
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_while_nothing_changes_is_noticed() {
    let world = moved().await;
    let job = by(Agent::Guardian, Stage::Verify, StepKind::Validate);
    let ctx = Ctx::new(Arc::clone(&world.engine), Stop::default());
    let target = spec("two").target_id();
    let crash = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let id = platform::instance_id(&target, &web(), &revision(&spec("two")), 0);
        world.platform.crash(&target, &id, 1);
    };

    let calm = world.run(&job).await;
    let (shaken, ()) = world.beside(async { tokio::join!(super::run(&job, &ctx, false), crash) }).await;

    assert_eq!(calm.outcome, Outcome::Succeeded, "{calm:?}");
    assert!(calm.evidence.is_some());
    assert_eq!(shaken.unwrap().findings[0].rule, "guardian/restart");
}

#[tokio::test(start_paused = true)]
async fn a_slower_revision_is_told_when_it_is_promoted_and_its_numbers_are_kept() {
    let mut world = World::new();
    world.plane.requests = 100;
    world.plane.latency = [(revision(&spec("two")), 1900)].into();
    for job in [scale(1, "one", 1), scale(2, "two", 1), weight(3, 0, true), weight(4, 50, true)] {
        assert_eq!(world.run(&job).await.outcome, Outcome::Succeeded);
    }

    let result = world.run(&by(Agent::Performance, Stage::Verify, StepKind::Validate)).await;

    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    assert_eq!(
        (result.findings[0].rule.as_str(), result.findings[0].severity),
        ("performance/regression", Severity::Medium)
    );
    let key = super::performance::key(&spec("two").target_id(), &web());
    let kept = world.store.with(|shared| shared.values[&key].clone());
    let kept = &kept["revisions"][0];
    assert_eq!(kept["revision"], revision(&spec("two")).as_str());
    assert!(kept["requests"].as_u64() > Some(0) && kept["throughput"].as_f64() > Some(0.0), "{kept}");
}

#[tokio::test(start_paused = true)]
async fn the_checks_before_the_change_touch_nothing() {
    let world = World::new();
    for agent in [Agent::Architect, Agent::Integrator, Agent::Security] {
        let result = world.run(&by(agent, Stage::Check, StepKind::Review)).await;
        assert_eq!(result.outcome, Outcome::Succeeded, "{agent}: {result:?}");
    }

    assert!(world.platform.ledger().writes.is_empty());
    assert!(world.store.with(|shared| shared.tables.is_empty()));
}

/// Answers every request with this status and body; gives the address.
async fn server(status: u16, body: &'static str) -> (String, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0_u8; 2048];
            let _ = stream.read(&mut asked).await;
            let answer = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, tasks)
}

/// The new revision runs and answers so.
async fn answering(status: u16, body: &'static str, smoke: &str) -> StepResult {
    answered(status, body, smoke).await.0
}

async fn answered(status: u16, body: &'static str, smoke: &str) -> (StepResult, World) {
    let (address, _server) = server(status, body).await;
    let mut world = World::new();
    world.plane.absent = true;
    let mut job = by(Agent::Tester, Stage::Execute, StepKind::Validate);
    job.spec.modules[0].smoke = serde_json::from_str(smoke).unwrap();
    job.spec.modules[0].health = None;
    job.spec.modules[0].expose = None;
    let revision = job.spec.modules[0].revision();
    world.platform.script(|script| script.set_address(&web(), None, "http", &address));
    let mut start = job.clone();
    start.step.agent = Agent::Deployer;
    start.step.kind = StepKind::Scale { module: web(), revision: revision.clone(), count: 1 };
    assert_eq!(world.run(&start).await.outcome, Outcome::Succeeded);
    job.step.kind = StepKind::Smoke { module: web(), revision };
    let result = world.run(&job).await;
    (result, world)
}

#[tokio::test]
async fn every_smoke_request_is_kept_with_what_was_expected_and_what_came() {
    let (result, world) = answered(503, "busy", r#"[{"path":"/a","contains":"shop","times":3}]"#).await;

    let Measurements::Smoke(kept) = world.document(&result.gates[0]).measured else { panic!("a smoke test") };
    assert_eq!(
        (kept.test.status, kept.test.contains.as_deref(), kept.requests.len()),
        (200, Some("shop"), 3)
    );
    for request in kept.requests {
        assert_eq!((request.status, request.contained), (Some(503), Some(false)));
        assert_eq!(request.body, Some(Digest::of_bytes(b"busy")));
        assert!(request.url.ends_with("/a") && request.micros > 0, "{request:?}");
    }
}

#[tokio::test]
async fn smoke_tests_look_at_status_and_content() {
    let good =
        answering(200, "hello shop", r#"[{"path":"/","contains":"shop"},{"path":"/load","times":25}]"#).await;
    assert_eq!(good.outcome, Outcome::Succeeded, "{good:?}");
    assert_eq!(good.gates.iter().map(|gate| gate.samples).collect::<Vec<_>>(), [1, 25]);

    let wrong = answering(503, "busy", r#"[{"path":"/"}]"#).await;
    assert_eq!(wrong.outcome, Outcome::Failed);
    assert!(wrong.reason.ends_with("/ answered 503, expected 200"), "{}", wrong.reason);

    let without = answering(200, "hello", r#"[{"path":"/","contains":"shop"}]"#).await;
    assert!(without.reason.ends_with("answered without \"shop\""), "{}", without.reason);
}

/// Instances that another deployment started and nothing asks for any more.
async fn with_leftovers() -> World {
    let world = World::new();
    let mut other = scale(1, "three", 2);
    other.deployment = DeploymentId::derived("one that needed a human");
    *other.spec = spec("three");
    let result = world.run(&other).await;
    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    moved_in(world).await
}

#[tokio::test(start_paused = true)]
async fn what_another_deployment_left_is_taken_away_and_decides_nothing() {
    for stage in [Stage::Verify, Stage::Rollback] {
        let world = with_leftovers().await;
        if stage == Stage::Rollback {
            for (epoch, mut job) in [(4, weight(4, 0, false)), (5, scale(5, "two", 0))] {
                (job.step.stage, job.fence.epoch) = (Stage::Rollback, epoch);
                assert_eq!(world.run(&job).await.outcome, Outcome::Succeeded);
            }
        }

        let result = world.run(&validate(stage)).await;

        assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
        let there = platform::Platform::observe(&world.platform, &spec("two").target_id()).await.unwrap();
        let gone = revision(&spec("three"));
        assert!(there.iter().all(|instance| instance.revision != gone), "{there:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_deployment_left_and_cannot_be_taken_away_is_named_and_decides_nothing() {
    let world = with_leftovers().await;
    let gone = revision(&spec("three"));
    world.platform.script(|script| script.set_stuck(&web(), Some(&gone), true));

    let result = world.run(&validate(Stage::Verify)).await;

    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    assert_eq!(result.reason, "what runs equals the plan, with 2 findings");
    let other = DeploymentId::derived("one that needed a human");
    for (slot, found) in result.findings.iter().enumerate() {
        let id = platform::instance_id(&spec("two").target_id(), &web(), &gone, slot as u32);
        assert_eq!((found.rule.as_str(), found.severity), ("validator/left-over", Severity::Medium));
        let named = format!("instance {id} of {other} is left over and could not be taken away: ");
        assert!(found.message.starts_with(&named), "{}", found.message);
    }
    let there = platform::Platform::observe(&world.platform, &spec("two").target_id()).await.unwrap();
    assert_eq!(there.iter().filter(|instance| instance.revision == gone).count(), 2, "{there:?}");
}
