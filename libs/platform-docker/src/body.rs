//! What a container is made of.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, HostConfigLogConfig, Mount, MountType,
    NetworkingConfig, RestartPolicy, RestartPolicyNameEnum,
};
use model::spec::Volume;
use platform::{Error, Result, StartOrder, contained};

use crate::{Settings, labels, network::volume_name};

/// Refuses an order whose container could not be made, before anything is done.
pub(crate) fn check(order: &StartOrder, settings: &Settings) -> Result<()> {
    if order.module.run.image.as_deref().is_none_or(str::is_empty) {
        return Err(Error::invalid(format!(
            "module {} has no image, which the docker platform needs",
            order.module.name
        )));
    }
    of(order, 0, settings)?;
    archive(order).map(drop)
}

/// The configuration files as the container gets them.
pub(crate) fn archive(order: &StartOrder) -> Result<Vec<u8>> {
    let numbers: BTreeMap<String, u16> = ports(order)?.into_iter().collect();
    crate::pack::archive(&order.config(&numbers)?, user_ids(order))
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
fn user_ids(order: &StartOrder) -> (u32, u32) {
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
    let words = order.image_words(&numbers)?;
    let mut aliases = vec![order.module.name.to_string()];
    aliases.extend(order.module.aliases.iter().cloned());
    let endpoint = EndpointSettings { aliases: Some(aliases), ..Default::default() };
    let token = order.target.token();
    Ok(ContainerCreateBody {
        image: run.image.clone(),
        // The engine takes an empty ENTRYPOINT for a cleared one, and drops the image's CMD when it gets an ENTRYPOINT.
        entrypoint: words.entrypoint,
        cmd: words.arguments,
        env: Some(environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
        user: run.user.clone(),
        working_dir: run.working_directory.clone(),
        labels: Some(labels::of(order, &ports, restarts)),
        host_config: Some(host(order, settings)?),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some([(labels::network_name(&token), endpoint)].into()),
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
        network_mode: Some(labels::network_name(&order.target.token())),
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

#[cfg(test)]
mod tests {
    use model::{DeploymentId, Fence};

    use super::*;

    fn made(module: &str) -> ContainerCreateBody {
        let order = StartOrder {
            target: "test.docker.shop".parse().unwrap(),
            deployment: DeploymentId::new(),
            module: serde_json::from_str(module).unwrap(),
            revision: "abc".parse().unwrap(),
            slot: 0,
            fence: Fence { lock: 1, epoch: 1 },
            peers: BTreeMap::new(),
            labels: BTreeMap::new(),
            secrets: Vec::new(),
        };
        of(&order, 0, &Settings::new("state")).unwrap()
    }

    #[test]
    fn arguments_leave_the_image_its_entrypoint_and_an_entrypoint_replaces_it() {
        let words =
            |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>());
        for (run, entrypoint, cmd) in [
            (r#"{"image":"a"}"#, None, None),
            (r#"{"image":"a","arguments":["--at","{port}"]}"#, None, words(&["--at", "80"])),
            (r#"{"image":"a","entrypoint":[],"arguments":["/b"]}"#, words(&[]), words(&["/b"])),
            (r#"{"image":"a","entrypoint":["/run","x"]}"#, words(&["/run", "x"]), None),
            (r#"{"image":"a","command":["/run","x"]}"#, words(&["/run", "x"]), None),
        ] {
            let module =
                format!(r#"{{"name":"web","run":{run},"ports":[{{"name":"http","container":80}}]}}"#);

            let made = made(&module);

            assert_eq!((made.entrypoint, made.cmd), (entrypoint, cmd), "{run}");
        }
    }

    #[test]
    fn an_instance_is_found_under_its_aliases_too() {
        let made = made(r#"{"name":"order-api","run":{"image":"a"},"aliases":["order_api"]}"#);

        let endpoints = made.networking_config.unwrap().endpoints_config.unwrap();
        let endpoint = endpoints.into_values().next().unwrap();
        assert_eq!(endpoint.aliases.unwrap(), ["order-api", "order_api"]);
    }

    #[test]
    fn a_request_is_counted_and_a_limit_enforced() {
        let made = made(
            r#"{"name":"web","run":{"image":"a"},"resources":{"cpu":"2","memory":"1Gi","request":{"cpu":"100m","memory":"64Mi"}}}"#,
        );

        let labels = made.labels.unwrap();
        assert_eq!(labels[labels::CPU], "100");
        assert_eq!(labels[labels::MEMORY], (64u64 << 20).to_string());
        assert_eq!(made.host_config.unwrap().nano_cpus, Some(2_000_000_000));
    }
}
