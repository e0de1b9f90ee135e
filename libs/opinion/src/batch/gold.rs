//! The pool of the online opinion over any number of labels: confusion rows learnt from items whose label is known.

use super::{Posterior, Truth, Votes};
use crate::likelihood::{WRONG, expected_logarithms, softmax};

/// Weight of the prior on a worker being right: two cases, against one shared by the wrong labels. People paid by the
/// piece are right less often than the experts that the online prior of four cases is for.
const RIGHT: f64 = 2.0;

/// Rows learnt from these items only, uniform prior over labels, no tempering. Twenty of them are worth more than any
/// method that is told nothing.
pub fn gold_pool(votes: &Votes, gold: &Truth) -> Posterior {
    let labels = votes.labels;
    let wrong = WRONG / (labels.max(2) - 1) as f64;
    let mut rows: Vec<f64> = (0..votes.workers * labels * labels)
        .map(|at| if at / labels % labels == at % labels { RIGHT } else { wrong })
        .collect();
    for (item, truth) in gold {
        for (worker, vote) in votes.of(*item) {
            rows[(*worker as usize * labels + truth) * labels + *vote as usize] += 1.0;
        }
    }
    for row in rows.chunks_exact_mut(labels.max(1)) {
        expected_logarithms(row);
    }
    let mut posterior = Posterior::new(votes);
    for (item, shares) in posterior.rows_mut().enumerate() {
        for (worker, vote) in votes.of(item) {
            for (label, score) in shares.iter_mut().enumerate() {
                *score += rows[(*worker as usize * labels + label) * labels + *vote as usize];
            }
        }
        softmax(shares);
    }
    posterior
}
