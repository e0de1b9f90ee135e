//! A service for tests that start it, stop it and look at it from outside; under the name of one that NATS knows. It shows what it does by files in a
//! folder, and waits for files there.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use bus::{Job, Meta, WorkRules};
use chassis::{BoxError, Config, Metric, Secret, Service};
use model::Fault;
use serde::{Deserialize, Serialize};

const HOLD: Job<bus::Drain> = Job::new("orchestrator", "advice");
const HELD: Metric = Metric::new("code_child_held_total", "jobs that were held");

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    folder: PathBuf,
    refuse: bool,
    secret: Secret,
}

impl Config for Settings {
    const SERVICE: &'static str = "orchestrator";
}

async fn start(service: Service<Settings>) -> Result<(), BoxError> {
    if service.config.refuse {
        return Err("told to refuse".into());
    }
    let folder = service.config.folder.clone();
    let held = service.metrics.counters::<1>(&HELD);
    held.get_or_create(&[("outcome", "good".to_owned())]).inc_by(0);
    service
        .work(
            &HOLD,
            None,
            WorkRules::default(),
            folder.clone(),
            |folder: PathBuf, _: bus::Drain, _: Meta| async move {
                mark(&folder, "started");
                awaited(&folder, "release").await;
                mark(&folder, "done");
                Ok::<(), Fault>(())
            },
        )
        .await?;
    let (failing, stopping) = (folder.clone(), service.stopping());
    service.tasks.critical("fragile", async move {
        tokio::select! {
            () = stopping.cancelled() => Ok::<(), BoxError>(()),
            () = awaited(&failing, "fail") => Err("it broke".into()),
        }
    });
    let leaving = folder.clone();
    service.on_stop(move || async move { mark(&leaving, "handed over") });
    tracing::info_span!("child started").in_scope(|| tracing::info!("a line within a span"));
    Ok(())
}

fn mark(folder: &std::path::Path, name: &str) {
    if let Err(error) = std::fs::write(folder.join(name), "") {
        tracing::error!(%error, name, "cannot mark");
    }
}

async fn awaited(folder: &std::path::Path, name: &str) {
    while !folder.join(name).exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn main() -> ExitCode {
    chassis::run::<Settings>("chassis-child", start)
}
