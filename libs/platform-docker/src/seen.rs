//! What the engine runs, read from its answers.

use std::collections::{BTreeMap, HashMap};

use bollard::{
    Docker,
    models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as Status},
    query_parameters::ListContainersOptions,
};
use ground::Clock;
use model::{Fence, TargetId, Timestamp};
use platform::{Error, Instance, Result, State};

use crate::{
    engine::{is_status, said},
    labels,
};

/// How long a container may be created and not started before it counts as left by a driver that died.
const HALF_DONE: std::time::Duration = std::time::Duration::from_secs(60);

/// One container of ours.
pub(crate) struct Seen {
    pub instance: Instance,
    /// Token of its target.
    pub target: String,
    /// It was created and never started.
    pub only_created: bool,
    /// Number per port name, in the container.
    pub ports: BTreeMap<String, u16>,
    /// What asks it to end.
    pub stop_signal: String,
}

/// Names of the target's containers, whatever their state.
pub(crate) async fn names(docker: &Docker, target: &TargetId) -> Result<Vec<String>> {
    let all = list(docker, labels::TARGET, &target.token(), true).await?;
    Ok(all.into_iter().filter_map(|(name, _)| name).collect())
}

/// The highest fence in the labels of the target's containers, whatever their state; 0.0 when there is none.
pub(crate) async fn highest_fence(docker: &Docker, target: &TargetId) -> Result<Fence> {
    let all = list(docker, labels::TARGET, &target.token(), true).await?;
    let fences = all.iter().filter_map(|(_, labels)| labels::fence(labels.get(labels::FENCE)?));
    Ok(fences.max().unwrap_or_default())
}

/// Thousandths of a core and bytes that running containers of all targets have reserved.
pub(crate) async fn reserved(docker: &Docker) -> Result<(u64, u64)> {
    let running = list(docker, labels::MANAGED, "true", false).await?;
    let sum = |label: &str| {
        let values = running.iter().filter_map(|(_, labels)| labels.get(label)?.parse::<u64>().ok());
        values.fold(0, u64::saturating_add)
    };
    Ok((sum(labels::CPU), sum(labels::MEMORY)))
}

/// The targets of all containers, whatever their state.
pub(crate) async fn targets(docker: &Docker) -> Result<Vec<TargetId>> {
    let all = list(docker, labels::MANAGED, "true", true).await?;
    let mut targets: Vec<TargetId> =
        all.iter().filter_map(|(_, labels)| labels.get(labels::TARGET_NAME)?.parse().ok()).collect();
    targets.sort();
    targets.dedup();
    Ok(targets)
}

type Labels = HashMap<String, String>;

async fn list(docker: &Docker, label: &str, value: &str, all: bool) -> Result<Vec<(Option<String>, Labels)>> {
    let options = ListContainersOptions { all, filters: labels::filter(label, value), ..Default::default() };
    let found =
        docker.list_containers(Some(options)).await.map_err(|error| said("list containers", error))?;
    let entry = |container: bollard::models::ContainerSummary| {
        let name = container.names.unwrap_or_default().into_iter().next();
        (name.map(|name| name.trim_start_matches('/').to_owned()), container.labels.unwrap_or_default())
    };
    Ok(found.into_iter().map(entry).collect())
}

/// A container by name; none when there is none.
pub(crate) async fn inspect(docker: &Docker, name: &str) -> Result<Option<ContainerInspectResponse>> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(Error::invalid(format!("{name:?} is no id of an instance")));
    }
    match docker.inspect_container(name, None).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_status(&error, 404) => Ok(None),
        Err(error) => Err(said(format!("look at container {name}"), error)),
    }
}

/// The target's instance of this id; none when it is not there or belongs to another target.
pub(crate) async fn one(docker: &Docker, target: &TargetId, id: &str, clock: &Clock) -> Result<Option<Seen>> {
    let found = inspect(docker, id).await?;
    Ok(found.and_then(|found| read(&found, clock)).filter(|seen| seen.target == target.token()))
}

