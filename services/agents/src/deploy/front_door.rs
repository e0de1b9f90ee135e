//! The front door of an exposed module: that a table is in force there is not believed until somebody has been there.

use std::time::Duration;

use model::{plan::Revision, route::RouteTable, spec::Probe};
use tokio::time::Instant;

use crate::{
    Error,
    context::{Ctx, described},
    door::Met,
    error::Result,
};

/// Between two looks.
const TICK: Duration = Duration::from_millis(200);

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// An instance of a revision with a share answered with this status, through this table or a newer one.
    By(Revision, u16),
    /// The port is open, and the answer took too long to say whose it was.
    Late,
}

/// Asks for the module where its clients do, until a revision that has a share of its traffic answers.
///
/// # Errors
/// None has within `limit`, with what was met instead.
pub async fn opens(ctx: &Ctx, table: &RouteTable, path: &str, limit: Duration) -> Result<Opened> {
    let until = Instant::now() + limit;
    loop {
        let why = match ctx.door.ask(table.listen, path).await {
            Ok(None) => return Ok(Opened::Late),
            Ok(Some(met)) => match who(table, met) {
                Ok(opened) => return Ok(opened),
                Err(why) => why,
            },
            Err(error) => chassis::chain(&error),
        };
        if Instant::now() >= until {
            let (module, port) = (&table.module, table.listen);
            return Err(Error::trouble(format!("clients of {module} do not reach it at port {port}: {why}")));
        }
        tokio::time::sleep(TICK).await;
    }
}

fn who(table: &RouteTable, met: Met) -> std::result::Result<Opened, String> {
    let key = RouteTable::key(&table.target, &table.module);
    if met.full {
        return Err(
            "the data plane takes no more connections there: as many clients as it may serve are connected"
                .to_owned(),
        );
    }
    let Some((route, version)) = met.route else {
        return Err(format!("something else answers there with {}, no data plane of ours", met.status));
    };
    if route != key {
        return Err(format!("the routes of {route} answer there"));
    }
    if version < table.version {
        return Err(format!("version {version} of its routes answers, not {}", table.version));
    }
    match (met.revision, met.instance) {
        (Some(revision), Some(_)) if table.weights.of(&revision) > 0 => Ok(Opened::By(revision, met.status)),
        (Some(revision), Some(_)) => Err(format!("revision {revision} answers, which has no share")),
        (_, None) | (None, _) => Err(format!("the data plane answers {} itself", met.status)),
    }
}

/// Where a module is asked: where its health probe asks, so that it is answered well and costs little.
pub fn path<'a>(job: &'a model::deployment::StepJob, module: &model::Token) -> &'a str {
    let health = described(job, module).and_then(|module| module.health.as_ref());
    match health.map(|health| &health.probe) {
        Some(Probe::Http { path, port: None }) => path.as_str(),
        _ => "/",
    }
}
