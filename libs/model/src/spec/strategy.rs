//! How a module moves from its old revision to the new one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Analysis;
use crate::Span;

/// One of four ways. The first deployment of a module has nothing to move from and skips steps and analysis, as in
/// Argo Rollouts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Strategy {
    /// A growing share of the traffic.
    Canary(Canary),
    /// A second full set, then one switch.
    BlueGreen(BlueGreen),
    /// Instance by instance.
    Rolling(Rolling),
    /// Stop the old, start the new: has a gap.
    Recreate {},
}

impl Default for Strategy {
    fn default() -> Self {
        Strategy::Rolling(Rolling::default())
    }
}

impl Strategy {
    /// The name in a spec.
    pub const fn name(&self) -> &'static str {
        match self {
            Strategy::Canary(_) => "canary",
            Strategy::BlueGreen(_) => "blueGreen",
            Strategy::Rolling(_) => "rolling",
            Strategy::Recreate {} => "recreate",
        }
    }
}

/// A growing share of the traffic, step by step. After the last step all traffic moves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Canary {
    /// The steps, at least one.
    pub steps: Vec<CanaryStep>,
}

/// One step of a canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum CanaryStep {
    /// The new revision gets this share in percent, 0 to 100. Instances are scaled first (W1).
    SetWeight(u8),
    /// Wait this long; without a duration wait for `promote`, bounded by the human deadline.
    #[serde(rename_all = "camelCase")]
    Pause {
        /// How long.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration: Option<Span>,
    },
    /// Judge measurements before going on.
    Analysis(Analysis),
}

/// A second full set, then one switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlueGreen {
    /// Switch without waiting for a person. Default true.
    #[serde(default = "yes")]
    pub auto_promote: bool,
    /// Judged against the preview before the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_promotion: Option<Analysis>,
    /// Judged after the switch, while the old set still stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_promotion: Option<Analysis>,
    /// How long the old set stands when all traffic is on the new one and all checks have passed, before the release is
    /// promoted: an abort or a rollback switches back at once, `promote` ends it early. 0 s to 24 h. Default 30 s (Argo
    /// Rollouts' `scaleDownDelaySeconds`).
    #[serde(default = "default_hold")]
    pub hold: Span,
}

fn yes() -> bool {
    true
}
fn default_hold() -> Span {
    Span::seconds(30)
}

impl Default for BlueGreen {
    fn default() -> Self {
        BlueGreen { auto_promote: true, pre_promotion: None, post_promotion: None, hold: default_hold() }
    }
}

/// Instance by instance. Never fewer than `replicas - maxUnavailable` healthy, never more than
/// `replicas + maxSurge` in all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rolling {
    /// Instances above the number of replicas while rolling. Default 1.
    #[serde(default = "one")]
    pub max_surge: u32,
    /// Instances below the number of replicas while rolling. Default 0. Not both may be 0.
    #[serde(default)]
    pub max_unavailable: u32,
}

fn one() -> u32 {
    1
}

impl Default for Rolling {
    fn default() -> Self {
        Rolling { max_surge: 1, max_unavailable: 0 }
    }
}
