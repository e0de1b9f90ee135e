//! A nats-server as our own child process: for `codectl up` and for tests.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::Instant,
};

use crate::{Error, Users, access};

/// How a server is started. The default is one node on a free port whose data is fsynced with every message, and which
/// knows nobody.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Where its data and its configuration lie; made when it is missing. A server started there again has the data.
    pub store_dir: PathBuf,
    /// The port for clients; 0 takes a free one. Default 0.
    pub port: u16,
    /// The address it listens on. Default 127.0.0.1.
    pub host: String,
    /// Fsync before every acknowledgement. Default true; false loses acknowledged data when the power fails.
    pub sync_always: bool,
    /// The server's name; unique in a cluster.
    pub name: String,
    /// The program; none looks in [`find_program`]'s places.
    pub program: Option<PathBuf>,
    /// Its own process group: then Ctrl-C at our terminal does not reach it. Default false.
    pub own_group: bool,
    /// It goes on when this handle is dropped. Default false.
    pub survives: bool,
    /// How long it may take until it answers. Default 15 s.
    pub patience: Duration,
    /// It is one of several.
    pub cluster: Option<ClusterSettings>,
    /// Whom it knows when it starts, and what each may do. Default nobody. Started again it knows whom it was told of last.
    pub users: Users,
}

/// A server as a member of a cluster.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// The cluster's name.
    pub name: String,
    /// The port for the other members.
    pub port: u16,
    /// The other members, as `nats://host:port` of their cluster ports.
    pub routes: Vec<String>,
}

/// The name of its log.
const LOG: &str = "nats.log";

impl ServerSettings {
    /// The default, with its data in `store_dir`.
    pub fn new(store_dir: impl Into<PathBuf>) -> ServerSettings {
        ServerSettings {
            store_dir: store_dir.into(),
            port: 0,
            host: "127.0.0.1".to_owned(),
            sync_always: true,
            name: "code".to_owned(),
            program: None,
            own_group: false,
            survives: false,
            patience: Duration::from_secs(15),
            cluster: None,
            users: Users::default(),
        }
    }
}

/// A running nats-server.
#[derive(Debug)]
pub struct NatsServer {
    settings: ServerSettings,
    program: PathBuf,
    child: Child,
    port: u16,
}

impl NatsServer {
    /// Starts a server and waits until it answers.
    pub async fn start(settings: ServerSettings) -> Result<NatsServer, Error> {
        let program = match &settings.program {
            Some(program) => program.clone(),
            None => find_program()?,
        };
        access::write_configuration(&settings.users, &access_file(&settings.store_dir))?;
        let (child, port) = launch(&program, &settings, settings.port).await?;
        Ok(NatsServer { settings, program, child, port })
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("nats://{}:{}", self.settings.host, self.port)
    }

    /// The port for clients; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its data and its log lie.
    pub fn folder(&self) -> &Path {
        &self.settings.store_dir
    }

    /// What it writes about itself.
    pub fn log(&self) -> PathBuf {
        self.folder().join(LOG)
    }

    /// The process; none when it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Returns when it has ended by itself or by somebody else, and says how.
    pub async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => format!("nats-server ended with {status}"),
            Err(error) => format!("nats-server cannot be waited for: {error}"),
        }
    }

    /// Knows these from now on. Whoever it does not know any more is cut off. The server reads what is written here soon
    /// after this returns.
    pub fn know(&self, users: &Users) -> Result<(), Error> {
        access::write_configuration(users, &access_file(&self.settings.store_dir))?;
        match self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            Some(pid) => reload(pid),
            None => Ok(()),
        }
    }

    /// Ends it as a crash would, and waits until it is gone.
    pub async fn kill9(&mut self) -> Result<(), Error> {
        self.child.kill().await.map_err(|source| io("killing nats-server", source))
    }

    /// Ends it in order, and waits at most 5 s before it is killed.
    pub async fn stop(&mut self) -> Result<(), Error> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // Gone already is as good.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        match tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(source)) => Err(io("waiting for nats-server", source)),
            Err(_) => self.kill9().await,
        }
    }

    /// Starts it again on the same port with the same data; kills it first when it still runs.
    pub async fn restart(&mut self) -> Result<(), Error> {
        if self.child.id().is_some() {
            self.kill9().await?;
        }
        (self.child, _) = launch(&self.program, &self.settings, self.port).await?;
        Ok(())
    }
}

/// Where nats-server is: `CODE_NATS_SERVER`, then `.tools/bin/nats-server` above the working directory or above our
/// own program, then `PATH`. The one place of this crate that reads the environment.
pub fn find_program() -> Result<PathBuf, Error> {
    if let Some(named) = std::env::var_os("CODE_NATS_SERVER").filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        if named.is_file() {
            return Ok(named);
        }
        return Err(Error::Server(format!(
            "CODE_NATS_SERVER names {}, which is not a file",
            named.display()
        )));
    }
    let places = [std::env::current_dir(), std::env::current_exe()];
    for place in places.into_iter().flatten() {
        for folder in place.ancestors() {
            let program = folder.join(".tools/bin/nats-server");
            if program.is_file() {
                return Ok(program);
            }
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join("nats-server")).find(|program| program.is_file()).ok_or_else(
        || {
            let text = "nats-server was not found: run tools/setup.sh (make test does) to put it into .tools/bin, \
                        or set CODE_NATS_SERVER to the program";
            Error::Server(text.to_owned())
        },
    )
}

