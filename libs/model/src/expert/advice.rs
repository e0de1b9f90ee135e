//! Advice on a plan: what experts are shown, and what goes into the deployment's journal of what they said.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Action, Advice, AnswerStatus, Stance, Topic, Weight};
use crate::{
    DeploymentId, DeploymentSpec, Digest, Plan, Principal, Timestamp, Token, evidence::ReviewReply,
    spec::GateMode,
};

/// What experts are asked to judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Matter {
    /// Names the question. Asking again with the same id gives the recorded result.
    pub question: Token,
    /// What is asked for.
    pub spec: Box<DeploymentSpec>,
    /// What runs now.
    pub baseline: Option<Box<DeploymentSpec>>,
    /// What would be done.
    pub plan: Box<Plan>,
    /// What the checking agents found, by agent.
    pub findings: Vec<ReviewReply>,
    /// On whose behalf the engine asks, and who pays for it in the accounts. Believed only of the engine.
    pub caller: Principal,
    /// When the asker stops waiting.
    pub until: Timestamp,
}

/// The orchestrator asks for advice on a deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdviceJob {
    /// On which deployment.
    pub deployment: DeploymentId,
    /// What is to be judged.
    pub matter: Matter,
}

/// What the experts say about a deployment's plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdviceReport {
    /// On which deployment.
    pub deployment: DeploymentId,
    /// The plan that was judged; advice on another one does not count.
    pub plan: Digest,
    /// What they say.
    pub advice: PlanAdvice,
}

/// Advice in the form that a journal and a screen can hold; everything else is in the consultation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanAdvice {
    /// The question's id: `codectl experts history ID` shows all of it.
    pub question: Token,
    /// The digest under which the whole consultation is stored as evidence; none when it could not be stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consultation: Option<Digest>,
    /// Who answered: `rules` (deterministic checks), `models`, or `rules and models`.
    pub source: String,
    /// What the opinion recommends.
    pub action: Action,
    /// Why, in one sentence.
    pub reason: String,
    /// One line per expert.
    pub voices: Vec<Voice>,
    /// What was found, the most serious first; at most 20.
    pub findings: Vec<Concern>,
    /// Votes that counted.
    pub votes: u32,
    /// What they are worth as independent votes.
    pub effective_votes: f64,
    /// What the experts would recommend without each expert or family, where that is another action.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub turns_without: BTreeMap<String, Action>,
    /// Recommended strategies, the best first; empty for no recommendation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strategies: Vec<Advice>,
    /// Recommended canary shares in percent; empty for no recommendation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canary_steps_pct: Vec<u16>,
    /// Recommended minutes at each share, 0 for no recommendation.
    #[serde(default)]
    pub bake_minutes: u32,
    /// What it cost, in millionths of a US dollar.
    pub cost_micro_usd: u64,
    /// From asking to the opinion, in milliseconds.
    pub took_ms: u64,
}

/// What one expert said, in one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Voice {
    /// The expert's name.
    pub expert: Token,
    /// Its family; `rules-…` is a deterministic check.
    pub family: Token,
    /// How asking it ended.
    pub status: AnswerStatus,
    /// Its vote, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stance: Option<Stance>,
    /// The beginning of its reasons, or why there is no answer. Untrusted text.
    pub text: String,
}

/// Something that experts found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Concern {
    /// What it is about.
    pub topic: Topic,
    /// How bad it is.
    pub weight: Weight,
    /// The evidence it rests on; empty for none.
    pub evidence: String,
    /// What was found. Untrusted text.
    pub statement: String,
    /// Who found it.
    pub experts: Vec<Token>,
}

impl PlanAdvice {
    /// Whether a `require` gate is open.
    pub fn approves(&self) -> bool {
        self.action == Action::Approve
    }

    /// One line for a person.
    pub fn summary(&self) -> String {
        format!("{}: {}", self.action.as_str().replace('_', " "), self.reason)
    }
}

/// Whether a gate in this mode lets a plan pass with this advice; no advice is none that came in time.
pub fn passes(gate: GateMode, advice: Option<&PlanAdvice>) -> bool {
    gate != GateMode::Require || advice.is_some_and(PlanAdvice::approves)
}
