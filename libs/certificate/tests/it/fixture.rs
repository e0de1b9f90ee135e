//! A made-up deployment of one module, with everything a certificate can tell. Also read by a benchmark.
#![allow(dead_code, reason = "the benchmark needs only some of it")]

use certificate::{
    Certificate, Deployment, Documents, Signer, Story, Trust, TrustedKey,
    deployment::{Certifier, Observed},
    keys::file::{self, FileKey, Keyring},
    trust::Ready,
};
use ground::Secret;
use model::{
    DeploymentSpec, Digest, Event, Fence, Finding, GateResult, Outcome, Plan, Principal, Record, Severity,
    Span, Step, StepKind, Timestamp, Verdict,
    deployment::{Cause, CauseKind, Mode},
    plan::{Revision, Snapshot},
    route::Weights,
    spec::{Analysis, Strategy},
    step::{Agent, Stage, StepResult},
};
use serde_json::json;

/// 2026-11-21T05:51:00Z.
pub const BEGAN: i64 = 1_795_240_260_000;
/// When it is looked at: a day later.
pub const NOW: Timestamp = Timestamp(BEGAN + 86_400_000);

/// Somebody who only says a name.
pub fn person(name: &str) -> Principal {
    Principal::stated(name).expect("a name")
}

pub fn spec(version: &str) -> DeploymentSpec {
    let image = Digest::of_bytes(version.as_bytes()).to_string();
    serde_json::from_value(json!({
        "apiVersion": "code/v1", "name": "shop", "environment": "prod", "target": "docker",
        "modules": [{
            "name": "web", "version": version, "run": {"image": format!("ghcr.io/acme/web@{image}")}, "replicas": 3,
            "ports": [{"name": "http", "container": 8080}], "expose": {"listen": 8080}, "smoke": [{"path": "/health"}],
            "strategy": {"blueGreen": {"hold": "0s", "prePromotion": {
                "metrics": [{"name": "error-rate", "provider": {"errorRate": {}}, "success": "< 0.05"}]
            }}}
        }],
        "gates": {"approvals": {"required": 1, "from": ["bob", "carol"]}},
        "waivers": [{"rule": "security/no-memory-limit", "reason": "measured by hand", "expires": "2027-01-01"}],
        "labels": {"code/sbom": Digest::of_bytes(b"the bill of materials").to_string()}
    }))
    .expect("the spec of the fixture")
}

/// What is judged before the traffic moves.
pub fn analysis(spec: &DeploymentSpec) -> Analysis {
    let blue_green = match spec.modules[0].strategy.clone() {
        Some(Strategy::BlueGreen(blue_green)) => Some(blue_green),
        _ => None,
    };
    blue_green
        .and_then(|blue_green| blue_green.pre_promotion)
        .expect("the fixture is blue-green with an analysis")
}

pub fn plan(spec: &DeploymentSpec, baseline: &Snapshot) -> Plan {
    let web = &spec.modules[0];
    let (module, revision) = (web.name.clone(), web.revision());
    let step = |id: &str, wave, stage, agent, kind| Step {
        id: id.parse().expect("a name"),
        wave,
        stage,
        agent,
        kind,
        deadline: Span::seconds(60),
        irreversible: false,
    };
    let old = baseline.spec.modules[0].revision();
    let analyse = StepKind::Analyse {
        module: module.clone(),
        revision: revision.clone(),
        baseline: Some(old.clone()),
        analysis: analysis(spec),
        background: false,
    };
    let all = StepKind::SetWeight {
        module: module.clone(),
        weights: Weights::all_to(revision.clone()),
        verify: true,
    };
    let scale = |revision: &Revision, count| StepKind::Scale {
        module: module.clone(),
        revision: revision.clone(),
        count,
    };
    let smoke = StepKind::Smoke { module: module.clone(), revision: revision.clone() };
    let guard = StepKind::Guard { module: module.clone(), revision: revision.clone() };
    Plan {
        target: spec.target_id(),
        spec: Digest::of(spec),
        baseline: Some(baseline.digest()),
        changes: Vec::new(),
        steps: vec![
            step("s1-review", 0, Stage::Check, Agent::Security, StepKind::Review),
            step("s2-architect", 0, Stage::Check, Agent::Architect, StepKind::Review),
            step("s3-integrator", 0, Stage::Check, Agent::Integrator, StepKind::Review),
            step("s4-scale", 1, Stage::Execute, Agent::Deployer, scale(&revision, 3)),
            step("s5-smoke", 2, Stage::Execute, Agent::Tester, smoke),
            step("s6-guard", 2, Stage::Execute, Agent::Guardian, guard),
            step("s7-analyse", 3, Stage::Execute, Agent::Performance, analyse),
            step("s8-weight", 4, Stage::Execute, Agent::Deployer, all),
            step("s9-validate", 5, Stage::Verify, Agent::Validator, StepKind::Validate),
            step("s10-measure", 5, Stage::Verify, Agent::Performance, StepKind::Validate),
            step("s11-soak", 5, Stage::Verify, Agent::Guardian, StepKind::Validate),
            step("s12-retire", 6, Stage::Finish, Agent::Deployer, scale(&old, 0)),
            step("s13-certify", 7, Stage::Finish, Agent::Certifier, StepKind::Certify),
        ],
        no_return_after: None,
        at_least: Span::seconds(30),
    }
}

