//! Learns what experts are worth from cases whose outcome became known.

use model::expert::{AnswerStatus, Ballot};

use crate::{
    likelihood::{count, softmax},
    panel::{Panel, vote_of},
    policy::{Policy, State},
    record::{Case, Record, Records, bucket},
};

/// Cases after which an old one counts half.
const HALF_LIFE: f64 = 200.0;
/// Cases kept for fitting the tempering: what was said by the records of longer ago says little about those of today.
const KEPT: usize = 200;
/// How often the search between two tempers is narrowed, by a third each time.
const REFINED: usize = 8;
/// Tempers that are tried first.
pub const TEMPERS: [f64; 11] = [0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4];

impl Records {
    /// Learns from a case whose outcome became known. Old cases fade by half in 200. What the votes said by the records
    /// before is kept for the tempering, which is fitted anew. Not idempotent: the caller counts an outcome once.
    pub fn learn(&mut self, ballots: &[Ballot], truth: State, policy: &Policy) {
        let counted: Vec<&Ballot> =
            ballots.iter().filter(|one| one.status == AnswerStatus::Ok && !one.late).collect();
        let evidence = Panel::of_ballots(&counted, self, policy).evidence(&counted);
        let mut votes = [0usize; 3];
        for vote in counted.iter().filter_map(|ballot| vote_of(ballot)) {
            votes[vote] += 1;
        }
        let most = votes.iter().max().copied().unwrap_or(0);
        let majority = (votes.iter().filter(|one| **one == most).count() == 1)
            .then(|| votes.iter().position(|one| *one == most))
            .flatten();
        for ballot in &counted {
            let Some(vote) = vote_of(ballot) else { continue };
            let confidence = ballot.answer.as_ref().map_or(0, |answer| answer.confidence_pct);
            let record = self
                .families
                .entry(ballot.expert.family.to_string())
                .or_default()
                .entry(ballot.expert.version.clone())
                .or_default();
            record.learn(vote, truth, bucket(confidence), majority);
        }
        if let Some(evidence) = evidence {
            self.keep(Case { evidence, truth }, policy);
        }
    }

    fn keep(&mut self, case: Case, policy: &Policy) {
        self.cases.push_back(case);
        while self.cases.len() > KEPT {
            self.cases.pop_front();
        }
        self.temper = (self.cases.len() >= policy.fit_from.max(1) as usize)
            .then(|| fit_temper(self.cases.iter().copied(), &policy.log_prior()));
    }
}

impl Record {
    fn learn(&mut self, vote: usize, truth: State, bucket: usize, majority: Option<usize>) {
        let fade = 0.5f64.powf(1.0 / HALF_LIFE);
        for cell in self.counts.iter_mut().flatten().chain(self.by_confidence.iter_mut().flatten().flatten())
        {
            *cell = count(*cell) * fade;
        }
        self.counts[truth.index()][vote] += 1.0;
        self.by_confidence[bucket][truth.index()][vote] += 1.0;
        if let Some(majority) = majority {
            self.agreed = count(self.agreed) * fade + f64::from(u8::from(majority == vote));
            self.compared = count(self.compared) * fade + 1.0;
        }
        self.cases = self.cases.saturating_add(1);
    }
}

/// The temper with the least mean log-loss on these cases: the best of [`TEMPERS`], then the best between its neighbours.
pub fn fit_temper(cases: impl Iterator<Item = Case> + Clone, log_prior: &[f64; 3]) -> f64 {
    let loss = |temper: f64| -> f64 {
        cases
            .clone()
            .map(|case| {
                let mut scores: [f64; 3] =
                    std::array::from_fn(|state| log_prior[state] + temper * case.evidence[state]);
                softmax(&mut scores);
                -scores[case.truth.index()].max(1e-12).ln()
            })
            .sum()
    };
    let mut best = (f64::INFINITY, 0);
    for (place, temper) in TEMPERS.into_iter().enumerate() {
        let loss = loss(temper);
        if loss < best.0 {
            best = (loss, place);
        }
    }
    // The loss is convex in the temper, so thirds close in on its least value.
    let (mut low, mut high) =
        (TEMPERS[best.1.saturating_sub(1)], TEMPERS[(best.1 + 1).min(TEMPERS.len() - 1)]);
    for _ in 0..REFINED {
        let (first, second) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if loss(first) <= loss(second) {
            high = second;
        } else {
            low = first;
        }
    }
    (low + high) / 2.0
}
