//! 10: collects every step, gate, finding, approval and number of a deployment into one record and keeps it as evidence.

use model::{
    Event, Outcome, Phase, Record, StepKind, Timestamp,
    deployment::StepJob,
    step::{Stage, Step, StepResult},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::{Error, context::Ctx, error::Result};

/// What stands where a signature will be.
const UNSIGNED: &str = "unsigned: AGT-10 signing belongs to the audit issue";

/// Collects and keeps the record; fails when a gate that had to be judged was not.
pub async fn certify(job: &StepJob, ctx: &Ctx) -> Result<StepResult> {
    let records = ctx.store.history(&job.deployment).await?;
    if records.is_empty() {
        return Err(Error::trouble(format!("the journal of {} is empty", job.deployment)));
    }
    let story = Story::read(&records);
    let missing = story.missing();
    let record = story.record(job, &missing, ctx.now());
    let evidence = ctx.store.keep(&model::digest::canonical_json(&record)).await?;
    let (outcome, reason) = match missing.as_slice() {
        [] => (
            Outcome::Succeeded,
            format!("{} steps and {} gates recorded; {UNSIGNED}", story.ended(), story.gates()),
        ),
        [first, ..] => (Outcome::Failed, format!("{first} ({} missing in all)", missing.len())),
    };
    Ok(StepResult { evidence: Some(evidence), ..StepResult::new(outcome, reason) })
}

/// One attempt of a step.
#[derive(Default)]
struct Attempt {
    scheduled: Option<Timestamp>,
    finished: Option<Timestamp>,
    runner: String,
    result: Option<StepResult>,
}

/// A deployment's journal as the certificate sees it.
#[derive(Default)]
struct Story<'a> {
    steps: Vec<&'a Step>,
    attempts: BTreeMap<(&'a str, u32), Attempt>,
    approvals: Vec<Value>,
    required: u8,
    said: Vec<Value>,
    head: BTreeMap<&'static str, Value>,
    phase: Option<Phase>,
}

impl<'a> Story<'a> {
    fn read(records: &'a [Record]) -> Story<'a> {
        let mut story = Story::default();
        for record in records {
            for event in &record.events {
                story.take(event, record.at);
            }
        }
        story.head.insert("journalVersion", json!(records.last().map(|record| record.version)));
        story
    }

    fn take(&mut self, event: &'a Event, at: Timestamp) {
        match event {
            Event::Received { spec, spec_digest, mode, initiator, force, .. } => {
                self.required = spec.gates.approvals.as_ref().map_or(0, |approvals| approvals.required);
                self.head.extend([
                    ("specDigest", json!(spec_digest)),
                    ("mode", json!(mode)),
                    ("initiator", json!(initiator)),
                    ("forced", json!(force)),
                    ("received", json!(at)),
                    ("waivers", json!(spec.waivers)),
                ]);
            }
            Event::Planned { plan, baseline } => {
                self.steps = plan.steps.iter().collect();
                let baseline = baseline.as_ref().map(|baseline| baseline.digest());
                self.head.extend([
                    ("planDigest", json!(plan.digest())),
                    ("baselineDigest", json!(baseline)),
                    ("changes", json!(plan.changes)),
                ]);
            }
            Event::Advised { source, summary, advice } => {
                self.head.insert("advice", json!({"source": source, "summary": summary, "opinion": advice}));
            }
            Event::Approved { by, plan } => self.approvals.push(json!({"by": by, "plan": plan, "at": at})),
            Event::Locked { token } => drop(self.head.insert("lock", json!(token))),
            Event::StepScheduled { step, attempt, .. } => {
                self.attempts.entry((step.as_str(), *attempt)).or_default().scheduled = Some(at);
            }
            Event::StepStarted { step, attempt, runner } => {
                self.attempts.entry((step.as_str(), *attempt)).or_default().runner.clone_from(runner);
            }
            Event::StepFinished { step, attempt, runner, result } => {
                let entry = self.attempts.entry((step.as_str(), *attempt)).or_default();
                if entry.result.is_none() {
                    (entry.finished, entry.result) = (Some(at), Some(result.clone()));
                    entry.runner.clone_from(runner);
                }
            }
            Event::Paused { by } => self.said.push(json!({"paused": by, "at": at})),
            Event::Resumed { by } => self.said.push(json!({"resumed": by, "at": at})),
            Event::PromoteRequested { by, full } => {
                self.said.push(json!({"promote": by, "full": full, "at": at}))
            }
            Event::RollbackBegan { cause, steps, .. } => {
                self.steps.extend(steps);
                self.head.insert("cause", json!(cause));
            }
            Event::RollbackRetried { by, .. } => self.said.push(json!({"retried": by, "at": at})),
            Event::Promoted {} => {
                self.phase = Some(Phase::Promoted);
                self.head.insert("promoted", json!(at));
            }
            Event::RolledBack {} => {
                self.phase = Some(Phase::RolledBack);
                self.head.insert("rolledBack", json!(at));
            }
            Event::HumanNeeded { cause } => self.said.push(json!({"humanNeeded": cause, "at": at})),
            Event::Validated {}
            | Event::OwnerClaimed { .. }
            | Event::OwnerReleased { .. }
            | Event::AdviceAsked { .. }
            | Event::ApprovalAwaited { .. }
            | Event::LockAwaited { .. }
            | Event::ExecutionBegan { .. }
            | Event::VerificationBegan {}
            | Event::Decided { .. }
            | Event::Closed { .. } => {}
        }
    }

    fn last(&self, step: &'a Step) -> Option<&Attempt> {
        self.attempts
            .range((step.id.as_str(), 0)..=(step.id.as_str(), u32::MAX))
            .next_back()
            .map(|(_, attempt)| attempt)
    }

    fn ended(&self) -> usize {
        self.steps
            .iter()
            .filter(|step| self.last(step).is_some_and(|attempt| attempt.result.is_some()))
            .count()
    }

    fn gates(&self) -> usize {
        self.attempts
            .values()
            .filter_map(|attempt| attempt.result.as_ref())
            .map(|result| result.gates.len())
            .sum()
    }

    /// What had to be judged and is not: every step up to the promotion ended well, every analysis and every verified
    /// share has a number, and as many people approved as had to. A release that went back has nothing to prove.
    fn missing(&self) -> Vec<String> {
        if self.phase != Some(Phase::Promoted) {
            return Vec::new();
        }
        let mut missing = Vec::new();
        for step in self
            .steps
            .iter()
            .filter(|step| matches!(step.stage, Stage::Check | Stage::Execute | Stage::Verify))
        {
            let Some(result) = self.last(step).and_then(|attempt| attempt.result.as_ref()) else {
                missing.push(format!("step {} has no result", step.id));
                continue;
            };
            let skipped = result.reason.starts_with("skipped:");
            if result.outcome != Outcome::Succeeded {
                missing.push(format!("step {} {}", step.id, result.outcome));
            }
            let gated = match &step.kind {
                StepKind::SetWeight { verify, weights, .. } => *verify && !weights.0.is_empty(),
                StepKind::Analyse { .. } | StepKind::Smoke { .. } => true,
                _ => false,
            };
            if gated && !skipped && result.gates.is_empty() {
                missing.push(format!("step {} has no gate: nothing was measured", step.id));
            }
        }
        if self.approvals.len() < usize::from(self.required) {
            missing.push(format!("{} of {} approvals", self.approvals.len(), self.required));
        }
        missing
    }

    fn record(&self, job: &StepJob, missing: &[String], now: Timestamp) -> Value {
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|step| {
                let of = self.attempts.range((step.id.as_str(), 0)..=(step.id.as_str(), u32::MAX));
                let attempts: Vec<Value> = of
                    .map(|((_, number), attempt)| {
                        json!({
                            "attempt": number, "runner": attempt.runner, "scheduled": attempt.scheduled,
                            "finished": attempt.finished, "result": attempt.result,
                        })
                    })
                    .collect();
                json!({
                    "id": step.id, "stage": step.stage, "agent": step.agent, "text": step.describe(),
                    "attempts": attempts,
                })
            })
            .collect();
        let verdict = match self.phase {
            Some(Phase::Promoted) => "promoted",
            Some(Phase::RolledBack) => "rolled_back",
            _ => "undecided",
        };
        let mut record = json!({
            "kind": "code/v1 deployment record",
            "deployment": job.deployment,
            "target": job.spec.target_id().to_string(),
            "verdict": verdict,
            "steps": steps,
            "approvals": self.approvals,
            "said": self.said,
            "missing": missing,
            "recorded": now,
            "signature": UNSIGNED,
        });
        for (name, value) in &self.head {
            record[*name] = value.clone();
        }
        record
    }
}

#[cfg(test)]
mod tests;
