//! The platforms that the settings name.

use std::sync::Arc;

use chassis::Clock;
use platform::{Platform, ProcessPlatform, ScriptedPlatform, process};
use platform_docker::DockerPlatform;

use crate::{
    config::AgentsConfig,
    context::Platforms,
    error::{Error, Result},
};

/// One driver per name.
pub fn of(config: &AgentsConfig, clock: &Clock) -> Result<Platforms> {
    let mut platforms = Platforms::new();
    for name in &config.platforms {
        let clock = clock.clone();
        let platform: Arc<dyn Platform> = match name.as_str() {
            "process" => Arc::new(ProcessPlatform::new(process::Settings {
                host_root: config.volumes_root.clone(),
                open_files: chassis::files::inherited(),
                clock,
                ..process::Settings::new(config.state_dir.join("process"))
            })?),
            "docker" => Arc::new(DockerPlatform::new(platform_docker::Settings {
                endpoint: config.docker_endpoint.clone(),
                host_root: config.volumes_root.clone(),
                attach: config.docker_attach.clone(),
                clock,
                ..platform_docker::Settings::new(config.state_dir.join("docker"))
            })?),
            "scripted" => Arc::new(ScriptedPlatform::new()),
            other => return Err(Error::NoPlatform(other.to_owned(), "process, docker, scripted".to_owned())),
        };
        platforms.insert(name.clone(), platform);
    }
    Ok(platforms)
}