pub fn gate(name: &str, measured: f64, limit: &str) -> GateResult {
    GateResult {
        gate: name.to_owned(),
        outcome: Outcome::Succeeded,
        measured: Some(measured),
        limit: limit.to_owned(),
        samples: 240,
        text: format!("{name} {measured} of 240 requests, limit {limit}"),
        at: Timestamp(BEGAN + 40_000),
        evidence: None,
    }
}

/// A journal that grows.
pub struct Journal {
    id: String,
    pub records: Vec<Record>,
}

impl Journal {
    pub fn say(&mut self, events: Vec<Event>) {
        let version = self.records.len() as u64 + 1;
        let at = Timestamp(BEGAN + version as i64 * 1000);
        let writer = "rep-0193".to_owned();
        self.records.push(Record { id: self.id.clone(), version, writer, at, trace: None, events });
    }

    /// A step that was done by its first attempt.
    pub fn step(&mut self, id: &str, result: StepResult) {
        let step: model::StepId = id.parse().expect("a name");
        let at = Timestamp(BEGAN);
        let (attempt, runner) = (1, "rep-0200".to_owned());
        let fence = Fence { lock: 7, epoch: 2 };
        let key = Digest::of_bytes(id.as_bytes()).short();
        self.say(vec![Event::StepScheduled { step: step.clone(), attempt, idem_key: key, fence, until: at }]);
        self.say(vec![Event::StepStarted { step: step.clone(), attempt, runner: runner.clone() }]);
        self.say(vec![Event::StepFinished { step, attempt, runner, result }]);
    }
}

fn good(reason: &str, gates: Vec<GateResult>) -> StepResult {
    StepResult { gates, ..StepResult::new(Outcome::Succeeded, reason) }
}

/// Asked for, planned and approved, with all steps before the analysis done.
pub fn begun() -> Journal {
    let (spec, old) = (spec("2.0.0"), spec("1.0.0"));
    let baseline =
        Snapshot { deployment: "dep-0001".parse().expect("an id"), spec: old, at: Timestamp(BEGAN - 1000) };
    let plan = plan(&spec, &baseline);
    let mut journal = Journal { id: "dep-0193a5b2c4d6".to_owned(), records: Vec::new() };
    let (spec_digest, digest) = (Digest::of(&spec), plan.digest());
    journal.say(vec![
        Event::Received {
            spec: Box::new(spec),
            spec_digest,
            mode: Mode::Apply,
            initiator: person("ada"),
            expected_plan: None,
            force: None,
        },
        Event::Validated {},
    ]);
    journal.say(vec![Event::Planned { plan: Box::new(plan), baseline: Some(Box::new(baseline)) }]);
    let finding = Finding {
        rule: "security/no-memory-limit".to_owned(),
        severity: Severity::High,
        module: Some("web".parse().expect("a name")),
        field: "modules[0].resources.memory".to_owned(),
        message: "web may use all memory".to_owned(),
        cure: String::new(),
        waived: Some("measured by hand (until 2027-01-01)".to_owned()),
    };
    let evidence = Some(Digest::of_bytes(b"the review"));
    journal.step(
        "s1-review",
        StepResult { findings: vec![finding], evidence, ..good("1 findings, none blocks", Vec::new()) },
    );
    for review in ["s2-architect", "s3-integrator"] {
        journal.step(review, good("nothing found", Vec::new()));
    }
    journal.say(vec![Event::Advised {
        source: "off".to_owned(),
        summary: "nobody was asked".to_owned(),
        advice: None,
    }]);
    journal.say(vec![Event::ApprovalAwaited { until: Timestamp(BEGAN + 86_400_000), terms: None }]);
    journal.say(vec![Event::Approved { by: person("bob"), plan: digest, signed: None }]);
    let until = Timestamp(BEGAN + 3_600_000);
    journal.say(vec![
        Event::LockAwaited { until },
        Event::Locked { token: 7 },
        Event::ExecutionBegan { until },
    ]);
    journal.step("s4-scale", good("3 instances are healthy", Vec::new()));
    let evidence = Some(Digest::of_bytes(b"the smoke test"));
    journal.step(
        "s5-smoke",
        StepResult { evidence, ..good("1 request", vec![gate("smoke /health", 0.0, "== 0")]) },
    );
    journal
}

