//! What is known while playing: the scenario, how often each rule was used, what was asked, who waits at which gate.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use model::Digest;
use parking_lot::{Mutex, MutexGuard};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Notify, watch};

use crate::scenario::{Fault, Rule, Scenario, Script, Vendor};

/// One question as it came in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Which vendor was asked.
    pub vendor: Vendor,
    /// Path behind the vendor's first part.
    pub path: String,
    /// Query, without the question mark.
    pub query: String,
    /// Headers. Of a key only its scheme is kept (`Bearer`), or `set`.
    pub headers: BTreeMap<String, String>,
    /// The body; a text when it is no JSON.
    pub body: Value,
    /// The model that is asked for.
    pub model: String,
    /// Whether the answer is wanted in pieces.
    pub stream: bool,
}

/// Requests that are remembered.
const REMEMBERED: usize = 10_000;

/// Shared by all connections.
#[derive(Clone)]
pub(crate) struct Stage {
    inner: Arc<Mutex<Inner>>,
    counts: Arc<watch::Sender<Counts>>,
}

/// How many questions were, are and had been asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Came in.
    pub asked: usize,
    /// Are being answered.
    pub open: usize,
    /// Most that were answered at the same time.
    pub peak: usize,
    /// Answered to the end.
    pub answered: usize,
    /// Given up by the asker, or broken off by the scenario.
    pub abandoned: usize,
}

struct Inner {
    scenario: Scenario,
    used: Vec<u32>,
    random: StdRng,
    requests: VecDeque<Recorded>,
    gates: HashMap<String, Arc<Notify>>,
    released: Vec<String>,
    /// Digests of what stands in the prompt caches.
    kept: HashSet<Digest>,
}

/// What to do with one question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub script: Script,
    pub faults: Vec<Fault>,
    pub delay_ms: u64,
    pub number: usize,
}

/// A question that is being answered; counts as abandoned unless it is finished.
pub(crate) struct Open {
    counts: Arc<watch::Sender<Counts>>,
    finished: bool,
}

impl Stage {
    pub(crate) fn new(scenario: Scenario) -> Stage {
        let inner = Inner {
            used: vec![0; scenario.rules.len()],
            random: StdRng::seed_from_u64(scenario.seed),
            scenario,
            requests: VecDeque::new(),
            gates: HashMap::new(),
            released: Vec::new(),
            kept: HashSet::new(),
        };
        Stage { inner: Arc::new(Mutex::new(inner)), counts: Arc::new(watch::Sender::default()) }
    }

    pub(crate) fn scenario(&self) -> Scenario {
        self.inner().scenario.clone()
    }

    /// Plays another scenario from its beginning. What was asked stays known.
    pub(crate) fn play(&self, scenario: Scenario) {
        let mut inner = self.inner();
        inner.used = vec![0; scenario.rules.len()];
        inner.random = StdRng::seed_from_u64(scenario.seed);
        inner.released.clear();
        inner.kept.clear();
        inner.scenario = scenario;
    }

    /// Writes the question down and decides what becomes of it.
    pub(crate) fn decide(&self, request: Recorded) -> (Part, Open) {
        let mut inner = self.inner();
        let mut part = inner.part(request.vendor, &request.model, request.stream);
        if inner.requests.len() == REMEMBERED {
            inner.requests.pop_front();
        }
        inner.requests.push_back(request);
        self.counts.send_modify(|counts| {
            counts.asked += 1;
            counts.open += 1;
            counts.peak = counts.peak.max(counts.open);
            part.number = counts.asked;
        });
        (part, Open { counts: Arc::clone(&self.counts), finished: false })
    }

    /// Puts a system text into the vendor's prompt cache; whether it was there.
    pub(crate) fn keep(&self, vendor: Vendor, model: &str, system: &str) -> bool {
        !self.inner().kept.insert(Digest::of(&(vendor, model, system)))
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.inner().requests.iter().cloned().collect()
    }

    pub(crate) fn forget_requests(&self) {
        self.inner().requests.clear();
    }

    pub(crate) fn counts(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }

    /// Lets go all who wait at the gate, now and from now on.
    pub(crate) fn release(&self, gate: &str) {
        let mut inner = self.inner();
        inner.released.push(gate.to_owned());
        if let Some(gate) = inner.gates.get(gate) {
            gate.notify_waiters();
        }
    }

    pub(crate) async fn wait_at(&self, gate: &str) {
        let notify = {
            let mut inner = self.inner();
            Arc::clone(inner.gates.entry(gate.to_owned()).or_default())
        };
        let notified = notify.notified();
        tokio::pin!(notified);
        // Stand in line before looking, so that a release in between is not missed.
        notified.as_mut().enable();
        if !self.inner().released.iter().any(|open| open == gate) {
            notified.await;
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Plain values that are whole between calls.
        self.inner.lock()
    }
}

impl Inner {
    fn part(&mut self, vendor: Vendor, model: &str, stream: bool) -> Part {
        let fits = |rule: &Rule| {
            rule.vendor.is_none_or(|only| only == vendor)
                && rule.model.as_ref().is_none_or(|only| model.starts_with(only.as_str()))
                && rule.stream.is_none_or(|only| only == stream)
        };
        for (rule, used) in self.scenario.rules.iter().zip(&mut self.used) {
            if !fits(rule) || rule.times.is_some_and(|times| *used >= rule.skip.saturating_add(times)) {
                continue;
            }
            *used = used.saturating_add(1);
            if *used <= rule.skip {
                continue;
            }
            return Part {
                script: rule.answer.clone().unwrap_or_else(|| self.scenario.answer.clone()),
                faults: rule.faults.clone(),
                delay_ms: spread(rule.delay_ms, rule.delay_sigma, &mut self.random),
                number: 0,
            };
        }
        Part { script: self.scenario.answer.clone(), ..Part::default() }
    }
}

/// A log-normal delay with this median.
fn spread(median: u64, sigma: f64, random: &mut StdRng) -> u64 {
    if sigma <= 0.0 {
        return median;
    }
    // The sum of twelve uniform numbers is as good as normal here.
    let normal: f64 = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
    (median as f64 * (sigma * normal).exp()) as u64
}

impl Open {
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.counts.send_modify(|counts| {
            counts.open -= 1;
            if self.finished {
                counts.answered += 1;
            } else {
                counts.abandoned += 1;
            }
        });
    }
}
