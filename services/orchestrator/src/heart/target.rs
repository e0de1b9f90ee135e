//! The target's own aggregate: who may change it, who waits, where a rollback returns to, what must not run again.
//!
//! The fencing token is the count of grants. All decisions are made by compare-and-set on the target's journal, so of
//! two deployments that ask at once exactly one is granted.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    DeploymentId, DeploymentSpec, Digest, Principal, Timestamp, limits,
    plan::Snapshot,
    target::{Hold, Quarantine, TargetEvent},
};

/// A target, folded from its journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// Records folded so far.
    pub version: u64,
    /// Stream sequence of the last record; 0 when there is none.
    pub seq: u64,
    /// Who holds the lock, and the fencing token.
    pub holder: Option<(DeploymentId, u64)>,
    /// When the lease ends.
    pub expires: Option<Timestamp>,
    /// Who waits, first come first.
    pub queue: Vec<DeploymentId>,
    /// The person who holds the target, and why.
    pub held: Option<Hold>,
    /// What it last ran well.
    pub snapshot: Option<Snapshot>,
    /// Specs that are refused, by their digests.
    pub quarantined: BTreeMap<Digest, Quarantine>,
    /// Grants so far.
    pub grants: u64,
    /// What was ever promoted here, by [`what_runs`].
    pub ran: BTreeSet<Digest>,
}

/// What a deployment or a person wants of a target.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// Stand in the queue.
    Enqueue(DeploymentId),
    /// Leave the queue, or give the lock back.
    Leave(DeploymentId),
    /// Hold the lock again that was granted with this token, where the journal has lost that grant and everything after
    /// it: the deployment's own journal has it, and agents have seen it.
    Regain(DeploymentId, u64),
    /// This is what runs now. Only the holder may say so.
    Settle(Box<Snapshot>),
    /// This must not run again.
    Quarantine(Quarantine),
    /// It may run again.
    Unquarantine {
        /// The spec's digest.
        spec: Digest,
        /// Who had it deployed again.
        by: Principal,
        /// Why.
        reason: String,
    },
    /// Nobody gets the lock.
    Hold {
        /// Who wants it so.
        by: Principal,
        /// Why.
        reason: String,
    },
    /// Deployments may again.
    Unhold {
        /// Who lets go.
        by: Principal,
    },
}

/// How long a lock is leased: longer than any deployment may take. The sweep returns locks of deployments that
/// ended, so the lease is the last resort.
pub const LEASE: std::time::Duration = std::time::Duration::from_secs(26 * 3600);

/// The digest of everything that a release runs: its modules and its hooks. How it moves and how long it may take are
/// not in it.
pub fn what_runs(spec: &DeploymentSpec) -> Digest {
    Digest::of(&(&spec.modules, &spec.hooks))
}

/// The queue is full.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} deployments wait for the target already, no more are taken")]
pub struct QueueFull {
    /// How many wait.
    pub waiting: usize,
}

impl Target {
    /// Folds one event.
    pub fn evolve(&mut self, event: &TargetEvent) {
        match event {
            TargetEvent::Queued { deployment, .. } => self.queue.push(deployment.clone()),
            TargetEvent::Left { deployment } => self.queue.retain(|waiting| waiting != deployment),
            TargetEvent::Granted { deployment, token, expires, .. } => {
                self.queue.retain(|waiting| waiting != deployment);
                self.holder = Some((deployment.clone(), *token));
                self.expires = Some(*expires);
                self.grants = *token;
            }
            TargetEvent::Released { .. } => {
                self.holder = None;
                self.expires = None;
            }
            TargetEvent::Settled { snapshot } => {
                self.ran.insert(what_runs(&snapshot.spec));
                self.snapshot = Some((**snapshot).clone());
            }
            TargetEvent::Quarantined(quarantine) => {
                self.quarantined.insert(quarantine.spec.clone(), quarantine.clone());
            }
            TargetEvent::Unquarantined { spec, .. } => {
                self.quarantined.remove(spec);
            }
            TargetEvent::Held(hold) => self.held = Some(hold.clone()),
            TargetEvent::Unheld { .. } => self.held = None,
            TargetEvent::RecordSkipped(_) => {}
        }
    }

