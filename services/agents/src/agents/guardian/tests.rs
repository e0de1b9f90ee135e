use std::sync::Arc;

use model::{Span, StepKind, step::Stage};

use super::*;
use crate::{
    context::Stop,
    deploy::tests::{World, job, revision, scale, spec, web, weight},
};

const SOAK: Duration = Duration::from_secs(12);

/// Three instances of the new revision soak while something happens to them.
async fn soaked(happens: impl AsyncFnOnce(&World, [String; 3])) -> StepResult {
    let world = World::new();
    for job in [scale(1, "one", 3), scale(2, "two", 3), weight(3, 100, false)] {
        assert_eq!(world.run(&job).await.outcome, Outcome::Succeeded);
    }
    let mut job = job(Stage::Verify, 9, StepKind::Validate);
    job.step.agent = Agent::Guardian;
    job.spec.soak = Some(Span(SOAK));
    let ctx = Ctx::new(Arc::clone(&world.engine), Stop::default());
    let target = job.spec.target_id();
    let ids = [0, 1, 2].map(|slot| platform::instance_id(&target, &web(), &revision(&spec("two")), slot));
    let began = tokio::time::Instant::now();

    let (result, ()) = tokio::join!(validate(&job, &ctx), happens(&world, ids));

    assert!(began.elapsed() >= SOAK, "the whole window is judged");
    result.unwrap()
}

/// A trial of three instances with a tenth of the traffic, looked after while something happens to it. It is told to
/// finish when that is over.
async fn guarded(happens: impl AsyncFnOnce(&World, [String; 3])) -> (StepResult, Duration) {
    let world = World::new();
    for job in [scale(1, "one", 3), scale(2, "two", 3), weight(3, 10, false)] {
        assert_eq!(world.run(&job).await.outcome, Outcome::Succeeded);
    }
    let (mut job, stop) = (job(Stage::Execute, 4, guard_of_two()), Stop::default());
    job.step.agent = Agent::Guardian;
    let ctx = Ctx::new(Arc::clone(&world.engine), stop.clone());
    let target = job.spec.target_id();
    let ids = [0, 1, 2].map(|slot| platform::instance_id(&target, &web(), &revision(&spec("two")), slot));
    let began = tokio::time::Instant::now();
    let happens = async {
        happens(&world, ids).await;
        stop.finish.cancel();
    };

    let guarding = async { (crate::agents::run(&job, &ctx, false).await.unwrap(), began.elapsed()) };
    let ((result, took), ()) = tokio::join!(guarding, happens);

    (result, took)
}

