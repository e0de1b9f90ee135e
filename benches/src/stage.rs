//! A nats-server for one run, and connections to it.

use anyhow::{Context, Result};
use bus::{Bus, NatsServer, ServerSettings, Settings, StreamLimits};
use tempfile::TempDir;

/// A server that makes every message durable before it acknowledges it, as in production. Ends with this.
pub struct Stage {
    /// The server.
    pub server: NatsServer,
    _folder: TempDir,
}

impl Stage {
    /// Starts a server in a folder of its own and makes all streams.
    pub async fn start() -> Result<Stage> {
        let folder = TempDir::with_prefix("code-bench-").context("making a folder for nats-server")?;
        let server =
            NatsServer::start(ServerSettings::new(folder.path())).await.context("starting nats-server")?;
        let stage = Stage { server, _folder: folder };
        stage.connect("set-up").await?.ensure().await.context("making the streams")?;
        Ok(stage)
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Another connection, as another process would have.
    pub async fn connect(&self, name: &str) -> Result<Bus> {
        connect(&self.url(), name).await
    }
}

/// A connection with streams large enough for long runs.
pub async fn connect(url: &str, name: &str) -> Result<Bus> {
    const GIB: i64 = 1024 * 1024 * 1024;
    let limits = StreamLimits { log: GIB / 2, jobs: GIB, events: GIB, ..StreamLimits::default() };
    let settings = Settings { url: url.to_owned(), name: name.to_owned(), limits, ..Settings::default() };
    Bus::connect(&settings).await.with_context(|| format!("connecting to {url}"))
}
