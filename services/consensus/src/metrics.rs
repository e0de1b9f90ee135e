//! What a consensus worker counts.

use chassis::metrics::{Counter, Metric, Metrics};

/// Questions with full answers.
const OPINIONS: Metric = Metric::new("code_consensus_opinions_total", "opinions on full answers");
/// Questions with votes only.
const VOTES: Metric = Metric::new("code_consensus_vote_questions_total", "questions weighed by votes only");

/// The counters.
#[derive(Clone)]
pub struct Counts {
    opinions: Counter,
    votes: Counter,
}

impl Counts {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Counts {
        Counts { opinions: metrics.counter(&OPINIONS), votes: metrics.counter(&VOTES) }
    }

    /// One opinion on full answers.
    pub fn opinion(&self) {
        self.opinions.inc();
    }

    /// So many questions by votes only.
    pub fn votes(&self, questions: usize) {
        self.votes.inc_by(questions as u64);
    }
}
