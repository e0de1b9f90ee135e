//! What a container is made of.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, HostConfigLogConfig, Mount, MountType,
    NetworkingConfig, RestartPolicy, RestartPolicyNameEnum,
};
use model::spec::Volume;
use platform::{Error, Result, StartOrder, contained};

use crate::{
    Settings, labels,
    network::{name_of, volume_name},
};

/// Refuses an order whose container could not be made, before anything is done.
pub(crate) fn check(order: &StartOrder, settings: &Settings) -> Result<()> {
    if order.module.run.image.as_deref().is_none_or(str::is_empty) {
        return Err(Error::invalid(format!(
            "module {} has no image, which the docker platform needs",
            order.module.name
        )));
    }
    of(order, 0, settings)?;
    crate::pack::archive(&order.module.config, user_ids(order)).map(drop)
}

/// Port number per name, in the module's order.
fn ports(order: &StartOrder) -> Result<Vec<(String, u16)>> {
    let number = |port: &model::spec::PortSpec| {
        let number = port.container.filter(|number| *number > 0).ok_or_else(|| {
            Error::invalid(format!(
                "port {} of module {} has no container number",
                port.name, order.module.name
            ))
        })?;
        Ok((port.name.to_string(), number))
    };
    order.module.ports.iter().map(number).collect()
}

/// User and group of the files given to the container; names in the image are not looked up and mean root.
pub(crate) fn user_ids(order: &StartOrder) -> (u32, u32) {
    let text = order.module.run.user.as_deref().unwrap_or_default();
    let (user, group) = text.split_once(':').unwrap_or((text, text));
    (user.parse().unwrap_or(0), group.parse().unwrap_or(0))
}

/// The request that makes the container.
pub(crate) fn of(order: &StartOrder, restarts: u32, settings: &Settings) -> Result<ContainerCreateBody> {
    let run = &order.module.run;
    let ports = ports(order)?;
    let numbers: BTreeMap<String, u16> = ports.iter().cloned().collect();
    let mut environment = order.environment(&numbers, "/")?;
    for volume in &order.module.volumes {
        if let Some(name) = &volume.name {
            let part = name.as_str().to_ascii_uppercase().replace('-', "_");
            environment.insert(format!("CODE_VOLUME_{part}"), volume.path.clone());
        }
    }
    let command = order.command(&numbers)?;
    let endpoint =
        EndpointSettings { aliases: Some(vec![order.module.name.to_string()]), ..Default::default() };
    let token = order.target.token();
    Ok(ContainerCreateBody {
        image: run.image.clone(),
        // The spec's command is program and arguments, so it takes the place of both of the image's.
        entrypoint: (!command.is_empty()).then_some(command),
        env: Some(environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
        user: run.user.clone(),
        working_dir: run.working_directory.clone(),
        labels: Some(labels::of(order, &ports, restarts)),
        host_config: Some(host(order, settings)?),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some([(name_of(&token), endpoint)].into()),
        }),
        ..Default::default()
    })
}

fn host(order: &StartOrder, settings: &Settings) -> Result<HostConfig> {
    let resources = &order.module.resources;
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let memory = resources.memory_bytes().map(signed);
    let volumes = order.module.volumes.iter().map(|volume| mount(order, volume, settings));
    Ok(HostConfig {
        nano_cpus: resources.cpu_millis().map(|millis| signed(millis.saturating_mul(1_000_000))),
        memory,
        // The sum of memory and swap: equal means no swap, else a leak would go on on disk.
        memory_swap: memory,
        pids_limit: Some(settings.pids_limit),
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: Some(false),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), "10m".to_owned()),
                ("max-file".to_owned(), "2".to_owned()),
            ])),
        }),
        network_mode: Some(name_of(&order.target.token())),
        mounts: Some(volumes.collect::<Result<Vec<Mount>>>()?),
        ..Default::default()
    })
}

fn mount(order: &StartOrder, volume: &Volume, settings: &Settings) -> Result<Mount> {
    let (typ, source) = match (&volume.name, &volume.host) {
        (Some(name), None) => (MountType::VOLUME, volume_name(&order.target, name.as_str())),
        (None, Some(host)) => {
            let folder = contained(settings.host_root.as_deref(), host)?;
            (MountType::BIND, folder.display().to_string())
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(Error::invalid(format!(
                "volume {} has not exactly one of name and host",
                volume.path
            )));
        }
    };
    if !volume.path.starts_with('/') || volume.path == "/" {
        return Err(Error::invalid(format!("volume path {:?} is no absolute path below /", volume.path)));
    }
    Ok(Mount {
        target: Some(volume.path.clone()),
        source: Some(source),
        typ: Some(typ),
        read_only: Some(volume.read_only),
        ..Default::default()
    })
}
