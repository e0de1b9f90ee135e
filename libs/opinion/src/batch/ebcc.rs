//! Workers that err together (EBCC; Li, Rubinstein and Cohn, 2019): each label has kinds of items, and a worker's
//! confusion row is one per kind. Within a kind workers are independent, over all kinds of a label they are not.
//!
//! Mean-field variational inference, as in the authors' notebooks: rows begin with four cases on the diagonal and one
//! elsewhere, kinds with a tenth of a case shared, labels with one each.

use super::{Posterior, Votes, ibcc, majority};
use crate::likelihood::{digamma, ln_gamma};

/// Numbers of kinds that are tried.
const KINDS: [usize; 2] = [2, 10];
/// Beginnings by chance that are tried of each; the one with the most evidence counts.
const BEGINNINGS: u64 = 4;
const ROUNDS: usize = 500;
/// Turns end when no probability of a label moves by this.
const STILL: f64 = 1e-3;
const RIGHT: f64 = 4.0;
const WRONG: f64 = 1.0;
/// Shared by the kinds of a label.
const KIND: f64 = 0.1;
const LABEL: f64 = 1.0;
/// So many votes are multiplied before the product is brought back to one.
const MULTIPLIED: usize = 32;

/// What was found, and how much better kinds explain the votes than one row per worker and label.
#[derive(Clone, Debug, PartialEq)]
pub struct Kinds {
    /// Labels.
    pub posterior: Posterior,
    /// Kinds per label; 1 where none show.
    pub kinds: usize,
    /// Gain in the lower bound of the log-evidence, in nats; 0 where none show.
    pub gain: f64,
}

/// The evidence, in nats, from which on kinds are believed: a ratio of e^10.
const DECISIVE: f64 = 10.0;

/// The best of several numbers of kinds; iBCC where the rows of kinds would have fewer than `thinnest` votes each or the
/// votes do not ask for kinds. The same for the same votes.
pub fn ebcc(votes: &Votes, row: f64, thinnest: f64) -> Kinds {
    let tried: Vec<usize> = KINDS.into_iter().filter(|kinds| row / *kinds as f64 >= thinnest).collect();
    if tried.is_empty() || votes.is_empty() {
        return Kinds { posterior: ibcc(votes), kinds: 1, gain: 0.0 };
    }
    let (_, without) = turns(votes, 1, 0);
    let runs = tried.iter().flat_map(|kinds| (0..BEGINNINGS).map(|seed| (*kinds, seed)));
    let mut best: Option<Kinds> = None;
    for (kinds, seed) in runs {
        let (posterior, evidence) = turns(votes, kinds, seed);
        let gain = evidence - without;
        if gain > DECISIVE && best.as_ref().is_none_or(|best| gain > best.gain) {
            best = Some(Kinds { posterior, kinds, gain });
        }
    }
    best.unwrap_or_else(|| Kinds { posterior: ibcc(votes), kinds: 1, gain: 0.0 })
}

/// The tables of one run. Groups are kinds of labels: label `group / kinds`.
struct Tables {
    labels: usize,
    kinds: usize,
    /// Cases by worker, vote and group.
    counts: Vec<f64>,
    /// Expected likelihood of each of them.
    cells: Vec<f64>,
    groups: Vec<f64>,
    prior: Vec<f64>,
}

fn turns(votes: &Votes, kinds: usize, seed: u64) -> (Posterior, f64) {
    let (labels, groups) = (votes.labels, votes.labels * kinds);
    let mut posterior = majority(votes);
    let mut shares = begin(&posterior, kinds, seed);
    let mut tables = Tables {
        labels,
        kinds,
        counts: vec![0.0; votes.workers * labels * groups],
        cells: vec![0.0; votes.workers * labels * groups],
        groups: vec![0.0; groups],
        prior: vec![0.0; groups],
    };
    let mut evidence = 0.0;
    for _ in 0..ROUNDS {
        tables.count(votes, &shares);
        tables.expect();
        evidence = 0.0;
        let mut moved = 0.0f64;
        for (item, (share, row)) in shares.chunks_exact_mut(groups).zip(posterior.rows_mut()).enumerate() {
            evidence += tables.weigh(votes.of(item), share);
            for (label, old) in row.iter_mut().enumerate() {
                let new: f64 = share[label * kinds..][..kinds].iter().sum();
                moved = moved.max((*old - new).abs());
                *old = new;
            }
        }
        if moved < STILL {
            break;
        }
    }
    (posterior, evidence - tables.divergence(votes.workers))
}

/// Each label's share, divided among its kinds by chance.
fn begin(posterior: &Posterior, kinds: usize, seed: u64) -> Vec<f64> {
    let mut chance = seed;
    let mut shares = Vec::with_capacity(posterior.shares.len() * kinds);
    for share in &posterior.shares {
        let parts: Vec<f64> = (0..kinds).map(|_| exponential(&mut chance)).collect();
        let sum: f64 = parts.iter().sum();
        shares.extend(parts.iter().map(|part| share * part / sum));
    }
    shares
}

