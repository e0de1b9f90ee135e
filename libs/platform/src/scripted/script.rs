//! What the scripted platform does wrong, and where its instances are.

use std::{collections::BTreeMap, time::Duration};

use model::{Token, plan::Revision};

use crate::Error;

/// Whom a rule is for: a module, and one revision of it or all.
type Whom = (Token, Option<Revision>);

/// Faults and addresses. Rules for one revision go before rules for all of the module.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Every call takes this long. Default zero.
    pub slow: Duration,
    /// The engine behind the driver is away: every call fails with [`Error::Unavailable`].
    pub lost: bool,
    /// There is no room: every start that would make an instance fails with [`Error::DiskFull`].
    pub disk_full: bool,
    failures: BTreeMap<Whom, u32>,
    missing: BTreeMap<Whom, ()>,
    unready: BTreeMap<Whom, ()>,
    starting: BTreeMap<Whom, ()>,
    stuck: BTreeMap<Whom, ()>,
    crashes: BTreeMap<Whom, (Duration, i64)>,
    statuses: BTreeMap<Whom, i32>,
    logs: BTreeMap<Whom, String>,
    addresses: BTreeMap<Whom, BTreeMap<String, String>>,
}

impl Script {
    /// The next `times` starts that would make an instance fail as if the engine were briefly away.
    pub fn fail_next_starts(&mut self, module: &Token, revision: Option<&Revision>, times: u32) {
        self.failures.insert(whom(module, revision), times);
    }

    /// Starts fail for want of the image, or no longer.
    pub fn set_image_missing(&mut self, module: &Token, revision: Option<&Revision>, on: bool) {
        set(&mut self.missing, module, revision, on.then_some(()));
    }

    /// Instances run but no probe succeeds, or no longer.
    pub fn set_never_ready(&mut self, module: &Token, revision: Option<&Revision>, on: bool) {
        set(&mut self.unready, module, revision, on.then_some(()));
    }

    /// Instances started from now on stay in [`crate::State::Starting`], or no longer.
    pub fn set_stays_starting(&mut self, module: &Token, revision: Option<&Revision>, on: bool) {
        set(&mut self.starting, module, revision, on.then_some(()));
    }

    /// Instances cannot be stopped, or can again.
    pub fn set_stuck(&mut self, module: &Token, revision: Option<&Revision>, on: bool) {
        set(&mut self.stuck, module, revision, on.then_some(()));
    }

    /// Instances started from now on end after this time with this status; none to let them live.
    pub fn set_crash(&mut self, module: &Token, revision: Option<&Revision>, crash: Option<(Duration, i64)>) {
        set(&mut self.crashes, module, revision, crash);
    }

    /// Status of commands run in instances. Default 0.
    pub fn set_exec_status(&mut self, module: &Token, revision: Option<&Revision>, status: i32) {
        set(&mut self.statuses, module, revision, Some(status));
    }

    /// What instances are said to have written. Default nothing.
    pub fn set_log(&mut self, module: &Token, revision: Option<&Revision>, text: &str) {
        set(&mut self.logs, module, revision, Some(text.to_owned()));
    }

    /// Where instances started from now on are, per port: `address:port` of something real that the test serves.
    pub fn set_address(&mut self, module: &Token, revision: Option<&Revision>, port: &str, address: &str) {
        let ports = self.addresses.entry(whom(module, revision)).or_default();
        ports.insert(port.to_owned(), address.to_owned());
    }

    pub(super) fn start_fails(&mut self, module: &Token, revision: &Revision) -> Option<Error> {
        if self.disk_full {
            return Some(Error::DiskFull { what: format!("start of {module} by the script") });
        }
        if find(&self.missing, module, revision).is_some() {
            let reason = "the script says so".to_owned();
            return Some(Error::ArtefactMissing { artefact: module.to_string(), reason });
        }
        for key in [whom(module, Some(revision)), whom(module, None)] {
            if let Some(left) = self.failures.get_mut(&key)
                && *left > 0
            {
                *left -= 1;
                return Some(Error::Unavailable {
                    platform: "scripted",
                    source: "the script lets this start fail".into(),
                });
            }
        }
        None
    }

    pub(super) fn never_ready(&self, module: &Token, revision: &Revision) -> bool {
        find(&self.unready, module, revision).is_some()
    }

    pub(super) fn stays_starting(&self, module: &Token, revision: &Revision) -> bool {
        find(&self.starting, module, revision).is_some()
    }

    pub(super) fn is_stuck(&self, module: &Token, revision: &Revision) -> bool {
        find(&self.stuck, module, revision).is_some()
    }

    pub(super) fn crash(&self, module: &Token, revision: &Revision) -> Option<(Duration, i64)> {
        find(&self.crashes, module, revision).copied()
    }

    pub(super) fn exec_status(&self, module: &Token, revision: &Revision) -> i32 {
        find(&self.statuses, module, revision).copied().unwrap_or(0)
    }

    pub(super) fn log_of(&self, module: &Token, revision: &Revision) -> &str {
        find(&self.logs, module, revision).map_or("", String::as_str)
    }

    pub(super) fn has_addresses(&self, module: &Token, revision: &Revision) -> bool {
        find(&self.addresses, module, revision).is_some()
    }

    pub(super) fn address(&self, module: &Token, revision: &Revision, port: &str) -> Option<String> {
        find(&self.addresses, module, revision)?.get(port).cloned()
    }
}

fn whom(module: &Token, revision: Option<&Revision>) -> Whom {
    (module.clone(), revision.cloned())
}

fn set<T>(rules: &mut BTreeMap<Whom, T>, module: &Token, revision: Option<&Revision>, value: Option<T>) {
    match value {
        Some(value) => drop(rules.insert(whom(module, revision), value)),
        None => drop(rules.remove(&whom(module, revision))),
    }
}

fn find<'a, T>(rules: &'a BTreeMap<Whom, T>, module: &Token, revision: &Revision) -> Option<&'a T> {
    rules.get(&whom(module, Some(revision))).or_else(|| rules.get(&whom(module, None)))
}
