use model::Outcome;
use platform::scripted::{Effect, WriteKind};

use super::*;

fn batch(epoch: u64, new_count: u32, old_count: u32, surge: u32, unavailable: u32) -> StepJob {
    job(
        Stage::Execute,
        epoch,
        StepKind::RollBatch {
            module: web(),
            from: revision(&spec("one")),
            to: revision(&spec("two")),
            new_count,
            old_count,
            max_total: 3 + surge,
            min_healthy: 3 - unavailable,
        },
    )
}

async fn roll(surge: u32, unavailable: u32) -> World {
    let world = World::new();
    world.run(&scale(1, "one", 3)).await;
    world.run(&weight(2, 0, false)).await;
    for (epoch, new_count) in (3..).zip(1..=3) {
        let result = world.run(&batch(epoch, new_count, 3 - new_count, surge, unavailable)).await;
        assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    }
    world
}

/// The most instances that were there at once.
fn peak(world: &World) -> usize {
    let (mut there, mut peak) = (0_usize, 0);
    for write in world.platform.ledger().writes.iter().filter(|write| write.effect == Effect::Done) {
        there = if write.kind == WriteKind::Start { there + 1 } else { there - 1 };
        peak = peak.max(there);
    }
    peak
}

/// The fewest that were routed to once all were.
fn trough(world: &World) -> usize {
    world.store.with(|shared| {
        let counts = shared.tables.iter().map(|table| table.endpoints.values().map(Vec::len).sum::<usize>());
        counts.skip_while(|count| *count < 3).min().unwrap_or(0)
    })
}

#[tokio::test(start_paused = true)]
async fn a_rolling_update_keeps_within_both_bounds() {
    for (surge, unavailable) in [(1, 0), (0, 1), (2, 1)] {
        let world = roll(surge, unavailable).await;

        assert!(peak(&world) <= 3 + surge as usize, "surge {surge}, unavailable {unavailable}");
        assert!(trough(&world) >= 3 - unavailable as usize, "surge {surge}, unavailable {unavailable}");
        let table = world.table();
        assert_eq!(table.weights, Weights::all_to(revision(&spec("two"))));
        assert_eq!(table.endpoints[&revision(&spec("two"))].len(), 3);
        assert_eq!(table.endpoints.len(), 1);
        assert!(world.platform.ledger().duplicates().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn traffic_follows_the_healthy_instances() {
    let world = World::new();
    world.run(&scale(1, "one", 3)).await;
    world.run(&weight(2, 0, false)).await;

    world.run(&batch(3, 1, 2, 1, 0)).await;

    assert_eq!(world.table().weights.of(&revision(&spec("two"))), 33);
    let without = world.store.with(|shared| {
        shared.tables.iter().any(|table| {
            table
                .weights
                .0
                .iter()
                .any(|(revision, share)| *share > 0 && !table.endpoints.contains_key(revision))
        })
    });
    assert!(!without, "no table ever sent traffic to a revision without instances");
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_new_instance_is_never_ready_fails_and_leaves_the_old_ones() {
    let world = World::new();
    world.run(&scale(1, "one", 3)).await;
    world.run(&weight(2, 0, false)).await;
    world.platform.script(|script| script.set_never_ready(&web(), Some(&revision(&spec("two"))), true));

    let result = world.run(&batch(3, 1, 2, 1, 0)).await;

    assert_eq!(result.outcome, Outcome::Failed);
    assert_eq!(world.platform.ledger().done(WriteKind::Stop), 0);
    assert_eq!(world.table().weights, Weights::all_to(revision(&spec("one"))));
}
