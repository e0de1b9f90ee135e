//! What the orchestrator counts.

use chassis::metrics::{Counter, Family, Gauge, Labels, Metric, Metrics};
use model::Event;

/// Deployments that ended, by verdict.
const DEPLOYMENTS: Metric = Metric::new("code_orchestrator_deployments_total", "deployments that ended");
/// Attempts of steps that ended, by outcome.
const STEPS: Metric = Metric::new("code_orchestrator_steps_total", "attempts of steps that ended");
/// Deployments in memory.
const ACTIVE: Metric = Metric::new("code_orchestrator_active_deployments", "deployments that are not over");
/// Records appended.
const RECORDS: Metric = Metric::new("code_orchestrator_records_total", "journal records appended");
/// Lost races.
const RACES: Metric = Metric::new("code_orchestrator_races_total", "appends that another writer was before");
/// Takeovers.
const TAKEOVERS: Metric =
    Metric::new("code_orchestrator_takeovers_total", "deployments taken over from a silent owner");

/// Journals that are set aside, by log and name.
const UNREADABLE: Metric = Metric::new(
    "code_orchestrator_unreadable_records",
    "sequence of the record for which a journal is set aside",
);

/// The counters of one replica.
pub struct Counts {
    deployments: Family<Labels<1>, Counter>,
    steps: Family<Labels<1>, Counter>,
    active: Gauge,
    records: Counter,
    races: Counter,
    takeovers: Counter,
    unreadable: Family<Labels<2>, Gauge>,
}

impl Counts {
    /// Registers all of them.
    pub fn new(metrics: &Metrics) -> Counts {
        Counts {
            deployments: metrics.counters(&DEPLOYMENTS),
            steps: metrics.counters(&STEPS),
            active: metrics.gauge(&ACTIVE),
            records: metrics.counter(&RECORDS),
            races: metrics.counter(&RACES),
            takeovers: metrics.counter(&TAKEOVERS),
            unreadable: metrics.gauges(&UNREADABLE),
        }
    }

    /// The sequence of the record for which a journal is set aside, by log and name.
    pub fn unreadable(&self) -> Family<Labels<2>, Gauge> {
        self.unreadable.clone()
    }

    /// One record was appended.
    pub fn journalled(&self, events: &[Event]) {
        self.records.inc();
        for event in events {
            match event {
                Event::StepFinished { result, .. } => {
                    self.steps.get_or_create(&[("outcome", result.outcome.to_string())]).inc();
                }
                Event::Closed { verdict, .. } => {
                    self.deployments.get_or_create(&[("verdict", verdict.as_str().to_owned())]).inc();
                }
                _ => {}
            }
        }
    }

    /// So many are in memory.
    pub fn active(&self, count: usize) {
        self.active.set(count as i64);
    }

    /// Another writer was first.
    pub fn raced(&self) {
        self.races.inc();
    }

    /// A silent owner was replaced.
    pub fn took_over(&self) {
        self.takeovers.inc();
    }
}