/// Through all gates. With `gates` of the analysis.
pub fn promoted_with(gates: Vec<GateResult>) -> Vec<Record> {
    let mut journal = begun();
    journal.step("s7-analyse", good("error-rate 0.01", gates));
    journal.step("s8-weight", good("done", vec![gate("traffic-share", 100.0, "100 ± 5.0 %")]));
    journal.step("s6-guard", good("3 instances are well", Vec::new()));
    journal.say(vec![Event::VerificationBegan {}]);
    for verified in ["s9-validate", "s10-measure"] {
        journal.step(verified, good("as it should be", Vec::new()));
    }
    journal.step("s11-soak", good("3 stayed well", vec![gate("soak", 0.0, "== 0")]));
    journal.say(vec![Event::Promoted {}]);
    journal.records
}

pub fn promoted() -> Vec<Record> {
    promoted_with(vec![gate("error-rate", 0.01, "< 0.05")])
}

pub fn cause(kind: CauseKind, text: &str) -> Cause {
    Cause { kind, step: None, gate: None, text: text.to_owned(), at: Timestamp(BEGAN + 30_000) }
}

/// The analysis said no.
pub fn rolled_back() -> Vec<Record> {
    let mut journal = begun();
    let bad = GateResult { outcome: Outcome::Failed, ..gate("error-rate", 0.4, "< 0.05") };
    let text = "analyse web: error-rate 0.4 of 240 requests, limit < 0.05";
    let cause = Cause {
        step: Some("s7-analyse".parse().expect("a name")),
        gate: Some(bad.clone()),
        ..cause(CauseKind::Failed, text)
    };
    let (gates, outcome) = (vec![bad], Outcome::Failed);
    journal.step("s7-analyse", StepResult { gates, ..StepResult::new(outcome, text) });
    let back = Step {
        id: "r1-validate".parse().expect("a name"),
        wave: 0,
        stage: Stage::Rollback,
        agent: Agent::Validator,
        kind: StepKind::Validate,
        deadline: Span::seconds(60),
        irreversible: false,
    };
    journal.say(vec![Event::RollbackBegan {
        cause,
        epoch: 3,
        steps: vec![back],
        until: Timestamp(BEGAN + 400_000),
    }]);
    journal.step("r1-validate", good("what runs equals the baseline", Vec::new()));
    journal.say(vec![Event::RolledBack {}]);
    journal.records
}

/// It waited while another release was promoted, was planned again from that one, and went back to it. Gives the journal
/// and what runs again.
pub fn planned_again() -> (Vec<Record>, DeploymentSpec) {
    let (between, mut records) = (spec("1.5.0"), rolled_back());
    let baseline = Snapshot {
        deployment: "dep-0002".parse().expect("an id"),
        spec: between.clone(),
        at: Timestamp(BEGAN + 500),
    };
    let again = Event::Planned {
        plan: Box::new(plan(&spec("2.0.0"), &baseline)),
        baseline: Some(Box::new(baseline)),
    };
    for record in &mut records {
        // Nobody approves a plan that is made anew.
        record.events.retain(|event| !matches!(event, Event::Approved { .. }));
        if matches!(record.events.as_slice(), [Event::LockAwaited { .. }, ..]) {
            record.events.insert(2, again.clone());
        }
    }
    records.retain(|record| !record.events.is_empty());
    (1..).zip(&mut records).for_each(|(version, record)| record.version = version);
    (records, between)
}

