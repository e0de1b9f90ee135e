use model::{Span, route::RevisionCount, step::Stage};

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

/// A data plane that counted these requests to the new revision, 250 ms after the analysis began, and none after that.
async fn judged_by(metric: &str, count: RevisionCount, extend: bool) -> (StepResult, Duration) {
    let mut world = world().await;
    world.plane.absent = true;
    let mut job = analyse(analysis(metric), false);
    job.extend = extend.then(|| Span::seconds(10));
    let heard = world.engine.traffic.of(&job.spec.target_id()).await.unwrap();
    let say = |at: i64, count: RevisionCount| {
        heard.hear(model::route::TrafficCount {
            plane: "rep-7".to_owned(),
            target: job.spec.target_id(),
            module: web(),
            version: 1,
            at: model::Timestamp(at),
            revisions: [(revision(&spec("two")), count)].into(),
            unroutable: 0,
            closed: None,
        });
    };
    say(1, RevisionCount::default());
    let ctx = Ctx::new(std::sync::Arc::clone(&world.engine), Stop::default());
    let began = Instant::now();
    let requests = async {
        tokio::time::sleep(Duration::from_millis(250)).await;
        say(2, count);
    };
    let (result, ()) = tokio::join!(run(&job, &ctx), requests);
    (result.unwrap_or_else(StepResult::from), began.elapsed())
}

fn latencies(fast: u64, slow: u64) -> RevisionCount {
    let mut latency = stats::Histogram::default();
    (0..fast).for_each(|_| latency.record_micros(20_000));
    (0..slow).for_each(|_| latency.record_micros(2_000_000));
    RevisionCount { requests: fast + slow, latency: latency.into(), ..RevisionCount::default() }
}

#[tokio::test(start_paused = true)]
async fn one_error_of_31_requests_says_nothing_about_a_limit_of_one_percent() {
    let metric = ERRORS.replace("< 0.05", "< 0.01");
    let count = RevisionCount { requests: 31, errors: 1, ..RevisionCount::default() };

    let (result, _) = judged_by(&metric, count, false).await;

    assert_eq!(result.outcome, Outcome::Inconclusive, "{result:?}");
    assert!(result.reason.contains("1 of 31 requests failed"), "{}", result.reason);
    assert!(result.reason.contains("not known yet, it takes "), "{}", result.reason);
}

#[tokio::test(start_paused = true)]
async fn one_slow_request_of_36_is_not_the_99th_percentile() {
    const SLOW: &str = r#"{"name":"p99","provider":{"latency":0.99},"success":"< 500","interval":"2s"}"#;

    assert_eq!(judged_by(SLOW, latencies(35, 1), false).await.0.outcome, Outcome::Inconclusive);
    assert_eq!(judged_by(SLOW, latencies(26, 10), false).await.0.outcome, Outcome::Failed);
    assert_eq!(judged_by(SLOW, latencies(4000, 2), false).await.0.outcome, Outcome::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn nine_of_33_requests_are_said_as_such_and_fail() {
    let count = RevisionCount { requests: 33, errors: 9, ..RevisionCount::default() };

    let (result, _) = judged_by(ERRORS, count, false).await;

    assert_eq!(result.outcome, Outcome::Failed);
    assert_eq!(result.reason, "error-rate 0.2727, 9 of 33 requests failed, limit < 0.05, surely beyond it");
}

#[tokio::test(start_paused = true)]
async fn an_extension_ends_as_soon_as_enough_is_known() {
    let count = RevisionCount { requests: 500, ..RevisionCount::default() };

    let (result, took) = judged_by(ERRORS, count, true).await;

    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_whole_exceeds_does_not_pass_for_its_good_rounds() {
    let count = RevisionCount { requests: 400, errors: 3, ..RevisionCount::default() };
    let (known, _) = judged_by(&ERRORS.replace("< 0.05", "< 0.01"), count, false).await;

    assert_eq!(known.outcome, Outcome::Inconclusive, "{known:?}");
}

#[tokio::test(start_paused = true)]
async fn a_few_requests_that_are_left_over_do_not_make_a_request_rate_unknown() {
    const RATE: &str = r#"{"name":"rate","provider":{"requestRate":{}},"success":"> 1","interval":"4s","minimumSamples":200}"#;
    let mut world = world().await;
    world.plane.requests = 30;

    let result = world.run(&analyse(analysis(RATE), false)).await;

    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
}

/// One answer after the other to whoever connects.
async fn provider(answers: Vec<String>) -> (u16, impl Future<Output = ()>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = async move {
        for body in answers.iter().cycle() {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 2048];
            let _ = stream.read(&mut asked).await.unwrap();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    (port, serve)
}

async fn asked(world: &World, port: u16, serve: impl Future<Output = ()>, more: &str) -> StepResult {
    let metric = format!(
        r#"{{"name":"queue","provider":{{"http":{{"url":"http://127.0.0.1:{port}/","pointer":"/value"}}}},
            "success":"< 5","interval":"100ms","consecutiveErrorLimit":0{more}}}"#
    );
    let mut analysis = analysis(&metric);
    analysis.duration = Span(Duration::from_millis(300));
    let job = analyse(analysis, false);
    tokio::select! {
        result = Box::pin(world.run(&job)) => result,
        () = serve => unreachable!("it serves for ever"),
    }
}

#[tokio::test]
async fn a_value_that_is_no_number_is_no_data_and_the_policy_decides() {
    let config = crate::AgentsConfig { egress_allow: vec!["loopback".to_owned()], ..Default::default() };
    let world = World::with(config);
    for body in [r#"{"value":"NaN"}"#, r#"{"value":"+Inf"}"#, r#"{"value":"n/a"}"#, r#"{"value":null}"#, "{}"]
    {
        for (policy, outcome) in
            [("pass", Outcome::Succeeded), ("fail", Outcome::Failed), ("inconclusive", Outcome::Inconclusive)]
        {
            let (port, serve) = provider(vec![body.to_owned()]).await;

            let result = asked(&world, port, serve, &format!(r#","noData":"{policy}""#)).await;

            assert_eq!(result.outcome, outcome, "{body} {policy}: {result:?}");
            assert_eq!(result.gates[0].measured, None);
            assert!(result.gates[0].text.contains("no data, which counts as"), "{}", result.gates[0].text);
        }
    }
}

#[tokio::test]
async fn a_provider_inside_is_not_asked_and_what_it_would_say_is_not_told() {
    let (port, serve) = provider(vec![r#"{"value":"s3cret"}"#.to_owned()]).await;

    let result = asked(&World::new(), port, serve, "").await;

    assert_eq!(result.outcome, Outcome::Errored, "{result:?}");
    assert!(result.reason.contains("egress_allow"), "{}", result.reason);
    assert!(!format!("{result:?}").contains("s3cret"));
}
