//! How long `codectl up` takes from being started until everything is ready, against a bare nats-server.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use benches::{
    Options,
    figure::{Aim, Better},
    output,
    rounds::Pair,
    stage,
};
use clap::Parser;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::Instant,
};

/// Starts the whole engine and a bare nats-server, in turns, each in an empty folder.
#[derive(Parser)]
#[command(name = "start")]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// The program. Default: `codectl` beside this one, as `cargo build --release --package codectl` makes it.
    #[arg(long)]
    codectl: Option<PathBuf>,
}

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { options, codectl } = Arguments::parse();
    let codectl = match codectl {
        Some(codectl) => codectl,
        None => std::env::current_exe()?.with_file_name("codectl"),
    };
    if !codectl.is_file() {
        bail!("{} is not there: run cargo build --release --package codectl", codectl.display());
    }
    let ours = async || engine(&codectl).await;
    let baseline = async || bare().await;
    let pair = Pair::run(options.size(15, 3), ours, baseline).await?;
    let figure = pair
        .figure("codectl up, from start to ready", "ms", Better::Less, "bare nats-server")
        .aims(Aim::AtMost(1000.0))
        .note("ready: nats-server, all streams, orchestrator, agents and data plane; the folder is empty at first");
    output::finish("start", "make bench ARGS=start", &options, vec![figure])
}

async fn engine(codectl: &Path) -> Result<f64> {
    let home = TempDir::with_prefix("code-start-")?;
    let began = Instant::now();
    let mut child = Command::new(codectl)
        .args(["up", "--port", "0", "--home"])
        .arg(home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("starting codectl")?;
    // Written when everything is ready.
    let file = home.path().join("engine.json");
    while !file.exists() {
        if let Some(status) = child.try_wait()? {
            bail!("codectl up ended with {status}");
        }
        if began.elapsed() > PATIENCE {
            bail!("codectl up was not ready within {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = began.elapsed();
    end(&mut child).await?;
    Ok(took.as_secs_f64() * 1000.0)
}

/// As Ctrl-C would, so that its nats-server ends too.
async fn end(child: &mut Child) -> Result<()> {
    let pid = Pid::from_raw(child.id().context("codectl up has ended")? as i32);
    kill(pid, Signal::SIGTERM).with_context(|| format!("asking process {pid} to end"))?;
    tokio::time::timeout(PATIENCE, child.wait()).await.context("codectl up did not end")??;
    Ok(())
}

async fn bare() -> Result<f64> {
    let folder = TempDir::with_prefix("code-start-")?;
    let began = Instant::now();
    let mut server = stage::start(folder.path()).await?;
    let took = began.elapsed();
    server.stop().await.context("stopping nats-server")?;
    Ok(took.as_secs_f64() * 1000.0)
}
