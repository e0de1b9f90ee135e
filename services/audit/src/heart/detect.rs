//! Rules that find security events in the log: which act, in the light of those before it, wants a person's eye.
//!
//! Every rule is a threshold over a window of the log's own time, so that a replay finds the same. How often they are
//! right and wrong on a labelled replay is measured by the tests beside this file; the figures are in docs/audit.md.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use model::{
    Timestamp,
    audit::{AuditOutcome, AuditRecord},
};
use serde::{Deserialize, Serialize};

/// The action of a leaf that a rule wrote, followed by the rule's name.
pub const ALERT: &str = "alert.";

/// When a rule speaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Denied acts of one actor, or on one subject, within `denied_within`, that are an attack. Default 5.
    pub denied: usize,
    /// Default 60 s.
    pub denied_within: model::Span,
    /// Rollbacks within `rollbacks_within` that are more than bad luck. Default 4.
    pub rollbacks: usize,
    /// Default 1 h.
    pub rollbacks_within: model::Span,
    /// Acts of a person that must be known before an hour of the day can be unusual for them. Default 30.
    pub known_acts: u32,
    /// A new right that is used within this time by whom it was given to, when they gave it themselves or it is an
    /// administrator's. Default 15 min.
    pub privilege_within: model::Span,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            denied: 5,
            denied_within: model::Span::seconds(60),
            rollbacks: 4,
            rollbacks_within: model::Span::seconds(3600),
            known_acts: 30,
            privilege_within: model::Span::seconds(900),
        }
    }
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Which rule.
    pub rule: &'static str,
    /// Who it is about.
    pub actor: String,
    /// What it is about.
    pub subject: String,
    /// In words.
    pub reason: String,
}

#[derive(Clone, Debug, Default)]
struct Person {
    acts: u32,
    /// How many acts by hour of the day, UTC.
    hours: [u32; 24],
    alerted_on: Option<i64>,
}

/// Follows the log.
#[derive(Clone, Debug, Default)]
pub struct Detector {
    rules: Rules,
    denied: BTreeMap<String, VecDeque<Timestamp>>,
    rollbacks: VecDeque<Timestamp>,
    people: BTreeMap<String, Person>,
    revoked: BTreeSet<String>,
    granted: BTreeMap<String, (Timestamp, String)>,
}

/// People and keys that are remembered per rule; the ones that were quiet longest are forgotten first.
const REMEMBERED: usize = 100_000;
const DAY: i64 = 24 * 3600 * 1000;

impl Detector {
    /// Begins with nothing known.
    pub fn new(rules: Rules) -> Detector {
        Detector { rules, ..Detector::default() }
    }

    /// The next leaf of the log.
    pub fn see(&mut self, record: &AuditRecord) -> Vec<Alert> {
        if record.action.starts_with(ALERT) || record.action.starts_with("audit.") {
            return Vec::new();
        }
        let mut alerts = Vec::new();
        alerts.extend(self.brute_force(record));
        alerts.extend(self.revoked_key(record));
        alerts.extend(self.privilege_jump(record));
        alerts.extend(self.unusual_hour(record));
        alerts.extend(self.many_rollbacks(record));
        alerts
    }

    fn brute_force(&mut self, record: &AuditRecord) -> Option<Alert> {
        if record.outcome != AuditOutcome::Denied || record.action.starts_with("deployment.") {
            return None;
        }
        let mut found = None;
        for (what, name) in [("by", &record.actor), ("on", &record.subject)] {
            let key = format!("{what} {name}");
            bound(&mut self.denied);
            let times = self.denied.entry(key).or_default();
            if reaches(times, record.at, self.rules.denied_within.0, self.rules.denied) && found.is_none() {
                let (count, span) = (self.rules.denied, self.rules.denied_within);
                found = Some(alert(
                    "brute-force",
                    record,
                    format!("{count} denied acts {what} {name} within {span}"),
                ));
            }
        }
        found
    }

    fn revoked_key(&mut self, record: &AuditRecord) -> Option<Alert> {
        if matches!(record.action.as_str(), "key.revoked" | "token.revoked" | "access.key.revoked") {
            self.revoked.insert(record.subject.clone());
            return None;
        }
        let used = ["key", "token", "keyId"].into_iter().find_map(|field| record.detail.get(field)?.as_str());
        let used = used.filter(|key| self.revoked.contains(*key))?;
        Some(alert("revoked-key", record, format!("{} was used after it was revoked", used)))
    }

