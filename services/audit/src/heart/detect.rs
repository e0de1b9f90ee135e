//! Rules that find security events in the log: which act, in the light of those before it, wants a person's eye.
//!
//! Every rule is a threshold over a window of the log's own time, so that a replay finds the same. How often they are
//! right and wrong on a labelled replay is measured by the tests beside this file; the figures are in docs/audit.md.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use model::{
    Principal, Timestamp,
    audit::{AuditOutcome, AuditRecord, UNTOLD},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The action of a leaf that a rule wrote, followed by the rule's name.
pub const ALERT: &str = "alert.";

/// When a rule speaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Denied acts of one actor, or on one subject, within `denied_within`, that are an attack. Default 5.
    pub denied: usize,
    /// The time in which denied acts are counted. Default 60 s.
    pub denied_within: model::Span,
    /// Rollbacks within `rollbacks_within` that are more than bad luck. Default 4.
    pub rollbacks: usize,
    /// The time in which rollbacks are counted. Default 1 h.
    pub rollbacks_within: model::Span,
    /// An hour of the day is unusual for a person who acts around it on less than this share of their days, as far as
    /// their days so far can tell: (days with an act around it + 1) / (days + 2), Laplace's rule of succession. So
    /// nobody is judged before 1 / share days are known. 0.001 to 0.5. Default 0.05.
    pub unusual_below: f64,
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
            unusual_below: 0.05,
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
    /// Days with an act, before `today`.
    days: u32,
    /// By hour of the day, UTC: on how many of these days there was an act.
    hours: [u32; 24],
    /// The day of the last act, since 1970, and its hours: what is done today makes nothing usual today.
    today: i64,
    hours_today: [bool; 24],
    alerted_on: Option<i64>,
}

impl Person {
    /// Ends the last day when a new one begins.
    fn turn_to(&mut self, day: i64) {
        if day <= self.today && self.hours_today.contains(&true) {
            return;
        }
        self.days += u32::from(self.hours_today.contains(&true));
        for (days, acted) in self.hours.iter_mut().zip(self.hours_today) {
            *days += u32::from(acted);
        }
        (self.today, self.hours_today) = (day, [false; 24]);
    }

    /// On which share of days an act around this hour is expected.
    fn expected(&self, hour: usize) -> f64 {
        let around = [(hour + 23) % 24, hour, (hour + 1) % 24];
        let days = around.into_iter().map(|hour| self.hours[hour]).max().unwrap_or_default();
        f64::from(days + 1) / f64::from(self.days + 2)
    }
}

/// Follows the log.
#[derive(Clone, Debug, Default)]
pub struct Detector {
    rules: Rules,
    denied: BTreeMap<String, VecDeque<Timestamp>>,
    rollbacks: VecDeque<Timestamp>,
    people: BTreeMap<String, Person>,
    revoked: BTreeMap<String, Timestamp>,
    granted: BTreeMap<String, (Timestamp, String)>,
    /// How attempts of steps ended, and whether it is their journal or a runner that says so.
    ended: BTreeMap<String, (Timestamp, Ended)>,
}

/// How an attempt ended, by one who tells it.
#[derive(Clone, Debug)]
struct Ended {
    by: String,
    well: bool,
    in_journal: bool,
}

