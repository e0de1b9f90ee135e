//! What should run on a target at a moment: of each revision how many instances, and which share of the traffic.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DeploymentId, DeploymentSpec, Token, plan::Revision};

/// What is asked for of one revision of one module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// Which module.
    pub module: Token,
    /// Which revision.
    pub revision: Revision,
    /// No fewer instances. While a step changes their number it is the smaller one of before and after.
    pub least: u32,
    /// No more instances.
    pub most: u32,
    /// Its part of the traffic; none when nobody is sent to the module.
    pub traffic: Option<Share>,
}

/// A share of the traffic in percent, from and to: both are the same unless a step is changing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// No less.
    pub least: u8,
    /// No more.
    pub most: u8,
}

impl Share {
    /// Exactly this.
    pub const fn exactly(percent: u8) -> Share {
        Share { least: percent, most: percent }
    }

    /// Whether it is so much.
    pub const fn is(self, percent: u8) -> bool {
        self.least <= percent && percent <= self.most
    }
}

impl Asked {
    /// What a promoted release asks for: all of its instances, each with all of its module's traffic.
    pub fn by(spec: &DeploymentSpec) -> Vec<Asked> {
        let of = |module: &crate::spec::Module| Asked {
            module: module.name.clone(),
            revision: module.revision(),
            least: module.replicas,
            most: module.replicas,
            traffic: spec.is_routed(module).then_some(Share::exactly(100)),
        };
        spec.modules.iter().map(of).collect()
    }

    /// No step is changing the number of its instances.
    pub const fn is_settled(&self) -> bool {
        self.least == self.most
    }
}

/// A release that is under way on a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnderWay {
    /// The deployment that holds the target.
    pub deployment: DeploymentId,
    /// How far it is, for a person.
    pub text: String,
    /// The release that it brings.
    pub spec: Box<DeploymentSpec>,
    /// What it asks for at this moment, of both the old release and the new.
    pub asked: Vec<Asked>,
}
