//! Steps whose questions or answers get lost, and runners that die.

use std::time::Duration;

use model::{Outcome, Verdict, deployment::StepJob};
use testkit::{nats, never};

use crate::world::*;

#[tokio::test]
async fn a_step_that_was_lost_on_the_way_to_a_runner_is_handed_over_again() {
    let nats = nats().await;
    let loses_the_first = |_: &_, times| {
        if times == 1 { Does::Nothing } else { Does::Ends(Outcome::Succeeded) }
    };
    let _agents = agents_that(&nats.bus, loses_the_first).await;
    let _one = orchestrator(&nats).await;

    let id = ask(&nats.bus, &submit(small("lost"))).await;

    assert_eq!(verdict(&nats.bus, &id).await, Verdict::Promoted);
}

#[tokio::test]
async fn a_result_whose_message_was_lost_is_asked_for_and_the_step_is_not_done_again() {
    let nats = nats().await;
    let agents = agents_that(&nats.bus, |_, _| Does::EndsUnheard(Outcome::Succeeded)).await;
    let _one = orchestrator(&nats).await;

    let id = ask(&nats.bus, &submit(small("unheard"))).await;

    assert_eq!(verdict(&nats.bus, &id).await, Verdict::Promoted);
    let seen = agents.seen.lock().unwrap().clone();
    assert!(seen.values().all(|times| *times == 1), "{seen:?}");
}

/// Nothing counts how often a step was interrupted: no release turns back because its runners died.
#[tokio::test]
async fn a_step_whose_runners_die_ten_times_is_done_by_the_next_and_the_release_is_promoted() {
    let nats = nats().await;
    let dies_often = |job: &StepJob, times| {
        let dies = job.step.id.as_str().contains("scale") && times <= 10;
        if dies { Does::Dies } else { Does::Ends(Outcome::Succeeded) }
    };
    let agents = agents_that(&nats.bus, dies_often).await;
    let _one = orchestrator(&nats).await;

    let id = ask(&nats.bus, &submit(small("interrupted"))).await;

    assert_eq!(verdict(&nats.bus, &id).await, Verdict::Promoted);
    let seen = agents.seen.lock().unwrap().clone();
    let handed_over: Vec<_> = seen.iter().filter(|(step, _)| step.contains("scale")).collect();
    assert!(handed_over.len() == 1 && *handed_over[0].1 == 11, "{seen:?}");
    let shown = view(&nats.bus, &id).await.unwrap();
    assert!(shown.steps.iter().all(|step| step.attempt == 1), "{:?}", shown.steps);
}

#[tokio::test]
async fn a_step_that_a_runner_works_on_is_not_handed_over_again_not_even_by_a_new_owner() {
    let nats = nats().await;
    let agents = agents_that(&nats.bus, |_, _| Does::Begins).await;
    let one = orchestrator(&nats).await;
    let id = ask(&nats.bus, &submit(small("slow"))).await;
    until(&nats.bus, &id, "a runner has all checks", |view| {
        view.steps.iter().filter(|step| step.runner.is_some()).count() == 3
    })
    .await;
    let before = agents.seen.lock().unwrap().clone();

    let two = orchestrator(&nats).await;
    one.crash();
    let owner = two.replica.to_string();
    until(&nats.bus, &id, "the other takes over", |view| {
        view.owner.as_ref().is_some_and(|(replica, _)| *replica == owner)
    })
    .await;

    never("a step comes again", Duration::from_secs(3), || async {
        let now = agents.seen.lock().unwrap().clone();
        (now != before).then(|| format!("{now:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_step_that_errs_is_tried_again_under_the_same_key() {
    let nats = nats().await;
    let errs_once = |_: &_, times| Does::Ends(if times == 1 { Outcome::Errored } else { Outcome::Succeeded });
    let _agents = agents_that(&nats.bus, errs_once).await;
    let _one = orchestrator(&nats).await;

    let id = ask(&nats.bus, &submit(small("flaky"))).await;

    assert_eq!(verdict(&nats.bus, &id).await, Verdict::Promoted);
    let seen = view(&nats.bus, &id).await.unwrap();
    assert!(seen.steps.iter().all(|step| step.attempt == 2), "{:?}", seen.steps);
}
