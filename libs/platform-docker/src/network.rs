//! A target's own network and volumes.

use std::collections::HashMap;

use bollard::{
    Docker,
    models::{NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest, VolumeCreateRequest},
    query_parameters::ListNetworksOptions,
};
use model::TargetId;
use platform::{Result, StartOrder};
use tracing::debug;

use crate::{
    engine::{is_status, said},
    labels, seen,
};

/// Makes the target's network when it is not there. The engine allows several networks of one
/// name; should two drivers make it at once, the lesser id stays.
pub(crate) async fn ensure(docker: &Docker, target: &TargetId, attach: &[String]) -> Result<()> {
    let name = labels::network_name(&target.token());
    if ids(docker, &name).await?.is_empty() {
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".to_owned()),
            labels: Some(labels::of_target(target)),
            ..Default::default()
        };
        match docker.create_network(request).await {
            Ok(_) => {}
            Err(error) if is_status(&error, 409) => {}
            Err(error) => return Err(said(format!("make network {name}"), error)),
        }
    }
    let mut ids = ids(docker, &name).await?;
    ids.sort();
    for surplus in ids.iter().skip(1) {
        let removed = docker.remove_network(surplus).await;
        debug!(network = name, surplus, ?removed, "removed a second network of the name");
    }
    let id = ids.into_iter().next().unwrap_or(name);
    for container in attach {
        let request = NetworkConnectRequest { container: container.clone(), ..Default::default() };
        match docker.connect_network(&id, request).await {
            Ok(()) => {}
            // "endpoint with name … already exists in network"
            Err(error) if is_status(&error, 403) || is_status(&error, 409) => {}
            Err(error) => return Err(said(format!("connect container {container} to {id}"), error)),
        }
    }
    Ok(())
}

/// The error says that the name of a network means none or two: another driver is making the same one.
pub(crate) fn is_unsettled(error: &platform::Error) -> bool {
    let text = match error {
        platform::Error::Engine { source, .. } => source.to_string(),
        platform::Error::Invalid { what } => what.clone(),
        _ => return false,
    };
    text.contains("network ") && (text.contains("not found") || text.contains("is ambiguous"))
}

async fn ids(docker: &Docker, name: &str) -> Result<Vec<String>> {
    let filters: HashMap<String, Vec<String>> = [("name".to_owned(), vec![name.to_owned()])].into();
    let options = ListNetworksOptions { filters: Some(filters) };
    let found = docker.list_networks(Some(options)).await.map_err(|error| said("list networks", error))?;
    // The engine's filter also finds names that only contain it.
    Ok(found
        .into_iter()
        .filter(|network| network.name.as_deref() == Some(name))
        .filter_map(|found| found.id)
        .collect())
}

/// Removes the target's network when no container of the target is left. One that is in use after all stays.
pub(crate) async fn remove_if_empty(docker: &Docker, target: &TargetId, attach: &[String]) -> Result<()> {
    if !seen::names(docker, target).await?.is_empty() {
        return Ok(());
    }
    let name = labels::network_name(&target.token());
    for id in ids(docker, &name).await? {
        for container in attach {
            let request = NetworkDisconnectRequest { container: container.clone(), force: Some(false) };
            let left = docker.disconnect_network(&id, request).await;
            debug!(network = name, container, ?left, "disconnected");
        }
        match docker.remove_network(&id).await {
            Ok(()) => {}
            Err(error) if is_status(&error, 403) || is_status(&error, 404) || is_status(&error, 409) => {
                debug!(network = name, %error, "the network stays");
            }
            Err(error) => return Err(said(format!("remove network {name}"), error)),
        }
    }
    Ok(())
}

/// The engine's name of a named volume.
pub(crate) fn volume_name(target: &TargetId, volume: &str) -> String {
    format!("code-{}-{volume}", target.token())
}

/// Makes the named volumes of the module; one that is there stays as it is.
pub(crate) async fn ensure_volumes(docker: &Docker, order: &StartOrder) -> Result<()> {
    for name in order.module.volumes.iter().filter_map(|volume| volume.name.as_ref()) {
        let name = volume_name(&order.target, name.as_str());
        let labels = Some(labels::of_target(&order.target));
        let request = VolumeCreateRequest { name: Some(name.clone()), labels, ..Default::default() };
        docker.create_volume(request).await.map_err(|error| said(format!("make volume {name}"), error))?;
    }
    Ok(())
}
