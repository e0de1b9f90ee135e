//! The runner is killed at every point at which it can be: the next run finds what is there and does nothing twice.

use std::{future::poll_fn, pin::pin, task::Poll};

use model::Outcome;

use super::*;
use model::deployment::StepState;

use crate::runner::tests::{carried, runner_in};

/// One runner does the step; none when the loop ended before.
async fn run(world: &World, folder: &std::path::Path, job: &StepJob) -> StepState {
    let (runner, running) = runner_in(world, folder);
    tokio::select! {
        ended = carried(&runner, job) => ended,
        _ = running.run() => unreachable!("the loop ends when it is told to"),
    }
}

/// Runs the job and drops everything at the `polls`-th look at it; true when it had ended before.
async fn killed_after(world: &World, folder: &std::path::Path, job: &StepJob, polls: usize) -> bool {
    let mut work = pin!(run(world, folder, job));
    let mut left = polls;
    let limited = poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        work.as_mut().poll(context).map(|_| true)
    });
    world.beside(limited).await
}

#[track_caller]
fn assert_succeeded(state: &StepState, points: usize) {
    let StepState::Ended(result) = state else { panic!("killed at point {points}: {state:?}") };
    assert_eq!(result.outcome, Outcome::Succeeded, "killed at point {points}: {}", result.reason);
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_never_started_twice_wherever_the_runner_dies() {
    let mut points = 0;
    loop {
        let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
        let job = scale(1, "two", 2);
        let ended = killed_after(&world, folder.path(), &job, points).await;

        let state = world.beside(run(&world, folder.path(), &job)).await;

        assert!(world.platform.ledger().duplicates().is_empty(), "killed at point {points}");
        assert_eq!(world.table().endpoints[&revision(&spec("two"))].len(), 2, "killed at point {points}");
        assert_succeeded(&state, points);
        if ended {
            break;
        }
        points += 1;
    }
    assert!(points > 20, "only {points} points");
}

#[tokio::test(start_paused = true)]
async fn shares_are_as_asked_wherever_the_runner_dies() {
    let mut points = 0;
    loop {
        let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
        world.run(&scale(1, "one", 1)).await;
        world.run(&scale(2, "two", 1)).await;
        world.run(&weight(3, 0, false)).await;
        let job = weight(4, 40, true);
        let ended = killed_after(&world, folder.path(), &job, points).await;

        let state = world.beside(run(&world, folder.path(), &job)).await;

        assert_eq!(world.table().weights.of(&revision(&spec("two"))), 40, "killed at point {points}");
        assert_succeeded(&state, points);
        if ended {
            break;
        }
        points += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn an_ended_step_is_told_of_again_by_the_next_runner_without_an_effect() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let job = scale(1, "two", 1);
    let first = world.beside(run(&world, folder.path(), &job)).await;
    let writes = world.platform.ledger().writes.len();
    world.platform.script(|script| script.lost = true);

    let second = world.beside(run(&world, folder.path(), &job)).await;

    assert_eq!(world.platform.ledger().writes.len(), writes);
    assert_eq!(first, second);
}
