//! Steps whose jobs or reports get lost.

use std::time::Duration;

use model::{Outcome, Span, Verdict};
use orchestrator::Config;
use testkit::{nats, never};

use crate::world::*;

#[tokio::test]
async fn a_job_that_was_lost_before_a_runner_took_it_is_sent_again() {
    let nats = nats().await;
    let loses_the_first = |_: &_, times| {
        if times == 1 { Does::Nothing } else { Does::Reports(Outcome::Succeeded) }
    };
    let _agents = agents_that(&nats.bus, loses_the_first).await;
    let _one = orchestrator_with(&nats, Config { resend: Span::millis(200), ..Config::default() }).await;

    let id = ask(&nats.bus, &submit(small("lost"))).await;

    assert_eq!(verdict(&nats.bus, &id).await, Verdict::Promoted);
}

#[tokio::test]
async fn a_job_that_a_runner_has_taken_is_not_sent_again() {
    let nats = nats().await;
    let agents = agents_that(&nats.bus, |_, _| Does::Begins).await;
    let _one = orchestrator_with(&nats, Config { resend: Span::millis(200), ..Config::default() }).await;
    let id = ask(&nats.bus, &submit(small("slow"))).await;
    until(&nats.bus, &id, "a runner has all checks", |view| {
        view.steps.iter().filter(|step| step.runner.is_some()).count() == 3
    })
    .await;
    let before = agents.seen.lock().unwrap().clone();

    never("a job comes again", Duration::from_secs(2), || async {
        let now = agents.seen.lock().unwrap().clone();
        (now != before).then(|| format!("{now:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_step_that_errs_is_tried_again_under_the_same_key() {
    let nats = nats().await;
    let errs_once =
        |_: &_, times| Does::Reports(if times == 1 { Outcome::Errored } else { Outcome::Succeeded });
    let _agents = agents_that(&nats.bus, errs_once).await;
    let _one = orchestrator(&nats).await;

    let id = ask(&nats.bus, &submit(small("flaky"))).await;

    assert_eq!(verdict(&nats.bus, &id).await, Verdict::Promoted);
    let seen = view(&nats.bus, &id).await.unwrap();
    assert!(seen.steps.iter().all(|step| step.attempt == 2), "{:?}", seen.steps);
}
