//! Steps: what an agent is asked to do, and what it says of it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Digest, Principal, Span, Token,
    evidence::{Finding, GateResult, Outcome},
    id::Revision,
    route::Weights,
    spec::Analysis,
};

/// Names one step of one plan: unique within the deployment, stable over attempts. Such as `03-web-weight-10`.
pub type StepId = Token;

/// The ten agents; each is a lane of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Agent {
    /// 1: resource plan and placement.
    Architect,
    /// 2: dependency order, version constraints, contract differences.
    Integrator,
    /// 3: the tools a plan needs are registered and healthy.
    Toolsmith,
    /// 4: policy, secrets, images, configuration.
    Security,
    /// 5: smoke, contract and load tests against the preview.
    Tester,
    /// 6: platform and traffic steps.
    Deployer,
    /// 7: baselines and regressions.
    Performance,
    /// 8: consumers and providers still match after cut-over.
    Validator,
    /// 9: background analysis, soak, alert rules.
    Guardian,
    /// 10: collects every gate and its evidence.
    Certifier,
}

impl Agent {
    /// Every agent, in order of its number.
    pub const ALL: [Agent; 10] = [
        Agent::Architect,
        Agent::Integrator,
        Agent::Toolsmith,
        Agent::Security,
        Agent::Tester,
        Agent::Deployer,
        Agent::Performance,
        Agent::Validator,
        Agent::Guardian,
        Agent::Certifier,
    ];

    /// The lane's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Agent::Architect => "architect",
            Agent::Integrator => "integrator",
            Agent::Toolsmith => "toolsmith",
            Agent::Security => "security",
            Agent::Tester => "tester",
            Agent::Deployer => "deployer",
            Agent::Performance => "performance",
            Agent::Validator => "validator",
            Agent::Guardian => "guardian",
            Agent::Certifier => "certifier",
        }
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// When in a deployment's life a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Before advice, approval and lock: touches nothing.
    Check,
    /// While holding the lock: changes what runs and where traffic goes.
    Execute,
    /// After the change, before promotion: a failure still rolls back.
    Verify,
    /// After the verdict `Promoted`: clean-up that no longer changes the verdict.
    Finish,
    /// The way back.
    Rollback,
}

impl Stage {
    /// The name in a plan.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Check => "check",
            Stage::Execute => "execute",
            Stage::Verify => "verify",
            Stage::Finish => "finish",
            Stage::Rollback => "rollback",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a step does. Every kind is idempotent: it looks at what is, and drives it to what is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum StepKind {
    /// The agent reads spec and plan and reports findings.
    Review,
    /// Exactly `count` healthy instances of the revision run; waits until they are.
    Scale {
        /// Whose instances.
        module: Token,
        /// Which revision.
        revision: Revision,
        /// How many; 0 removes the revision.
        count: u32,
    },
    /// Routes carry these weights, acknowledged by every data plane. A revision never gets a share that its
    /// healthy instances cannot carry, and none with zero healthy instances (invariants W1, W2).
    SetWeight {
        /// Whose traffic.
        module: Token,
        /// Share in percent per revision; sums to 100.
        weights: Weights,
        /// Count what really arrives before the step counts as done.
        verify: bool,
    },
    /// One rolling batch: start `surge` new, wait until healthy, move traffic, retire as many old.
    RollBatch {
        /// Whose instances.
        module: Token,
        /// The old revision.
        from: Revision,
        /// The new revision.
        to: Revision,
        /// Instances of the new revision after the batch.
        new_count: u32,
        /// Instances of the old revision after the batch.
        old_count: u32,
        /// Never more instances of both at once.
        max_total: u32,
        /// Never fewer healthy instances of both at once, as far as there were so many before.
        min_healthy: u32,
    },
    /// Waits; done in the orchestrator, not by an agent. Without a duration until someone promotes. While verifying it is
    /// the hold of blue-green: all traffic is moved, the old set still stands, and the release is not promoted yet.
    Pause {
        /// How long; none waits for a person, bounded by the human deadline.
        duration: Option<Span>,
    },
    /// Judges measurements; ends when the analysis has its outcome.
    Analyse {
        /// Whose measurements.
        module: Token,
        /// The revision on trial.
        revision: Revision,
        /// What it is compared with.
        baseline: Option<Revision>,
        /// Metrics and limits.
        analysis: Analysis,
        /// Runs beside the following steps until they end (W6).
        background: bool,
    },
    /// Looks after the instances of a revision on trial, whatever is waited for meanwhile: fails when one of them dies
    /// or does not stay well. Runs beside the following steps until they end.
    Guard {
        /// Whose instances.
        module: Token,
        /// The revision on trial.
        revision: Revision,
    },
    /// Requests through the data plane against the new revision before it gets traffic.
    Smoke {
        /// Whose tests.
        module: Token,
        /// The revision on trial.
        revision: Revision,
    },
    /// Runs a hook of the spec.
    Hook {
        /// Index in `hooks`.
        index: u32,
    },
    /// Compares what is running with the plan.
    Validate,
    /// Collects gates and evidence into the record.
    Certify,
}

impl StepKind {
    /// It runs beside the following steps, and ends when it is told that they have.
    pub const fn is_background(&self) -> bool {
        matches!(self, StepKind::Analyse { background: true, .. } | StepKind::Guard { .. })
    }
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Unique within the deployment.
    pub id: StepId,
    /// Steps of one wave run side by side; a wave begins when the one before has succeeded.
    pub wave: u32,
    /// When it runs.
    pub stage: Stage,
    /// Who does it.
    pub agent: Agent,
    /// What it does.
    #[serde(flatten)]
    pub kind: StepKind,
    /// How long it may take in all. Default 10 min.
    pub deadline: Span,
    /// After this step a rollback is refused and a human is called instead.
    #[serde(default)]
    pub irreversible: bool,
}

impl Step {
    /// The module the step is about.
    pub fn module(&self) -> Option<&Token> {
        match &self.kind {
            StepKind::Scale { module, .. }
            | StepKind::SetWeight { module, .. }
            | StepKind::RollBatch { module, .. }
            | StepKind::Analyse { module, .. }
            | StepKind::Guard { module, .. }
            | StepKind::Smoke { module, .. } => Some(module),
            StepKind::Review
            | StepKind::Pause { .. }
            | StepKind::Hook { .. }
            | StepKind::Validate
            | StepKind::Certify => None,
        }
    }

