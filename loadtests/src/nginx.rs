//! nginx as a plain reverse proxy with kept connections to its upstream.

use std::{fs, net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::Instant,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A running nginx. Ends with this.
pub struct Nginx {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it with so many workers in front of `upstream`.
    pub async fn start(workers: usize, upstream: SocketAddr) -> Result<Nginx> {
        let folder = TempDir::with_prefix("code-nginx-")?;
        let address = free_address().await?;
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration(workers, address, upstream)).context("writing nginx.conf")?;
        let mut child = Command::new(program()?)
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .args(["-e", "error.log"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting nginx")?;
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).await.is_err() {
            let ended = child.try_wait()?;
            if ended.is_some() || Instant::now() >= until {
                let log = fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
                bail!("nginx does not answer on {address} (ended: {ended:?}): {log}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Nginx { address, child, _folder: folder })
    }

    /// The master; its workers are its children.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().context("nginx has ended")
    }

    /// Ends the master and its workers: a killed master would leave the workers behind.
    pub async fn stop(mut self) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(self.pid()? as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).context("asking nginx to end")?;
        tokio::time::timeout(PATIENCE, self.child.wait()).await.context("nginx did not end")??;
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Some(pid) = self.child.id() {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid as i32),
                nix::sys::signal::Signal::SIGTERM,
            );
        }
    }
}

/// Debian keeps it where a user's path does not lead.
fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = places.map(|folder| folder.join("nginx")).find(|program| program.is_file());
    found.context("nginx was not found: run tools/setup.sh --all")
}

async fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?)
}

/// As an operator would write it for this one task: no logs of requests, kept connections on both sides.
fn configuration(workers: usize, address: SocketAddr, upstream: SocketAddr) -> String {
    let user = if nix::unistd::geteuid().is_root() { "user root;\n" } else { "" };
    let mut folders = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        folders.push_str(&format!("  {kind}_temp_path {kind};\n"));
    }
    format!(
        "{user}daemon off;\npid nginx.pid;\nworker_processes {workers};\nerror_log error.log warn;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n{folders}  tcp_nodelay on;\n  keepalive_timeout 60s;\n  \
         keepalive_requests 1000000000;\n  server_tokens off;\n  \
         upstream behind {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; }}\n  \
         server {{\n    listen {address};\n    location / {{\n      proxy_pass http://behind;\n      \
         proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      proxy_set_header Host $http_host;\n      \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n    }}\n  }}\n}}\n"
    )
}
