//! The platforms that the settings name.

use std::{sync::Arc, time::Duration};

use chassis::Clock;
use model::TargetId;
use platform::{Instance, Platform, ProcessPlatform, ScriptedPlatform, process};
use platform_docker::DockerPlatform;

use crate::{
    config::{AgentsConfig, Driver},
    context::Platforms,
    error::Result,
};

/// One driver per name.
pub fn of(config: &AgentsConfig, clock: &Clock) -> Result<Platforms> {
    let mut platforms = Platforms::new();
    for driver in &config.platforms {
        let clock = clock.clone();
        let platform: Arc<dyn Platform> = match driver {
            Driver::Process => Arc::new(ProcessPlatform::new(process::Settings {
                host_root: config.volumes_root.clone(),
                open_files: chassis::files::inherited(),
                missing: config.process.unenforced,
                clock,
                ..process::Settings::new(config.state_dir.join(driver.as_str()))
            })?),
            Driver::Docker => Arc::new(DockerPlatform::new(platform_docker::Settings {
                endpoint: config.docker.endpoint.clone(),
                host_root: config.volumes_root.clone(),
                attach: config.docker.attach.clone(),
                registries: Some(Arc::new(config.egress()?)),
                clock,
                ..platform_docker::Settings::new(config.state_dir.join(driver.as_str()))
            })?),
            Driver::Scripted => Arc::new(ScriptedPlatform::new()),
        };
        platforms.insert(driver.as_str().to_owned(), platform);
    }
    Ok(platforms)
}

/// Stops every instance that was started from this state folder, on every platform that the settings name, and gives them.
/// For when no engine writes there any more: it takes each target's own highest fence, so it stays below any engine that
/// comes later.
///
/// # Errors
/// A platform could not be asked, or an instance not be stopped; what was stopped before stays stopped.
pub async fn take_down(config: &AgentsConfig, grace: Duration) -> Result<Vec<(TargetId, Instance)>> {
    let mut stopped = Vec::new();
    for platform in of(config, &Clock::system())?.values() {
        for target in platform.targets().await? {
            let fence = platform.highest_fence(&target).await?;
            for instance in platform.observe(&target).await? {
                platform.stop(&target, &instance.id, fence, grace).await?;
                stopped.push((target.clone(), instance));
            }
        }
    }
    Ok(stopped)
}
