//! What clients meet at the port of an exposed module.

use std::time::Duration;

use async_trait::async_trait;
use model::plan::Revision;

use crate::{error::Result, http::Http};

/// Asks a data plane who answers; such requests are not counted.
const DOOR: &str = "x-code-door";
/// How long an answer is waited for. A path that takes longer says nothing about the door.
const PATIENCE: Duration = Duration::from_secs(2);

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
    /// A data plane took no more connections.
    pub full: bool,
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
            full: text("x-code-full").is_some(),
        }))
    }
}
