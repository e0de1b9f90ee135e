//! Where the modules of a release reach each other.
//!
//! On the process platform each port of a module has an address at the data plane that is chosen once and then stays,
//! whatever the module's instances do: it stands in the module's routes. Elsewhere the platform has names, and a module
//! is reached by its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, TcpListener},
    ops::RangeInclusive,
};

use model::{
    DeploymentSpec, Token,
    deployment::StepJob,
    route::{PeerPort, RouteTable},
    spec::{Module, PROCESS, PortSpec},
};

use super::routes::{self, main_port};
use crate::{Error, context::Ctx, error::Result, store::edit_routes};

/// Address by name, as instances are told: of every module that has a port, and of each of its ports.
pub async fn of(job: &StepJob, ctx: &Ctx) -> Result<BTreeMap<String, String>> {
    let spec = job.leads_to().unwrap_or(&job.spec);
    let (mut ports, mut modules) = (BTreeMap::new(), BTreeMap::new());
    for module in &spec.modules {
        let Some(main) = main_port(module) else { continue };
        let at = addresses(job, ctx, spec, module).await?;
        modules.extend(at.get(&main.name).map(|address| (module.name.to_string(), address.clone())));
        ports.extend(at.into_iter().map(|(name, address)| (format!("{}-{name}", module.name), address)));
    }
    // Should both forms make one name, the module's own is meant.
    ports.extend(modules);
    Ok(ports)
}

async fn addresses(
    job: &StepJob,
    ctx: &Ctx,
    spec: &DeploymentSpec,
    module: &Module,
) -> Result<BTreeMap<Token, String>> {
    if spec.target.as_str() == PROCESS {
        let chosen = choose(job, ctx, module).await?;
        let address = |(name, peer): (Token, PeerPort)| (name, format!("127.0.0.1:{}", peer.listen));
        return Ok(chosen.into_iter().map(address).collect());
    }
    let through = ctx.config.peer_host.as_ref().zip(module.expose.as_ref());
    let address = |port: &PortSpec| {
        let is_main = main_port(module).is_some_and(|main| main.name == port.name);
        let address = match through.filter(|_| is_main) {
            Some((host, expose)) => format!("{host}:{}", expose.listen),
            None => format!("{}:{}", module.name, port.container?),
        };
        Some((port.name.clone(), address))
    };
    Ok(module.ports.iter().filter_map(address).collect())
}

/// The ports at which other modules reach this one. Those that its routes do not have yet are chosen now, for good.
async fn choose(job: &StepJob, ctx: &Ctx, module: &Module) -> Result<BTreeMap<Token, PeerPort>> {
    let target = job.spec.target_id();
    let key = RouteTable::key(&target, &module.name);
    let stored = ctx.store.routes(&key).await?;
    if let Some(table) = stored
        && module.ports.iter().all(|port| table.peers.contains_key(&port.name))
    {
        return Ok(table.peers);
    }
    let range = ctx.config.peer_ports()?;
    let all = ctx.store.tables().await?;
    let mut taken: BTreeSet<u16> = all.iter().flat_map(held).collect();
    taken.extend(job.spec.modules.iter().filter_map(|module| Some(module.expose.as_ref()?.listen)));
    let table = edit_routes(ctx.store.as_ref(), &key, job.fence, |stored| {
        let mut table =
            stored.cloned().unwrap_or_else(|| routes::empty(&target, &module.name, ctx.now()));
        for port in &module.ports {
            if table.peers.contains_key(&port.name) {
                continue;
            }
            let Some(listen) = free(&range, &taken) else {
                let (first, last) = (range.start(), range.end());
                return Err(Error::trouble(format!(
                    "no port of {first} to {last} is free at which other modules reach {}; widen peer_ports below [agents]",
                    module.name
                )));
            };
            taken.insert(listen);
            table.peers.insert(port.name.clone(), PeerPort { listen, http: routes::is_http(module, &port.name) });
        }
        Ok(Some(table))
    })
    .await?;
    Ok(table.map(|table| table.peers).unwrap_or_default())
}

/// Every port that a table keeps.
pub fn held(table: &RouteTable) -> impl Iterator<Item = u16> {
    let clients = (!table.internal).then_some(table.listen);
    clients.into_iter().chain(table.peers.values().map(|peer| peer.listen))
}

/// A port of the range that is not taken and that nobody listens on. Begins anywhere, so that engines which do not know of
/// each other seldom meet.
fn free(range: &RangeInclusive<u16>, taken: &BTreeSet<u16>) -> Option<u16> {
    let count = u32::from(range.end().saturating_sub(*range.start())) + 1;
    let begin = rand::random_range(0..count);
    (0..count)
        .map(|step| range.start() + ((begin + step) % count) as u16)
        .find(|port| !taken.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}
