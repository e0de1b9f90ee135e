//! What the driver does with an engine.

use std::time::Duration;

use async_trait::async_trait;
use bollard::{
    Docker,
    exec::{CreateExecOptions, StartExecResults},
    query_parameters::{
        CreateContainerOptions, KillContainerOptions, LogsOptions, RemoveContainerOptions,
        UploadToContainerOptions,
    },
};
use futures::StreamExt as _;
use model::{Fence, TargetId};
use platform::{Capacity, Error, FenceStore, Fenced, Instance, Platform, Result, StartOrder, fill};
use tracing::{debug, warn};

use crate::{
    Settings, body,
    engine::{self, Engine, is_status, said},
    image, network,
    seen::{self, Seen},
};

/// How often a container that was asked to end is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How long a removal, and another driver's unfinished creation, may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The most that is given back of a log.
const LOG_TAIL_BYTES: usize = 256 * 1024;

/// The Docker driver.
pub struct DockerPlatform {
    settings: Settings,
    engine: Engine,
    fences: FenceStore,
}

impl DockerPlatform {
    /// A driver; the engine is first asked when it is needed, so that one that is away now may come later.
    pub fn new(settings: Settings) -> Result<DockerPlatform> {
        let fences = FenceStore::open(settings.state_dir.join("fences"))?;
        Ok(DockerPlatform { engine: Engine::new(&settings.endpoint), fences, settings })
    }

    /// Creates the container, or takes the one that another driver just created, and starts it. Another driver that
    /// makes the target's network at the same moment leaves two or none for a while: then all of it is done again.
    async fn create(&self, docker: &Docker, order: &StartOrder, restarts: u32) -> Result<Seen> {
        let id = order.id();
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            network::ensure(docker, &order.target, &self.settings.attach).await?;
            network::ensure_volumes(docker, order).await?;
            let body = body::of(order, restarts, &self.settings)?;
            let options = CreateContainerOptions { name: Some(id.clone()), ..Default::default() };
            let begun = match docker.create_container(Some(options), body).await {
                Ok(_) => self.begin(docker, order).await,
                Err(error) if is_status(&error, 409) => return self.adopt(docker, order).await,
                Err(error) => Err(said(format!("create container {id}"), error)),
            };
            match begun {
                Err(error) if network::is_unsettled(&error) && tokio::time::Instant::now() < until => {
                    debug!(instance = id, %error, "another driver makes the same network");
                    tokio::time::sleep(POLL).await;
                }
                begun => return begun,
            }
        }
    }

    /// Gives a created container its files and starts it. Both may be done twice, also by two drivers at once. A
    /// container that cannot start is removed.
    async fn begin(&self, docker: &Docker, order: &StartOrder) -> Result<Seen> {
        let id = order.id();
        let started = async {
            if !order.module.config.is_empty() {
                let archive = body::archive(order)?;
                let options = UploadToContainerOptions { path: "/".to_owned(), ..Default::default() };
                let upload =
                    docker.upload_to_container(&id, Some(options), bollard::body_full(archive.into()));
                upload.await.map_err(|error| said(format!("put files into container {id}"), error))?;
            }
            docker.start_container(&id, None).await.map_err(|error| engine::not_started(order, error))
        };
        if let Err(error) = started.await {
            if let Err(left) = remove(docker, &id).await {
                warn!(instance = id, %left, "a container that could not start is left");
            } else if let Err(left) =
                network::remove_if_empty(docker, &order.target, &self.settings.attach).await
            {
                warn!(target = %order.target, %left, "the network of an empty target is left");
            }
            return Err(error);
        }
        seen::one(docker, &order.target, &id, &self.settings.clock)
            .await?
            .ok_or(Error::NoInstance { instance: id })
    }

    /// The name was taken between the look and the creation: by another driver for the same order, then it will run
    /// soon, or by something that is not ours.
    async fn adopt(&self, docker: &Docker, order: &StartOrder) -> Result<Seen> {
        let id = order.id();
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.mine(docker, order).await? {
                Some(seen) if seen.instance.is_running() => return Ok(seen),
                Some(_) | None if tokio::time::Instant::now() < until => tokio::time::sleep(POLL).await,
                Some(_) | None => {
                    return Err(Error::NameTaken {
                        name: id,
                        by: "a container that another driver is making".to_owned(),
                    });
                }
            }
        }
    }

    /// The container of the order; refused when the name belongs to something else.
    async fn mine(&self, docker: &Docker, order: &StartOrder) -> Result<Option<Seen>> {
        let id = order.id();
        let Some(found) = seen::inspect(docker, &id).await? else { return Ok(None) };
        let by = |what: &str| Error::NameTaken { name: id.clone(), by: what.to_owned() };
        let Some(seen) = seen::read(&found, &self.settings.clock) else {
            return Err(by("a container without our labels"));
        };
        let same = seen.target == order.target.token()
            && seen.instance.module == order.module.name
            && seen.instance.revision == order.revision
            && seen.instance.slot == order.slot;
        if same { Ok(Some(seen)) } else { Err(by("a container of another target or module")) }
    }
}

