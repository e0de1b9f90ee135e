//! Who changed, and who errs together.

use serde::{Deserialize, Serialize};

use super::{Posterior, Truth, Votes};

/// How many standard errors apart two halves must be.
const APART: f64 = 3.0;

/// A worker whose agreement with the consensus changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Its number in the votes.
    pub worker: usize,
    /// Share of agreement in the earlier half of its votes.
    pub before: f64,
    /// And in the later half.
    pub after: f64,
    /// The difference in standard errors; negative for worse.
    pub sigmas: f64,
}

/// Workers whose agreement with a posterior differs between the earlier and the later half of their votes by more than
/// three standard errors. Items must be numbered in the order of time; fewer than `least` votes in a half say nothing.
pub fn drift(votes: &Votes, posterior: &Posterior, least: usize) -> Vec<Drift> {
    let mut agreed: Vec<Vec<f64>> = vec![Vec::new(); votes.workers];
    for item in 0..votes.items {
        let row = posterior.row(item);
        for (worker, label) in votes.of(item) {
            agreed[*worker as usize].push(row[*label as usize]);
        }
    }
    let mut drifts = Vec::new();
    for (worker, agreed) in agreed.iter().enumerate() {
        let (early, late) = agreed.split_at(agreed.len() / 2);
        if early.len() < least.max(2) || late.len() < least.max(2) {
            continue;
        }
        let (before, after) = (mean(early), mean(late));
        // Two proportions with a common variance, kept away from nothing by one vote each way.
        let all = agreed.len() as f64;
        let common = (agreed.iter().sum::<f64>() + 1.0) / (all + 2.0);
        let error = (common * (1.0 - common) * (1.0 / early.len() as f64 + 1.0 / late.len() as f64)).sqrt();
        let sigmas = (after - before) / error;
        if sigmas.abs() > APART {
            drifts.push(Drift { worker, before, after, sigmas });
        }
    }
    drifts
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The mean correlation of the error indicators of all pairs of workers with at least `common` known items in common
/// and errors that vary. None without such a pair.
pub fn error_correlation(votes: &Votes, truth: &Truth, common: usize) -> Option<f64> {
    let mut errors: Vec<Vec<(usize, bool)>> = vec![Vec::new(); votes.workers];
    for (item, label) in truth {
        for (worker, vote) in votes.of(*item) {
            errors[*worker as usize].push((*item, *vote as usize != *label));
        }
    }
    let (mut sum, mut pairs) = (0.0, 0u32);
    for (at, first) in errors.iter().enumerate() {
        for second in &errors[at + 1..] {
            if let Some(correlation) = correlation(first, second, common) {
                sum += correlation;
                pairs += 1;
            }
        }
    }
    (pairs > 0).then(|| sum / f64::from(pairs))
}

/// Pearson's correlation of two sorted lists of indicators over what they have in common.
fn correlation(first: &[(usize, bool)], second: &[(usize, bool)], common: usize) -> Option<f64> {
    let (mut both, mut a, mut b, mut count) = (0.0, 0.0, 0.0, 0.0);
    let mut rest = second.iter().peekable();
    for (item, wrong) in first {
        while rest.next_if(|other| other.0 < *item).is_some() {}
        if let Some((_, other)) = rest.next_if(|other| other.0 == *item) {
            count += 1.0;
            a += f64::from(u8::from(*wrong));
            b += f64::from(u8::from(*other));
            both += f64::from(u8::from(*wrong && *other));
        }
    }
    let varies = a > 0.0 && b > 0.0 && a < count && b < count;
    if count < common.max(2) as f64 || !varies {
        return None;
    }
    let covariance = both / count - a / count * (b / count);
    let variance = |sum: f64| sum / count * (1.0 - sum / count);
    Some(covariance / (variance(a) * variance(b)).sqrt())
}
