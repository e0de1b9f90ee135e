//! Who lives: the beats that were heard, ours among them.

use std::{collections::HashMap, time::Duration};

use bus::Beat;
use model::ReplicaId;
use tokio::time::Instant;

/// What was heard of every replica. Says nothing about others while we ourselves may be deaf.
#[derive(Debug, Default)]
pub struct Peers {
    heard: HashMap<ReplicaId, Instant>,
    /// Since when our own beats have come back without a gap.
    hearing_since: Option<Instant>,
}

impl Peers {
    /// A replica says that it lives. One that drains counts as gone.
    pub fn hear(&mut self, beat: &Beat, me: &ReplicaId, silence: Duration, now: Instant) {
        if beat.replica == *me {
            // Others come back to the bus a little before or after us: after a gap all get the whole silence again.
            let gap = self.heard.get(me).is_none_or(|last| now - *last > silence / 2);
            if gap || self.hearing_since.is_none() {
                self.hearing_since = Some(now);
            }
        }
        if beat.draining && beat.replica != *me {
            self.heard.remove(&beat.replica);
        } else {
            self.heard.insert(beat.replica.clone(), now);
        }
        self.heard.retain(|_, last| now - *last < silence * 20);
    }

    /// We have heard ourselves without a gap for as long as the silence, and still do.
    pub fn can_judge(&self, me: &ReplicaId, silence: Duration, now: Instant) -> bool {
        self.hearing_since.is_some_and(|since| now - since >= silence) && !self.is_silent(me, silence, now)
    }

    /// Nothing was heard of it for longer than the silence.
    pub fn is_silent(&self, replica: &ReplicaId, silence: Duration, now: Instant) -> bool {
        self.heard.get(replica).is_none_or(|last| now - *last > silence)
    }
}