/// People and keys that are remembered per rule; when there are more, the half that was quiet longest is forgotten.
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
        alerts.extend(self.contradicting_report(record));
        alerts
    }

    /// Two runners tell two ends of one attempt. The journal has the first that came, and what follows from it; which of the
    /// two is true nobody can know who was not there.
    fn contradicting_report(&mut self, record: &AuditRecord) -> Option<Alert> {
        let in_journal = record.action == "deployment.step_finished";
        if !in_journal && record.action != UNTOLD {
            return None;
        }
        let (step, attempt) = (record.detail["step"].as_str()?, record.detail["attempt"].as_u64()?);
        let attempt = format!("{} {step} {attempt}", record.subject);
        let now = Ended { by: record.actor.clone(), well: record.outcome == AuditOutcome::Done, in_journal };
        let told = |ended: &Ended| if ended.well { "succeeded" } else { "did not succeed" };
        let found = self
            .ended
            .get(&attempt)
            .filter(|(_, before)| before.well != now.well && before.in_journal != now.in_journal);
        let found = found.map(|(_, before)| {
            let (journal, other) = if in_journal { (&now, before) } else { (before, &now) };
            let reason = format!(
                "{step} {} by {}, whom the journal follows, and {} by {}: a human must look",
                told(journal),
                journal.by,
                told(other),
                other.by
            );
            alert("contradicting-report", record, reason)
        });
        make_room(&mut self.ended, &attempt, |(at, _)| *at);
        if in_journal || !self.ended.contains_key(&attempt) {
            self.ended.insert(attempt, (record.at, now));
        }
        found
    }

    fn brute_force(&mut self, record: &AuditRecord) -> Option<Alert> {
        if record.outcome != AuditOutcome::Denied || record.action.starts_with("deployment.") {
            return None;
        }
        let mut found = None;
        // Everyone shares the subject of a call that was refused.
        let shared = record.action == "call.denied";
        let keys = [("by", &record.actor), ("on", &record.subject)];
        for (what, name) in keys.into_iter().filter(|(what, _)| *what == "by" || !shared) {
            let key = format!("{what} {name}");
            make_room(&mut self.denied, &key, |times| times.back().copied().unwrap_or(Timestamp(0)));
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
            make_room(&mut self.revoked, &record.subject, |at| *at);
            self.revoked.insert(record.subject.clone(), record.at);
            return None;
        }
        let used = ["key", "token", "keyId"].into_iter().find_map(|field| record.detail.get(field)?.as_str());
        let used = used.filter(|key| self.revoked.contains_key(*key))?;
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
                make_room(&mut self.granted, &record.subject, |(at, _)| *at);
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
        make_room(&mut self.people, &record.actor, |person| Timestamp(person.today * DAY));
        let person = self.people.entry(record.actor.clone()).or_default();
        let today = record.at.0.div_euclid(DAY);
        person.turn_to(today);
        let unusual = person.expected(hour) < self.rules.unusual_below;
        let risky = HIGH_IMPACT.contains(&record.action.as_str());
        if !unusual || !risky {
            // An hour becomes usual only over days; looking at things at night for once does not open the night.
            person.hours_today[hour] = true;
            return None;
        }
        let told = person.alerted_on.replace(today) == Some(today);
        (!told).then(|| {
            let (actor, days, expected) = (&record.actor, person.days, person.expected(hour) * 100.0);
            let reason = format!(
                "{actor} acts around {hour}:00 UTC on fewer than {expected:.0} in 100 of their days, by {days} days"
            );
            alert("unusual-hour", record, reason)
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
const HIGH_IMPACT: [&str; 9] = [
    "deployment.received",
    "deployment.approved",
    "deployment.promote_requested",
    "target.held",
    "target.unheld",
    "deployment.record_skipped",
    "target.record_skipped",
    "role.granted",
    "key.created",
];

/// Replicas, agents and the engine itself are no people.
fn is_person(actor: &str) -> bool {
    if let Ok(by) = actor.parse::<Principal>() {
        return by.is_person();
    }
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

/// Makes room for one more, unless it is there.
fn make_room<V>(map: &mut BTreeMap<String, V>, key: &str, last_heard: impl Fn(&V) -> Timestamp) {
    if map.len() < REMEMBERED || map.contains_key(key) {
        return;
    }
    let mut times: Vec<Timestamp> = map.values().map(&last_heard).collect();
    let (_, middle, _) = times.select_nth_unstable(REMEMBERED / 2);
    let middle = *middle;
    map.retain(|_, value| last_heard(value) > middle);
}

fn alert(rule: &'static str, record: &AuditRecord, reason: String) -> Alert {
    Alert { rule, actor: record.actor.clone(), subject: record.subject.clone(), reason }
}

#[cfg(test)]
mod tests;
