//! What is asked about experts and consultations, and what is said while experts are asked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Action, AnswerStatus, Ballot, Consultation, ExpertId, Opinion, Stance, Usage};
use crate::{Digest, Principal, Timestamp, Token, Verdict};

/// Show who can be asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExpertsRequest {}

/// Who can be asked, and what is left to spend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExpertsReply {
    /// By name.
    pub experts: Vec<ExpertView>,
    /// What was spent today (UTC), in millionths of a US dollar.
    pub spent_micro_usd: u64,
    /// The most that may be spent in a day.
    pub daily_micro_usd: u64,
    /// What was spent today by caller: the text of who asked, or the row of all that found no row of their own.
    pub callers: BTreeMap<String, u64>,
}

/// One expert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExpertView {
    /// Who.
    pub expert: ExpertId,
    /// How it is reached, such as `rules`, `anthropic` or `plug-in`.
    pub provider: String,
    /// Whether it would be asked now, else why not.
    pub state: String,
    /// Answers with a vote whose outcome is known.
    pub outcomes: u32,
    /// Share of these in which the vote was right; none before there is one.
    pub right: Option<f64>,
    /// What its breaker does in the service that answers; none for who has none.
    #[serde(default)]
    pub breaker: Option<BreakerView>,
    /// Its last failure there since the service started.
    #[serde(default)]
    pub last_failure: Option<Trouble>,
    /// Times it was asked today (UTC), by all.
    #[serde(default)]
    pub asked_today: u64,
    /// What it spent today and has set aside, in millionths of a US dollar.
    #[serde(default)]
    pub spent_today_micro_usd: u64,
}

/// What an expert's breaker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum BreakerView {
    /// It is asked.
    Closed {},
    /// It failed too often and is not asked.
    Open {
        /// The next question after this is a try.
        until: Timestamp,
    },
    /// The next question, or one that is under way, is a try.
    HalfOpen {},
}

/// A failure of an expert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trouble {
    /// When.
    pub at: Timestamp,
    /// In words. Untrusted text, without the key.
    pub text: String,
}

/// Send every expert, or one, a good and a bad plan that we know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestRequest {
    /// Which; none for all.
    pub expert: Option<Token>,
}

/// How the test went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestReply {
    /// By expert.
    pub results: Vec<TestResult>,
}

/// What an expert said to a plan of a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestVote {
    /// How asking ended.
    pub status: AnswerStatus,
    /// How it votes; none when it does not.
    pub stance: Option<Stance>,
    /// Why there is no vote, or why it counts for nothing; empty otherwise.
    pub reason: String,
}

/// How the test of one expert went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    /// Who.
    pub expert: ExpertId,
    /// What it said to the good plan.
    pub good: TestVote,
    /// What it said to the bad plan.
    pub bad: TestVote,
    /// The slower of both, in milliseconds.
    pub took_ms: u64,
    /// Both together.
    pub usage: Usage,
    /// It let the good one pass and the bad one not.
    pub passed: bool,
}

/// Show past consultations, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsultationsRequest {
    /// At most so many, 1 to 1000. Default 50.
    pub limit: Option<u32>,
}

/// Past consultations, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConsultationsReply {
    /// One line each.
    pub consultations: Vec<ConsultationLine>,
}

/// One consultation in one line. Also said as an event when the opinion is formed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsultationLine {
    /// The question's id.
    pub question: Token,
    /// Who asked.
    pub caller: Principal,
    /// The beginning of what was asked.
    pub text: String,
    /// When it was asked.
    pub at: Timestamp,
    /// What the opinion recommends; none while experts are asked, or when the asking was cut off.
    pub action: Option<Action>,
    /// Why.
    pub reason: String,
    /// The digest under which all of it is stored as evidence.
    pub consultation: Option<Digest>,
    /// Votes that counted.
    pub votes: u32,
    /// What it cost, in millionths of a US dollar.
    pub cost_micro_usd: u64,
    /// From asking to the opinion, in milliseconds.
    pub took_ms: u64,
    /// What became of the deployment it was about.
    pub outcome: Option<Verdict>,
}

/// Show one consultation, or compute it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConsultationRequest {
    /// The question's id.
    pub question: Token,
}

/// One consultation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConsultationReply {
    /// In short.
    pub line: ConsultationLine,
    /// All of it; none while it goes on.
    pub consultation: Option<Consultation>,
    /// Answers that came after the opinion was formed.
    pub late: Vec<Ballot>,
}

/// A consultation computed again from the answers and settings that are stored with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayReply {
    /// What was recorded.
    pub recorded: Opinion,
    /// What the same answers give now, with the records and settings of then.
    pub again: Opinion,
    /// The rules asked again, each with whether it still answers as recorded.
    pub rules: BTreeMap<String, bool>,
    /// Nothing differs.
    pub same: bool,
}

/// What happens while experts are asked. Never decided on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsultationProgress {
    /// The question's id.
    pub question: Token,
    /// Whom it is about; none for the question as a whole.
    pub expert: Option<ExpertId>,
    /// What happened.
    pub step: AskingStep,
    /// Since the question was asked, in milliseconds.
    pub at_ms: u64,
}

/// What happens while experts are asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum AskingStep {
    /// The question went out to this expert.
    Asked {},
    /// Its answer cannot be used; it is asked once more.
    AskedAgain {
        /// What was wrong with it. Holds foreign text.
        why: String,
    },
    /// A stand-in is asked, because this expert takes long or failed.
    Hedged {
        /// Who is asked beside it.
        stand_in: String,
    },
    /// It answered, or will not.
    Answered {
        /// How.
        status: AnswerStatus,
        /// The vote.
        stance: Option<Stance>,
    },
    /// It is not waited for any more: no answer of it can change the action.
    Stopped {},
    /// The opinion is formed.
    Formed {
        /// What it recommends.
        action: Action,
    },
}

/// One fact about a consultation; its journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ConsultationEvent {
    /// The question was taken; experts are asked from here on.
    Asked {
        /// Who asked.
        caller: Principal,
        /// The beginning of what was asked, secrets scrubbed.
        text: String,
        /// The digest of the question as it was asked.
        question: Digest,
        /// Who is asked.
        panel: Vec<ExpertId>,
    },
    /// The opinion was formed.
    Formed {
        /// In short.
        line: Box<ConsultationLine>,
    },
    /// An answer came later. Recorded, not counted.
    Late {
        /// The answer.
        ballot: Box<Ballot>,
    },
    /// What became of the deployment.
    Ended {
        /// How it ended.
        verdict: Verdict,
    },
}