/// What an inspection says; none when the container has not all of our labels.
pub(crate) fn read(found: &ContainerInspectResponse, clock: &Clock) -> Option<Seen> {
    let config = found.config.as_ref()?;
    let labels = config.labels.as_ref()?;
    let label = |name: &str| labels.get(name).map(String::as_str);
    let target = label(labels::TARGET)?.to_owned();
    let ports: Vec<(String, u16)> = serde_json::from_str(label(labels::PORTS)?).ok()?;
    let state = found.state.as_ref()?;
    let only_created = state.status == Some(Status::CREATED);
    let instance = Instance {
        id: found.name.as_deref()?.trim_start_matches('/').to_owned(),
        module: label(labels::MODULE)?.parse().ok()?,
        revision: label(labels::REVISION)?.parse().ok()?,
        slot: label(labels::SLOT)?.parse().ok()?,
        state: state_of(state, found.created.as_deref(), clock),
        addresses: addresses(found, &target, &ports),
        first_port: ports.first().map(|(name, _)| name.clone()),
        fence: labels::fence(label(labels::FENCE)?)?,
        deployment: label(labels::DEPLOYMENT)?.parse().ok()?,
        restarts: label(labels::RESTARTS)?.parse().ok()?,
        out_of_memory: state.oom_killed.unwrap_or(false),
        started_at: state.started_at.as_deref().and_then(time),
        handle: found.id.clone()?,
    };
    let stop_signal = config.stop_signal.clone().filter(|signal| !signal.is_empty());
    let stop_signal = stop_signal.unwrap_or_else(|| "SIGTERM".to_owned());
    Some(Seen { instance, target, only_created, ports: ports.into_iter().collect(), stop_signal })
}

fn state_of(state: &ContainerState, created: Option<&str>, clock: &Clock) -> State {
    match state.status {
        Some(Status::RUNNING | Status::PAUSED | Status::RESTARTING | Status::STOPPING) => State::Running,
        Some(Status::CREATED) => {
            let now = clock.now();
            match created.and_then(time) {
                Some(at) if now.since(at) > HALF_DONE => State::Exited { code: None, at, oom: false },
                Some(_) | None => State::Starting,
            }
        }
        Some(Status::EXITED | Status::DEAD | Status::REMOVING | Status::EMPTY) | None => State::Exited {
            code: state.exit_code,
            at: state.finished_at.as_deref().and_then(time).unwrap_or_default(),
            oom: state.oom_killed.unwrap_or(false),
        },
    }
}

fn addresses(
    found: &ContainerInspectResponse,
    target: &str,
    ports: &[(String, u16)],
) -> BTreeMap<String, String> {
    let networks = found.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let endpoint = networks.and_then(|networks| networks.get(&labels::network_name(target)));
    let address =
        endpoint.and_then(|endpoint| endpoint.ip_address.as_deref()).filter(|address| !address.is_empty());
    let Some(address) = address else { return BTreeMap::new() };
    ports.iter().map(|(name, port)| (name.clone(), format!("{address}:{port}"))).collect()
}

/// The engine's time; its year 1 means never.
fn time(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    (at.as_millisecond() > 0).then(|| Timestamp(at.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_never_is_no_time() {
        assert_eq!(time("0001-01-01T00:00:00Z"), None);
        assert_eq!(time("1970-01-01T00:00:01.5Z"), Some(Timestamp(1500)));
    }

    #[test]
    fn a_container_that_was_never_started_counts_as_ended_after_a_while() {
        let state = ContainerState { status: Some(Status::CREATED), ..Default::default() };
        let at = |seconds: i64| Clock::manual(Timestamp(seconds * 1000)).0;

        let early = state_of(&state, Some("1970-01-01T00:01:00Z"), &at(90));
        let late = state_of(&state, Some("1970-01-01T00:01:00Z"), &at(200));

        assert_eq!(early, State::Starting);
        assert_eq!(late, State::Exited { code: None, at: Timestamp(60_000), oom: false });
    }
}
