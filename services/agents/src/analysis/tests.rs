use model::{Span, step::Stage};

use super::*;
use crate::{
    context::Stop,
    deploy::tests::{World, job, revision, scale, spec, web, weight},
};

fn analysis(metrics: &str) -> Analysis {
    serde_json::from_str(&format!(r#"{{"duration":"10s","metrics":[{metrics}]}}"#)).unwrap()
}

fn analyse(analysis: Analysis, background: bool) -> StepJob {
    let (revision, baseline) = (revision(&spec("two")), Some(revision(&spec("one"))));
    let kind = StepKind::Analyse { module: web(), revision, baseline, analysis, background };
    let mut job = job(Stage::Execute, 9, kind);
    job.step.agent = model::step::Agent::Performance;
    job
}

/// Half of the traffic goes to the new revision.
async fn world() -> World {
    let mut world = World::new();
    world.plane.requests = 100;
    world.run(&scale(1, "one", 1)).await;
    world.run(&scale(2, "two", 1)).await;
    let result = world.run(&weight(3, 50, false)).await;
    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    world
}

const ERRORS: &str =
    r#"{"name":"error-rate","provider":{"errorRate":{}},"success":"< 0.05","interval":"2s"}"#;

#[tokio::test(start_paused = true)]
async fn a_good_revision_passes_after_the_whole_duration() {
    let world = world().await;
    let began = Instant::now();

    let result = world.run(&analyse(analysis(ERRORS), false)).await;

    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    assert!(began.elapsed() >= Duration::from_secs(10));
    assert!(
        result.gates[0].text.starts_with("error-rate 0 of ")
            && result.gates[0].text.ends_with("requests, limit < 0.05"),
        "{}",
        result.gates[0].text
    );
    assert!(result.gates[0].samples > 0);
}

#[tokio::test(start_paused = true)]
async fn a_bad_revision_fails_at_the_first_measurement() {
    let mut world = world().await;
    world.plane.errors = [(revision(&spec("two")), 40)].into();
    let began = Instant::now();

    let result = world.run(&analyse(analysis(ERRORS), false)).await;

    assert_eq!(result.outcome, Outcome::Failed);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(result.reason.starts_with("error-rate 0."), "{}", result.reason);
    assert_eq!(result.gates[0].limit, "< 0.05");
}

#[tokio::test(start_paused = true)]
async fn no_traffic_is_no_pass_unless_the_spec_says_so() {
    for (policy, outcome) in
        [("inconclusive", Outcome::Inconclusive), ("fail", Outcome::Failed), ("pass", Outcome::Succeeded)]
    {
        let mut world = world().await;
        world.plane.requests = 0;
        let metric = ERRORS.replace("\"interval\"", &format!("\"noData\":\"{policy}\",\"interval\""));

        let result = world.run(&analyse(analysis(&metric), false)).await;

        assert_eq!(result.outcome, outcome, "{policy}");
        assert!(result.gates[0].text.contains("no data"), "{}", result.gates[0].text);
    }
}

#[tokio::test(start_paused = true)]
async fn an_extension_gives_more_time() {
    let mut world = world().await;
    world.plane.requests = 0;
    let mut job = analyse(analysis(ERRORS), false);
    job.extend = Some(Span::seconds(10));
    let began = Instant::now();

    world.run(&job).await;

    assert!(began.elapsed() >= Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn latency_is_held_against_the_old_revision_over_the_same_time() {
    const LATENCY: &str = r#"{"name":"p99","provider":{"latency":0.99},"baseline":{},"interval":"2s"}"#;
    let world = world().await;
    let same = world.run(&analyse(analysis(LATENCY), false)).await;
    assert_eq!(same.outcome, Outcome::Succeeded, "{same:?}");

    let mut world = world;
    world.plane.latency = [(revision(&spec("two")), 9000)].into();
    let slower = world.run(&analyse(analysis(LATENCY), false)).await;

    assert_eq!(slower.outcome, Outcome::Failed, "{slower:?}");
    assert!(slower.reason.contains("compared with the old revision"), "{}", slower.reason);
}

#[tokio::test(start_paused = true)]
async fn an_error_rate_above_the_old_one_fails_and_the_same_one_does_not() {
    const ERRORS: &str = r#"{"name":"errors","provider":{"errorRate":{}},"baseline":{},"interval":"1s"}"#;
    let both = [(revision(&spec("two")), 10), (revision(&spec("one")), 10)];
    let mut world = world().await;
    world.plane.errors = both.into();
    let same = world.run(&analyse(analysis(ERRORS), false)).await;
    assert_eq!(same.outcome, Outcome::Succeeded, "{same:?}");

    world.plane.errors = [(revision(&spec("two")), 40), (revision(&spec("one")), 10)].into();
    let worse = world.run(&analyse(analysis(ERRORS), false)).await;

    assert_eq!(worse.outcome, Outcome::Failed, "{worse:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_never_decides() {
    let mut world = world().await;
    world.plane.errors = [(revision(&spec("two")), 90)].into();
    let metric = ERRORS.replace("\"interval\"", "\"dryRun\":true,\"interval\"");

    let result = world.run(&analyse(analysis(&metric), false)).await;

    assert_eq!(result.outcome, Outcome::Succeeded);
    assert_eq!(result.gates[0].outcome, Outcome::Failed);
    assert!(result.gates[0].text.starts_with("dry run: "), "{}", result.gates[0].text);
}

#[tokio::test(start_paused = true)]
async fn in_the_background_it_watches_until_it_is_told_to_finish() {
    let world = world().await;
    let job = analyse(analysis(ERRORS), true);
    let stop = Stop::default();
    let ctx = Ctx::new(std::sync::Arc::clone(&world.engine), stop.clone());
    let finish = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        stop.finish.cancel();
    };
    let began = Instant::now();

    let (result, ()) = world.beside(async { tokio::join!(run(&job, &ctx), finish) }).await;

    let result = result.unwrap();
    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    // Tokio's timers count whole milliseconds from the runtime's start, so a sleep may end up to one later.
    assert_eq!(began.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn an_extended_background_analysis_waits_for_data_although_it_is_told_to_finish() {
    let mut world = world().await;
    world.plane.requests = 2;
    let mut job = analyse(analysis(ERRORS), true);
    job.extend = Some(Span::seconds(30));
    let stop = Stop::default();
    stop.finish.cancel();
    let ctx = Ctx::new(std::sync::Arc::clone(&world.engine), stop);
    let began = Instant::now();

    let result = world.beside(run(&job, &ctx)).await;

    assert_eq!(result.unwrap().outcome, Outcome::Succeeded);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}
