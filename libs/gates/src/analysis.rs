//! A metric of an analysis: what was counted or answered, look by look, and the fold over the looks that is its verdict.
//!
//! A look at the traffic that has too few requests is no measurement: its requests are part of the next look.

mod run;
mod versus;

use model::{
    GateResult, Timestamp, Token, plan::Revision, route::RevisionCount, spec::Metric, spec::Provider,
};
use serde::{Deserialize, Serialize};
use stats::Histogram;

use crate::verdict::Unjudged;
pub use run::{Run, required};

/// Room for looks, in buckets of latencies: about half of what a document may have in bytes.
const ROOM: usize = 40_000;
/// What a look takes beside its buckets.
const LOOK: usize = 12;

/// A metric that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Analysed {
    /// The module.
    pub module: Token,
    /// The revision that is judged.
    pub revision: Revision,
    /// The one it is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Revision>,
    /// What was asked: where the value comes from, and its limits.
    pub metric: Metric,
    /// How sure a verdict by fixed limits had to be: that of the metric, or the engine's own.
    pub confidence: f64,
    /// When it began.
    pub began: Timestamp,
    /// Every look, in order.
    pub looks: Vec<Look>,
    /// Looks for which there was no room; with any it cannot be judged again.
    #[serde(default, skip_serializing_if = "is_none")]
    pub cut: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(number: &u64) -> bool {
    *number == 0
}

/// One look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// Nothing was to come after it.
    pub last: bool,
    /// What it brought.
    pub seen: Seen,
}

/// What a look brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Seen {
    /// What the data planes counted since the last measurement.
    Counted(Counted),
    /// The number that a provider gave.
    Value(f64),
    /// A provider answered without a number; why.
    Nothing(String),
    /// It could not be measured; why.
    Error(String),
}

/// What the data planes counted since the last measurement, of both revisions over the same time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Counted {
    /// The time, in milliseconds.
    pub millis: u64,
    /// The revision that is judged.
    pub new: Count,
    /// The one it is compared with.
    pub old: Count,
}

/// What one revision was asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Count {
    /// Requests answered.
    pub requests: u64,
    /// Of these, failed.
    pub errors: u64,
    /// Their latencies.
    pub latency: Histogram,
}

impl From<RevisionCount> for Count {
    fn from(count: RevisionCount) -> Count {
        let RevisionCount { requests, errors, latency, .. } = count;
        Count { requests, errors: errors.min(requests), latency: Histogram::from(latency) }
    }
}

impl Count {
    fn add(&mut self, other: &Count) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors);
        self.latency.merge(&other.latency);
    }

    fn rate(&self) -> f64 {
        self.errors as f64 / self.requests.max(1) as f64
    }
}

impl Counted {
    fn add(&mut self, other: &Counted) {
        self.millis = self.millis.saturating_add(other.millis);
        self.new.add(&other.new);
        self.old.add(&other.old);
    }

    fn room(&self) -> usize {
        self.new.latency.buckets().count() + self.old.latency.buckets().count()
    }
}

/// Whether the data planes count what the metric asks for.
pub fn is_counted(provider: &Provider) -> bool {
    match provider {
        Provider::ErrorRate {} | Provider::Latency(_) | Provider::RequestRate {} => true,
        Provider::Http { .. } | Provider::Prometheus { .. } => false,
    }
}

/// How sure a verdict by the fixed limits of a metric has to be.
pub fn confidence(metric: &Metric) -> f64 {
    metric.confidence.unwrap_or(stats::limit::CONFIDENCE)
}

impl Analysed {
    /// Nothing measured yet.
    pub fn new(
        module: &Token,
        (revision, baseline): (&Revision, Option<&Revision>),
        metric: &Metric,
        began: Timestamp,
    ) -> Analysed {
        Analysed {
            module: module.clone(),
            revision: revision.clone(),
            baseline: baseline.cloned(),
            metric: metric.clone(),
            confidence: confidence(metric),
            began,
            looks: Vec::new(),
            cut: 0,
        }
    }

    /// What follows from all looks.
    pub fn judge(&self, at: Timestamp) -> Result<GateResult, Unjudged> {
        if self.cut > 0 {
            return Err(Unjudged::Cut(self.cut));
        }
        let mut run = Run::new(&self.metric, self.confidence).map_err(Unjudged::Wrong)?;
        for (place, look) in self.looks.iter().enumerate() {
            self.sound(look).map_err(|why| Unjudged::Wrong(format!("looks[{place}] {why}")))?;
            run.take(look);
        }
        Ok(run.close(at))
    }

    fn sound(&self, look: &Look) -> Result<(), &'static str> {
        match &look.seen {
            Seen::Counted(counted) if is_counted(&self.metric.provider) => {
                let off = |count: &Count| count.errors > count.requests;
                if off(&counted.new) || off(&counted.old) {
                    return Err("has more errors than requests");
                }
                Ok(())
            }
            Seen::Value(_) | Seen::Nothing(_) | Seen::Error(_) if !is_counted(&self.metric.provider) => {
                Ok(())
            }
            Seen::Counted(_) | Seen::Value(_) | Seen::Nothing(_) | Seen::Error(_) => {
                Err("is of another kind of metric")
            }
        }
    }
}

/// A metric while it is measured: its document grows with every look, and so does the judgement.
#[derive(Clone, Debug)]
pub struct Recorder {
    kept: Analysed,
    run: Run,
    room: usize,
    /// The last look was no measurement: what it counted is part of the next one.
    waits: bool,
}

impl Recorder {
    /// Begins; the text of the error is for the author of the metric.
    pub fn new(kept: Analysed) -> Result<Recorder, String> {
        let run = Run::new(&kept.metric, kept.confidence)?;
        Ok(Recorder { kept, run, room: ROOM, waits: false })
    }

    /// Takes a look in; whether it was a measurement, after which is counted anew.
    pub fn take(&mut self, look: Look) -> bool {
        let is_measured = self.run.take(&look);
        if std::mem::replace(&mut self.waits, !is_measured)
            && let Some(before) = self.kept.looks.pop()
        {
            self.room += room(&before);
        }
        match self.room.checked_sub(room(&look)).filter(|_| self.kept.cut == 0) {
            Some(left) => {
                self.room = left;
                self.kept.looks.push(look);
            }
            None => self.kept.cut += 1,
        }
        is_measured
    }

    /// The judgement so far.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Ends: the verdict, and what it follows from.
    pub fn close(self, at: Timestamp) -> (GateResult, Analysed) {
        let Recorder { kept, mut run, .. } = self;
        (run.close(at), kept)
    }
}

fn room(look: &Look) -> usize {
    LOOK + match &look.seen {
        Seen::Counted(counted) => counted.room(),
        Seen::Value(_) => 0,
        Seen::Nothing(why) | Seen::Error(why) => why.len() / 8,
    }
}

#[cfg(test)]
mod tests;
