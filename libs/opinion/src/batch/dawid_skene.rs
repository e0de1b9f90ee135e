//! Confusion rows per worker, by expectation maximisation (Dawid and Skene, 1979) and by variational inference (iBCC).
//!
//! Likelihoods are multiplied, not added as logarithms: a round takes one multiplication per vote and label, and no
//! exponential. No cell is nothing, and products are brought back to one before they can become too small.

use super::{Posterior, Votes, majority};
use crate::likelihood::{digamma, prior};

const ROUNDS: usize = 100;
const STILL: f64 = 1e-6;
/// Added to every cell, so that no probability is nothing.
const SMOOTHING: f64 = 0.01;
/// So many votes are multiplied before the product is brought back to one. The smallest cell is about
/// `SMOOTHING / votes of the worker`, so that a product of them stays above 1e-256 up to a million votes.
const MULTIPLIED: usize = 32;
/// Above this, products of likelihoods can be multiplied once more by a number that is not below it.
const SMALL: f64 = 1e-150;

/// What is added to the counts of a worker's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Next to nothing: the method as published.
    Smoothed,
    /// Four cases on the diagonal, one shared by the rest of the row: for workers with few votes.
    Prior,
}

/// When the turns end; after 100 in any case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stop {
    /// When no probability moves by 1e-6.
    Still,
    /// When the logarithm of the likelihood, per vote, gains less than this. crowd-kit has it so, with 1e-5: a few turns
    /// instead of some ten, and probabilities that are still on their way.
    Gain(f64),
}

/// Labels and confusion rows in turns, beginning with the shares of the votes.
pub fn dawid_skene(votes: &Votes, rows: Rows, stop: Stop) -> Posterior {
    let labels = votes.labels;
    let ground: Vec<f64> = match rows {
        Rows::Smoothed => vec![SMOOTHING; labels * labels],
        Rows::Prior => (0..labels * labels).map(|at| prior(labels, at % labels, at / labels)).collect(),
    };
    turns(votes, &Quotient { ground, masses: 0.0 }, stop)
}

/// The same with expected logarithms under Dirichlet posteriors instead of quotients of counts. Rows begin with four
/// cases on the diagonal and one elsewhere, the prior over labels with one each.
pub fn ibcc(votes: &Votes) -> Posterior {
    let labels = votes.labels;
    let ground = (0..labels * labels).map(|at| if at / labels == at % labels { 4.0 } else { 1.0 }).collect();
    turns(votes, &Expected { ground }, Stop::Still)
}

/// How counts become the weights that are multiplied.
trait Weights {
    /// What a worker's counts begin with: by vote, then by label.
    fn ground(&self) -> &[f64];
    /// What the labels' masses begin with.
    fn masses(&self) -> f64;
    /// What the sum of a row's counts contributes to each of its weights.
    fn total(&self, sum: f64) -> f64;
    /// The weight of a cell.
    fn weight(&self, count: f64, total: f64) -> f64;
}

struct Quotient {
    ground: Vec<f64>,
    masses: f64,
}

impl Weights for Quotient {
    fn ground(&self) -> &[f64] {
        &self.ground
    }
    fn masses(&self) -> f64 {
        self.masses
    }
    fn total(&self, sum: f64) -> f64 {
        1.0 / sum
    }
    fn weight(&self, count: f64, total: f64) -> f64 {
        count * total
    }
}

struct Expected {
    ground: Vec<f64>,
}

impl Weights for Expected {
    fn ground(&self) -> &[f64] {
        &self.ground
    }
    fn masses(&self) -> f64 {
        1.0
    }
    fn total(&self, sum: f64) -> f64 {
        digamma(sum)
    }
    fn weight(&self, count: f64, total: f64) -> f64 {
        (digamma(count) - total).exp()
    }
}

/// A number per label. With few labels an array, so that its numbers stay in registers.
trait Row: AsRef<[f64]> + AsMut<[f64]> + Clone {}
impl<const LABELS: usize> Row for [f64; LABELS] {}
impl Row for Vec<f64> {}

fn turns(votes: &Votes, weights: &impl Weights, stop: Stop) -> Posterior {
    match votes.labels {
        2 => turns_of([0.0; 2], votes, weights, stop),
        3 => turns_of([0.0; 3], votes, weights, stop),
        4 => turns_of([0.0; 4], votes, weights, stop),
        5 => turns_of([0.0; 5], votes, weights, stop),
        labels => turns_of(vec![0.0; labels], votes, weights, stop),
    }
}

