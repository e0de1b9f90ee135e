use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bus::{
    Access, Bus, Key, NatsServer, Outsider, Rights, Role, ServerSettings, Settings, StreamLimits, Users,
    key_file, server::ClusterSettings,
};
use model::{Principal, ReplicaId, Span, Token};
use tempfile::TempDir;

/// The user of a test's own connection, which may do everything: a test also looks at what no part of the engine may.
const TESTER: &str = "tester";

/// A nats-server of one test with the engine's own permissions, and a connection to it. Both end with it. A test during
/// which the server refused somebody something fails, unless it says that it expects that.
pub struct TestNats {
    /// The test's own connection, which may do everything; all streams are made.
    pub bus: Bus,
    /// The server.
    pub server: NatsServer,
    folder: TempDir,
    access: Access,
    users: Users,
    refusals: AtomicBool,
}

impl TestNats {
    /// Another connection that may do everything, in the name of this person or program.
    pub async fn connect(&self, name: &str) -> Bus {
        connect(&self.settings_for(&self.server.url(), name)).await
    }

    /// A connection as a person or program of this name has: an operator's.
    pub async fn connect_operator(&self, name: &str) -> Bus {
        connect(&self.settings_of(Role::Operator, name)).await
    }

    /// A connection as a copy of this service of the engine has.
    pub async fn connect_service(&self, service: &str) -> Bus {
        let Some(role) = Role::of_service(service) else { panic!("{service} is no service of the engine") };
        self.connect_role(role).await
    }

    /// A connection as this user of the engine has.
    pub async fn connect_role(&self, role: Role) -> Bus {
        connect(&self.settings_of(role, role.as_str())).await
    }

    /// The settings of a connection as this user of the engine has.
    pub fn settings_of(&self, role: Role, name: &str) -> Settings {
        let service = role.service().map(|service| match service.parse() {
            Ok(service) => service,
            Err(error) => panic!("naming a service: {error}"),
        });
        let principal = service.map(|service| Principal::Engine { service, replica: ReplicaId::new() });
        let (user, key) = (role.as_str().to_owned(), Some(self.access.key(role.as_str())));
        Settings { principal, user, key, ..self.settings_for(&self.server.url(), name) }
    }

    /// The settings of a connection to this server that may do everything.
    pub fn settings(&self) -> Settings {
        self.settings_for(&self.server.url(), "test")
    }

    /// The same by another address, such as that of a proxy.
    pub fn settings_for(&self, url: &str, name: &str) -> Settings {
        settings(url, name, &self.access)
    }

    /// A program of other people, with a key: gives the settings of its connection.
    pub async fn invite(&mut self, kind: Outsider, name: &str) -> Settings {
        let name: Token = match name.parse() {
            Ok(name) => name,
            Err(error) => panic!("naming a program: {error}"),
        };
        let user = kind.user(&name);
        let path = self.access.key(&user);
        let invited = self.access.invite(kind, &name, &path);
        match invited {
            Ok(known) => self.users.invite(kind, known.name, &known.key),
            Err(error) => panic!("inviting {name}: {error}"),
        }
        if let Err(error) = self.server.know(&self.users) {
            panic!("telling the server of {name}: {error}");
        }
        let settings =
            Settings { user, key: Some(path), ..self.settings_for(&self.server.url(), name.as_str()) };
        crate::eventually("the server knows it", Duration::from_secs(20), || async {
            Bus::connect(&settings).await.map(drop)
        })
        .await;
        settings
    }

    /// Forgets a program of other people.
    pub fn dismiss(&mut self, kind: Outsider, name: &str) {
        let forgotten =
            name.parse().ok().and_then(|name: Token| self.access.dismiss(kind, &name).ok().flatten());
        let Some(known) = forgotten else { panic!("{name} is not known") };
        self.users.dismiss(kind, &known.name);
        if let Err(error) = self.server.know(&self.users) {
            panic!("telling the server of {name}: {error}");
        }
    }

