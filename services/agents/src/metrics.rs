//! What the agents count.

use std::time::Duration;

use chassis::metrics::{Buckets, Counter, Family, Histograms, Labels, Metric, Metrics};
use model::{Outcome, step::Agent};

/// Steps that ended, by agent and outcome.
pub const STEPS: Metric = Metric::new("code_agents_steps_total", "steps that ended");
/// How long steps took, by agent.
pub const STEP_SECONDS: Metric = Metric::new("code_agents_step_seconds", "how long steps took");

/// The counters.
#[derive(Clone)]
pub struct Counts {
    steps: Family<Labels<2>, Counter>,
    seconds: Histograms<1>,
}

impl Counts {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Counts {
        Counts {
            steps: metrics.counters::<2>(&STEPS),
            seconds: metrics.histograms::<1>(&STEP_SECONDS, Buckets::SECONDS),
        }
    }

    /// A step ended.
    pub fn ended(&self, agent: Agent, outcome: Outcome, took: Duration) {
        let labels = [("agent", agent.to_string()), ("outcome", outcome.to_string())];
        self.steps.get_or_create(&labels).inc();
        self.seconds.get_or_create(&[("agent", agent.to_string())]).observe(took.as_secs_f64());
    }
}