fn turns_of<R: Row>(zero: R, votes: &Votes, weights: &impl Weights, stop: Stop) -> Posterior {
    let mut posterior = majority(votes);
    let labels = zero.as_ref().len();
    let table = labels * labels;
    // What a vote says about each label lies together: [worker][vote][label]. Where each vote's begins:
    let place = |(worker, vote): &(u32, u32)| *worker as usize * table + *vote as usize * labels;
    let says: Vec<usize> = votes.cast.iter().map(place).collect();
    let of = |item: usize| &says[votes.starts[item]..votes.starts[item + 1]];

    let mut counts = weights.ground().repeat(votes.workers);
    let mut cells = counts.clone();
    let mut masses = zero.clone();
    masses.as_mut().fill(weights.masses());
    let mut scores = zero.clone();
    for (item, shares) in posterior.rows_mut().enumerate() {
        scores.as_mut().copy_from_slice(shares);
        count(&scores, of(item), &mut counts, &mut masses);
    }
    let mut before = f64::NEG_INFINITY;
    for _ in 0..ROUNDS {
        std::mem::swap(&mut cells, &mut counts);
        for worker in cells.chunks_exact_mut(table.max(1)) {
            weigh_rows(zero.clone(), worker, weights);
        }
        let total = weights.total(masses.as_ref().iter().sum());
        let mut prior = masses.clone();
        prior.as_mut().iter_mut().for_each(|mass| *mass = weights.weight(*mass, total));
        to_one(&mut prior);
        for worker in counts.chunks_exact_mut(table.max(1)) {
            worker.copy_from_slice(weights.ground());
        }
        masses.as_mut().fill(weights.masses());

        let (mut moved, mut likelihood) = (0.0f64, Likelihood::default());
        for (item, shares) in posterior.rows_mut().enumerate() {
            scores.clone_from(&prior);
            for some in of(item).chunks(MULTIPLIED) {
                for at in some {
                    combine(&mut scores, &cells[*at..], |score, cell| *score *= cell);
                }
                likelihood.times(to_one(&mut scores));
            }
            for (old, new) in shares.iter_mut().zip(scores.as_ref()) {
                let by = (*old - new).abs();
                moved = if by > moved { by } else { moved };
                *old = *new;
            }
            count(&scores, of(item), &mut counts, &mut masses);
        }
        let reached = likelihood.logarithm() / votes.len().max(1) as f64;
        let gained = reached - std::mem::replace(&mut before, reached);
        match stop {
            Stop::Still if moved < STILL => break,
            Stop::Gain(least) if gained < least => break,
            Stop::Still | Stop::Gain(_) => {}
        }
    }
    posterior
}

/// Changes each number of a row by the one at its place.
#[inline(always)]
fn combine<R: Row>(row: &mut R, by: &[f64], change: impl Fn(&mut f64, f64)) {
    let row = row.as_mut();
    let by = &by[..row.len()];
    row.iter_mut().zip(by).for_each(|(number, by)| change(number, *by));
}

/// Divides by the sum, and says it. What sums to nothing becomes equal shares.
#[inline(always)]
fn to_one<R: Row>(scores: &mut R) -> f64 {
    let scores = scores.as_mut();
    let sum: f64 = scores.iter().sum();
    if sum > 0.0 {
        let inverse = 1.0 / sum;
        scores.iter_mut().for_each(|score| *score *= inverse);
    } else {
        let equal = 1.0 / scores.len().max(1) as f64;
        scores.fill(equal);
    }
    sum
}

/// Adds an item's shares to what its voters said, and to the labels' masses.
#[inline(always)]
fn count<R: Row>(shares: &R, says: &[usize], counts: &mut [f64], masses: &mut R) {
    let shares = shares.as_ref();
    for at in says {
        let said = &mut counts[*at..][..shares.len()];
        said.iter_mut().zip(shares).for_each(|(cell, share)| *cell += share);
    }
    combine(masses, shares, |mass, share| *mass += share);
}

/// Turns one worker's counts into weights: a row is what was voted under one label.
fn weigh_rows<R: Row>(mut totals: R, worker: &mut [f64], weights: &impl Weights) {
    let labels = totals.as_ref().len().max(1);
    for said in worker.chunks_exact(labels) {
        combine(&mut totals, said, |total, cell| *total += cell);
    }
    totals.as_mut().iter_mut().for_each(|total| *total = weights.total(*total));
    for said in worker.chunks_exact_mut(labels) {
        said.iter_mut().zip(totals.as_ref()).for_each(|(cell, total)| *cell = weights.weight(*cell, *total));
    }
}

/// The logarithm of a long product, with few logarithms taken.
struct Likelihood {
    product: f64,
    logarithm: f64,
}

impl Default for Likelihood {
    fn default() -> Likelihood {
        Likelihood { product: 1.0, logarithm: 0.0 }
    }
}

impl Likelihood {
    #[inline(always)]
    fn times(&mut self, factor: f64) {
        if factor < SMALL {
            self.logarithm += factor.max(f64::MIN_POSITIVE).ln();
            return;
        }
        self.product *= factor;
        if self.product < SMALL {
            self.logarithm += self.product.ln();
            self.product = 1.0;
        }
    }

    fn logarithm(&self) -> f64 {
        self.logarithm + self.product.ln()
    }
}
