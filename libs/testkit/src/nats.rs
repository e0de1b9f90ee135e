use std::time::Duration;

use bus::{Bus, NatsServer, ServerSettings, Settings, StreamLimits, server::ClusterSettings};
use model::Span;
use tempfile::TempDir;

/// A nats-server of one test, and a connection to it. Both end with it.
pub struct TestNats {
    /// A connection with all streams made.
    pub bus: Bus,
    /// The server.
    pub server: NatsServer,
    folder: TempDir,
}

impl TestNats {
    /// Another connection, as another process would have.
    pub async fn connect(&self, name: &str) -> Bus {
        connect(&self.server.url(), name).await
    }

    /// The settings of a connection to this server.
    pub fn settings(&self) -> Settings {
        settings(&self.server.url(), "test")
    }

    /// Where the server keeps its data, its configuration and its log.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

/// The settings of a test's connection: small streams, short waits.
pub fn settings(url: &str, name: &str) -> Settings {
    Settings {
        url: url.to_owned(),
        name: name.to_owned(),
        patience: Span::seconds(20),
        broker_timeout: Span::seconds(2),
        limits: StreamLimits::small(),
        ..Settings::default()
    }
}

/// A server on a free port with its own folder, all streams made.
pub async fn nats() -> TestNats {
    nats_named("test").await
}

/// Like [`nats`], with the name of the connection.
pub async fn nats_named(name: &str) -> TestNats {
    let folder = folder();
    let server = match NatsServer::start(ServerSettings::new(folder.path())).await {
        Ok(server) => server,
        Err(error) => panic!("starting nats-server: {error}"),
    };
    let bus = connect(&server.url(), name).await;
    if let Err(error) = bus.ensure().await {
        panic!("making the streams: {error}");
    }
    TestNats { bus, server, folder }
}

/// Three servers as one cluster, and their folder. Streams are not made; wait for the first [`Bus::ensure`].
pub async fn nats_cluster() -> (Vec<NatsServer>, TempDir) {
    let folder = folder();
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let mut servers = Vec::new();
    for (number, port) in ports.iter().enumerate() {
        let routes =
            ports.iter().filter(|other| *other != port).map(|other| format!("nats://127.0.0.1:{other}"));
        let cluster = ClusterSettings { name: "test".to_owned(), port: *port, routes: routes.collect() };
        let name = format!("n{number}");
        let settings = ServerSettings {
            name: name.clone(),
            cluster: Some(cluster),
            patience: Duration::from_secs(30),
            ..ServerSettings::new(folder.path().join(name))
        };
        match NatsServer::start(settings).await {
            Ok(server) => servers.push(server),
            Err(error) => panic!("starting nats-server: {error}"),
        }
    }
    (servers, folder)
}

async fn connect(url: &str, name: &str) -> Bus {
    match Bus::connect(&settings(url, name)).await {
        Ok(bus) => bus,
        Err(error) => panic!("connecting to {url}: {error}"),
    }
}

fn folder() -> TempDir {
    match TempDir::with_prefix("code-nats-") {
        Ok(folder) => folder,
        Err(error) => panic!("making a temporary folder: {error}"),
    }
}

fn free_port() -> u16 {
    let bound = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    match bound {
        Ok(address) => address.port(),
        Err(error) => panic!("finding a free port: {error}"),
    }
}
