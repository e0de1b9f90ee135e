//! Confusion rows per worker, by expectation maximisation (Dawid and Skene, 1979) and by variational inference (iBCC).

use super::{Posterior, Votes, majority};
use crate::likelihood::{digamma, prior, softmax};

const ROUNDS: usize = 100;
const STILL: f64 = 1e-6;
/// Added to every cell, so that no probability is nothing.
const SMOOTHING: f64 = 0.01;

/// What is added to the counts of a worker's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Next to nothing: the method as published.
    Smoothed,
    /// Four cases on the diagonal, one shared by the rest of the row: for workers with few votes.
    Prior,
}

/// Labels and confusion rows in turns, beginning with the shares of the votes.
pub fn dawid_skene(votes: &Votes, rows: Rows) -> Posterior {
    let labels = votes.labels;
    let ground: Vec<f64> = match rows {
        Rows::Smoothed => vec![SMOOTHING; labels * labels],
        Rows::Prior => (0..labels * labels).map(|at| prior(labels, at / labels, at % labels)).collect(),
    };
    let mean = |row: &mut [f64]| {
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|cell| *cell = (*cell / sum).ln());
    };
    let prior_of = |shares: &mut [f64]| {
        let sum: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share = (*share / sum).max(1e-300).ln());
    };
    turns(votes, &ground, mean, prior_of)
}

/// The same with expected logarithms under Dirichlet posteriors instead of quotients of counts. Rows begin with four
/// cases on the diagonal and one elsewhere, the prior over labels with one each.
pub fn ibcc(votes: &Votes) -> Posterior {
    let labels = votes.labels;
    let ground: Vec<f64> =
        (0..labels * labels).map(|at| if at / labels == at % labels { 4.0 } else { 1.0 }).collect();
    let expected = |row: &mut [f64]| {
        let total = digamma(row.iter().sum());
        row.iter_mut().for_each(|cell| *cell = digamma(*cell) - total);
    };
    let prior_of = |shares: &mut [f64]| {
        shares.iter_mut().for_each(|share| *share += 1.0);
        let total = digamma(shares.iter().sum());
        shares.iter_mut().for_each(|share| *share = digamma(*share) - total);
    };
    turns(votes, &ground, expected, prior_of)
}

/// `logarithms` turns a row of counts (votes under one label) into logarithms, `prior_of` the labels' masses.
fn turns(
    votes: &Votes,
    ground: &[f64],
    logarithms: impl Fn(&mut [f64]),
    prior_of: impl Fn(&mut [f64]),
) -> Posterior {
    // The number of labels is spelt out for the usual ones, so that the loops over them are unrolled.
    match votes.labels {
        2 => turns_of(2, votes, ground, logarithms, prior_of),
        3 => turns_of(3, votes, ground, logarithms, prior_of),
        4 => turns_of(4, votes, ground, logarithms, prior_of),
        labels => turns_of(labels, votes, ground, logarithms, prior_of),
    }
}

#[inline(always)]
fn turns_of(
    labels: usize,
    votes: &Votes,
    ground: &[f64],
    logarithms: impl Fn(&mut [f64]),
    prior_of: impl Fn(&mut [f64]),
) -> Posterior {
    let mut posterior = majority(votes);
    // What a vote says about each label lies together: [worker][vote][label].
    let mut says = vec![0.0; votes.workers * labels * labels];
    let mut row = vec![0.0; labels];
    let mut scores = vec![0.0; labels];
    for _ in 0..ROUNDS {
        let mut log_prior = vec![0.0; labels];
        for (at, cell) in says.iter_mut().enumerate() {
            let (vote, label) = (at / labels % labels, at % labels);
            *cell = ground[label * labels + vote];
        }
        for item in 0..votes.items {
            let shares = &posterior.shares[item * labels..][..labels];
            for (mass, share) in log_prior.iter_mut().zip(shares) {
                *mass += share;
            }
            for (worker, vote) in votes.of(item) {
                let cells = &mut says[(*worker as usize * labels + *vote as usize) * labels..][..labels];
                for (cell, share) in cells.iter_mut().zip(shares) {
                    *cell += share;
                }
            }
        }
        prior_of(&mut log_prior);
        for table in says.chunks_exact_mut((labels * labels).max(1)) {
            for label in 0..labels {
                for vote in 0..labels {
                    row[vote] = table[vote * labels + label];
                }
                logarithms(&mut row);
                for vote in 0..labels {
                    table[vote * labels + label] = row[vote];
                }
            }
        }
        let mut moved = 0.0f64;
        for (item, shares) in posterior.shares.chunks_exact_mut(labels.max(1)).enumerate() {
            scores.copy_from_slice(&log_prior);
            for (worker, vote) in votes.of(item) {
                let cells = &says[(*worker as usize * labels + *vote as usize) * labels..][..labels];
                for (score, cell) in scores.iter_mut().zip(cells) {
                    *score += cell;
                }
            }
            softmax(&mut scores);
            for (old, new) in shares.iter_mut().zip(&scores) {
                moved = moved.max((*old - new).abs());
                *old = *new;
            }
        }
        if moved < STILL {
            break;
        }
    }
    posterior
}