/// An exponential variate, so that several over their sum are a draw of equal shares. SplitMix64 (Steele, Lea and
/// Flood, 2014).
fn exponential(chance: &mut u64) -> f64 {
    *chance = chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *chance;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let unit = ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
    -(1.0 - unit).ln() + f64::MIN_POSITIVE
}

impl Tables {
    fn place(&self, worker: u32, vote: u32) -> usize {
        (worker as usize * self.labels + vote as usize) * self.groups.len()
    }

    fn count(&mut self, votes: &Votes, shares: &[f64]) {
        let groups = self.groups.len();
        for (at, cell) in self.counts.iter_mut().enumerate() {
            let right = at / groups % self.labels == at % groups / self.kinds;
            *cell = if right { RIGHT } else { WRONG };
        }
        self.groups.fill(KIND / self.kinds as f64);
        for (item, share) in shares.chunks_exact(groups).enumerate() {
            for (worker, vote) in votes.of(item) {
                let at = self.place(*worker, *vote);
                self.counts[at..][..groups].iter_mut().zip(share).for_each(|(cell, share)| *cell += share);
            }
            self.groups.iter_mut().zip(share).for_each(|(group, share)| *group += share);
        }
    }

    /// The mass of a label: its groups', without what the kinds began with, and what labels begin with.
    fn mass(&self, label: usize) -> f64 {
        LABEL + self.groups[label * self.kinds..][..self.kinds].iter().sum::<f64>() - KIND
    }

    fn expect(&mut self) {
        let groups = self.groups.len();
        for worker in 0..self.counts.len() / (self.labels * groups).max(1) {
            let from = worker * self.labels * groups;
            for group in 0..groups {
                let row = (0..self.labels).map(|vote| from + vote * groups + group);
                let total = digamma(row.clone().map(|at| self.counts[at]).sum());
                row.for_each(|at| self.cells[at] = (digamma(self.counts[at]) - total).exp());
            }
        }
        let all = digamma((0..self.labels).map(|label| self.mass(label)).sum());
        for label in 0..self.labels {
            let kinds = label * self.kinds..(label + 1) * self.kinds;
            let (mass, total) =
                (digamma(self.mass(label)) - all, digamma(self.groups[kinds.clone()].iter().sum()));
            kinds.for_each(|group| self.prior[group] = (digamma(self.groups[group]) - total + mass).exp());
        }
    }

    /// The shares of an item's groups, and the logarithm of what they were divided by.
    fn weigh(&self, votes: &[(u32, u32)], share: &mut [f64]) -> f64 {
        share.copy_from_slice(&self.prior);
        let mut logarithm = to_one(share);
        for some in votes.chunks(MULTIPLIED) {
            for (worker, vote) in some {
                let cells = &self.cells[self.place(*worker, *vote)..][..share.len()];
                share.iter_mut().zip(cells).for_each(|(share, cell)| *share *= cell);
            }
            logarithm += to_one(share);
        }
        logarithm
    }

    /// How far the rows, kinds and labels are from what they began with, in nats.
    fn divergence(&self, workers: usize) -> f64 {
        let groups = self.groups.len();
        let mut sum = 0.0;
        for worker in 0..workers {
            for group in 0..groups {
                let at = |vote: usize| (worker * self.labels + vote) * groups + group;
                let began = |vote: usize| if vote == group / self.kinds { RIGHT } else { WRONG };
                sum += dirichlet((0..self.labels).map(|vote| (self.counts[at(vote)], began(vote))));
            }
        }
        for label in 0..self.labels {
            let kinds = &self.groups[label * self.kinds..][..self.kinds];
            sum += dirichlet(kinds.iter().map(|kind| (*kind, KIND / self.kinds as f64)));
        }
        sum + dirichlet((0..self.labels).map(|label| (self.mass(label), LABEL)))
    }
}

/// Divergence of one Dirichlet distribution from another, from pairs of their parameters.
fn dirichlet(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let (mine, theirs) = pairs.clone().fold((0.0, 0.0), |sums, pair| (sums.0 + pair.0, sums.1 + pair.1));
    let total = digamma(mine);
    pairs.fold(ln_gamma(mine) - ln_gamma(theirs), |sum, (mine, theirs)| {
        sum + ln_gamma(theirs) - ln_gamma(mine) + (mine - theirs) * (digamma(mine) - total)
    })
}

/// Divides by the sum, and gives its logarithm. What sums to nothing becomes equal shares.
fn to_one(shares: &mut [f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    if sum > f64::MIN_POSITIVE {
        shares.iter_mut().for_each(|share| *share /= sum);
        return sum.ln();
    }
    shares.fill(1.0 / shares.len().max(1) as f64);
    f64::MIN_POSITIVE.ln()
}
