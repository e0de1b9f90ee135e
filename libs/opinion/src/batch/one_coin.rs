//! One accuracy per worker, by expectation maximisation.

use super::{Posterior, Votes, majority};
use crate::likelihood::softmax;

/// Beta(4, 1) on the accuracy.
const RIGHT: f64 = 4.0;
const WRONG: f64 = 1.0;
const ROUNDS: usize = 100;
const STILL: f64 = 1e-6;

/// Accuracies and labels in turns, errors spread evenly. The prior over labels stays uniform: a learnt one collapses
/// (0.27 instead of 0.52 on `rel`).
pub fn one_coin(votes: &Votes) -> Posterior {
    let mut posterior = majority(votes);
    let others = (votes.labels.max(2) - 1) as f64;
    let mut counts = vec![0.0; votes.workers];
    for (worker, _) in &votes.cast {
        counts[*worker as usize] += 1.0;
    }
    let mut scores = vec![0.0; votes.labels];
    for _ in 0..ROUNDS {
        let mut right = vec![RIGHT; votes.workers];
        for item in 0..votes.items {
            let row = posterior.row(item);
            for (worker, label) in votes.of(item) {
                right[*worker as usize] += row[*label as usize];
            }
        }
        let weights: Vec<f64> = right
            .iter()
            .zip(&counts)
            .map(|(right, count)| {
                let accuracy = (right / (count + RIGHT + WRONG)).clamp(1e-9, 1.0 - 1e-9);
                (others * accuracy / (1.0 - accuracy)).ln()
            })
            .collect();
        let mut moved = 0.0f64;
        for (item, row) in posterior.rows_mut().enumerate() {
            scores.fill(0.0);
            for (worker, label) in votes.of(item) {
                scores[*label as usize] += weights[*worker as usize];
            }
            softmax(&mut scores);
            for (old, new) in row.iter_mut().zip(&scores) {
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
