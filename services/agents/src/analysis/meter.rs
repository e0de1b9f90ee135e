//! One metric while it is measured: when, and of what. What follows from it is in [`gates::analysis`].

use gates::{
    Measurements,
    analysis::{Analysed, Count, Counted, Look, Recorder, Seen, is_counted},
};
use model::{GateResult, Timestamp, spec::Metric};
use tokio::time::Instant;

use super::{Trial, providers};
use crate::{
    Error,
    counts::{Heard, Window},
    error::Result,
    evidence::scrubbed,
};

pub(super) struct Meter {
    metric: Metric,
    due: Instant,
    recorder: Recorder,
    /// Opened when the last measurement ended.
    window: Window,
}

impl Meter {
    pub(super) fn new(metric: &Metric, trial: &Trial<'_>, heard: &Heard, began: Instant) -> Result<Meter> {
        let revisions = (trial.revision, trial.baseline);
        let kept = Analysed::new(trial.module, revisions, metric, trial.ctx.now());
        Ok(Meter {
            due: began + metric.initial_delay.0 + metric.interval.0,
            recorder: Recorder::new(kept).map_err(Error::verdict)?,
            window: heard.window(trial.module),
            metric: metric.clone(),
        })
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn has_ended(&self) -> bool {
        self.recorder.run().has_ended()
    }

    pub(super) fn is_dry(&self) -> bool {
        self.metric.dry_run
    }

    pub(super) fn decides_now(&self) -> bool {
        self.recorder.run().decides_now()
    }

    /// It decides, and what was measured so far does not say yet.
    pub(super) fn knows_nothing(&self) -> bool {
        self.recorder.run().knows_nothing()
    }

    pub(super) fn gate(&self) -> Option<GateResult> {
        self.recorder.run().gate()
    }

    /// Measures once. `last`: nothing comes after it, so what was gathered is judged if it is enough.
    pub(super) async fn measure(&mut self, trial: &Trial<'_>, heard: &Heard, last: bool) {
        let at = trial.ctx.now();
        self.due = Instant::now() + self.metric.interval.0;
        if is_counted(&self.metric.provider) {
            let (counted, next) = count(trial, heard, &self.window);
            if self.recorder.take(Look { at, last, seen: Seen::Counted(counted) }) {
                self.window = next;
            }
            return;
        }
        let seen = match Box::pin(providers::ask(trial.ctx, &self.metric.provider)).await {
            Ok(providers::Said::Value(value)) => Seen::Value(value),
            Ok(providers::Said::Nothing(why)) => Seen::Nothing(scrubbed(&why)),
            Err(error) => Seen::Error(scrubbed(&chassis::chain(&error))),
        };
        self.recorder.take(Look { at, last, seen });
    }

    /// What the metric is worth in the end, and what it follows from.
    pub(super) fn close(self, at: Timestamp) -> (GateResult, Measurements) {
        let (gate, kept) = self.recorder.close(at);
        (gate, Measurements::Analysis(Box::new(kept)))
    }
}

/// What came since the window was opened, and a window that begins there.
fn count(trial: &Trial<'_>, heard: &Heard, window: &Window) -> (Counted, Window) {
    let millis = u64::try_from(window.age().as_millis()).unwrap_or(u64::MAX);
    let (mut counts, next) = heard.since_and_on(window);
    let mut of = |revision| Count::from(counts.remove(revision).unwrap_or_default());
    let new = of(trial.revision);
    let old = trial.baseline.map(of).unwrap_or_default();
    (Counted { millis, new, old }, next)
}
