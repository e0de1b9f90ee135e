//! A plan: what will change, in which steps, and the way back. Known by its digest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, Span, TargetId, Token, spec::DeploymentSpec, spec::Module, step::Step};

/// What tells two builds of a module apart: 12 hex digits over everything an instance is made of (artefact, command,
/// environment, configuration, secret versions, ports, health, resources, volumes), not over how many or how it moves.
pub type Revision = Token;

impl Module {
    /// The module's revision.
    pub fn revision(&self) -> Revision {
        let made_of = (
            (&self.run, &self.resources, &self.ports, &self.health),
            (&self.environment, &self.config, &self.secrets, &self.volumes, &self.openapi),
        );
        #[allow(clippy::expect_used, reason = "hex digits match the grammar")]
        Digest::of(&made_of).short().parse().expect("hex digits are a token")
    }
}

/// What happens to a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It does not run yet.
    Create,
    /// Another revision runs.
    Update,
    /// The same revision, but another number of instances or another way it is reached.
    Scale,
    /// Nothing changes.
    Keep,
    /// It runs and is no longer asked for; removed after the promotion.
    Remove,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// The field's path within the module.
    pub field: String,
    /// The old value; none when it was absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// The new value; none when it goes away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

/// What happens to one module, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModuleChange {
    /// Which.
    pub module: Token,
    /// What.
    pub change: Change,
    /// The revision that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Revision>,
    /// The revision asked for; none when it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Revision>,
    /// Instances that run.
    pub replicas_from: u32,
    /// Instances asked for.
    pub replicas_to: u32,
    /// The strategy's name.
    pub strategy: String,
    /// 0 for modules that depend on none, and so on: modules of one rank move side by side.
    pub rank: u32,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// What will be done. The digest covers everything in it, so an approval or an `apply --plan` is for exactly this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Where.
    pub target: TargetId,
    /// The digest of the spec.
    pub spec: Digest,
    /// The digest of the snapshot it starts from and returns to; none on the first deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Digest>,
    /// What happens to each module, in order of rank.
    pub changes: Vec<ModuleChange>,
    /// What is done, in order of waves.
    pub steps: Vec<Step>,
    /// Step after which there is no way back, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_return_after: Option<Token>,
    /// The least time the pauses and analyses take.
    pub at_least: Span,
}

impl Plan {
    /// What the plan is known by.
    pub fn digest(&self) -> Digest {
        Digest::of(self)
    }

    /// Nothing to do.
    pub fn is_no_op(&self) -> bool {
        self.changes.iter().all(|change| change.change == Change::Keep)
    }

    /// The step of this id.
    pub fn step(&self, id: &Token) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == *id)
    }
}

/// What a target ran when it was last known to be good: the place a rollback returns to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The deployment that made it.
    pub deployment: crate::DeploymentId,
    /// Everything: images, configuration, secret versions, replicas. Traffic is all on these revisions.
    pub spec: DeploymentSpec,
    /// When it was promoted.
    pub at: crate::Timestamp,
}

impl Snapshot {
    /// What the snapshot is known by: its spec.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.spec)
    }
}