/// Removes a container with its unnamed volumes and waits until its name is free.
async fn remove(docker: &Docker, id: &str) -> Result<()> {
    let options = || RemoveContainerOptions { v: true, force: true, link: false };
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        match docker.remove_container(id, Some(options())).await {
            Ok(()) => return Ok(()),
            Err(error) if is_status(&error, 404) => return Ok(()),
            Err(error) if is_status(&error, 409) && tokio::time::Instant::now() < until => {
                debug!(instance = id, "its removal is in progress");
                tokio::time::sleep(POLL).await;
            }
            Err(error) => return Err(said(format!("remove container {id}"), error)),
        }
    }
}

#[async_trait]
impl Fenced for DockerPlatform {
    fn fences(&self) -> &FenceStore {
        &self.fences
    }

    async fn found(&self, target: &TargetId) -> Result<Fence> {
        seen::highest_fence(self.engine.docker().await?, target).await
    }
}

#[async_trait]
impl Platform for DockerPlatform {
    fn kind(&self) -> &'static str {
        "docker"
    }

    async fn capacity(&self) -> Result<Capacity> {
        let docker = self.engine.docker().await?;
        let info = docker.info().await.map_err(|error| said("ask the engine what it has", error))?;
        let (cpu, memory) = seen::reserved(docker).await?;
        let positive = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0);
        let (cpu_millis, memory_bytes) = (positive(info.ncpu) * 1000, positive(info.mem_total));
        Ok(Capacity {
            cpu_millis,
            memory_bytes,
            free_cpu_millis: cpu_millis.saturating_sub(cpu),
            free_memory_bytes: memory_bytes.saturating_sub(memory),
        })
    }

    async fn targets(&self) -> Result<Vec<TargetId>> {
        let docker = self.engine.docker().await?;
        let mut targets = seen::targets(docker).await?;
        targets.retain(|target| self.fences.knows(target));
        Ok(targets)
    }

    async fn observe(&self, target: &TargetId) -> Result<Vec<Instance>> {
        let docker = self.engine.docker().await?;
        let mut instances = Vec::new();
        for id in seen::names(docker, target).await? {
            if let Some(seen) = seen::one(docker, target, &id, &self.settings.clock).await? {
                instances.push(seen.instance);
            }
        }
        instances.sort_by(|one, two| one.id.cmp(&two.id));
        Ok(instances)
    }

    async fn start(&self, order: &StartOrder) -> Result<Instance> {
        order.check()?;
        body::check(order, &self.settings)?;
        let docker = self.engine.docker().await?;
        let _instance = self.fences.hold_instance(&order.id()).await?;
        image::ensure(docker, order, &self.settings).await?;
        let _guard = self.admit(&order.target, order.fence).await?;
        let seen = match self.mine(docker, order).await? {
            Some(seen) if seen.instance.is_running() => seen,
            Some(seen) if seen.only_created => self.begin(docker, order).await?,
            Some(seen) => {
                remove(docker, &seen.instance.id).await?;
                self.create(docker, order, seen.instance.restarts.saturating_add(1)).await?
            }
            None => self.create(docker, order, 0).await?,
        };
        Ok(seen.instance)
    }

    async fn stop(&self, target: &TargetId, instance: &str, fence: Fence, grace: Duration) -> Result<()> {
        let docker = self.engine.docker().await?;
        let _instance = self.fences.hold_instance(instance).await?;
        let guard = self.admit(target, fence).await?;
        let look = || seen::one(docker, target, instance, &self.settings.clock);
        let Some(seen) = look().await? else { return Ok(()) };
        if seen.instance.is_running() {
            let options = KillContainerOptions { signal: seen.stop_signal.clone() };
            match docker.kill_container(instance, Some(options)).await {
                Ok(()) => {}
                Err(error) if is_status(&error, 404) || is_status(&error, 409) => {}
                Err(error) => return Err(said(format!("ask container {instance} to end"), error)),
            }
            drop(guard);
            let until = tokio::time::Instant::now() + grace;
            while look().await?.is_some_and(|seen| seen.instance.is_running())
                && tokio::time::Instant::now() < until
            {
                tokio::time::sleep(POLL).await;
            }
        } else {
            drop(guard);
        }
        let _guard = self.admit(target, fence).await?;
        if look().await?.is_some() {
            remove(docker, instance).await?;
        }
        network::remove_if_empty(docker, target, &self.settings.attach).await
    }

    async fn logs(&self, target: &TargetId, instance: &str, lines: usize) -> Result<String> {
        let docker = self.engine.docker().await?;
        if seen::one(docker, target, instance, &self.settings.clock).await?.is_none() {
            return Err(Error::NoInstance { instance: instance.to_owned() });
        }
        let options =
            LogsOptions { stdout: true, stderr: true, tail: lines.to_string(), ..Default::default() };
        let mut parts = docker.logs(instance, Some(options));
        let mut bytes = Vec::new();
        while let Some(part) = parts.next().await {
            bytes.extend_from_slice(
                &part.map_err(|error| said(format!("read the log of {instance}"), error))?.into_bytes(),
            );
            if bytes.len() > 2 * LOG_TAIL_BYTES {
                bytes.drain(..bytes.len() - LOG_TAIL_BYTES);
            }
        }
        let from = bytes.len().saturating_sub(LOG_TAIL_BYTES);
        Ok(String::from_utf8_lossy(&bytes[from..]).into_owned())
    }

    /// The engine cannot kill a command: one that takes too long goes on until its container ends.
    async fn exec(
        &self,
        target: &TargetId,
        instance: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<i32> {
        let docker = self.engine.docker().await?;
        let Some(seen) = seen::one(docker, target, instance, &self.settings.clock).await? else {
            return Err(Error::NoInstance { instance: instance.to_owned() });
        };
        if !seen.instance.is_running() {
            return Err(Error::NotRunning { instance: instance.to_owned() });
        }
        let first = seen.instance.first_port.as_deref();
        let words = command.iter().map(|word| fill(word, &seen.instance.module, &seen.ports, first));
        let words = words.collect::<Result<Vec<String>>>()?;
        let what = || format!("command {} in instance {instance}", command.join(" "));
        let run = async {
            let options = CreateExecOptions {
                cmd: Some(words),
                attach_stdout: Some(true),
                attach_stderr: Some(true),
                ..Default::default()
            };
            let exec = docker.create_exec(instance, options).await.map_err(|error| said(what(), error))?;
            let started = docker.start_exec(&exec.id, None).await.map_err(|error| said(what(), error))?;
            if let StartExecResults::Attached { mut output, .. } = started {
                while let Some(part) = output.next().await {
                    part.map_err(|error| said(what(), error))?;
                }
            }
            loop {
                let state = docker.inspect_exec(&exec.id).await.map_err(|error| said(what(), error))?;
                match (state.running, state.exit_code) {
                    (Some(false) | None, Some(code)) => return Ok(i32::try_from(code).unwrap_or(-1)),
                    _ => tokio::time::sleep(POLL).await,
                }
            }
        };
        match tokio::time::timeout(timeout, run).await {
            Ok(status) => status,
            Err(_) => Err(Error::Timeout { what: what(), limit: timeout }),
        }
    }
}
