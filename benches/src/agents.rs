//! Agents that do as they are told, at once: what is left is the engine's own time. Not the product's agents.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use bus::{Bus, Serving, WorkRules, subjects};
use model::{
    Fault, Outcome,
    deployment::{StepJob, StepReport},
    step::{Agent, StepResult},
};

use crate::watch::Watch;

/// The label of a spec that names the step to fail, by a part of its id.
pub const FAILS: &str = "load-fails";

/// Agents on all lanes; they end when this is dropped.
pub struct Obedient(#[allow(dead_code, reason = "held to be dropped")] Vec<Serving>);

impl Obedient {
    /// Begins on every lane. Every step succeeds, except those that a spec's label [`FAILS`] names. `watch` is told
    /// of every step that begins.
    pub async fn start(bus: &Bus, watch: &Arc<Watch>) -> Result<Obedient> {
        let mut lanes = Vec::new();
        for agent in Agent::ALL {
            let (bus_, watch) = (bus.clone(), Arc::clone(watch));
            let rules =
                WorkRules { concurrency: 256, ack_wait: Duration::from_secs(30), ..WorkRules::default() };
            let handler = move |job: StepJob, _| obey(bus_.clone(), Arc::clone(&watch), job);
            let lane = bus.work(&subjects::agents::STEP, Some(agent.as_str()), rules, handler).await;
            lanes.push(lane.with_context(|| format!("working on the lane of the {agent}"))?);
        }
        Ok(Obedient(lanes))
    }
}

async fn obey(bus: Bus, watch: Arc<Watch>, job: StepJob) -> std::result::Result<(), Fault> {
    watch.step_began(&job.deployment);
    let fails = job.spec.labels.get(FAILS).is_some_and(|part| job.step.id.as_str().contains(part.as_str()));
    let outcome = if fails { Outcome::Failed } else { Outcome::Succeeded };
    let report = StepReport {
        deployment: job.deployment.clone(),
        step: job.step.id.clone(),
        attempt: job.attempt,
        fence: job.fence,
        runner: "obedient".into(),
        result: Some(StepResult::new(outcome, "as told")),
    };
    let id = format!("{}-{}", job.idem_key, job.attempt);
    bus.send(&subjects::orchestrator::REPORT, None, &report, &id).await?;
    Ok(())
}
