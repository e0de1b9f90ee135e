//! The runner is killed at every point at which it can be: the next run finds what is there and does nothing twice.

use std::{future::poll_fn, pin::pin, task::Poll};

use model::Outcome;

use super::*;
use crate::{
    metrics::Counts,
    runner::{Runner, journal::Journal},
};

/// Runs the job and drops everything at the `polls`-th look at it; true when it had ended before.
async fn killed_after(world: &World, folder: &std::path::Path, job: &StepJob, polls: usize) -> bool {
    let runner = runner(world, folder);
    let mut work = pin!(runner.on_step(job.clone()));
    let mut left = polls;
    let limited = poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        work.as_mut().poll(context).map(|ended| ended.is_ok())
    });
    world.beside(limited).await
}

fn runner(world: &World, folder: &std::path::Path) -> Runner {
    let journal = Journal::open(folder).unwrap();
    Runner::new(Arc::clone(&world.engine), journal, Counts::new(&chassis::Metrics::default()))
}

fn outcomes(world: &World) -> Vec<Outcome> {
    world.store.with(|shared| {
        shared.reports.iter().filter_map(|(_, report)| Some(report.result.as_ref()?.outcome)).collect()
    })
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_never_started_twice_wherever_the_runner_dies() {
    let mut points = 0;
    loop {
        let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
        let job = scale(1, "two", 2);
        let ended = killed_after(&world, folder.path(), &job, points).await;

        world.beside(runner(&world, folder.path()).on_step(job)).await.unwrap();

        assert!(world.platform.ledger().duplicates().is_empty(), "killed at point {points}");
        assert_eq!(world.table().endpoints[&revision(&spec("two"))].len(), 2, "killed at point {points}");
        let outcomes = outcomes(&world);
        assert!(
            !outcomes.is_empty() && outcomes.iter().all(|outcome| *outcome == Outcome::Succeeded),
            "{outcomes:?}"
        );
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

        world.beside(runner(&world, folder.path()).on_step(job)).await.unwrap();

        assert_eq!(world.table().weights.of(&revision(&spec("two"))), 40, "killed at point {points}");
        assert!(
            outcomes(&world).iter().all(|outcome| *outcome == Outcome::Succeeded),
            "killed at point {points}"
        );
        if ended {
            break;
        }
        points += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn an_ended_step_is_reported_again_without_an_effect() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let job = scale(1, "two", 1);
    world.beside(runner(&world, folder.path()).on_step(job.clone())).await.unwrap();
    let writes = world.platform.ledger().writes.len();
    world.platform.script(|script| script.lost = true);

    world.beside(runner(&world, folder.path()).on_step(job)).await.unwrap();

    assert_eq!(world.platform.ledger().writes.len(), writes);
    let reports = world.store.with(|shared| shared.reports.clone());
    let ended: Vec<_> = reports.iter().filter(|(_, report)| report.result.is_some()).collect();
    assert_eq!(ended.len(), 2);
    assert_eq!(ended[0], ended[1], "the same result under the same message id");
}