/// The way back failed three times, a person asked for it again, and it succeeded.
pub fn retried() -> Vec<Record> {
    let mut records = rolled_back();
    records.truncate(records.len() - 4);
    let mut journal = Journal { id: "dep-0193a5b2c4d6".to_owned(), records };
    let step: model::StepId = "r1-validate".parse().expect("a name");
    for attempt in 1..=3 {
        let (fence, key) = (Fence { lock: 7, epoch: 3 }, format!("first-{attempt}"));
        journal.say(vec![Event::StepScheduled {
            step: step.clone(),
            attempt,
            idem_key: key,
            fence,
            until: Timestamp(BEGAN),
        }]);
        let result = StepResult::new(Outcome::Failed, "web 2.0.0 still runs");
        let runner = "rep-0200".to_owned();
        journal.say(vec![Event::StepFinished { step: step.clone(), attempt, runner, result }]);
    }
    journal.say(vec![Event::HumanNeeded { cause: cause(CauseKind::Failed, "the way back failed") }]);
    let until = Timestamp(BEGAN + 900_000);
    journal.say(vec![Event::RollbackRetried { by: person("ada"), epoch: 4, until }]);
    journal.step("r1-validate", good("what runs equals the baseline", Vec::new()));
    journal.say(vec![Event::RolledBack {}]);
    journal.records
}

/// Refused before there was a plan.
pub fn rejected() -> Vec<Record> {
    let mut journal = begun();
    journal.records.truncate(1);
    let cause = Some(cause(CauseKind::Quarantined, "this spec was rolled back before"));
    journal.say(vec![Event::Decided { verdict: Verdict::Rejected, cause }]);
    journal.records
}

pub fn certifier() -> Certifier {
    Certifier { replica: "rep-0200".to_owned(), version: "0.1.0".to_owned() }
}

/// The journal as a certificate encloses it, without a log.
pub fn journal(records: &[Record]) -> certificate::Journal {
    Story::read(records).expect("the journal reads").enclosed(None)
}

/// What a certificate of this journal says, when what runs is as it should be.
pub fn facts(records: &[Record]) -> (Deployment, Documents) {
    let story = Story::read(records).expect("the journal reads");
    let at = Timestamp(BEGAN + 60_000);
    let observed = story.should_run().map(|spec| Observed {
        at: at.into(),
        expected: spec.map(Digest::of),
        differences: Vec::new(),
    });
    (story.facts(observed, None, certifier(), at).expect("facts"), story.documents())
}

/// One key of each kind, and the trust in them.
pub struct Office {
    pub folder: tempfile::TempDir,
    pub ring: Keyring,
    pub classic: FileKey,
    pub quantum: FileKey,
}

pub fn passphrase() -> Secret {
    Secret::line("correct horse battery staple\n")
}

impl Office {
    pub fn open() -> Office {
        let folder = tempfile::tempdir().expect("a folder");
        let ring = file::ensure(folder.path(), &passphrase(), file::BOTH, Timestamp(BEGAN)).expect("keys");
        let key = |at: usize| file::open(folder.path(), &ring.keys[at], &passphrase()).expect("a key");
        let (classic, quantum) = (key(0), key(1));
        Office { folder, ring, classic, quantum }
    }

    pub fn trust(&self) -> Trust {
        Trust { keys: self.ring.keys.clone(), log: None }
    }

    pub fn ready(&self) -> Ready {
        self.trust().ready().expect("keys")
    }

    pub fn trusts(&self, change: impl Fn(&mut TrustedKey)) -> Ready {
        let mut trust = self.trust();
        trust.keys.iter_mut().for_each(change);
        trust.ready().expect("keys")
    }

    pub async fn issue(&self, records: &[Record]) -> Certificate {
        let (facts, documents) = facts(records);
        certificate::issue(&facts, documents, journal(records), &self.classic, &self.quantum)
            .await
            .expect("a certificate")
    }

    pub fn signers(&self) -> (&dyn Signer, &dyn Signer) {
        (&self.classic, &self.quantum)
    }
}
