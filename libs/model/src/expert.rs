//! What is asked of experts, what they answer, and the one opinion computed from it.
//!
//! Answers come in a closed schema: whatever does not fit it is a missing vote, never a "no".

mod advice;
mod asking;
mod weighing;
mod whole;

pub use advice::{AdviceJob, AdviceReport, Concern, Matter, PlanAdvice, Voice, passes};
pub use asking::{
    AskingStep, BreakerView, ConsultationEvent, ConsultationLine, ConsultationProgress, ConsultationReply,
    ConsultationRequest, ConsultationsReply, ConsultationsRequest, ExpertView, ExpertsReply, ExpertsRequest,
    ReplayReply, TestReply, TestRequest, TestResult, TestVote, Trouble,
};
pub use weighing::{Vote, WeighRequest, WeighVotes, WeighedVotes};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, Principal, Severity, Timestamp, Token};

/// What an expert thinks of a question. Only `abstain` is no vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stance {
    /// Go on as planned.
    Approve,
    /// Do not go on.
    Reject,
    /// Go on when the findings are cured.
    NeedsChange,
    /// No opinion. Counts for the quorum, not for the vote.
    Abstain,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Service levels.
    Slo,
    /// Processors, memory, replicas.
    Capacity,
    /// Attack surface, rights, secrets.
    Security,
    /// Schemas and stored data.
    DataMigration,
    /// Other modules and libraries.
    Dependency,
    /// The way back.
    Rollback,
    /// Settings.
    Config,
    /// Metrics, logs, alerts.
    Observability,
    /// A rule of the organisation.
    Policy,
    /// Anything else.
    Other,
}

/// How bad an expert's finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Worth knowing.
    Info,
    /// A small flaw.
    Minor,
    /// A large flaw.
    Major,
    /// Must not go on. Counts only when its evidence is real.
    Blocking,
}

/// One finding of an expert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// What it is about.
    pub category: Topic,
    /// How bad it is.
    pub severity: Weight,
    /// The id of a piece of evidence of the question; empty for none.
    pub evidence_ref: String,
    /// What was found. Untrusted text.
    pub statement: String,
}

/// How to replace the running revision, as an expert recommends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// A growing share of the traffic.
    Canary,
    /// All traffic at once, the old revision kept.
    BlueGreen,
    /// Instance by instance.
    Rolling,
    /// Stop, then start.
    Recreate,
    /// No recommendation.
    None,
}

/// An answer in the closed schema: every key is required, no other is allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The question's nonce, echoed. Another one makes the answer invalid.
    pub nonce: String,
    /// The vote.
    pub verdict: Stance,
    /// How sure the expert says it is, 0 to 100. Not used before it is calibrated by outcomes.
    #[serde(deserialize_with = "whole::one")]
    pub confidence_pct: u8,
    /// What was found; may be empty.
    pub findings: Vec<Observation>,
    /// The recommended strategy.
    pub strategy: Advice,
    /// Strategies, the best first; may be empty.
    pub strategy_ranking: Vec<Advice>,
    /// Recommended canary shares in percent, growing; may be empty.
    #[serde(deserialize_with = "whole::list")]
    pub canary_steps_pct: Vec<u16>,
    /// Recommended minutes at each share, 0 for none.
    #[serde(deserialize_with = "whole::one")]
    pub bake_minutes: u32,
    /// Why, in prose. Untrusted text; nothing is decided on it.
    pub rationale: String,
}

impl std::ops::Add for Usage {
    type Output = Usage;

    fn add(self, other: Usage) -> Usage {
        Usage {
            input_tokens: self.input_tokens + other.input_tokens,
            cached_tokens: self.cached_tokens + other.cached_tokens,
            output_tokens: self.output_tokens + other.output_tokens,
            cost_micro_usd: self.cost_micro_usd + other.cost_micro_usd,
        }
    }
}

