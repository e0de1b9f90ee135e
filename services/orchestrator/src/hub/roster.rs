//! Who is in memory: the tasks of what is not over, and one line for each of the newest that ended.

use std::collections::{BTreeMap, HashMap, HashSet};

use model::{DeploymentId, ReplicaId, Timestamp, view::Summary};

use super::drive::Inbox;
use crate::heart::{state::Deployment, view};

/// A deployment that has a task.
#[derive(Clone)]
pub struct Known {
    /// The way to its task.
    pub inbox: Inbox,
    /// Its line for lists, as its task last folded it.
    pub summary: Summary,
    /// Who drives it.
    pub owner: Option<ReplicaId>,
    /// How far its task has folded.
    pub version: u64,
}

impl Known {
    fn new(inbox: Inbox, state: &Deployment) -> Known {
        let (summary, owner) = (view::summary(state), state.owner.clone());
        Known { inbox, summary, owner, version: state.version }
    }
}

/// All that is in memory. Both halves are under one lock: what has ended never gets a task again.
pub struct Roster {
    active: HashMap<DeploymentId, Known>,
    /// By when they were asked for, so that the oldest is forgotten first.
    ended: BTreeMap<(Timestamp, DeploymentId), Summary>,
    /// The same by name alone, for records that come by late.
    over: HashSet<DeploymentId>,
    remembered: usize,
}

impl Roster {
    /// Nobody yet; `remembered` lines of ended ones are kept.
    pub fn new(remembered: usize) -> Roster {
        Roster { active: HashMap::new(), ended: BTreeMap::new(), over: HashSet::new(), remembered }
    }

    /// How many have a task.
    pub fn active(&self) -> usize {
        self.active.len()
    }

    /// The one with a task.
    pub fn known(&self, id: &DeploymentId) -> Option<&Known> {
        self.active.get(id)
    }

    /// All with a task.
    pub fn all(&self) -> impl Iterator<Item = &Known> {
        self.active.values()
    }

    /// It is remembered as ended.
    pub fn has_ended(&self, state: &Deployment) -> bool {
        self.ended.contains_key(&(state.received, state.id.clone()))
    }

    /// The deployment of this name is remembered as ended. One that was forgotten is not: then its journal tells.
    pub fn is_over(&self, id: &DeploymentId) -> bool {
        self.over.contains(id)
    }

    /// It has a task from now on.
    pub fn begin(&mut self, inbox: Inbox, state: &Deployment) {
        self.active.insert(state.id.clone(), Known::new(inbox, state));
    }

    /// Its task has folded so far.
    pub fn note(&mut self, state: &Deployment) {
        if let Some(known) = self.active.get_mut(&state.id) {
            *known = Known::new(known.inbox.clone(), state);
        }
    }

    /// It has no task any more.
    pub fn drop_task(&mut self, id: &DeploymentId) {
        self.active.remove(id);
    }

    /// It ended. Saying it again changes nothing.
    pub fn remember(&mut self, summary: Summary) {
        self.over.insert(summary.deployment.clone());
        self.ended.insert((summary.received, summary.deployment.clone()), summary);
        while self.ended.len() > self.remembered {
            if let Some(((_, id), _)) = self.ended.pop_first() {
                self.over.remove(&id);
            }
        }
    }

    /// One line each, newest first. What ended is no longer active, whatever its task knows yet.
    pub fn list(&self) -> Vec<Summary> {
        let key = |line: &Summary| (line.received, line.deployment.clone());
        let active = self.active.values().map(|known| (key(&known.summary), &known.summary));
        let mut lines: BTreeMap<_, &Summary> = active.collect();
        lines.extend(self.ended.iter().map(|(key, line)| (key.clone(), line)));
        lines.into_values().rev().cloned().collect()
    }
}
