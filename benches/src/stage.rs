//! A nats-server for one run with the engine's own permissions, and connections to it by a key that may do everything: runs
//! also measure what the table of speech does not have.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bus::{Access, Bus, Key, NatsServer, Rights, ServerSettings, Settings, StreamLimits};
use tempfile::TempDir;

/// A server that makes every message durable before it acknowledges it, as in production. Ends with this.
pub struct Stage {
    /// The server.
    pub server: NatsServer,
    folder: TempDir,
}

/// Whoever measures, as the server knows it.
const MEASURER: &str = "measurer";

/// Starts a server in a folder, which knows the engine's users and whoever measures.
pub async fn start(folder: &Path) -> Result<NatsServer> {
    let mut users = Access::of(folder.join("access")).prepare()?;
    let key = Key::generate();
    key.write(&self::key(folder))?;
    users.admit(MEASURER, &key.public(), Rights::unbounded());
    let settings = ServerSettings { users, ..ServerSettings::new(folder) };
    NatsServer::start(settings).await.context("starting nats-server")
}

/// The key of whoever measures, of a server in this folder.
pub fn key(folder: &Path) -> PathBuf {
    bus::key_file(&Access::of(folder.join("access")).keys(), MEASURER)
}

/// The settings of a connection by the key in a file, which is named after its user.
pub fn settings(url: &str, key: &Path, name: &str) -> Settings {
    Settings {
        url: url.to_owned(),
        name: name.to_owned(),
        user: key.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        key: Some(key.to_owned()),
        ..Settings::default()
    }
}

impl Stage {
    /// Starts a server in a folder of its own and makes all streams.
    pub async fn start() -> Result<Stage> {
        let folder = TempDir::with_prefix("code-bench-").context("making a folder for nats-server")?;
        let server = start(folder.path()).await?;
        let stage = Stage { server, folder };
        stage.connect("set-up").await?.ensure().await.context("making the streams")?;
        Ok(stage)
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Another connection, as another process would have.
    pub async fn connect(&self, name: &str) -> Result<Bus> {
        connect(&self.url(), &self.key(), name).await
    }

    /// The key of whoever measures.
    pub fn key(&self) -> PathBuf {
        key(self.folder.path())
    }
}

/// A connection with streams large enough for long runs.
pub async fn connect(url: &str, key: &Path, name: &str) -> Result<Bus> {
    const GIB: i64 = 1024 * 1024 * 1024;
    let limits = StreamLimits { log: GIB / 2, jobs: GIB, events: GIB, ..StreamLimits::default() };
    let settings = Settings { limits, ..settings(url, key, name) };
    Bus::connect(&settings).await.with_context(|| format!("connecting to {url}"))
}
