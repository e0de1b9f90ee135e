//! What the consensus worker is asked: one question with full answers, or many with votes only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Ballot, ExpertId, Stance};

/// Make one opinion of these ballots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeighRequest {
    /// What each expert said.
    pub ballots: Vec<Ballot>,
    /// What is known beside the answers, in the shape of `opinion::Facts`.
    pub facts: serde_json::Value,
    /// What experts were worth so far, in the shape of `opinion::Records`.
    pub records: serde_json::Value,
    /// What counts as agreement, in the shape of `opinion::Policy`.
    pub policy: serde_json::Value,
}

/// What one voter of a panel said to one question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Vote {
    /// No valid answer.
    #[default]
    Nothing = 0,
    /// A valid answer without a vote.
    Abstained = 1,
    /// Go on.
    Approve = 2,
    /// Stop.
    Reject = 3,
    /// Cure the findings first.
    NeedsChange = 4,
}

impl Vote {
    /// The vote of this number; none for an unknown one.
    pub const fn of(number: u8) -> Option<Vote> {
        Some(match number {
            0 => Vote::Nothing,
            1 => Vote::Abstained,
            2 => Vote::Approve,
            3 => Vote::Reject,
            4 => Vote::NeedsChange,
            _ => return None,
        })
    }

    /// The stance behind it, if it is an answer.
    pub const fn stance(self) -> Option<Stance> {
        match self {
            Vote::Nothing => None,
            Vote::Abstained => Some(Stance::Abstain),
            Vote::Approve => Some(Stance::Approve),
            Vote::Reject => Some(Stance::Reject),
            Vote::NeedsChange => Some(Stance::NeedsChange),
        }
    }
}

/// Many questions to one panel, votes only. Columns are as long as questions times voters, question by question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WeighVotes {
    /// Who votes.
    pub panel: Vec<ExpertId>,
    /// What they vote, as numbers of [`Vote`].
    pub votes: Vec<u8>,
    /// How sure they say they are, 0 to 100; empty for none.
    pub confidence: Vec<u8>,
    /// In the shape of `opinion::Policy`; empty for the default.
    pub policy: String,
    /// In the shape of `opinion::Records`; empty for none.
    pub records: String,
}

/// One entry per question in each column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WeighedVotes {
    /// 0 approve, 1 reject, 2 needs change, 3 escalate.
    pub actions: Vec<u8>,
    /// Three per question: safe, unsafe, fixable.
    pub posterior: Vec<f32>,
    /// What the votes are worth as independent ones.
    pub effective_votes: Vec<f32>,
}
