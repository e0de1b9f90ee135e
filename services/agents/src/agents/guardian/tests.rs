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
