//! Whether we live, and whether we are ready to be given work.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

/// The health of one service. Cheap to clone; clones are the same health.
///
/// Ready means that no [`Latch`] is held. A component that is not ready yet, or no longer, holds one.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Inner>>);

/// Two are equal when they are the same health, not when they read the same.
impl PartialEq for Health {
    fn eq(&self, other: &Health) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[derive(Debug, Default)]
struct Inner {
    held: Vec<(u64, String)>,
    next: u64,
    died: Option<String>,
}

/// Keeps the service from being ready until dropped (linkerd2-proxy's readiness latch: a component that panics
/// or is forgotten on some path cannot leave the service unready for ever, nor ready too early).
#[derive(Debug)]
#[must_use = "the service is ready once this is dropped"]
pub struct Latch {
    health: Health,
    number: u64,
}

impl Health {
    /// Not ready until the latch is dropped, because of `reason`.
    pub fn latch(&self, reason: impl Into<String>) -> Latch {
        let mut inner = self.inner();
        let number = inner.next;
        inner.next += 1;
        inner.held.push((number, reason.into()));
        Latch { health: self.clone(), number }
    }

    /// Not alive from now on, because of `reason`: only a restart helps. The first reason stands.
    pub fn die(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.inner().died.get_or_insert(reason);
    }

    /// Why it is dead, if it is.
    pub fn died(&self) -> Option<String> {
        self.inner().died.clone()
    }

    /// Why it is not ready; empty when it is.
    pub fn reasons(&self) -> Vec<String> {
        let inner = self.inner();
        inner.died.iter().chain(inner.held.iter().map(|(_, reason)| reason)).cloned().collect()
    }

    /// Whether it is ready to be given work.
    pub fn is_ready(&self) -> bool {
        self.reasons().is_empty()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }
}

impl Latch {
    /// Ready as far as this component goes. The same as dropping, but says so.
    pub fn release(self) {}
}

impl Drop for Latch {
    fn drop(&mut self) {
        self.health.inner().held.retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_every_component_has_let_go() {
        let health = Health::default();
        let bus = health.latch("bus: not connected");
        let cache = health.latch("cache: cold");

        bus.release();

        assert_eq!(health.reasons(), ["cache: cold"]);
        drop(cache);
        assert!(health.is_ready());
    }

    #[test]
    fn a_dead_service_is_not_ready_and_the_first_cause_stands() {
        let health = Health::default();

        health.die("serve failed");
        health.die("another followed");

        assert_eq!(health.reasons(), ["serve failed"]);
    }
}