    /// The hold of blue-green, see [`StepKind::Pause`].
    pub fn is_hold(&self) -> bool {
        self.stage == Stage::Verify && matches!(self.kind, StepKind::Pause { duration: Some(_) })
    }

    /// It is a wait with a bound of its own, that the total deadline does not count: for a person, or a hold.
    pub fn is_wait_apart(&self) -> bool {
        self.is_hold() || matches!(self.kind, StepKind::Pause { duration: None })
    }

    /// A few words for a person.
    pub fn describe(&self) -> String {
        match &self.kind {
            StepKind::Review => format!("{} reviews the plan", self.agent),
            StepKind::Scale { module, revision, count: 0 } => format!("remove {module} {revision}"),
            StepKind::Scale { module, revision, count } => format!("run {count} × {module} {revision}"),
            StepKind::SetWeight { module, weights, .. } if weights.0.is_empty() => {
                format!("no traffic to {module}")
            }
            StepKind::SetWeight { module, weights, .. } => format!("traffic of {module} to {weights}"),
            StepKind::RollBatch { module, to, new_count, old_count, .. } => {
                format!("roll {module}: {new_count} × {to}, {old_count} old")
            }
            StepKind::Pause { duration: Some(duration) } if self.is_hold() => {
                format!("hold the old set for {duration}")
            }
            StepKind::Pause { duration: Some(duration) } => format!("pause {duration}"),
            StepKind::Pause { duration: None } => "wait for promote".to_owned(),
            StepKind::Analyse { module, background: true, .. } => format!("watch {module} in the background"),
            StepKind::Analyse { module, .. } => format!("analyse {module}"),
            StepKind::Guard { module, .. } => format!("look after the instances of {module}"),
            StepKind::Smoke { module, .. } => format!("smoke test {module}"),
            // The id was made of the hook's name; one that an earlier version made was made of its number.
            StepKind::Hook { index } => match self.id.as_str().split_once("-hook-") {
                Some((_, name)) => format!("hook {name}"),
                None => format!("hook {index}"),
            },
            StepKind::Validate => match (self.agent, self.stage) {
                (Agent::Performance, _) => "measure against what ran before".to_owned(),
                (Agent::Guardian, _) => "write alert rules and soak".to_owned(),
                (_, Stage::Rollback) => "compare what runs with what ran before".to_owned(),
                _ => "compare what runs with the plan".to_owned(),
            },
            StepKind::Certify => "collect gates and evidence".to_owned(),
        }
    }
}

/// What an agent found and did; travels in a report and stays in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepResult {
    /// How it ended.
    pub outcome: Outcome,
    /// Why, for a person: gate, value, limit. One line.
    pub reason: String,
    /// What was found; at most [`crate::limits::FINDINGS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Gates that were judged, with measured value and limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateResult>,
    /// Digest of the full evidence in the evidence store, when there is more than fits here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Digest>,
    /// Who had it skipped, by promoting in full. Only the orchestrator says so, never a runner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_by: Option<Principal>,
}

impl StepResult {
    /// A result without findings or gates.
    pub fn new(outcome: Outcome, reason: impl Into<String>) -> StepResult {
        StepResult {
            outcome,
            reason: reason.into(),
            findings: Vec::new(),
            gates: Vec::new(),
            evidence: None,
            skipped_by: None,
        }
    }
}
