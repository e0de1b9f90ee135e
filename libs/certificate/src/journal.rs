//! Reads a deployment's journal into what a certificate says. Pure.

mod ballots;
mod course;

use std::collections::BTreeMap;

use approval::About;
use model::{
    DeploymentId, DeploymentSpec, Digest, Event, Phase, Plan, Principal, Record, TargetId, Timestamp,
    Verdict,
    approval::{Decision, Signed},
    deployment::{Cause, Mode},
    digest::canonical_json,
    expert::PlanAdvice,
    plan::Snapshot,
    spec::GateMode,
    step::{Agent, Step, StepResult},
};

use crate::{
    At, Deployment, Documents, Ending, Error, Journal, Range,
    deployment::{
        self, Approval, Audit, Certifier, Experts, Found, Gate, Input, Intervention, JournalDigest, Observed,
        Opinion, Vote,
    },
    rules,
};
use ballots::Ballots;
use course::Course;

/// Labels of a spec that name what its build made, and what they are called in a certificate. The value is a digest.
const LABELS: [(&str, &str); 4] = [
    ("code/sbom", "sbom"),
    ("code/provenance", "provenance"),
    ("code/vulnerabilities", "vulnerabilities"),
    ("code/test-result", "test-result"),
];

/// One attempt of a step.
#[derive(Default)]
struct Attempt {
    scheduled: Option<Timestamp>,
    key: Option<String>,
    fence: Option<deployment::Fence>,
    finished: Option<Timestamp>,
    runner: Option<String>,
    result: Option<StepResult>,
}

/// A deployment's journal, read.
pub struct Story<'a> {
    id: &'a str,
    records: &'a [Record],
    spec: &'a DeploymentSpec,
    mode: Mode,
    initiator: &'a Principal,
    forced: Option<&'a String>,
    received: Timestamp,
    plan: Option<&'a Plan>,
    /// What the plan starts from and what would be returned to.
    baseline: Option<&'a Snapshot>,
    /// Checks that had ended when the plan was made anew from another baseline.
    checked_before: Vec<&'a str>,
    way_back: Vec<&'a Step>,
    attempts: BTreeMap<(&'a str, u32), Attempt>,
    approvals: Vec<Approval>,
    until: Option<At>,
    ballots: Ballots,
    course: Course<'a>,
    gate: GateMode,
    advised: Option<(&'a str, &'a str)>,
    advice: Option<&'a PlanAdvice>,
    done: Vec<Intervention>,
    cause: Option<&'a Cause>,
    phase: Option<(Phase, Timestamp)>,
    verdict: Option<(Verdict, Timestamp)>,
}

