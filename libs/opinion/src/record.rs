//! What experts were worth so far: how often each version gave each vote in each state, learnt from outcomes.

use std::collections::{BTreeMap, VecDeque};

use model::expert::ExpertId;
use serde::{Deserialize, Serialize};

use crate::{
    likelihood::{count, expected_logarithms, prior},
    policy::State,
};

/// What a new version inherits of its family's record, in cases.
const INHERITED: f64 = 10.0;
/// Outcomes that a bucket of stated confidence needs before it is looked at.
const CONFIDENCE_FROM: f64 = 30.0;
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
}
