//! One batch of a rolling update: converges to the counts asked for, within both bounds at every moment.

use model::{
    Outcome, StepKind, Token,
    deployment::StepJob,
    plan::Revision,
    route::{RouteTable, Weights},
    step::StepResult,
};
use platform::Instance;

use super::{
    fleet::{Fleet, TICK},
    planes,
    routes::proportional,
};
use crate::{Error, context::Ctx, error::Result};

/// What a batch aims at, and its bounds.
struct Aim {
    module: Token,
    from: Revision,
    to: Revision,
    new_count: u32,
    old_count: u32,
    max_total: usize,
    min_healthy: usize,
}

/// How many to stop and to start now, given what is there. Pure.
///
/// Old instances that are not well carry nothing and may always go. Well ones may go as long as as many stay well as
/// must. New ones may come as long as there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Old instances that are there.
    pub old: usize,
    /// Of these, well.
    pub old_healthy: usize,
    /// New instances that are there.
    pub new: usize,
    /// Of these, well.
    pub new_healthy: usize,
}

/// What to do now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Move {
    /// Old instances to stop that are not well.
    pub stop_sick: usize,
    /// Old instances to stop that are well.
    pub stop_well: usize,
    /// New instances to start.
    pub start: usize,
}

/// The next move towards `old` and `new` instances.
pub fn next(now: Count, old: usize, new: usize, max_total: usize, min_healthy: usize) -> Move {
    let surplus = now.old.saturating_sub(old);
    let stop_sick = surplus.min(now.old.saturating_sub(now.old_healthy));
    let spare = (now.old_healthy + now.new_healthy).saturating_sub(min_healthy);
    let stop_well = (surplus - stop_sick).min(spare).min(now.old_healthy);
    let start = new.saturating_sub(now.new).min(max_total.saturating_sub(now.old + now.new));
    Move { stop_sick, stop_well, start }
}

/// Runs the batch.
pub async fn run(job: &StepJob, ctx: &Ctx) -> Result<StepResult> {
    let aim = aim(job)?;
    let mut fleet = Fleet::new(job, ctx, &aim.module, &[&aim.from, &aim.to]).await?;
    let mut floor = None;
    let mut shared: Option<Weights> = None;
    loop {
        fleet.look().await?;
        fleet.judge(&aim.to).await?;
        let now = count(&fleet, &aim);
        // "As far as there were so many before": a floor that was not reached at the start cannot be kept.
        let floor = *floor.get_or_insert((now.old_healthy + now.new_healthy).min(aim.min_healthy));

        let weights = proportional(&[(aim.from.clone(), now.old_healthy), (aim.to.clone(), now.new_healthy)]);
        let changed = (shared.as_ref() != Some(&weights) && !weights.0.is_empty()).then_some(&weights);
        let table = fleet.route(changed).await?;
        if changed.is_some() {
            shared = Some(weights);
        }

        let (old, new) = (aim.old_count as usize, aim.new_count as usize);
        let next = next(now, old, new, aim.max_total, floor);
        if now.old <= old && now.new_healthy >= new && now.new <= new {
            finish(ctx, &fleet, table).await?;
            let text =
                format!("{new} instances of {} {} and {} of {} serve", aim.module, aim.to, now.old, aim.from);
            return Ok(StepResult::new(Outcome::Succeeded, text));
        }
        let total = (old + new).max(1);
        let text = format!("{} of {new} new instances healthy, {} old", now.new_healthy, now.old);
        let share = (now.new_healthy.min(new) + old.min(now.old)) as f64 / total as f64;
        ctx.show(job, text, Some(share));

        let going = going(&fleet, &aim, next, new);
        if !going.is_empty() {
            let left: Vec<(Revision, usize)> = [&aim.from, &aim.to]
                .map(|revision| {
                    let stay = fleet
                        .healthy(revision)
                        .into_iter()
                        .filter(|it| !going.iter().any(|gone| gone.id == it.id));
                    (revision.clone(), stay.count())
                })
                .into();
            let weights = Some(proportional(&left)).filter(|weights| !weights.0.is_empty());
            fleet.retire(going, weights.as_ref()).await?;
            shared = weights.or(shared);
            continue;
        }
        // Slots that are there but ended are started again in their place and need no room.
        let present: Vec<u32> = fleet.present(&aim.to).iter().map(|instance| instance.slot).collect();
        let missing = (0..aim.new_count).filter(|slot| !present.contains(slot)).take(next.start);
        let slots: Vec<u32> =
            missing.chain(present.iter().copied().filter(|slot| *slot < aim.new_count)).collect();
        fleet.start(&aim.to, slots.into_iter()).await?;
        tokio::time::sleep(TICK).await;
    }
}

