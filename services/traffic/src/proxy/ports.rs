//! The ports of one module.

use std::{os::fd::OwnedFd, sync::Arc};

use super::{
    listen::{Listener, State},
    live::Live,
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

    /// Further handles of those that are open.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = OwnedFd> {
        self.asked.iter().chain(&self.before).filter_map(Listener::socket)
    }

    /// Lets go of the port before once the one asked for is open.
    pub(crate) fn settle(&mut self) {
        if matches!(self.state(), State::Open(_)) {
            self.before = None;
        }
    }

    pub(super) fn is_at(&self, port: u16) -> bool {
        self.asked.as_ref().is_some_and(|listener| listener.port == port)
    }

    /// Hands the port over, if it is one of these.
    pub(super) fn give(&mut self, port: u16, to: &str) -> Option<Listener> {
        if self.is_at(port) {
            self.waiting = format!("port {port} is served for {to}");
            return self.asked.take();
        }
        self.before.take_if(|listener| listener.port == port)
    }

    /// The port that was kept until now, if it is the one.
    pub(super) fn take_back(&mut self, port: u16) -> Option<Listener> {
        self.before.take_if(|listener| listener.port == port && port != 0)
    }

    pub(super) fn take(&mut self, listener: Listener) {
        if let Some(old) = self.asked.replace(listener) {
            self.before = Some(old);
        }
    }

    pub(super) fn wait(&mut self, why: String) {
        self.waiting = why;
        if let Some(old) = self.asked.take() {
            self.before = Some(old);
        }
    }
}