impl<'a> Story<'a> {
    /// Reads a journal from its first record on.
    pub fn read(records: &'a [Record]) -> Result<Story<'a>, Error> {
        let id = records.first().map(|record| record.id.as_str()).unwrap_or_default();
        let broken = |why| Error::Journal { deployment: id.to_owned(), why };
        let received =
            records.iter().flat_map(|record| record.events.iter().map(move |event| (event, record.at)));
        let Some((Event::Received { spec, spec_digest, mode, initiator, force, .. }, at)) =
            received.clone().next()
        else {
            return Err(broken("does not begin with what was asked for"));
        };
        if *spec_digest != Digest::of(spec) {
            return Err(broken("begins with another spec than it says"));
        }
        let again = |event: &Event| matches!(event, Event::Received { .. });
        if received.clone().skip(1).any(|(event, _)| again(event)) {
            return Err(broken("asks for something twice"));
        }
        if records.iter().enumerate().any(|(at, record)| record.version != at as u64 + 1 || record.id != id) {
            return Err(broken("has a gap"));
        }
        let mut story = Story {
            id,
            records,
            spec,
            mode: *mode,
            initiator,
            forced: force.as_ref(),
            received: at,
            plan: None,
            baseline: None,
            checked_before: Vec::new(),
            way_back: Vec::new(),
            attempts: BTreeMap::new(),
            approvals: Vec::new(),
            until: None,
            ballots: Ballots::default(),
            course: Course::default(),
            gate: GateMode::Off,
            advised: None,
            advice: None,
            done: Vec::new(),
            cause: None,
            phase: None,
            verdict: None,
        };
        received.for_each(|(event, at)| story.take(event, at));
        Ok(story)
    }

    fn take(&mut self, event: &'a Event, at: Timestamp) {
        self.course.take(event, at);
        match event {
            Event::Planned { plan, baseline } => {
                // A deployment that waited is planned again from what runs then: the last plan is the one that is done.
                if self.plan.is_some_and(|before| **plan != *before) {
                    self.checked_before = self.attempts.keys().map(|(step, _)| *step).collect();
                    self.checked_before.dedup();
                }
                self.plan = Some(plan);
                self.baseline = baseline.as_deref();
            }
            Event::AdviceAsked { gate, .. } => self.gate = self.gate.max(*gate),
            Event::Advised { source, summary, advice } => {
                self.advised = Some((source, summary));
                self.advice = advice.as_deref();
            }
            Event::ApprovalAwaited { until, terms } => {
                self.until = Some(At(*until));
                let before = self.baseline.map(|baseline| &baseline.spec);
                if self.ballots.open(terms.as_deref(), self.spec, before) {
                    self.approvals.clear();
                }
            }
            Event::Approved { by, plan, signed } => {
                if self.counts(Decision::Approve, by, plan, signed.as_deref(), at) {
                    let (by, plan, until) = (by.clone(), plan.clone(), self.until);
                    self.approvals.push(Approval { by, plan, at: At(at), until });
                }
            }
            Event::Denied { by, plan, signed, .. } => {
                if self.counts(Decision::Deny, by, plan, signed.as_deref(), at) {
                    self.someone("denied", by, at);
                }
            }
            Event::LockAwaited { .. } | Event::Locked { .. } | Event::ExecutionBegan { .. } => {
                self.ballots.go_on(at);
            }
            Event::StepScheduled { step, attempt, idem_key, fence, .. } => {
                let entry = self.attempts.entry((step.as_str(), *attempt)).or_default();
                *entry = Attempt {
                    scheduled: Some(at),
                    key: Some(idem_key.clone()),
                    fence: Some(deployment::Fence { lock: fence.lock, epoch: fence.epoch }),
                    ..Attempt::default()
                };
            }
            Event::StepStarted { step, attempt, runner } => {
                self.attempts.entry((step.as_str(), *attempt)).or_default().runner = Some(runner.clone());
            }
            Event::StepFinished { step, attempt, runner, result } => {
                let entry = self.attempts.entry((step.as_str(), *attempt)).or_default();
                if entry.result.is_none() {
                    (entry.finished, entry.result) = (Some(at), Some(result.clone()));
                    entry.runner = Some(runner.clone());
                }
            }
            Event::Paused { by } => self.someone("paused", by, at),
            Event::Resumed { by } => self.someone("resumed", by, at),
            Event::RecordSkipped(skip) => self.someone("record_skipped", &skip.by, at),
            Event::PromoteRequested { by, full: false } => self.someone("promoted", by, at),
            Event::PromoteRequested { by, full: true } => self.someone("promoted_in_full", by, at),
            Event::RollbackRetried { by, .. } => {
                self.someone("rollback_retried", by, at);
                // It counts its attempts anew.
                let back = &self.way_back;
                self.attempts.retain(|(step, _), _| !back.iter().any(|known| known.id.as_str() == *step));
            }
            Event::RollbackBegan { cause, steps, .. } => {
                self.way_back = steps.iter().collect();
                self.cause = Some(cause);
            }
            Event::Promoted {} => self.phase = Some((Phase::Promoted, at)),
            Event::RolledBack {} => self.phase = Some((Phase::RolledBack, at)),
            Event::HumanNeeded { cause } => self.cause = self.cause.or(Some(cause)),
            Event::Decided { verdict, cause } | Event::Closed { verdict, cause, .. } => {
                self.verdict.get_or_insert((*verdict, at));
                self.cause = cause.as_ref().or(self.cause);
            }
            Event::Received { .. }
            | Event::Validated {}
            | Event::OwnerClaimed { .. }
            | Event::OwnerReleased { .. }
            | Event::VerificationBegan {} => {}
        }
    }

    /// Whether an approval or a denial counts, as the orchestrator counts it.
    fn counts(
        &mut self,
        decision: Decision,
        by: &Principal,
        plan: &Digest,
        signed: Option<&Signed>,
        at: Timestamp,
    ) -> bool {
        let modules = self.spec.versions();
        let target = self.spec.target_id();
        let about = self.plan.map(|plan| About {
            deployment: self.id,
            target: &target,
            initiator: self.initiator,
            modules: &modules,
            plan,
        });
        self.ballots.count(about.as_ref(), decision, (by, plan), signed, at)
    }

    /// What no promotion may have, by the order of the journal: what its plan and its signed approvals lack, and that it had
    /// turned back.
    pub(crate) fn unsound(&self) -> Vec<rules::Gap> {
        let before = self.baseline.map(|baseline| &baseline.spec);
        let lacks =
            self.plan.map(|plan| rules::lacks(self.spec, before, self.mode, plan)).unwrap_or_default();
        let gate = self.gate.max(self.spec.gates.experts);
        let course = self.course.gaps(self.mode, gate);
        lacks.into_iter().chain(self.ballots.gaps()).chain(course).collect()
    }

    /// The statements and signatures that count, as files that `ssh-keygen -Y verify` reads, and the keys that were in force:
    /// names and bytes. Empty where nobody had to sign.
    pub fn signed_files(&self) -> Vec<(String, Vec<u8>)> {
        self.ballots.files()
    }

    /// The requirement of signed approvals that was in force, in words.
    pub fn requirement(&self) -> Option<String> {
        self.ballots.requirement()
    }

    /// By which key somebody approved: its fingerprint.
    pub fn key_of(&self, by: &Principal) -> Option<&str> {
        self.ballots.key_of(by)
    }

    fn someone(&mut self, what: &str, by: &Principal, at: Timestamp) {
        self.done.push(Intervention { what: what.to_owned(), by: by.clone(), at: At(at) });
    }

    /// Where it was to run.
    pub fn target(&self) -> TargetId {
        self.spec.target_id()
    }

    /// How it ended, and when; none while it is under way.
    pub fn ending(&self) -> Option<(Ending, Timestamp)> {
        if let Some((verdict, at)) = self.verdict {
            let ending = match verdict {
                Verdict::Promoted => Ending::Promoted,
                Verdict::RolledBack => Ending::RolledBack,
                Verdict::Rejected => Ending::Rejected,
                Verdict::Cancelled => Ending::Cancelled,
                Verdict::Superseded => Ending::Superseded,
                Verdict::NeedsHuman => Ending::NeedsHuman,
            };
            return Some((ending, at));
        }
        match self.phase? {
            (Phase::Promoted, at) => Some((Ending::Promoted, at)),
            (_, at) => Some((Ending::RolledBack, at)),
        }
    }

    /// What should run now: the new release after a promotion, the old one after a way back; none when it is not
    /// known, or when nothing was touched.
    pub fn should_run(&self) -> Option<Option<&'a DeploymentSpec>> {
        match self.ending()?.0 {
            Ending::Promoted | Ending::Unproven => Some(Some(self.spec)),
            Ending::RolledBack => Some(self.baseline.map(|baseline| &baseline.spec)),
            Ending::Rejected | Ending::Cancelled | Ending::Superseded | Ending::NeedsHuman => None,
        }
    }

