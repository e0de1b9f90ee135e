//! What experts were worth so far: how often each version gave each vote in each state, learnt from outcomes.

use std::collections::{BTreeMap, VecDeque};

use model::expert::{AnswerStatus, Ballot, ExpertId};
use serde::{Deserialize, Serialize};

use crate::{
    likelihood::{count, expected_logarithms, prior, softmax},
    panel::{Panel, vote_of},
    policy::{Policy, State},
};

/// Cases after which an old one counts half.
const HALF_LIFE: f64 = 200.0;
/// What a new version inherits of its family's record, in cases.
const INHERITED: f64 = 10.0;
/// Outcomes that a bucket of stated confidence needs before it is looked at.
const CONFIDENCE_FROM: f64 = 30.0;
/// Cases kept for fitting the tempering: what was said by the records of longer ago says little about those of today.
const KEPT: usize = 200;
/// How often the search between two tempers is narrowed, by a third each time.
const REFINED: usize = 8;
/// Tempers that are tried first.
pub const TEMPERS: [f64; 11] = [0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4];

/// Votes given under each state: `counts[state][vote]`.
pub type Counts = [[f64; 3]; 3];
/// What each vote says about each state: `says[vote][state]`, expected logarithms.
pub type Says = [[f64; 3]; 3];

/// The record of one version of one expert.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Votes by state, decayed.
    pub counts: Counts,
    /// The same by stated confidence: below 70 %, below 90 %, from 90 % on.
    pub by_confidence: [Counts; 3],
    /// How often it voted with the majority, decayed.
    pub agreed: f64,
    /// How often there was a majority to vote with, decayed.
    pub compared: f64,
    /// Outcomes ever, not decayed.
    pub cases: u64,
}

/// A case whose outcome is known: what the votes said, before anything was learnt from it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The pooled evidence per state, untempered.
    pub evidence: [f64; 3],
    /// What it turned out to be.
    pub truth: State,
}

/// The records of all experts. A plain value: whoever keeps it decides where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Records {
    /// By family, then by version.
    pub families: BTreeMap<String, BTreeMap<String, Record>>,
    /// The latest cases, for the tempering.
    pub cases: VecDeque<Case>,
    /// The tempering that fits them best; none while they are too few.
    pub temper: Option<f64>,
}

/// What one expert's votes say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Voice {
    /// Whatever the stated confidence.
    pub says: Says,
    /// For buckets of stated confidence that have proved themselves.
    pub sure: [Option<Says>; 3],
    /// How often it agrees with the majority, 0 to 1.
    pub agreement: f64,
}

/// The bucket of a stated confidence.
pub(crate) fn bucket(confidence_pct: u8) -> usize {
    match confidence_pct {
        0..70 => 0,
        70..90 => 1,
        _ => 2,
    }
}

fn add(into: &mut Counts, from: &Counts, scale: f64) {
    for (into, from) in into.iter_mut().flatten().zip(from.iter().flatten()) {
        *into += count(*from) * scale;
    }
}

fn total(counts: &Counts) -> f64 {
    counts.iter().flatten().map(|one| count(*one)).sum()
}

fn says(mut counts: Counts) -> Says {
    let mut says = [[0.0; 3]; 3];
    for (state, row) in counts.iter_mut().enumerate() {
        expected_logarithms(row);
        for (vote, value) in row.iter().enumerate() {
            says[vote][state] = *value;
        }
    }
    says
}

impl Records {
    /// The record of an expert's version, if it has one.
    pub fn of(&self, expert: &ExpertId) -> Option<&Record> {
        self.families.get(expert.family.as_str())?.get(&expert.version)
    }

    /// Prior, what is inherited from other versions of the family, and the version's own record.
    pub(crate) fn voice(&self, expert: &ExpertId) -> Voice {
        let ground: Counts = std::array::from_fn(|state| std::array::from_fn(|vote| prior(3, state, vote)));
        let mut counts = ground;
        let empty = Record::default();
        let mut own = &empty;
        let mut others = [[0.0; 3]; 3];
        for (version, record) in self.families.get(expert.family.as_str()).into_iter().flatten() {
            if *version == expert.version {
                own = record;
            } else {
                add(&mut others, &record.counts, 1.0);
            }
        }
        let inherited = total(&others);
        if inherited > 0.0 {
            add(&mut counts, &others, (INHERITED / inherited).min(1.0));
        }
        add(&mut counts, &own.counts, 1.0);
        let whole = total(&counts);
        let sure = own.by_confidence.map(|inside| {
            (total(&inside) >= CONFIDENCE_FROM).then(|| {
                // The prior stays whole: the expected logarithm of a cell near nothing is boundless.
                let mut mixed = ground;
                add(&mut mixed, &counts, INHERITED / whole);
                add(&mut mixed, &inside, 1.0);
                says(mixed)
            })
        });
        let agreement = (count(own.agreed) + 2.0) / (count(own.compared).max(count(own.agreed)) + 3.0);
        Voice { says: says(counts), sure, agreement }
    }

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
