//! Which steps are to stop.

use std::time::Duration;

use model::deployment::{StepJob, StepStop, StopKind};

/// A stop is said again every second as long as it is needed; a late step is measured against it for so long.
const REMEMBERED: Duration = Duration::from_secs(60);

/// What a step is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// It no longer matters.
    Cancel,
    /// Judge what is there.
    Finish,
}

/// What was said lately.
#[derive(Default)]
pub(super) struct Stops(Vec<(StepStop, Duration)>);

impl Stops {
    pub(super) fn hear(&mut self, said: StepStop, now: Duration) {
        self.0.retain(|(old, at)| now.saturating_sub(*at) < REMEMBERED && *old != said);
        self.0.push((said, now));
    }

    /// A step that is about to begin no longer matters.
    pub(super) fn cancels(&mut self, job: &StepJob, now: Duration, too_much: bool) -> bool {
        self.0.retain(|(_, at)| now.saturating_sub(*at) < REMEMBERED);
        self.orders(job, too_much).any(|order| order == Order::Cancel)
    }

    pub(super) fn orders(&self, job: &StepJob, too_much: bool) -> impl Iterator<Item = Order> {
        self.0.iter().filter_map(move |(said, _)| order(said, job, too_much))
    }
}

/// What this says to a step. `too_much` is the planted bug.
pub(super) fn order(said: &StepStop, job: &StepJob, too_much: bool) -> Option<Order> {
    if said.deployment != job.deployment || said.step.as_ref().is_some_and(|step| *step != job.step.id) {
        return None;
    }
    match said.kind {
        StopKind::Cancel if job.fence < said.below || too_much => Some(Order::Cancel),
        StopKind::Finish if job.fence <= said.below => Some(Order::Finish),
        StopKind::Cancel | StopKind::Finish => None,
    }
}
