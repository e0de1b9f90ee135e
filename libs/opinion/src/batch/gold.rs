//! The pool of the online opinion over any number of labels: confusion rows learnt from items whose label is known.

use super::{Posterior, Truth, Votes};
use crate::likelihood::{WRONG, expected_logarithms, softmax};

/// Weight of the prior on a worker being right: two cases, against one shared by the wrong labels. People paid by the
/// piece are right less often than the experts that the online prior of four cases is for.
const RIGHT: f64 = 2.0;
/// What an item counts whose label is only known from the pool: half a case. Between 0.2 and 1 it matters little.
const GUESSED: f64 = 0.5;

/// Rows learnt from these items, then once more from them and, at half the weight, from what the pool says of the others;
/// uniform prior over labels, no tempering. Twenty known items are worth more than any method that is told nothing.
pub fn gold_pool(votes: &Votes, gold: &Truth) -> Posterior {
    let mut cases = Posterior::new(votes);
    for (item, truth) in gold {
        cases.shares[item * votes.labels + truth] = 1.0;
    }
    let told = pooled(votes, &cases);
    for (item, shares) in cases.rows_mut().enumerate().filter(|(item, _)| !gold.contains_key(item)) {
        for (share, guessed) in shares.iter_mut().zip(told.row(item)) {
            *share = GUESSED * guessed;
        }
    }
    pooled(votes, &cases)
}

/// The posterior under the rows that these cases teach.
fn pooled(votes: &Votes, cases: &Posterior) -> Posterior {
    let labels = votes.labels;
    let wrong = WRONG / (labels.max(2) - 1) as f64;
    let mut rows: Vec<f64> = (0..votes.workers * labels * labels)
        .map(|at| if at / labels % labels == at % labels { RIGHT } else { wrong })
        .collect();
    let place =
        |worker: u32, label: usize, vote: u32| (worker as usize * labels + label) * labels + vote as usize;
    for item in 0..votes.items {
        for (label, share) in cases.row(item).iter().enumerate().filter(|(_, share)| **share > 0.0) {
            for (worker, vote) in votes.of(item) {
                rows[place(*worker, label, *vote)] += share;
            }
        }
    }
    for row in rows.chunks_exact_mut(labels.max(1)) {
        expected_logarithms(row);
    }
    let mut posterior = Posterior::new(votes);
    for (item, shares) in posterior.rows_mut().enumerate() {
        for (worker, vote) in votes.of(item) {
            for (label, score) in shares.iter_mut().enumerate() {
                *score += rows[place(*worker, label, *vote)];
            }
        }
        softmax(shares);
    }
    posterior
}
