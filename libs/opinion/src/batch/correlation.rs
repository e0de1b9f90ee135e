//! Who errs together.

use super::{Truth, Votes};

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
