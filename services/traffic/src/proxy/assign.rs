//! Which module answers at which port when tables ask for ports that are taken.
//!
//! Between the modules of one target a port is handed over as it stands, open and with its connections: to the table
//! with the higher fence, once that shares out traffic. So a module that is renamed keeps its port without a moment in
//! which nobody listens, and gets it back on the way back. From another target a port is never taken. A module that
//! asks for another port keeps the one it had until the new one is open; if that never opens, clients lose nothing.

use std::{collections::BTreeMap, sync::Arc};

use model::Token;

use super::{
    Shared,
    listen::{Door, Listener, State},
    module::Module,
    ports::Ports,
};

/// Gives the module the ports that its table asks for, or what to wait for; and answers there with its table.
pub(crate) fn to(shared: &Arc<Shared>, modules: &mut BTreeMap<String, Module>, key: &str) {
    let Some(module) = modules.get_mut(key) else { return };
    module.open_to_peers(shared);
    if module.table.internal {
        module.ports = Ports::default();
        return;
    }
    let port = module.table.listen;
    let is_there = modules.get(key).is_some_and(|module| module.ports.is_at(port));
    let found = if is_there { None } else { Some(find(modules, key, port)) };
    let Some(module) = modules.get_mut(key) else { return };
    match found {
        None => {}
        Some(Ok(Some(listener))) => module.ports.take(listener),
        Some(Ok(None)) => module.ports.take(Listener::open(shared, port, shared.number(), Door::Clients)),
        Some(Err(holder)) => module.ports.wait(format!("port {port} is served for {holder}")),
    }
    module.ports.publish(Some(&module.live));
}

/// The port's listener if one of the target's modules has it to give, or who keeps it.
fn find(modules: &mut BTreeMap<String, Module>, key: &str, port: u16) -> Result<Option<Listener>, Token> {
    let Some(module) = modules.get_mut(key) else { return Ok(None) };
    if let Some(own) = module.ports.take_back(port) {
        return Ok(Some(own));
    }
    let (table, to) = (module.table.clone(), module.table.module.to_string());
    let siblings = modules.iter_mut().filter(|(other, it)| *other != key && it.table.target == table.target);
    for (_, other) in siblings.filter(|_| port != 0) {
        let keeps = other.table.listen == port
            && !other.table.weights.0.is_empty()
            && (table.weights.0.is_empty() || table.fence <= other.table.fence);
        if keeps && other.ports.is_at(port) {
            return Err(other.table.module.clone());
        }
        if let Some(listener) = other.ports.give(port, &to) {
            return Ok(Some(listener));
        }
    }
    Ok(None)
}

/// After a change: ports that came free go to those who wait for them.
pub(crate) fn waiting(shared: &Arc<Shared>, modules: &mut BTreeMap<String, Module>) {
    let waiting: Vec<String> = modules
        .iter()
        .filter(|(_, module)| !module.table.internal && matches!(module.ports.state(), State::Waiting(_)))
        .map(|(key, _)| key.clone())
        .collect();
    waiting.iter().for_each(|key| to(shared, modules, key));
}

/// Why a port of the module is not open; none when all are.
pub(crate) fn closed(modules: &BTreeMap<String, Module>, module: &Module) -> Option<String> {
    closed_to_clients(modules, module).or_else(|| {
        module.peers.iter().find_map(|(name, open)| match open.state() {
            State::Open(_) => None,
            State::Opening | State::Waiting(_) => {
                Some(format!("port {} for other modules, its {name}, is being opened", open.port))
            }
            State::Failed(why) => Some(format!("other modules do not reach its port {name}: {why}")),
        })
    })
}

fn closed_to_clients(modules: &BTreeMap<String, Module>, module: &Module) -> Option<String> {
    if module.table.internal {
        return None;
    }
    let port = module.table.listen;
    match module.ports.state() {
        State::Open(_) => None,
        State::Opening => Some(format!("port {port} is being opened")),
        State::Waiting(why) => Some(why),
        State::Failed(why) => {
            let holder = modules.values().find(|other| {
                other.table.target != module.table.target
                    && other.ports.is_at(port)
                    && matches!(other.ports.state(), State::Open(_))
            });
            let holder =
                holder.map(|it| format!("; it is the port of {} of {}", it.table.module, it.table.target));
            Some(format!("{why}{}", holder.unwrap_or_default()))
        }
    }
}