    /// Checks that were done before the plan was made anew from another baseline; empty when it never was.
    pub fn checked_before(&self) -> &[&'a str] {
        &self.checked_before
    }

    /// The documents that the certificate is about.
    pub fn documents(&self) -> Documents {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap_or_default();
        Documents {
            spec: text(canonical_json(self.spec)),
            plan: self.plan.map(|plan| text(canonical_json(plan))),
        }
    }

    /// The journal itself, as it is enclosed, with the audit log's proof that it holds it.
    pub fn enclosed(&self, range: Option<Range>) -> Journal {
        let records = String::from_utf8(canonical_json(&self.records)).unwrap_or_default();
        Journal { records, range }
    }

    /// Everything a certificate says, and nothing that contradicts itself. A promotion whose evidence has gaps becomes
    /// [`Ending::Unproven`].
    pub fn facts(
        &self,
        observed: Option<Observed>,
        audit: Option<Audit>,
        certifier: Certifier,
        now: Timestamp,
    ) -> Result<Deployment, Error> {
        let facts = self.tell(observed, audit, certifier, now)?;
        match rules::contradictions(&facts, self.spec, self.plan).into_iter().next() {
            None => Ok(facts),
            Some(gap) => Err(Error::Contradiction {
                deployment: self.id.to_owned(),
                why: format!("{}: {}", gap.field, gap.text),
            }),
        }
    }

