//! The way to the engine: which one is meant, and in whose name it is asked.

use std::path::PathBuf;

use bus::Role;
use client::Client;
use model::{DeploymentId, Phase, Principal, Span};

use crate::{cli::Global, failure::Failure, home::Home};

/// Longest time that connecting is tried.
const PATIENCE: Span = Span::seconds(3);

/// Connects to the engine that was named, that `codectl up` started here, or that is on port 4222.
pub async fn connect(global: &Global) -> Result<Client, Failure> {
    let home = Home::of(global);
    let running = home.running().map(|running| running.nats);
    let url = global.nats.clone().or(running).unwrap_or_else(|| "nats://127.0.0.1:4222".to_owned());
    let settings = bus::Settings {
        url,
        name: "codectl".to_owned(),
        principal: Some(who(global)?),
        user: Role::Operator.to_string(),
        key: key(global, Role::Operator),
        patience: PATIENCE,
        ..bus::Settings::default()
    };
    Ok(Client::connect(&settings, global.timeout.0).await?)
}

/// The key that was named, else the one of this user in the engine's folder.
pub fn key(global: &Global, role: Role) -> Option<PathBuf> {
    let kept = || Some(Home::of(global).access().key(role.as_str())).filter(|key| key.exists());
    global.nats_key.clone().or_else(kept)
}

/// The deployment that was named, or the newest.
pub async fn resolve(client: &Client, named: Option<DeploymentId>) -> Result<DeploymentId, Failure> {
    resolve_in(client, named, false, &[]).await
}

/// The deployment that was named, or the newest in one of these phases, or the newest.
pub async fn resolve_in(
    client: &Client,
    named: Option<DeploymentId>,
    active: bool,
    phases: &[Phase],
) -> Result<DeploymentId, Failure> {
    match named {
        Some(named) => Ok(named),
        None => Ok(client.newest(active, phases).await?),
    }
}

/// The name of who is asking: as given, else the user of this process.
pub fn name(global: &Global) -> String {
    let user = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
    global.who.clone().or_else(user).unwrap_or_else(|| "nobody".to_owned())
}

/// Who is asking, of whom nothing is proven.
fn who(global: &Global) -> Result<Principal, Failure> {
    Principal::stated(&name(global)).map_err(|error| Failure::invalid(format!("--as: {error}")))
}
