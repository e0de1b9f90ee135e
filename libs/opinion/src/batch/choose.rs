//! Which method to believe for the votes at hand, by what the votes themselves show. No truth is looked at.
//!
//! The numbers here were chosen on the 15 sets of `tests/data`, as `docs/consensus.md` says; other votes may differ.

use super::{Method, Posterior, Votes, ebcc::ebcc, wawa};

/// Votes that a worker's row of the rarest label must have on average to be learnt: a little more than the five cases
/// that its prior counts for.
pub(crate) const THINNEST: f64 = 6.0;
/// How alike the errors on an item are where the votes do not show it: what all workers get wrong together cannot be seen
/// in votes.
const UNSEEN: f64 = 0.44;
/// However many vote on an item, their evidence is not taken to a smaller power.
const LEAST: f64 = 0.15;

/// A method for some votes.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Which.
    pub method: Method,
    /// Why, as half a sentence.
    pub why: String,
    /// What it says, with probabilities that take into account that workers err together.
    pub posterior: Posterior,
}

/// Names a method by what can be learnt from the votes: too few per row leave only agreement to go by; kinds of items
/// where the evidence for them is decisive; confusion rows else.
pub fn choose(votes: &Votes) -> Choice {
    let row = thinnest_row(votes);
    if row < THINNEST {
        let why = format!("{row:.1} votes per worker on the rarest label teach no confusion row");
        return Choice { method: Method::Wawa, why, posterior: wawa(votes) };
    }
    let found = ebcc(votes, row, THINNEST);
    let (method, why, posterior) = if found.kinds > 1 {
        let why = format!(
            "{} kinds of items per label explain the votes better by {:.0} nats",
            found.kinds, found.gain
        );
        (Method::Ebcc, why, found.posterior)
    } else {
        let why = format!(
            "{row:.0} votes per worker on the rarest label teach confusion rows, and no kinds of items show"
        );
        (Method::DawidSkeneShort, why, Method::DawidSkeneShort.run(votes))
    };
    Choice { method, why, posterior: discounted(votes, posterior) }
}

/// Mean votes per worker, times the share of the rarest label that anyone gave.
pub(crate) fn thinnest_row(votes: &Votes) -> f64 {
    let mut given = vec![0.0; votes.labels];
    for (_, label) in &votes.cast {
        given[*label as usize] += 1.0;
    }
    let rarest = given.into_iter().filter(|given| *given > 0.0).fold(f64::INFINITY, f64::min);
    let mut voted = vec![false; votes.workers];
    votes.cast.iter().for_each(|(worker, _)| voted[*worker as usize] = true);
    let workers = voted.into_iter().filter(|voted| *voted).count();
    if rarest.is_finite() { rarest / workers.max(1) as f64 } else { 0.0 }
}

/// Each item's probabilities to the power of what its votes are worth as independent ones (Kish): their correlation is
/// what shows in the votes, and what cannot show.
fn discounted(votes: &Votes, mut posterior: Posterior) -> Posterior {
    let correlation = (UNSEEN + shown(votes, &posterior).max(0.0)).min(1.0);
    for (item, row) in posterior.rows_mut().enumerate() {
        let others = votes.of(item).len().saturating_sub(1) as f64;
        let power = (1.0 / (1.0 + others * correlation)).max(LEAST);
        row.iter_mut().for_each(|share| *share = share.max(1e-12).powf(power));
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|share| *share /= sum);
    }
    posterior
}

/// Correlation of being at odds with the likeliest label, over all pairs of votes on an item, beyond how often each
/// worker is at odds with that label.
fn shown(votes: &Votes, posterior: &Posterior) -> f64 {
    let labels = votes.labels;
    // Cases by worker and label, all and those in which it said so.
    let (mut all, mut right) = (vec![0.02; votes.workers * labels], vec![0.01; votes.workers * labels]);
    for item in 0..votes.items {
        for (label, share) in posterior.row(item).iter().enumerate() {
            for (worker, vote) in votes.of(item) {
                let at = *worker as usize * labels + label;
                all[at] += share;
                right[at] += if *vote as usize == label { *share } else { 0.0 };
            }
        }
    }
    let (mut together, mut alone) = (0.0, 0.0);
    for item in 0..votes.items {
        let Some(label) = posterior.best(item).first().copied() else { continue };
        let (mut sum, mut squares, mut spread, mut variance) = (0.0, 0.0, 0.0, 0.0);
        for (worker, vote) in votes.of(item) {
            let at = *worker as usize * labels + label;
            let expected = right[at] / all[at];
            let beyond = f64::from(u8::from(*vote as usize == label)) - expected;
            let own = expected * (1.0 - expected);
            sum += beyond;
            squares += beyond * beyond;
            spread += own.sqrt();
            variance += own;
        }
        together += sum * sum - squares;
        alone += spread * spread - variance;
    }
    if alone > 0.0 { together / alone } else { 0.0 }
}