/// What became of asking one expert. Only `ok` votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerStatus {
    /// A valid answer with a vote.
    Ok,
    /// A valid answer without a vote.
    Abstained,
    /// The model refused, or a filter did.
    Refused,
    /// The answer was cut off.
    Truncated,
    /// The answer does not fit the schema, or echoes another nonce.
    SchemaInvalid,
    /// No answer before the deadline.
    Timeout,
    /// Refused for now by a rate limit.
    RateLimited,
    /// Refused for longer: credit, quota or budget is used up.
    Quota,
    /// Any other trouble at the provider.
    ProviderError,
    /// Not asked, because the provider failed too often lately.
    CircuitOpen,
}

/// Who was asked. Two models of one family count as hardly more than one voice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ExpertId {
    /// The expert's name in the configuration.
    pub name: Token,
    /// The vendor's family of models, such as `claude`, or `rules` for deterministic experts.
    pub family: Token,
    /// The model and version whose record counts, such as `claude-opus-5`.
    pub version: String,
}

/// A piece of evidence that a question carries. Its text is untrusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Exhibit {
    /// What findings refer to.
    pub id: Token,
    /// What it is, such as `plan` or `logs`.
    pub kind: Token,
    /// The material. Shown to experts as fenced data, secrets scrubbed.
    pub text: String,
}

/// A question to the circle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    /// Names the question; asking again with the same id gives the recorded result.
    pub id: String,
    /// What is asked.
    pub text: String,
    /// What the experts may look at.
    #[serde(default)]
    pub evidence: Vec<Exhibit>,
    /// Conditions an answer must respect.
    #[serde(default)]
    pub constraints: Vec<String>,
    /// Time for the whole panel in milliseconds.
    pub deadline_ms: u64,
    /// The most this question may cost, in millionths of a US dollar. None: the configured limit.
    #[serde(default)]
    pub budget_micro_usd: Option<u64>,
    /// Experts to ask; empty for all that are configured.
    #[serde(default)]
    pub panel: Vec<Token>,
    /// Do not answer from the cache.
    #[serde(default)]
    pub fresh: bool,
}

/// Tokens and money that one expert used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Of these, tokens from the provider's prompt cache.
    pub cached_tokens: u64,
    /// Tokens written, thinking included.
    pub output_tokens: u64,
    /// Cost in millionths of a US dollar, by the configured prices.
    pub cost_micro_usd: u64,
}

/// What became of asking one expert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ballot {
    /// Who.
    pub expert: ExpertId,
    /// How it ended.
    pub status: AnswerStatus,
    /// The answer, with `ok` and `abstained`.
    pub answer: Option<Answer>,
    /// Why there is none. Never holds a secret.
    #[serde(default)]
    pub reason: String,
    /// From asking to the answer, in milliseconds.
    pub took_ms: u64,
    /// What it used.
    #[serde(default)]
    pub usage: Usage,
    /// Digest of the prompt that was sent.
    pub prompt: Option<Digest>,
    /// Answered from the cache.
    #[serde(default)]
    pub cached: bool,
    /// Came after the opinion was formed; recorded, not counted.
    #[serde(default)]
    pub late: bool,
}

/// What the opinion recommends to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Go on.
    Approve,
    /// Stop.
    Reject,
    /// Cure the findings first.
    NeedsChange,
    /// Ask a human.
    Escalate,
    /// Too few valid answers, or all of one family.
    NoQuorum,
}