    fn privilege_jump(&mut self, record: &AuditRecord) -> Option<Alert> {
        if matches!(record.action.as_str(), "role.granted" | "access.role.granted") {
            let role = record.detail.get("role").and_then(serde_json::Value::as_str).unwrap_or_default();
            if role.contains("admin") || record.actor == record.subject {
                if record.actor == record.subject {
                    return Some(alert(
                        "privilege-jump",
                        record,
                        format!("{} gave themselves {role}", record.actor),
                    ));
                }
                bound(&mut self.granted);
                self.granted.insert(record.subject.clone(), (record.at, role.to_owned()));
            }
            return None;
        }
        let (at, role) = self.granted.get(&record.actor)?;
        let soon = record.at.since(*at) <= self.rules.privilege_within.0;
        let risky = HIGH_IMPACT.iter().any(|action| record.action == *action);
        if !soon {
            self.granted.remove(&record.actor);
            return None;
        }
        let found = risky.then(|| {
            alert(
                "privilege-jump",
                record,
                format!("{} got {role} and used it at once for {}", record.actor, record.action),
            )
        });
        if found.is_some() {
            self.granted.remove(&record.actor);
        }
        found
    }

    fn unusual_hour(&mut self, record: &AuditRecord) -> Option<Alert> {
        if !is_person(&record.actor) {
            return None;
        }
        let hour = (record.at.0.rem_euclid(DAY) / (3600 * 1000)) as usize;
        bound(&mut self.people);
        let person = self.people.entry(record.actor.clone()).or_default();
        // An hour is usual when it or its neighbours were used before.
        let near =
            [(hour + 23) % 24, hour, (hour + 1) % 24].iter().map(|hour| person.hours[*hour]).sum::<u32>();
        let unusual = person.acts >= self.rules.known_acts && near == 0;
        let today = record.at.0.div_euclid(DAY);
        let told = person.alerted_on == Some(today);
        if unusual {
            person.alerted_on = Some(today);
        } else {
            person.hours[hour] += 1;
            person.acts += 1;
        }
        (unusual && !told).then(|| {
            alert(
                "unusual-hour",
                record,
                format!("{} never acted around {hour}:00 UTC in {} acts", record.actor, person.acts),
            )
        })
    }

    fn many_rollbacks(&mut self, record: &AuditRecord) -> Option<Alert> {
        if record.action != "deployment.rollback_began" {
            return None;
        }
        let (count, span) = (self.rules.rollbacks, self.rules.rollbacks_within);
        reaches(&mut self.rollbacks, record.at, span.0, count)
            .then(|| alert("many-rollbacks", record, format!("{count} rollbacks within {span}")))
    }
}

/// Acts that change what runs or who may.
const HIGH_IMPACT: [&str; 7] = [
    "deployment.received",
    "deployment.approved",
    "deployment.promote_requested",
    "target.held",
    "target.unheld",
    "role.granted",
    "key.created",
];

/// Replicas, agents and the engine itself are no people.
fn is_person(actor: &str) -> bool {
    !actor.starts_with("rep-")
        && !actor.contains('/')
        && !actor.contains("rep-")
        && actor != "unknown"
        && actor != "orchestrator"
}

/// Adds a time and says whether so many lie within the span; then counts anew, so that one attack is one alert.
fn reaches(times: &mut VecDeque<Timestamp>, at: Timestamp, span: Duration, count: usize) -> bool {
    while times.front().is_some_and(|first| at.since(*first) > span) {
        times.pop_front();
    }
    times.push_back(at);
    let reached = times.len() >= count;
    if reached {
        times.clear();
    }
    reached
}

fn bound<V>(map: &mut BTreeMap<String, V>) {
    if map.len() >= REMEMBERED {
        map.pop_first();
    }
}

fn alert(rule: &'static str, record: &AuditRecord, reason: String) -> Alert {
    Alert { rule, actor: record.actor.clone(), subject: record.subject.clone(), reason }
}

#[cfg(test)]
mod tests;
