//! Exactly so many healthy instances of one revision.

use std::time::Duration;

use model::{Outcome, Token, deployment::StepJob, plan::Revision, route::Weights, step::StepResult};
use platform::Instance;

use super::fleet::{Fleet, TICK};
use crate::{Error, context::Ctx, error::Result};

/// Starts what is missing and waits until it is well; then retires what is too many.
pub async fn run(
    job: &StepJob,
    ctx: &Ctx,
    module: &Token,
    revision: &Revision,
    count: u32,
) -> Result<StepResult> {
    let mut fleet = Fleet::new(job, ctx, module, &[revision]).await?;
    if count > 0 {
        grow(job, ctx, &mut fleet, module, revision, count).await?;
    }

    let surplus: Vec<Instance> =
        fleet.present(revision).into_iter().filter(|instance| instance.slot >= count).cloned().collect();
    let gone = surplus.len();
    let clear = leave_the_traffic(job, &fleet, module, revision, count).await?;
    fleet.retire(surplus, clear.as_ref()).await?;
    if count == 0 {
        fleet.route(clear.as_ref()).await?;
        if is_gone(job, module) {
            fleet.close().await?;
        }
    }
    Ok(StepResult::new(Outcome::Succeeded, done(module, revision, count, gone)))
}

/// Starts what is missing, again and again, until all of it is well or something will never be.
async fn grow(
    job: &StepJob,
    ctx: &Ctx,
    fleet: &mut Fleet<'_>,
    module: &Token,
    revision: &Revision,
    count: u32,
) -> Result<()> {
    loop {
        fleet.look().await?;
        fleet.replace_hung(revision).await?;
        fleet.judge(revision).await?;
        fleet.start(revision, 0..count).await?;
        fleet.route(None).await?;
        let well = fleet.confirmed(revision).iter().filter(|instance| instance.slot < count).count() as u32;
        let share = f64::from(well) / f64::from(count);
        ctx.show(job, format!("{well} of {count} instances of {module} {revision} are healthy"), Some(share));
        if well == count {
            return Ok(());
        }
        tokio::time::sleep(TICK).await;
    }
}

fn done(module: &Token, revision: &Revision, count: u32, gone: usize) -> String {
    match (count, gone) {
        (0, 0) => format!("no instance of {module} {revision} was there"),
        (0, gone) => format!("{gone} instances of {module} {revision} removed"),
        (count, 0) => format!("{count} instances of {module} {revision} are healthy"),
        (count, gone) => format!("{count} instances of {module} {revision} are healthy, {gone} removed"),
    }
}

/// Where the step leads to, nobody asks for the module.
fn is_gone(job: &StepJob, module: &Token) -> bool {
    job.leads_to().is_none_or(|spec| spec.module(module).is_none())
}

/// How long a change of the shares by a step of the same wave is waited for.
const SIBLING: Duration = Duration::from_secs(5);

/// A revision that still has a share of the traffic is not removed; unless the module itself goes, then nobody is
/// served from now on. Gives the shares to set.
async fn leave_the_traffic(
    job: &StepJob,
    fleet: &Fleet<'_>,
    module: &Token,
    revision: &Revision,
    count: u32,
) -> Result<Option<Weights>> {
    if count > 0 {
        return Ok(None);
    }
    let goes = is_gone(job, module);
    let until = tokio::time::Instant::now() + SIBLING;
    loop {
        let share = fleet.table().await?.map_or(0, |table| table.weights.of(revision));
        match (share, goes) {
            (0, _) => return Ok(None),
            (_, true) => return Ok(Some(Weights::default())),
            (share, false) if tokio::time::Instant::now() >= until => {
                return Err(Error::trouble(format!(
                    "{module} {revision} still has {share} % of the traffic, it is not removed"
                )));
            }
            (_, false) => tokio::time::sleep(TICK).await,
        }
    }
}
