//! The readable baselines: shares of the votes, and shares of votes weighted by agreement.

use super::{Posterior, Votes};

/// The share of each label among an item's votes. Ties stay ties.
pub fn majority(votes: &Votes) -> Posterior {
    weighted(votes, &vec![1.0; votes.workers])
}

/// Worker agreement with aggregate: each vote counts by how often its worker votes with the majority (with a tie, with
/// the lowest label of it, as the reference has it). One round, no label needed, hard to break.
pub fn wawa(votes: &Votes) -> Posterior {
    let first = majority(votes);
    let mut agreed = vec![0.0; votes.workers];
    let mut cast = vec![0.0; votes.workers];
    for item in 0..votes.items {
        let best = first.best(item).first().copied();
        for (worker, label) in votes.of(item) {
            cast[*worker as usize] += 1.0;
            if best == Some(*label as usize) {
                agreed[*worker as usize] += 1.0;
            }
        }
    }
    let weights: Vec<f64> = agreed
        .iter()
        .zip(&cast)
        .map(|(agreed, cast)| if *cast > 0.0 { agreed / cast } else { 0.0 })
        .collect();
    weighted(votes, &weights)
}

fn weighted(votes: &Votes, weights: &[f64]) -> Posterior {
    let mut posterior = Posterior::new(votes);
    for (item, row) in posterior.rows_mut().enumerate() {
        for (worker, label) in votes.of(item) {
            row[*label as usize] += weights[*worker as usize];
        }
        let sum: f64 = row.iter().sum();
        if sum > 0.0 {
            row.iter_mut().for_each(|share| *share /= sum);
        }
    }
    posterior
}
