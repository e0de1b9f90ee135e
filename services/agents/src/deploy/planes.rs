//! Waiting for the data planes: that they have a table in force, and that what is in flight ends.

use std::{collections::BTreeMap, time::Duration};

use model::{
    TargetId, Token,
    plan::Revision,
    route::{RevisionCount, RouteTable, TrafficCount},
};
use tokio::time::Instant;

use crate::{Error, context::Ctx, error::Result};

/// How a table was taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// By so many data planes, all that live.
    By(usize),
    /// No data plane lives.
    Nobody,
}

/// Waits until every data plane that lives has this table in force: it follows the table or a newer one, and if the
/// table shares out traffic, it listens on its port.
///
/// # Errors
/// One of them has not within `limit`. That none lives is no error here.
pub async fn acknowledge(ctx: &Ctx, table: &RouteTable, limit: Duration) -> Result<Taken> {
    wait(ctx, table, limit, |plane, all| older(table, plane).or_else(|| closed(table, plane, all))).await
}

/// Waits until every data plane that lives follows this table or a newer one, whether clients can come in or not: then
/// none sends requests to what the table no longer names.
///
/// # Errors
/// As [`acknowledge`].
pub async fn follow(ctx: &Ctx, table: &RouteTable, limit: Duration) -> Result<Taken> {
    wait(ctx, table, limit, |plane, _| older(table, plane)).await
}

async fn wait(
    ctx: &Ctx,
    table: &RouteTable,
    limit: Duration,
    behind: impl Fn(&TrafficCount, &[TrafficCount]) -> Option<String>,
) -> Result<Taken> {
    let heard = ctx.traffic.of(&table.target).await?;
    heard.settled().await;
    let until = Instant::now() + limit;
    loop {
        let planes = heard.planes(&table.module);
        let late = planes.iter().find_map(|plane| behind(plane, &planes));
        match late {
            None if !planes.is_empty() => return Ok(Taken::By(planes.len())),
            None if Instant::now() >= until => return Ok(Taken::Nobody),
            Some(late) if Instant::now() >= until => return Err(Error::trouble(late)),
            None | Some(_) => heard.news(Duration::from_millis(100)).await,
        }
    }
}

fn older(table: &RouteTable, plane: &TrafficCount) -> Option<String> {
    let TrafficCount { plane, version, .. } = plane;
    let (module, wanted) = (&table.module, table.version);
    let text = format!("data plane {plane} has version {version} of the routes of {module}, not {wanted}");
    (*version < wanted).then_some(text)
}

/// Nobody comes in where nobody is served.
fn closed(table: &RouteTable, plane: &TrafficCount, all: &[TrafficCount]) -> Option<String> {
    let why = plane.closed.as_ref().filter(|_| !table.weights.0.is_empty())?;
    let open = all.iter().find(|other| other.closed.is_none());
    let other = open.map_or(String::new(), |other| {
        format!(
            "; data plane {} has it open: of several data planes on one host only one can serve, end the others",
            other.plane
        )
    });
    Some(format!("clients of {} cannot come in at data plane {}: {why}{other}", table.module, plane.plane))
}

/// Waits until no request and no connection of the revision is under way that was when this was called, at most `limit`; gives whether.
///
/// Counts are per revision, so with other instances of the revision still serving the old requests cannot be told from
/// new ones: they count as ended when as many requests have ended as were in flight.
pub async fn drained(
    ctx: &Ctx,
    target: &TargetId,
    module: &Token,
    revision: &Revision,
    limit: Duration,
) -> Result<bool> {
    let heard = ctx.traffic.of(target).await?;
    let until = Instant::now() + limit;
    // A count is as old as its interval: one more must come before it says anything about now.
    let mut first: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let asked: BTreeMap<String, i64> =
        heard.planes(module).iter().map(|plane| (plane.plane.clone(), plane.at.0)).collect();
    loop {
        let planes = heard.planes(module);
        let of =
            |plane: &TrafficCount| plane.revisions.get(revision).map_or((0, 0), RevisionCount::under_way);
        let mut clear = true;
        for plane in &planes {
            if asked.get(&plane.plane) == Some(&plane.at.0) {
                clear = false;
                continue;
            }
            let (in_flight, ended) = of(plane);
            let (then, ended_then) = *first.entry(plane.plane.clone()).or_insert((in_flight, ended));
            clear &= in_flight == 0 || (then > 0 && ended.saturating_sub(ended_then) >= then);
        }
        if clear {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        heard.news(Duration::from_millis(100)).await;
    }
}