    /// What follows from a wish. Asking again for what is already so gives nothing: every wish may be repeated.
    pub fn decide(&self, wish: &Wish, now: Timestamp) -> Result<Vec<TargetEvent>, QueueFull> {
        let mut events = Vec::new();
        match wish {
            Wish::Enqueue(deployment) => {
                if !self.holds(deployment) && !self.queue.contains(deployment) {
                    self.has_room()?;
                    events.push(TargetEvent::Queued { deployment: deployment.clone(), at: now });
                }
            }
            Wish::Leave(deployment) => {
                if let Some((holder, token)) = self.holder.as_ref().filter(|(holder, _)| holder == deployment)
                {
                    events.push(TargetEvent::Released { deployment: holder.clone(), token: *token });
                } else if self.queue.contains(deployment) {
                    events.push(TargetEvent::Left { deployment: deployment.clone() });
                }
            }
            Wish::Regain(deployment, token) => {
                if self.grants < *token && self.holder.is_none() {
                    let (deployment, token) = (deployment.clone(), *token);
                    events.push(TargetEvent::Granted {
                        deployment,
                        token,
                        at: now,
                        expires: now.plus(LEASE),
                    });
                }
            }
            Wish::Settle(snapshot) => {
                if self.holds(&snapshot.deployment) && self.snapshot.as_ref() != Some(snapshot) {
                    events.push(TargetEvent::Settled { snapshot: snapshot.clone() });
                }
            }
            Wish::Quarantine(quarantine) => {
                if !self.quarantined.contains_key(&quarantine.spec) {
                    events.push(TargetEvent::Quarantined(quarantine.clone()));
                }
            }
            Wish::Unquarantine { spec, by, reason } => {
                if self.quarantined.contains_key(spec) {
                    let (spec, by, reason) = (spec.clone(), by.clone(), reason.clone());
                    events.push(TargetEvent::Unquarantined { spec, by, reason });
                }
            }
            Wish::Hold { by, reason } => {
                events.push(TargetEvent::Held(Hold { by: by.clone(), reason: reason.clone(), at: now }));
            }
            Wish::Unhold { by } if self.held.is_some() => {
                events.push(TargetEvent::Unheld { by: by.clone() });
            }
            Wish::Unhold { .. } => {}
        }
        let mut after = self.clone();
        events.iter().for_each(|event| after.evolve(event));
        if let Some(grant) = after.grant(now) {
            events.push(grant);
        }
        Ok(events)
    }

    fn grant(&self, now: Timestamp) -> Option<TargetEvent> {
        if self.holder.is_some() || self.held.is_some() {
            return None;
        }
        let deployment = self.queue.first()?.clone();
        Some(TargetEvent::Granted { deployment, token: self.grants + 1, at: now, expires: now.plus(LEASE) })
    }

    /// One more may wait.
    pub fn has_room(&self) -> Result<(), QueueFull> {
        let waiting = self.queue.len();
        if waiting < limits::TARGET_QUEUE { Ok(()) } else { Err(QueueFull { waiting }) }
    }

    /// The deployment holds the lock.
    pub fn holds(&self, deployment: &DeploymentId) -> bool {
        self.holder.as_ref().is_some_and(|(holder, _)| holder == deployment)
    }

    /// The deployment holds the lock or waits for it.
    pub fn knows(&self, deployment: &DeploymentId) -> bool {
        self.holds(deployment) || self.queue.contains(deployment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ann() -> Principal {
        Principal::stated("ann").unwrap()
    }

    fn dep(n: u8) -> DeploymentId {
        DeploymentId::derived(&n.to_string())
    }

    proptest! {
        /// At most one holder, tokens only grow, nobody waits while the lock is free, repeats change nothing.
        #[test]
        fn any_order_of_wishes_keeps_the_lock_single(wishes in prop::collection::vec((0u8..6, 0u8..5), 0..200)) {
            let mut target = Target::default();
            let mut last_token = 0;
            for (kind, n) in wishes {
                let wish = match kind {
                    0..=2 => Wish::Enqueue(dep(n)),
                    3 => Wish::Leave(dep(n)),
                    4 => Wish::Hold { by: ann(), reason: "looking".into() },
                    _ => Wish::Unhold { by: ann() },
                };
                let events = target.decide(&wish, Timestamp(1)).unwrap();
                for event in &events {
                    if let TargetEvent::Granted { token, .. } = event {
                        prop_assert!(target.holder.is_none());
                        prop_assert!(*token > last_token);
                        last_token = *token;
                    }
                    target.evolve(event);
                }
                prop_assert!(target.holder.is_some() || target.held.is_some() || target.queue.is_empty());
                if !matches!(wish, Wish::Hold { .. }) {
                    prop_assert_eq!(target.decide(&wish, Timestamp(2)).unwrap(), vec![]);
                }
            }
        }
    }

    #[test]
    fn a_lock_whose_grant_was_lost_is_held_again_unless_somebody_got_it_since() {
        let regain = Wish::Regain(dep(1), 3);
        let mut lost = Target { grants: 2, ..Target::default() };

        let mut later = Target { grants: 2, holder: Some((dep(2), 2)), ..Target::default() };
        assert_eq!(later.decide(&regain, Timestamp(1)).unwrap(), vec![], "another holds it");
        (later.grants, later.holder) = (4, None);
        assert_eq!(later.decide(&regain, Timestamp(1)).unwrap(), vec![], "a later grant was given");

        lost.decide(&regain, Timestamp(1)).unwrap().iter().for_each(|event| lost.evolve(event));
        assert_eq!((lost.holder.clone(), lost.grants), (Some((dep(1), 3)), 3));
        assert_eq!(lost.decide(&regain, Timestamp(2)).unwrap(), vec![]);
    }

    #[test]
    fn only_the_holder_settles_the_snapshot() {
        let mut target = Target::default();
        for event in target.decide(&Wish::Enqueue(dep(1)), Timestamp(1)).unwrap() {
            target.evolve(&event);
        }
        let text = r#"{"apiVersion":"code/v1","name":"a","target":"scripted","modules":[]}"#;
        let spec = serde_json::from_str(text).unwrap();
        let snapshot = Snapshot { deployment: dep(2), spec, at: Timestamp(1) };

        assert_eq!(target.decide(&Wish::Settle(Box::new(snapshot)), Timestamp(2)).unwrap(), vec![]);
    }
}
