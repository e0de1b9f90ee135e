//! What the experts' service counts.

use std::time::Duration;

use chassis::metrics::{Buckets, Counter, Family, Histogram, Labels, Metric, Metrics};
use model::expert::{Ballot, Consultation};

/// Opinions that were formed, by action.
const OPINIONS: Metric = Metric::new("code_experts_opinions_total", "opinions that were formed");
/// Answers, by expert and status.
const BALLOTS: Metric = Metric::new("code_experts_ballots_total", "experts that were asked");
/// Money.
const COST: Metric = Metric::new("code_experts_cost_micro_usd_total", "millionths of a US dollar spent");
/// How long a panel took.
const SECONDS: Metric = Metric::new("code_experts_panel_seconds", "how long panels took");
/// Opinions computed here.
const ALONE: Metric = Metric::new(
    "code_experts_computed_here_total",
    "opinions computed here, because no consensus worker answered",
);

/// The counters.
#[derive(Clone)]
pub struct Counts {
    opinions: Family<Labels<1>, Counter>,
    ballots: Family<Labels<2>, Counter>,
    cost: Counter,
    seconds: Histogram,
    alone: Counter,
}

impl Counts {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Counts {
        Counts {
            opinions: metrics.counters(&OPINIONS),
            ballots: metrics.counters(&BALLOTS),
            cost: metrics.counter(&COST),
            seconds: metrics.histogram(&SECONDS, Buckets::SECONDS),
            alone: metrics.counter(&ALONE),
        }
    }

    /// An opinion was formed.
    pub fn formed(&self, consultation: &Consultation) {
        let action = consultation.opinion.action.as_str().to_owned();
        self.opinions.get_or_create(&[("action", action)]).inc();
        self.cost.inc_by(consultation.cost_micro_usd);
        self.seconds.observe(Duration::from_millis(consultation.took_ms).as_secs_f64());
        consultation.ballots.iter().for_each(|ballot| self.ballot(ballot));
    }

    /// An expert answered, or did not.
    pub fn ballot(&self, ballot: &Ballot) {
        let status = if ballot.late { "late" } else { ballot.status.as_str() };
        let labels = [("expert", ballot.expert.name.to_string()), ("status", status.to_owned())];
        self.ballots.get_or_create(&labels).inc();
    }

    /// No consensus worker answered in time.
    pub fn computed_here(&self) {
        self.alone.inc();
    }
}