fn guard_of_two() -> StepKind {
    StepKind::Guard { module: web(), revision: revision(&spec("two")) }
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_stays_well_passes_when_the_guard_is_told_to_finish() {
    let (result, took) = guarded(async |_, _| seconds(300).await).await;

    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    assert!(took >= Duration::from_secs(300) && took < Duration::from_secs(302), "{took:?}");
    let gate = &result.gates[0];
    assert_eq!((gate.gate.as_str(), gate.measured, gate.samples), ("trial", Some(0.0), 3));
}

#[tokio::test(start_paused = true)]
async fn a_trial_of_which_one_dies_fails_within_seconds_however_long_somebody_is_waited_for() {
    let mut bad = String::new();
    let (result, took) = guarded(async |world, ids| {
        seconds(100).await;
        world.platform.crash(&spec("two").target_id(), &ids[1], 3);
        bad = ids[1].clone();
        seconds(3600).await;
    })
    .await;

    assert_eq!((result.outcome, rules(&result)), (Outcome::Failed, vec!["guardian/restart"]));
    assert!(took < Duration::from_secs(102), "{took:?}");
    assert!(
        result.reason.contains(&format!("instance {bad} ended while it was on trial")),
        "{}",
        result.reason
    );
    assert!(result.reason.contains("exit status 3"), "{}", result.reason);
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_becomes_unhealthy_or_is_taken_away_fails() {
    let (unhealthy, _) = guarded(async |world, _| {
        world.platform.script(|script| script.set_never_ready(&web(), None, true));
        seconds(600).await;
    })
    .await;
    let (lost, _) = guarded(async |world, ids| {
        seconds(3).await;
        world.platform.lose(&spec("two").target_id(), &ids[2]);
        seconds(600).await;
    })
    .await;

    assert_eq!(rules(&unhealthy), ["guardian/unhealthy"; 3], "{unhealthy:?}");
    assert_eq!(rules(&lost), ["guardian/restart"], "{lost:?}");
}

/// Its runner died, and another one begins the step anew.
#[tokio::test(start_paused = true)]
async fn a_guard_that_begins_anew_finds_what_happened_meanwhile() {
    for gone in [true, false] {
        let world = World::new();
        for job in [scale(1, "one", 3), scale(2, "two", 3), weight(3, 10, false)] {
            assert_eq!(world.run(&job).await.outcome, Outcome::Succeeded);
        }
        let target = spec("two").target_id();
        let id = platform::instance_id(&target, &web(), &revision(&spec("two")), 0);
        match gone {
            true => world.platform.lose(&target, &id),
            false => world.platform.crash(&target, &id, 1),
        }
        let mut job = job(Stage::Execute, 4, guard_of_two());
        job.step.agent = Agent::Guardian;

        let result = world.run(&job).await;

        assert_eq!(rules(&result), ["guardian/restart"], "{result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_only_being_started_is_no_fault_of_the_trial() {
    let world = World::new();
    for job in [scale(1, "one", 3), scale(2, "two", 1), weight(3, 10, false)] {
        assert_eq!(world.run(&job).await.outcome, Outcome::Succeeded);
    }
    let (mut job, stop) = (job(Stage::Execute, 4, guard_of_two()), Stop::default());
    job.step.agent = Agent::Guardian;
    let ctx = Ctx::new(Arc::clone(&world.engine), stop.clone());
    let grown = async {
        seconds(5).await;
        assert_eq!(world.run(&scale(5, "two", 3)).await.outcome, Outcome::Succeeded);
        stop.finish.cancel();
    };
    let module = web();

    let (result, ()) = tokio::join!(guard(&job, &ctx, &module), grown);

    let result = result.unwrap();
    assert_eq!((result.outcome, result.gates[0].samples), (Outcome::Succeeded, 3), "{result:?}");
}

fn rules(result: &StepResult) -> Vec<&str> {
    result.findings.iter().map(|found| found.rule.as_str()).collect()
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn what_stays_well_passes_and_says_how_long_it_was_watched() {
    let result = soaked(async |_, _| {}).await;

    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    assert!(result.reason.starts_with("3 instances stayed well over 12s"), "{}", result.reason);
    assert_eq!((result.gates[0].gate.as_str(), result.gates[0].measured), ("soak", Some(0.0)));
}

#[tokio::test(start_paused = true)]
async fn health_that_flaps_is_found_although_the_last_look_is_good() {
    let result = soaked(async |world, _| {
        // Between the probes: two timers of one instant go off in either order.
        tokio::time::sleep(Duration::from_millis(600)).await;
        for on in [true, false, true, false, true, false, true, false] {
            world.platform.script(|script| script.set_never_ready(&web(), None, on));
            seconds(1).await;
        }
    })
    .await;

    assert_eq!(rules(&result), ["guardian/flapping"; 3], "{result:?}");
    assert!(result.reason.contains("probes failed"), "{}", result.reason);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_becomes_unhealthy_and_recovers_is_found() {
    let result = soaked(async |world, _| {
        seconds(1).await;
        world.platform.script(|script| script.set_never_ready(&web(), None, true));
        seconds(4).await;
        world.platform.script(|script| script.set_never_ready(&web(), None, false));
    })
    .await;

    assert_eq!(rules(&result), ["guardian/unhealthy"; 3], "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn two_failed_probes_are_no_fault() {
    let result = soaked(async |world, _| {
        world.platform.script(|script| script.set_never_ready(&web(), None, true));
        tokio::time::sleep(Duration::from_millis(1500)).await;
        world.platform.script(|script| script.set_never_ready(&web(), None, false));
    })
    .await;

    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn the_one_bad_instance_of_three_is_found_and_named() {
    let mut bad = String::new();
    let result = soaked(async |world, ids| {
        seconds(2).await;
        world.platform.crash(&spec("two").target_id(), &ids[1], 3);
        bad = ids[1].clone();
    })
    .await;

    assert_eq!(rules(&result), ["guardian/restart"]);
    assert!(result.reason.contains(&bad) && result.reason.contains("exit status 3"), "{}", result.reason);
    assert_eq!(result.gates[0].measured, Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn a_kill_for_want_of_memory_is_said_also_when_only_a_child_was_killed() {
    for whole in [true, false] {
        let result = soaked(async |world, ids| {
            seconds(2).await;
            world.platform.starve(&spec("two").target_id(), &ids[0], whole);
        })
        .await;

        assert_eq!(rules(&result), ["guardian/out-of-memory"], "{result:?}");
        assert!(result.reason.contains("for want of memory"), "{}", result.reason);
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_that_nobody_here_sent_is_said_as_such() {
    let result = soaked(async |world, ids| {
        world.platform.crash(&spec("two").target_id(), &ids[0], 137);
    })
    .await;

    assert!(result.reason.contains("signal 9, which the engine did not send"), "{}", result.reason);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_goes_away_is_found() {
    let result = soaked(async |world, ids| {
        seconds(2).await;
        world.platform.lose(&spec("two").target_id(), &ids[2]);
    })
    .await;

    assert_eq!(rules(&result), ["guardian/restart"]);
    assert!(result.reason.contains("went away"), "{}", result.reason);
}

#[test]
fn every_limit_of_the_spec_becomes_a_rule() {
    let spec: DeploymentSpec = serde_json::from_str(
        r#"{"apiVersion":"code/v1","name":"shop","target":"process","modules":[
            {"name":"web","run":{"command":["a"]},"expose":{"listen":8080},"analysis":{"metrics":[
                {"name":"errors","provider":{"errorRate":{}},"success":"< 0.05"},
                {"name":"slow","provider":{"latency":0.99},"failure":"> 250"}]}},
            {"name":"api","run":{"command":["a"]},"expose":{"listen":8081}},
            {"name":"job","run":{"command":["a"]}}]}"#,
    )
    .unwrap();

    let text = alert_rules(&spec);

    let alerts: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts, [r#""shop web errors""#, r#""shop web slow""#, r#""shop api error-rate""#]);
    assert!(text.contains(">= 0.05"), "{text}");
    assert!(text.contains("histogram_quantile(0.99"), "{text}");
}
