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
    listen::{Listener, State},
    live::Live,
    module::Module,
};

/// The ports of one module.
#[derive(Default)]
pub(crate) struct Ports {
    asked: Option<Listener>,
    /// Kept until the one asked for is open.
    before: Option<Listener>,
    /// Why there is none: who has it.
    waiting: String,
}

impl Ports {
    pub(crate) fn state(&self) -> State {
        self.asked.as_ref().map_or_else(|| State::Waiting(self.waiting.clone()), Listener::state)
    }

    /// What is answered at the ports from now on.
    pub(crate) fn publish(&self, live: Option<&Arc<Live>>) {
        self.asked.iter().chain(&self.before).for_each(|listener| listener.publish(live.cloned()));
    }

    /// Lets go of the port before once the one asked for is open.
    pub(crate) fn settle(&mut self) {
        if matches!(self.state(), State::Open(_)) {
            self.before = None;
        }
    }

    fn is_at(&self, port: u16) -> bool {
        self.asked.as_ref().is_some_and(|listener| listener.port == port)
    }

    /// Hands the port over, if it is one of these.
    fn give(&mut self, port: u16, to: &str) -> Option<Listener> {
        if self.is_at(port) {
            self.waiting = format!("port {port} is served for {to}");
            return self.asked.take();
        }
        self.before.take_if(|listener| listener.port == port)
    }

    fn take(&mut self, listener: Listener) {
        if let Some(old) = self.asked.replace(listener) {
            self.before = Some(old);
        }
    }

    fn wait(&mut self, why: String) {
        self.waiting = why;
        if let Some(old) = self.asked.take() {
            self.before = Some(old);
        }
    }
}

/// Gives the module the port that its table asks for, or what to wait for; and answers there with its table.
pub(crate) fn assign(shared: &Arc<Shared>, modules: &mut BTreeMap<String, Module>, key: &str) {
    let Some(port) = modules.get(key).map(|module| module.table.listen) else { return };
    let is_there = modules.get(key).is_some_and(|module| module.ports.is_at(port));
    let found = if is_there { None } else { Some(find(modules, key, port)) };
    let Some(module) = modules.get_mut(key) else { return };
    match found {
        None => {}
        Some(Ok(Some(listener))) => module.ports.take(listener),
        Some(Ok(None)) => module.ports.take(Listener::open(shared, port, shared.number())),
        Some(Err(holder)) => module.ports.wait(format!("port {port} is served for {holder}")),
    }
    module.ports.publish(Some(&module.live));
}

/// The port's listener if one of the target's modules has it to give, or who keeps it.
fn find(modules: &mut BTreeMap<String, Module>, key: &str, port: u16) -> Result<Option<Listener>, Token> {
    let Some(module) = modules.get_mut(key) else { return Ok(None) };
    if let Some(own) = module.ports.before.take_if(|listener| listener.port == port && port != 0) {
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
pub(crate) fn assign_waiting(shared: &Arc<Shared>, modules: &mut BTreeMap<String, Module>) {
    let waiting: Vec<String> = modules
        .iter()
        .filter(|(_, module)| matches!(module.ports.state(), State::Waiting(_)))
        .map(|(key, _)| key.clone())
        .collect();
    waiting.iter().for_each(|key| assign(shared, modules, key));
}

/// Why the module's port is not open; none when it is.
pub(crate) fn closed(modules: &BTreeMap<String, Module>, module: &Module) -> Option<String> {
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