/// What was made of the ballots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Opinion {
    /// The recommended action: the one with the least expected loss, unless a rule outranks the votes.
    pub action: Action,
    /// Why this action, in one sentence.
    pub reason: String,
    /// The same for programs: `least_loss`, `failed_gate`, `blocking_finding`, `dictated`, `fragile`,
    /// `too_few_answers`, `all_abstained` or `one_family`.
    #[serde(default)]
    pub cause: String,
    /// Probability of safe, unsafe and fixable after tempering; sums to 1.
    pub posterior: BTreeMap<String, f64>,
    /// The same without tempering, to show how much it claims.
    pub untempered: BTreeMap<String, f64>,
    /// Expected loss of each action under the posterior.
    #[serde(default)]
    pub expected_loss: BTreeMap<String, f64>,
    /// The power the votes' likelihood was taken to, 0 to 1.4: fitted on cases with known outcome, else from the correlation.
    #[serde(default)]
    pub tempering: f64,
    /// Share of the votes per stance.
    pub vote_share: BTreeMap<String, f64>,
    /// The same with experts weighted by how often they agreed with the majority so far (Wawa).
    #[serde(default)]
    pub agreement_share: BTreeMap<String, f64>,
    /// Votes that counted.
    pub votes: u32,
    /// What they are worth as independent votes.
    pub effective_votes: f64,
    /// The correlation used, across and within families.
    pub correlation: (f64, f64),
    /// Entropy of the votes, 0 (unanimous) to 1.
    pub entropy: f64,
    /// What the votes and findings would recommend without each expert or family, where that is another action.
    #[serde(default)]
    pub turns_without: BTreeMap<String, Action>,
    /// Weight of each expert's vote, by name.
    pub weights: BTreeMap<String, f64>,
    /// Canary shares in percent: a careful quantile of the answers, clamped by policy.
    pub canary_steps_pct: Vec<u16>,
    /// Minutes at each share: a careful quantile of the answers, clamped by policy.
    pub bake_minutes: u32,
    /// Strategies by the Kemeny order, the best first.
    pub strategies: Vec<Advice>,
    /// The same by Borda's count. An alarm says when the two differ in the first place.
    #[serde(default)]
    pub strategies_by_borda: Vec<Advice>,
    /// What the minority says, as quotes with authors.
    pub dissent: Vec<Dissent>,
    /// Alarms, such as the same text from two families.
    pub alarms: Vec<String>,
}

/// A group of answers that say the same, with its most central one as a quote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dissent {
    /// The experts of the group, by name.
    pub experts: Vec<String>,
    /// What the group votes.
    pub stance: Stance,
    /// The expert who is quoted.
    pub quoted: String,
    /// The quote, at most 500 characters.
    pub quote: String,
    /// What the group found.
    pub findings: Vec<Observation>,
}

/// A question with everything that came of it. Stored under the question's id, and can be replayed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Consultation {
    /// What was asked, secrets scrubbed.
    pub question: Question,
    /// Who asked, and pays for it in the accounts.
    pub caller: Principal,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// What each expert said.
    pub ballots: Vec<Ballot>,
    /// What was made of it.
    pub opinion: Opinion,
    /// From asking to the opinion, in milliseconds.
    pub took_ms: u64,
    /// The sum of the ballots' costs, in millionths of a US dollar.
    pub cost_micro_usd: u64,
}

impl Weight {
    /// The word in JSON and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Weight::Info => "info",
            Weight::Minor => "minor",
            Weight::Major => "major",
            Weight::Blocking => "blocking",
        }
    }
}

impl Stance {
    /// The word in JSON and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stance::Approve => "approve",
            Stance::Reject => "reject",
            Stance::NeedsChange => "needs_change",
            Stance::Abstain => "abstain",
        }
    }
}

impl Advice {
    /// The word in JSON and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Advice::Canary => "canary",
            Advice::BlueGreen => "blue_green",
            Advice::Rolling => "rolling",
            Advice::Recreate => "recreate",
            Advice::None => "none",
        }
    }
}

impl AnswerStatus {
    /// The word in JSON and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            AnswerStatus::Ok => "ok",
            AnswerStatus::Abstained => "abstained",
            AnswerStatus::Refused => "refused",
            AnswerStatus::Truncated => "truncated",
            AnswerStatus::SchemaInvalid => "schema_invalid",
            AnswerStatus::Timeout => "timeout",
            AnswerStatus::RateLimited => "rate_limited",
            AnswerStatus::Quota => "quota",
            AnswerStatus::ProviderError => "provider_error",
            AnswerStatus::CircuitOpen => "circuit_open",
        }
    }
}

impl Action {
    /// The word in JSON and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Approve => "approve",
            Action::Reject => "reject",
            Action::NeedsChange => "needs_change",
            Action::Escalate => "escalate",
            Action::NoQuorum => "no_quorum",
        }
    }
}

impl From<Weight> for Severity {
    fn from(weight: Weight) -> Severity {
        match weight {
            Weight::Info => Severity::Info,
            Weight::Minor => Severity::Low,
            Weight::Major => Severity::High,
            Weight::Blocking => Severity::Critical,
        }
    }
}