    /// Everything that follows from the journal, with what does not: what was seen at the end, where the log has it, who
    /// certifies and when. The one who verifies tells it again and compares. Fails when the journal has no ending yet.
    pub fn tell(
        &self,
        observed: Option<Observed>,
        audit: Option<Audit>,
        certifier: Certifier,
        now: Timestamp,
    ) -> Result<Deployment, Error> {
        let broken = |why| Error::Journal { deployment: self.id.to_owned(), why };
        let (ending, ended) = self.ending().ok_or_else(|| broken("has no ending yet"))?;
        let deployment: DeploymentId = self.id.parse().map_err(|_| broken("is not that of a deployment"))?;
        let turned_back = !matches!(ending, Ending::Promoted | Ending::Unproven);
        let ended = ended.max(self.received);
        let observed = self.seen(observed, ended);
        // A clock that jumped back must not make a certificate that is older than what it certifies.
        let seen = observed.as_ref().map_or(ended, |observed| observed.at.0);
        let issued = now.max(ended).max(seen);
        let unsaid = || Cause {
            kind: model::deployment::CauseKind::Operator,
            step: None,
            gate: None,
            text: format!("{ending} without a cause in the journal"),
            at: ended,
        };
        let cause = self.cause.cloned().or_else(|| turned_back.then(unsaid)).filter(|_| turned_back);
        let mut facts = Deployment {
            deployment,
            target: self.spec.target_id(),
            mode: self.mode,
            ending,
            cause: cause.map(|cause| deployment::Cause {
                kind: cause.kind,
                step: cause.step,
                gate: cause.gate.map(|gate| gate.to_string()),
                text: cause.text,
                at: At(cause.at),
            }),
            missing: Vec::new(),
            initiator: self.initiator.clone(),
            forced: self.forced.cloned(),
            received: At(self.received),
            ended: At(ended),
            issued: At(issued),
            spec: Digest::of(self.spec),
            plan: self.plan.map(Plan::digest),
            baseline: self.baseline.map(Snapshot::digest),
            policy: rules::policy(self.spec, self.gate),
            approvals: self.approvals.clone(),
            artifacts: rules::artifacts(self.spec),
            steps: self.steps().map(|step| self.step(step)).collect(),
            gates: self.gates(),
            findings: self.findings(),
            experts: self.experts(),
            interventions: self.done.clone(),
            observed,
            inputs: self.inputs(),
            journal: JournalDigest {
                version: self.records.last().map_or(0, |record| record.version),
                digest: Digest::of(&self.records),
            },
            audit,
            certifier,
        };
        if ending == Ending::Promoted {
            let gaps = rules::gaps(&facts, self.spec, self.plan).into_iter().chain(self.unsound());
            facts.missing = gaps.map(|gap| gap.text).collect();
            if !facts.missing.is_empty() {
                facts.ending = Ending::Unproven;
            }
        }
        Ok(facts)
    }

    /// What was seen, held against what should run by this journal. The look came after the end, whatever the clock of
    /// the one who looked says.
    fn seen(&self, observed: Option<Observed>, ended: Timestamp) -> Option<Observed> {
        let (should, observed) = (self.should_run()?, observed?);
        Some(Observed {
            at: At(observed.at.0.max(ended)),
            expected: should.map(Digest::of),
            differences: observed.differences,
        })
    }