/// Where a server with its data here is told who may do what. A running one reads it again on SIGHUP.
pub fn access_file(store_dir: &Path) -> PathBuf {
    store_dir.join("access.conf")
}

/// Has a running server read again who may do what. It does so soon after this returns.
pub fn reload(pid: i32) -> Result<(), Error> {
    kill(Pid::from_raw(pid), Signal::SIGHUP)
        .map_err(|error| io("asking nats-server to read its configuration", error.into()))
}

/// Streams lie in a folder that is named after their account. An engine of before there were accounts has them in that of
/// the account that was there without being named.
fn adopt_streams(folder: &Path) -> Result<(), Error> {
    let accounts = folder.join("data/jetstream");
    let (before, now) = (accounts.join("$G"), accounts.join("CODE"));
    if before.join("streams").exists() && !now.exists() {
        std::fs::rename(&before, &now)
            .map_err(|source| io(format!("moving {} to {}", before.display(), now.display()), source))?;
    }
    Ok(())
}

async fn launch(program: &Path, settings: &ServerSettings, port: u16) -> Result<(Child, u16), Error> {
    let folder = &settings.store_dir;
    std::fs::create_dir_all(folder).map_err(|source| io(format!("making {}", folder.display()), source))?;
    let folder =
        folder.canonicalize().map_err(|source| io(format!("finding {}", folder.display()), source))?;
    let (file, log) = (folder.join("nats.conf"), folder.join(LOG));
    adopt_streams(&folder)?;
    let text = configuration(settings, &folder, port);
    std::fs::write(&file, text).map_err(|source| io(format!("writing {}", file.display()), source))?;
    // A process number comes again: what a server before wrote must not be taken for what this one says.
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|end| end == "ports") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    let mut command = Command::new(program);
    command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.kill_on_drop(!settings.survives);
    if settings.own_group {
        command.process_group(0);
    }
    let mut child =
        command.spawn().map_err(|source| io(format!("starting {}", program.display()), source))?;
    let pid = child.id().unwrap_or_default();
    let until = Instant::now() + settings.patience;
    loop {
        if let Some(port) = listening(&folder, pid, port)
            && answers(&settings.host, port).await
        {
            return Ok((child, port));
        }
        let ended = child.try_wait().map_err(|source| io("waiting for nats-server", source))?;
        if ended.is_some() || Instant::now() >= until {
            let how = ended.map_or_else(
                || format!("did not answer within {:?}", settings.patience),
                |status| format!("ended with {status}"),
            );
            let _ = child.kill().await;
            return Err(Error::Server(format!("{} {how}; {}", program.display(), end_of(&log))));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The end of a log for an error, which says something also when the log does not.
fn end_of(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    if lines.is_empty() {
        return format!("it wrote nothing to {}: is the disk full?", log.display());
    }
    let lines: Vec<&str> = lines.into_iter().rev().collect();
    format!("the end of its log:\n{}", lines.join("\n"))
}

/// A step's job holds two specs of up to 512 KiB each: more than the server's default of 1 MB.
fn configuration(settings: &ServerSettings, folder: &Path, port: u16) -> String {
    // -1 lets the server choose; it writes what it chose into the ports file.
    let listen = if port == 0 { "-1".to_owned() } else { port.to_string() };
    let sync = if settings.sync_always { "\n  sync_interval: always" } else { "" };
    let folder = folder.display();
    let mut text = format!(
        "# Written at every start.\n\
         server_name: \"{}\"\nhost: \"{}\"\nport: {listen}\nports_file_dir: \"{folder}\"\n\
         log_file: \"{folder}/{LOG}\"\nlame_duck_duration: \"30s\"\nmax_payload: 4MB\n\
         jetstream {{\n  store_dir: \"{folder}/data\"{sync}\n}}\n\
         include \"access.conf\"\n",
        settings.name, settings.host,
    );
    if let Some(cluster) = &settings.cluster {
        let routes: Vec<String> = cluster.routes.iter().map(|route| format!("\"{route}\"")).collect();
        let _ = write!(
            text,
            "cluster {{\n  name: \"{}\"\n  listen: \"{}:{}\"\n  routes: [{}]\n}}\n",
            cluster.name,
            settings.host,
            cluster.port,
            routes.join(", ")
        );
    }
    text
}

/// The port that the process with this id listens on, when it is known yet.
fn listening(folder: &Path, pid: u32, port: u16) -> Option<u16> {
    if port != 0 {
        return Some(port);
    }
    let entry = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().ends_with(&format!("_{pid}.ports")))?;
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(entry.path()).ok()?).ok()?;
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}

/// A server greets with `INFO`.
async fn answers(host: &str, port: u16) -> bool {
    let greeting = async {
        let stream = TcpStream::connect((host, port)).await.ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.ok()?;
        line.starts_with("INFO ").then_some(())
    };
    matches!(tokio::time::timeout(Duration::from_secs(1), greeting).await, Ok(Some(())))
}

fn io(what: impl Into<String>, source: std::io::Error) -> Error {
    Error::Io { what: what.into(), source }
}