fn aim(job: &StepJob) -> Result<Aim> {
    match &job.step.kind {
        StepKind::RollBatch { module, from, to, new_count, old_count, max_total, min_healthy } => Ok(Aim {
            module: module.clone(),
            from: from.clone(),
            to: to.clone(),
            new_count: *new_count,
            old_count: *old_count,
            max_total: *max_total as usize,
            min_healthy: *min_healthy as usize,
        }),
        other => Err(Error::verdict(format!("{other:?} is not a batch of a rolling update"))),
    }
}

fn count(fleet: &Fleet<'_>, aim: &Aim) -> Count {
    Count {
        old: fleet.present(&aim.from).len(),
        old_healthy: fleet.healthy(&aim.from).len(),
        new: fleet.present(&aim.to).len(),
        new_healthy: fleet.healthy(&aim.to).len(),
    }
}

/// Old instances from the highest slot down, the sick first; and new ones beyond the count, left by an earlier try.
fn going(fleet: &Fleet<'_>, aim: &Aim, next: Move, new: usize) -> Vec<Instance> {
    let healthy: Vec<&str> = fleet.healthy(&aim.from).iter().map(|instance| instance.id.as_str()).collect();
    let mut old = fleet.present(&aim.from);
    old.sort_by_key(|instance| std::cmp::Reverse(instance.slot));
    let (well, sick): (Vec<&Instance>, Vec<&Instance>) =
        old.into_iter().partition(|it| healthy.contains(&it.id.as_str()));
    let surplus = fleet.present(&aim.to).into_iter().filter(|instance| instance.slot as usize >= new);
    let going =
        sick.into_iter().take(next.stop_sick).chain(well.into_iter().take(next.stop_well)).chain(surplus);
    going.cloned().collect()
}

/// The last shares are in force before the batch counts as done, as far as there are data planes.
async fn finish(ctx: &Ctx, fleet: &Fleet<'_>, written: Option<RouteTable>) -> Result<()> {
    let table = match written {
        Some(table) => Some(table),
        None => fleet.table().await?,
    };
    let Some(table) = table else { return Ok(()) };
    let limit = std::time::Duration::from_secs(5);
    planes::acknowledge(ctx, &table, limit).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_surge_an_old_instance_goes_first() {
        let now = Count { old: 3, old_healthy: 3, new: 0, new_healthy: 0 };

        assert_eq!(next(now, 2, 1, 3, 2), Move { stop_sick: 0, stop_well: 1, start: 0 });
    }

    #[test]
    fn with_surge_a_new_instance_comes_first() {
        let now = Count { old: 3, old_healthy: 3, new: 0, new_healthy: 0 };

        assert_eq!(next(now, 2, 1, 4, 3), Move { stop_sick: 0, stop_well: 0, start: 1 });
    }

    proptest! {
        /// Any order of getting well and of failing: the bounds hold after every move, and with everyone well the
        /// batch ends.
        #[test]
        fn the_bounds_hold_at_every_moment(
            replicas in 1usize..8, surge in 0usize..3, unavailable in 0usize..3,
            luck in prop::collection::vec(0u8..4, 0..40),
        ) {
            prop_assume!(surge + unavailable > 0);
            let (max_total, min_healthy) = (replicas + surge, replicas.saturating_sub(unavailable));
            let batch = (surge + unavailable).min(replicas);
            let (old, new) = (replicas - batch, batch);
            let mut now = Count { old: replicas, old_healthy: replicas, new: 0, new_healthy: 0 };
            for turn in luck.into_iter().chain(std::iter::repeat_n(0, 60)) {
                match turn {
                    0 => now.new_healthy = now.new,
                    1 => now.new_healthy = now.new_healthy.max(now.new.min(1)),
                    _ => {}
                }
                let healthy_before = now.old_healthy + now.new_healthy;
                let step = next(now, old, new, max_total, min_healthy);
                now.old -= step.stop_sick + step.stop_well;
                now.old_healthy -= step.stop_well;
                now.new += step.start;
                prop_assert!(now.old + now.new <= max_total.max(replicas));
                prop_assert!(now.old_healthy + now.new_healthy >= min_healthy.min(healthy_before));
            }
            prop_assert_eq!((now.old, now.new_healthy), (old, new));
        }
    }
}