    /// The steps of the plan, then those of the way back.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &'a Step> {
        self.plan.into_iter().flat_map(|plan| &plan.steps).chain(self.way_back.iter().copied())
    }

    fn last<'b>(&'b self, step: &'b Step) -> Option<(u32, &'b Attempt)> {
        let mut attempts = self.attempts.range((step.id.as_str(), 0)..=(step.id.as_str(), u32::MAX));
        attempts.next_back().map(|((_, number), attempt)| (*number, attempt))
    }

    fn step(&self, step: &Step) -> deployment::Step {
        let (attempts, last) = self.last(step).unzip();
        let result = last.and_then(|last| last.result.as_ref());
        deployment::Step {
            id: step.id.clone(),
            stage: step.stage,
            agent: step.agent,
            what: step.describe(),
            attempts: attempts.unwrap_or(0),
            idempotency_key: last.and_then(|last| last.key.clone()),
            fence: last.and_then(|last| last.fence),
            runner: last.and_then(|last| last.runner.clone()),
            scheduled: last.and_then(|last| last.scheduled.map(At)),
            finished: last.and_then(|last| last.finished.map(At)),
            outcome: result.map(|result| result.outcome),
            reason: result.map(|result| result.reason.clone()).unwrap_or_default(),
            skipped_by: result.and_then(|result| result.skipped_by.clone()),
            evidence: result.and_then(|result| result.evidence.clone()),
        }
    }

    fn gates(&self) -> Vec<Gate> {
        let mut gates = Vec::new();
        for step in self.steps() {
            let attempts = self.attempts.range((step.id.as_str(), 0)..=(step.id.as_str(), u32::MAX));
            for ((_, attempt), found) in attempts {
                for gate in found.result.iter().flat_map(|result| &result.gates) {
                    gates.push(Gate {
                        step: step.id.clone(),
                        attempt: *attempt,
                        gate: gate.gate.clone(),
                        outcome: gate.outcome,
                        measured: gate.measured.filter(|value| value.is_finite()),
                        limit: gate.limit.clone(),
                        samples: gate.samples,
                        text: gate.text.clone(),
                        at: At(gate.at),
                        evidence: gate.evidence.clone(),
                    });
                }
            }
        }
        gates
    }

    fn findings(&self) -> Vec<Found> {
        let of = |step: &'a Step| {
            let result = self.last(step).and_then(|(_, last)| last.result.as_ref());
            let findings = result.map(|result| result.findings.as_slice()).unwrap_or_default();
            findings.iter().map(|found| Found {
                step: step.id.clone(),
                rule: found.rule.clone(),
                severity: found.severity,
                module: found.module.clone(),
                message: found.message.clone(),
                waived: found.waived.clone(),
            })
        };
        self.steps().flat_map(of).collect()
    }

    fn experts(&self) -> Experts {
        let (source, summary) = self.advised.unwrap_or(("off", ""));
        let vote = |voice: &model::expert::Voice| Vote {
            expert: voice.expert.to_string(),
            family: voice.family.to_string(),
            status: voice.status,
            vote: voice.stance,
        };
        Experts {
            source: source.to_owned(),
            summary: summary.to_owned(),
            opinion: self.advice.map(|advice| Opinion {
                action: advice.action,
                reason: advice.reason.clone(),
                counted: advice.votes,
                effective: if advice.effective_votes.is_finite() { advice.effective_votes } else { 0.0 },
                votes: advice.voices.iter().map(vote).collect(),
                consultation: advice.consultation.clone(),
            }),
        }
    }

    fn inputs(&self) -> Vec<Input> {
        let named = LABELS.iter().filter_map(|(label, kind)| {
            let digest = self.spec.labels.get(*label)?.parse().ok()?;
            Some(Input { kind: (*kind).to_owned(), name: (*label).to_owned(), digest })
        });
        let made = self.steps().filter_map(|step| {
            let digest = self.last(step)?.1.result.as_ref()?.evidence.clone()?;
            Some(Input { kind: kind(step.agent).to_owned(), name: step.id.to_string(), digest })
        });
        named.chain(made).collect()
    }
}

/// What the evidence of an agent is called.
fn kind(agent: Agent) -> &'static str {
    match agent {
        Agent::Architect => "resource-plan",
        Agent::Integrator => "contract-review",
        Agent::Toolsmith => "tool-check",
        Agent::Security => "security-review",
        Agent::Tester => "test-result",
        Agent::Deployer => "deployment-log",
        Agent::Performance => "measurements",
        Agent::Validator => "end-state",
        Agent::Guardian => "alert-rules",
        Agent::Certifier => "deployment-record",
    }
}
