//! Methods over a history of votes: who was right, without being told. For looking back: the online opinion
//! does not use them.
//!
//! Reference figures for each method and set are in `docs/consensus.md`.

mod choose;
mod correlation;
mod crowd;
mod dawid_skene;
mod ebcc;
mod evaluate;
mod majority;
mod one_coin;

pub use choose::{Choice, choose};
pub use correlation::error_correlation;
pub use crowd::{BadVotes, Truth, Votes, read};
pub use dawid_skene::{Rows, Stop, dawid_skene, ibcc};
pub use ebcc::{Kinds, ebcc};
pub use evaluate::{Evaluation, Score, calibration_error, evaluate, score, temper_on, tempered};
pub use majority::{majority, wawa};
pub use one_coin::one_coin;

use serde::{Deserialize, Serialize};

/// Probability of each label for each item, by rows of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Posterior {
    /// Labels per row.
    pub labels: usize,
    /// All rows, one after the other.
    pub shares: Vec<f64>,
}

impl Posterior {
    pub(crate) fn new(votes: &Votes) -> Posterior {
        Posterior { labels: votes.labels, shares: vec![0.0; votes.items * votes.labels] }
    }

    /// The row of an item.
    pub fn row(&self, item: usize) -> &[f64] {
        &self.shares[item * self.labels..][..self.labels]
    }

    pub(crate) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f64]> {
        self.shares.chunks_exact_mut(self.labels.max(1))
    }

    /// The labels that share the first place of an item; several with a tie, none without votes.
    pub fn best(&self, item: usize) -> Vec<usize> {
        let row = self.row(item);
        let most = row.iter().copied().fold(0.0, f64::max);
        if most <= 0.0 {
            return Vec::new();
        }
        (0..self.labels).filter(|label| row[*label] >= most - 1e-12).collect()
    }
}

/// A method by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Shares of the votes.
    Majority,
    /// Votes reweighted once by agreement with the majority.
    Wawa,
    /// One accuracy per worker, fixed prior over labels.
    OneCoin,
    /// Confusion rows by expectation maximisation, lightly smoothed.
    DawidSkene,
    /// The same, ended after few turns, when the likelihood hardly gains.
    DawidSkeneShort,
    /// The same with a prior on the rows.
    DawidSkenePrior,
    /// The same by variational inference.
    Ibcc,
    /// The same with kinds of items, so that workers may err together.
    Ebcc,
}

impl Method {
    /// All, in the order of tables.
    pub const ALL: [Method; 8] = [
        Method::Majority,
        Method::Wawa,
        Method::OneCoin,
        Method::DawidSkene,
        Method::DawidSkeneShort,
        Method::DawidSkenePrior,
        Method::Ibcc,
        Method::Ebcc,
    ];

    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Majority => "majority",
            Method::Wawa => "Wawa",
            Method::OneCoin => "one-coin",
            Method::DawidSkene => "Dawid-Skene",
            Method::DawidSkeneShort => "Dawid-Skene, short",
            Method::DawidSkenePrior => "Dawid-Skene, prior",
            Method::Ibcc => "iBCC",
            Method::Ebcc => "EBCC",
        }
    }

    /// Runs it.
    pub fn run(self, votes: &Votes) -> Posterior {
        match self {
            Method::Majority => majority(votes),
            Method::Wawa => wawa(votes),
            Method::OneCoin => one_coin(votes),
            Method::DawidSkene => dawid_skene(votes, Rows::Smoothed, Stop::Still),
            Method::DawidSkeneShort => dawid_skene(votes, Rows::Smoothed, Stop::Gain(1e-5)),
            Method::DawidSkenePrior => dawid_skene(votes, Rows::Prior, Stop::Still),
            Method::Ibcc => ibcc(votes),
            Method::Ebcc => ebcc(votes, choose::thinnest_row(votes), choose::THINNEST).posterior,
        }
    }
}
