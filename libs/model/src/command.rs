//! What people and other services ask the engine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    DeploymentId, Digest, Plan, Record, Span, TargetId, Timestamp, Token,
    approval::Signed,
    asked::UnderWay,
    deployment::Mode,
    plan::{Revision, Snapshot, Versions},
    target::{Hold, Quarantine, TargetEvent},
    view::{DeploymentView, Summary},
};

pub use crate::evidence::ReviewReply;

/// Deploy this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Submit {
    /// The spec as YAML or JSON text, so that complaints can name line and column.
    pub document: String,
    /// The same key asks for the same deployment, however often it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The plan that was seen; any other plan is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Digest>,
    /// Why a quarantined spec may run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<String>,
    /// Through all gates, or back.
    #[serde(default)]
    pub mode: Mode,
}

/// It is journalled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Submitted {
    /// Known by this from now on.
    pub deployment: DeploymentId,
    /// It was asked for before under the same request id.
    pub repeated: bool,
}

/// Show what would be done; changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanRequest {
    /// The spec as YAML or JSON text.
    pub document: String,
}

/// What would be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanReply {
    /// What the plan is known by.
    pub digest: Digest,
    /// The plan.
    pub plan: Plan,
    /// What the checking agents found, by agent.
    pub reviews: Vec<ReviewReply>,
    /// Whom the change waits for beside the measurements: as the spec says, experts as strictly as the policy asks.
    #[serde(default)]
    pub gates: crate::spec::Gates,
    /// Whose signatures the change waits for, in words; absent when nobody has to sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<String>,
    /// What experts say about it, when the gate asks them; absent when no opinion came in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<crate::expert::PlanAdvice>,
    /// How long all instances must stay well, with nothing changed, before the promotion.
    #[serde(default)]
    pub soak: Span,
    /// The way back, in words, in order.
    pub way_back: Vec<String>,
    /// Why it would be refused as things stand.
    pub obstacles: Vec<String>,
    /// What runs now and is not as it was promoted, such as an instance that has ended. Not looked at while a deployment
    /// changes the target.
    #[serde(default)]
    pub drifts: Vec<Drift>,
    /// What the revisions in it are called in front of people.
    #[serde(default)]
    pub versions: Versions,
}

/// Ask a checking agent for its findings on a plan; changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewRequest {
    /// The spec.
    pub spec: crate::DeploymentSpec,
    /// What runs now.
    pub baseline: Option<crate::DeploymentSpec>,
    /// The plan.
    pub plan: Plan,
}

/// All reviews of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reviews {
    /// By agent.
    pub reviews: Vec<ReviewReply>,
}

/// Show one deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatusRequest {
    /// Which.
    pub deployment: DeploymentId,
}

/// One deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatusReply {
    /// As it stands.
    pub view: DeploymentView,
}

/// Show deployments, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ListRequest {
    /// Only of this target.
    pub target: Option<TargetId>,
    /// Only those that are not over.
    pub active: bool,
    /// At most so many, 1 to 1000. Default 50.
    pub limit: Option<u32>,
}

/// Deployments, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListReply {
    /// Newest first.
    pub deployments: Vec<Summary>,
}

/// Show a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryRequest {
    /// Whose.
    pub deployment: DeploymentId,
}

/// A journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryReply {
    /// In order.
    pub records: Vec<Record>,
}

/// What to do with a deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Let the step that waits go on; `full` skips all remaining pauses and analyses.
    Promote {
        /// Skip what is left.
        full: bool,
    },
    /// Begin nothing new.
    Pause {},
    /// Go on.
    Resume {},
    /// Turn back; before the change it is withdrawn.
    Abort {
        /// Why.
        reason: String,
    },
    /// Try the way back again, after a human was called.
    Retry {},
    /// Give up on the way back: a person has set things right by hand; the lock is released.
    Close {
        /// What was done by hand.
        reason: String,
    },
    /// Approve exactly this plan.
    Approve {
        /// Its digest.
        plan: Digest,
        /// The approval as its approver signed it; needed where signers are configured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<Box<Signed>>,
    },
    /// Say no to exactly this plan: the deployment is rejected.
    Deny {
        /// Its digest.
        plan: Digest,
        /// Why.
        reason: String,
        /// The denial as its author signed it; needed where signers are configured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<Box<Signed>>,
    },
}

