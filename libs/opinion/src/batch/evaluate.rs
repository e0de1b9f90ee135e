//! How right the methods are on a folder of votes, and how much their probabilities are worth.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{BadVotes, Choice, Method, Posterior, Truth, choose, read};
use crate::learn::TEMPERS;

/// Bins of the calibration error.
const BINS: usize = 10;

/// One method on one folder.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Which method.
    pub method: Method,
    /// Share of the known items that it labels right; ties share the credit.
    pub accuracy: f64,
    /// How far its top probability is from the share of hits, on average over ten bins. 0 is honest.
    pub calibration_error: f64,
}

/// What a folder of votes holds, and how well each method does on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Items.
    pub items: usize,
    /// Workers or experts.
    pub workers: usize,
    /// Votes, each worker once per item.
    pub votes: usize,
    /// Labels.
    pub labels: usize,
    /// Items whose label is known.
    pub known: usize,
    /// Mean correlation of errors between workers with at least ten known items in common; none without such a pair.
    pub correlation: Option<f64>,
    /// The methods, the plain one first.
    pub scores: Vec<Score>,
    /// The method to believe here, named without a look at the truth, and how it does with the probabilities that go
    /// with it.
    pub chosen: Score,
    /// Why that method.
    pub why: String,
}

/// Reads `label.csv` (`item,worker,label`) and `truth.csv` (`item,truth`) of a folder and runs every method on it.
/// With no truth about any item voted on there is nothing to judge, which is an error.
pub fn evaluate(folder: &Path) -> Result<Evaluation, BadVotes> {
    let (votes, truth) = read(folder)?;
    if truth.is_empty() {
        return Err(BadVotes::NoTruth { label: folder.join("label.csv"), truth: folder.join("truth.csv") });
    }
    let scores = Method::ALL.into_iter().map(|method| score(method, &method.run(&votes), &truth)).collect();
    let Choice { method, why, posterior } = choose(&votes);
    Ok(Evaluation {
        items: votes.items,
        workers: votes.workers,
        votes: votes.len(),
        labels: votes.labels,
        known: truth.len(),
        correlation: super::error_correlation(&votes, &truth, 10),
        scores,
        chosen: score(method, &posterior, &truth),
        why,
    })
}

/// How well a posterior meets the truth. Nothing known gives 0.
pub fn score(method: Method, posterior: &Posterior, truth: &Truth) -> Score {
    let known = truth.len().max(1) as f64;
    let hits = truth.iter().fold(0.0, |hits, (item, label)| hits + credit(posterior, *item, *label));
    let accuracy = hits / known;
    Score { method, accuracy, calibration_error: calibration_error(posterior, truth) }
}

/// 1 for the right label, a part of it when several share the first place.
fn credit(posterior: &Posterior, item: usize, label: usize) -> f64 {
    let best = posterior.best(item);
    if best.contains(&label) { 1.0 / best.len() as f64 } else { 0.0 }
}

/// Expected calibration error of the top probability over ten equal bins.
pub fn calibration_error(posterior: &Posterior, truth: &Truth) -> f64 {
    let mut bins = [(0.0, 0.0, 0.0); BINS];
    for (item, label) in truth {
        let top = posterior.row(*item).iter().copied().fold(0.0, f64::max);
        let place = ((top * BINS as f64) as usize).min(BINS - 1);
        let (count, said, hit) = &mut bins[place];
        *count += 1.0;
        *said += top;
        *hit += credit(posterior, *item, *label);
    }
    let known = truth.len().max(1) as f64;
    bins.iter().map(|(_, said, hit): &(f64, f64, f64)| (said - hit).abs()).sum::<f64>() / known
}

/// The same probabilities taken to a power and scaled to sum to one.
pub fn tempered(posterior: &Posterior, temper: f64) -> Posterior {
    let mut posterior = posterior.clone();
    for row in posterior.rows_mut() {
        row.iter_mut().for_each(|share| *share = share.max(1e-12).powf(temper));
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|share| *share /= sum);
    }
    posterior
}

/// The power with the least log-loss on items whose label is known.
pub fn temper_on(posterior: &Posterior, gold: &Truth) -> f64 {
    let loss = |temper: f64| -> f64 {
        gold.iter()
            .map(|(item, label)| {
                let row = posterior.row(*item);
                let sum: f64 = row.iter().map(|share| share.max(1e-12).powf(temper)).sum();
                -(row[*label].max(1e-12).powf(temper) / sum).ln()
            })
            .sum()
    };
    let mut best = (f64::INFINITY, 1.0);
    for temper in TEMPERS {
        let loss = loss(temper);
        if loss < best.0 {
            best = (loss, temper);
        }
    }
    best.1
}
