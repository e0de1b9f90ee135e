//! What a person asks for: the deployment spec, `apiVersion: code/v1`.
//!
//! These types are the schema. Reading them from YAML or JSON with line and column on every complaint, and the
//! rules that go beyond types, are in the crate `spec`.

mod analysis;
mod module;
mod strategy;

pub use analysis::{Analysis, Comparison, Direction, Metric, NoData, Provider};
pub use module::{
    ConfigFile, Dependency, Expose, Health, Module, PROCESS, PortSpec, Probe, Request, Resources, Run,
    SECRET_VARIABLES, SecretFrom, SecretRef, Smoke, Volume,
};
pub use strategy::{BlueGreen, Canary, CanaryStep, Rolling, Strategy};

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Span, TargetId, Token, limits};

/// The only version of the document so far.
pub const API_VERSION: &str = "code/v1";

/// A release: one or several modules that move together and roll back together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeploymentSpec {
    /// Always `code/v1`.
    pub api_version: String,
    /// The application's name.
    pub name: Token,
    /// Where it is meant for, such as `staging`. Default `default`.
    #[serde(default = "default_environment")]
    pub environment: Token,
    /// The platform that runs it: `process` or `docker`.
    pub target: Token,
    /// What is deployed, 1 to 100 modules.
    pub modules: Vec<Module>,
    /// How modules without a strategy of their own move. Default: rolling, one at a time.
    #[serde(default)]
    pub strategy: Strategy,
    /// Gates beside the measurements.
    #[serde(default)]
    pub gates: Gates,
    /// Commands around the change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// How long all instances must stay well, with nothing changed, before the release is promoted; judged over the
    /// whole of it. 0 s to 24 h; 0 looks once. Default 5 s, or twice the time that the slowest health check takes to
    /// find an instance unhealthy when that is longer, at most 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Span>,
    /// Bounds of time; all on by default, all end in rollback.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// Findings that are accepted for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waivers: Vec<Waiver>,
    /// What happens when the target is busy. Default `queue`.
    #[serde(default)]
    pub when_busy: WhenBusy,
    /// Free labels, copied to what runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl DeploymentSpec {
    /// What is locked, routed and rolled back as one.
    pub fn target_id(&self) -> TargetId {
        TargetId {
            environment: self.environment.clone(),
            platform: self.target.clone(),
            name: self.name.clone(),
        }
    }

    /// The modules with their versions, such as `web 1.2.0`.
    pub fn versions(&self) -> Vec<String> {
        self.modules.iter().map(|module| format!("{} {}", module.name, module.version)).collect()
    }

    /// Whether the data plane carries what goes to this module: whatever is exposed, and on the process platform whatever
    /// has a port. There instances have no names by which others could find them.
    pub fn is_routed(&self, module: &Module) -> bool {
        module.expose.is_some() || (self.target.as_str() == module::PROCESS && !module.ports.is_empty())
    }

    /// The module of this name.
    pub fn module(&self, name: &Token) -> Option<&Module> {
        self.modules.iter().find(|module| module.name == *name)
    }

    /// The soak in force.
    pub fn soak_time(&self) -> Span {
        let checks = self.modules.iter().filter_map(|module| module.health.as_ref());
        let slowest = checks.map(|health| {
            health
                .interval
                .0
                .checked_mul(2 * health.unhealthy_threshold.clamp(1, 1000))
                .unwrap_or(LONGEST_SOAK)
        });
        self.soak
            .unwrap_or_else(|| Span(slowest.max().unwrap_or_default().clamp(SHORTEST_SOAK, LONGEST_SOAK)))
    }

    /// The strategy in force for a module.
    pub fn strategy_of<'a>(&'a self, module: &'a Module) -> &'a Strategy {
        module.strategy.as_ref().unwrap_or(&self.strategy)
    }
}

/// Bounds of a soak that the spec does not set.
const SHORTEST_SOAK: Duration = Duration::from_secs(5);
const LONGEST_SOAK: Duration = Duration::from_secs(60);

fn default_environment() -> Token {
    #[allow(clippy::expect_used, reason = "a constant that matches the grammar")]
    "default".parse().expect("a token")
}