/// Do this with a deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    /// Which.
    pub deployment: DeploymentId,
    /// Only if the journal is still at this version: of two racing operators one wins and the other is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<u64>,
    /// What.
    #[serde(flatten)]
    pub action: Action,
}

/// It is journalled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// The version of the journal now.
    pub version: u64,
}

/// What to do with a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum TargetAction {
    /// Only look.
    Show {},
    /// No deployment gets the lock from now on.
    Hold {
        /// Why.
        reason: String,
    },
    /// Deployments may again.
    Unhold {},
}

/// Do this with a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetCommand {
    /// Which.
    pub target: TargetId,
    /// What.
    #[serde(flatten)]
    pub action: TargetAction,
}

/// One target as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetView {
    /// Which.
    pub target: TargetId,
    /// Who holds the lock, and its token.
    pub holder: Option<(DeploymentId, u64)>,
    /// When the lease ends.
    pub expires: Option<Timestamp>,
    /// Who waits, in order.
    pub queue: Vec<DeploymentId>,
    /// The person who holds it, and why.
    pub held: Option<Hold>,
    /// What it last ran well.
    pub snapshot: Option<Snapshot>,
    /// Specs that are refused.
    pub quarantined: Vec<Quarantine>,
    /// Its journal, newest last, at most 100.
    pub events: Vec<TargetEvent>,
}

/// Compare what runs with what should.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftRequest {
    /// Where.
    pub target: TargetId,
    /// What should run; the orchestrator fills it from the last snapshot when it is absent.
    #[serde(default)]
    pub spec: Option<crate::DeploymentSpec>,
    /// The release that is under way there; what it asks for is what should run. Only the orchestrator says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<UnderWay>,
}

/// Show what a target holds, or take away what nothing asks for. Asked of the orchestrator by people, and of the agents
/// by the orchestrator, which fills in `spec` and the fence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HoldingsRequest {
    /// Where.
    pub target: TargetId,
    /// Take away what nothing asks for; of the orchestrator.
    #[serde(default)]
    pub take_away: bool,
    /// What should run; none: nothing.
    #[serde(default)]
    pub spec: Option<crate::DeploymentSpec>,
    /// The release that is under way there, which may have instances too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<crate::DeploymentSpec>,
    /// Take away under this fence; of the agents.
    #[serde(default)]
    pub clear: Option<crate::Fence>,
}

/// An instance on a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Holding {
    /// Its name.
    pub id: String,
    /// Its module.
    pub module: Token,
    /// Its revision.
    pub revision: Revision,
    /// Whether it runs, in words.
    pub state: String,
    /// Who started it.
    pub deployment: DeploymentId,
    /// The release that was promoted last asks for it.
    pub asked_for: bool,
    /// It was taken away.
    pub cleared: bool,
    /// Why it could not be.
    pub trouble: Option<String>,
}

/// What a target holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HoldingsReply {
    /// In order of their names.
    pub instances: Vec<Holding>,
    /// The highest fence that was ever seen on the target: whoever is granted it next comes above it.
    #[serde(default)]
    pub highest: crate::Fence,
    /// When it was looked at.
    pub at: Timestamp,
}

/// One difference between what runs and what should.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Which module.
    pub module: Token,
    /// Which revision.
    pub revision: Revision,
    /// What differs, with both values.
    pub text: String,
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DriftReply {
    /// Empty when all is as it should be.
    pub drifts: Vec<Drift>,
    /// A release is under way, in words: what it asks for now is what should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<String>,
    /// What the revisions that should run are called in front of people.
    #[serde(default)]
    pub versions: Versions,
    /// When it was looked at.
    pub at: Timestamp,
}
