//! The audit log as a process of its own, so that its memory is nobody else's.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use audit::AuditConfig;
use benches::{machine, stage};
use bus::{Bus, subjects::audit as speech};
use chassis::Service;
use model::audit::{AuditStatus, AuditStatusRequest};
use tokio::io::AsyncReadExt;

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A running audit log; ends when this is dropped.
pub struct Process(Child);

impl Process {
    /// Starts this program again, as the audit log in a folder, and waits until it answers.
    pub async fn start(bus: &Bus, url: &str, key: &Path, folder: &Path) -> Result<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--serve", url, "--key"]).arg(key).arg("--folder").arg(folder).stdin(Stdio::piped());
        let process = Process(command.spawn().context("starting the audit log")?);
        let began = tokio::time::Instant::now();
        while let Err(error) = status(bus).await {
            anyhow::ensure!(began.elapsed() < DEADLINE, "the audit log does not answer: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(process)
    }

    /// Bytes of it that are in memory.
    pub fn resident(&self) -> Result<u64> {
        machine::resident(self.0.id())
    }

    /// Lets it end in order.
    pub fn stop(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        let ended = self.0.wait()?;
        anyhow::ensure!(ended.success(), "the audit log ended with {ended}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The log's state.
pub async fn status(bus: &Bus) -> Result<AuditStatus> {
    Ok(bus.call(&speech::STATUS, &AuditStatusRequest { sign: false }, DEADLINE).await?)
}

/// Connects under a name.
pub async fn connect(url: &str, key: &Path, name: &str) -> Result<Bus> {
    Bus::connect(&stage::settings(url, key, name)).await.with_context(|| format!("connecting to {url}"))
}

/// Is the audit log until standard input ends, as it does when whoever started it is gone.
pub async fn serve(url: &str, key: &Path, folder: &Path) -> Result<()> {
    let config = AuditConfig { state_dir: folder.to_owned(), ..AuditConfig::default() };
    let service = Service::for_tests(config, connect(url, key, "audit").await?);
    audit::start(service.clone()).await?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    service.stop(DEADLINE).await;
    Ok(())
}