/// Whether a gate is asked, and whether it can hold the deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GateMode {
    /// Not asked.
    #[default]
    Off,
    /// Asked and recorded; never blocks.
    Advise,
    /// Must approve; without an approval the deployment is rejected.
    Require,
}

/// Gates beside the measurements.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gates {
    /// The circle of experts. Default `off`.
    #[serde(default)]
    pub experts: GateMode,
    /// Approvals by people, each bound to the plan's digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Approvals>,
}

/// How many people must approve the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approvals {
    /// How many different people, 1 to 10. The initiator never counts.
    pub required: u8,
    /// Who may; empty means anyone but the initiator. A bare name means whoever signs with a key of theirs, where the engine
    /// knows signers; else whoever says that it is theirs, unauthenticated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
}

/// A command of the spec's author that runs at a fixed point. Runs where the agents run, with the deployment's id
/// and phase in its environment; exit status 0 succeeds, 75 is retried, everything else fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// A name for people.
    pub name: Token,
    /// When it runs.
    pub when: HookPoint,
    /// Program and arguments; no shell.
    pub command: Vec<String>,
    /// How long it may take. Default 60 s.
    #[serde(default = "default_hook_timeout")]
    pub timeout: Span,
    /// After this hook there is no way back: a failure calls a human instead of rolling back.
    #[serde(default)]
    pub irreversible: bool,
}

fn default_hook_timeout() -> Span {
    Span::seconds(60)
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HookPoint {
    /// Before the first instance starts.
    BeforeDeploy,
    /// Before the release is promoted.
    BeforePromotion,
    /// After the promotion; cannot change the verdict.
    AfterPromotion,
}

/// Bounds of time. All default on, all end in rollback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deadlines {
    /// The whole deployment from lock to verdict. Default 1 h.
    #[serde(default = "default_total")]
    pub total: Span,
    /// One step. Default 10 min.
    #[serde(default = "default_step")]
    pub step: Span,
    /// A wait for a person. Default 24 h.
    #[serde(default = "default_human")]
    pub human: Span,
    /// The whole way back; then a human is called. Default 5 min.
    #[serde(default = "default_rollback")]
    pub rollback: Span,
}

fn default_total() -> Span {
    Span(limits::TOTAL_DEADLINE)
}
fn default_step() -> Span {
    Span(limits::STEP_DEADLINE)
}
fn default_human() -> Span {
    Span(limits::HUMAN_DEADLINE)
}
fn default_rollback() -> Span {
    Span(limits::ROLLBACK_DEADLINE)
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines {
            total: default_total(),
            step: default_step(),
            human: default_human(),
            rollback: default_rollback(),
        }
    }
}

/// Accepts a finding for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Waiver {
    /// The rule, such as `security/unpinned-image`.
    pub rule: String,
    /// The module it is for; none means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<Token>,
    /// Why it is accepted; shown wherever the finding is.
    pub reason: String,
    /// The last day it holds, `YYYY-MM-DD`.
    pub expires: String,
}

/// What happens when another deployment holds the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenBusy {
    /// Wait in the target's queue.
    #[default]
    Queue,
    /// Roll the holder back and take its place.
    Supersede,
    /// Give up at once.
    Reject,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soak_is_long_enough_to_see_an_instance_become_unhealthy() {
        let soak = |more: &str, health: &str| -> Span {
            let text = format!(
                r#"{{"apiVersion":"code/v1","name":"a","target":"process",{more}"modules":[
                    {{"name":"web","run":{{"command":["a"]}}{health}}}]}}"#
            );
            serde_json::from_str::<DeploymentSpec>(&text).unwrap().soak_time()
        };
        let every = |interval: &str| {
            format!(r#","health":{{"probe":{{"tcp":{{}}}},"interval":"{interval}","unhealthyThreshold":3}}"#)
        };

        assert_eq!(soak("", ""), Span::seconds(5));
        assert_eq!(soak("", &every("200ms")), Span::seconds(5));
        assert_eq!(soak("", &every("4s")), Span::seconds(24));
        assert_eq!(soak("", &every("1h")), Span::seconds(60));
        assert_eq!(soak(r#""soak":"2m","#, &every("4s")), Span::seconds(120));
        assert_eq!(soak(r#""soak":"0s","#, ""), Span::seconds(0));
    }
}
