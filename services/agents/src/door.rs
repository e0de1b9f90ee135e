//! The front door: what clients meet at the port of an exposed module. That a table is in force is not believed until
//! somebody has been there.

use std::time::Duration;

use async_trait::async_trait;
use model::{plan::Revision, route::RouteTable, spec::Probe};
use tokio::time::Instant;

use crate::{
    Error,
    context::{Ctx, described},
    error::Result,
    http::Http,
};

/// Asks a data plane who answers; such requests are not counted.
const DOOR: &str = "x-code-door";
/// How long an answer is waited for. A path that takes longer says nothing about the door.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks.
const TICK: Duration = Duration::from_millis(200);

/// What somebody who asks at a port meets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// The answer's status.
    pub status: u16,
    /// Key and version of the table that the request followed; none when no data plane of ours answers.
    pub route: Option<(String, u64)>,
    /// The revision that was chosen.
    pub revision: Option<Revision>,
    /// The instance that answered; none when the data plane itself did.
    pub instance: Option<String>,
}

/// The way in that clients take.
#[async_trait]
pub trait Door: Send + Sync {
    /// One GET at this port; none when the answer takes too long to be waited for.
    ///
    /// # Errors
    /// Nobody takes the connection, or what answers speaks no HTTP.
    async fn ask(&self, listen: u16, path: &str) -> Result<Option<Met>>;
}

/// The real one.
pub struct HttpDoor {
    /// How it is asked.
    pub http: Http,
    /// Where the data plane listens.
    pub host: String,
}

#[async_trait]
impl Door for HttpDoor {
    async fn ask(&self, listen: u16, path: &str) -> Result<Option<Met>> {
        let url = format!("http://{}:{listen}{path}", self.host);
        // On a connection of its own: one that was kept says nothing about who takes new ones.
        let Some((status, headers)) =
            self.http.head_of(&url, &[(DOOR, "1"), ("connection", "close")], PATIENCE).await?
        else {
            return Ok(None);
        };
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let route = text("x-code-route").and_then(|route| {
            let (key, version) = route.rsplit_once('@')?;
            Some((key.to_owned(), version.parse().ok()?))
        });
        Ok(Some(Met {
            status,
            route,
            revision: text("x-code-revision").and_then(|revision| revision.parse().ok()),
            instance: text("x-code-instance").map(str::to_owned),
        }))
    }
}

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