    /// What a service as a process of its own is told of this server in its environment.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let limits = serde_json::to_value(StreamLimits::small()).unwrap_or_default();
        let sizes = limits.as_object().into_iter().flatten();
        let mut told: BTreeMap<String, String> = sizes
            .map(|(name, size)| (format!("CODE_NATS_LIMITS__{}", name.to_uppercase()), size.to_string()))
            .collect();
        told.insert("CODE_NATS_URL".to_owned(), self.server.url());
        told.insert("CODE_NATS_KEYS".to_owned(), self.keys().display().to_string());
        told
    }

    /// Publishes bytes as they are, without headers, as somebody who may do everything.
    pub async fn publish(&self, subject: &str, payload: &[u8]) {
        let said = crate::publish(&self.server.url(), &self.access.key(TESTER), subject, payload).await;
        if let Err(error) = said {
            panic!("publishing on {subject}: {error:#}");
        }
    }

    /// Where the keys lie: `<user>.nk`.
    pub fn keys(&self) -> PathBuf {
        self.access.keys()
    }

    /// The key of somebody who may do everything.
    pub fn key(&self) -> PathBuf {
        self.access.key(TESTER)
    }

    /// This test wants the server to refuse something.
    pub fn expects_refusals(&self) {
        self.refusals.store(true, Ordering::Relaxed);
    }

    /// What the server refused so far to those it let in: lines of its log.
    pub fn refused(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join("nats.log")).unwrap_or_default();
        log.lines().filter(|line| line.contains("Violation")).map(str::to_owned).collect()
    }

    /// Where the server keeps its data, its configuration and its log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for TestNats {
    fn drop(&mut self) {
        let refused = self.refused();
        if !refused.is_empty() && !self.refusals.load(Ordering::Relaxed) && !std::thread::panicking() {
            panic!("the server refused what the table of speech should allow:\n{}", refused.join("\n"));
        }
    }
}

/// The settings of a test's connection: small streams, short waits.
fn settings(url: &str, name: &str, access: &Access) -> Settings {
    Settings {
        url: url.to_owned(),
        name: name.to_owned(),
        user: TESTER.to_owned(),
        key: Some(access.key(TESTER)),
        patience: Span::seconds(20),
        broker_timeout: Span::seconds(2),
        limits: StreamLimits::small(),
        ..Settings::default()
    }
}

/// A server on a free port with its own folder, all streams made.
pub async fn nats() -> TestNats {
    let folder = folder();
    let (access, users) = keys(folder.path());
    let settings_of_server = ServerSettings { users: users.clone(), ..ServerSettings::new(folder.path()) };
    let server = match NatsServer::start(settings_of_server).await {
        Ok(server) => server,
        Err(error) => panic!("starting nats-server: {error}"),
    };
    let bus = connect(&settings(&server.url(), "test", &access)).await;
    let nats = TestNats { bus, server, folder, access, users, refusals: AtomicBool::new(false) };
    provision(&nats.connect_role(Role::Provisioner).await).await;
    nats
}

/// Makes all streams and consumers.
async fn provision(provisioner: &Bus) {
    if let Err(error) = provisioner.ensure().await {
        panic!("making the streams: {error}");
    }
}

/// Keys for every user of the engine, and for the test itself.
fn keys(folder: &Path) -> (Access, Users) {
    let access = Access::of(folder.join("access"));
    let made = access.prepare().and_then(|mut users| {
        let tester = Key::generate();
        tester.write(&key_file(&access.keys(), TESTER))?;
        users.admit(TESTER, &tester.public(), Rights::unbounded());
        Ok(users)
    });
    match made {
        Ok(users) => (access, users),
        Err(error) => panic!("making keys: {error}"),
    }
}

/// Three servers as one cluster, their folder, and the settings of a connection that may do everything. Streams are not
/// made; wait for the first [`Bus::ensure`].
pub async fn nats_cluster() -> (Vec<NatsServer>, TempDir, Settings) {
    let folder = folder();
    let (access, users) = keys(folder.path());
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
            users: users.clone(),
            ..ServerSettings::new(folder.path().join(name))
        };
        match NatsServer::start(settings).await {
            Ok(server) => servers.push(server),
            Err(error) => panic!("starting nats-server: {error}"),
        }
    }
    let urls: Vec<String> = servers.iter().map(NatsServer::url).collect();
    let settings = settings(&urls.join(","), "test", &access);
    (servers, folder, settings)
}

async fn connect(settings: &Settings) -> Bus {
    match Bus::connect(settings).await {
        Ok(bus) => bus,
        Err(error) => panic!("connecting to {} as {}: {error}", settings.url, settings.user),
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
