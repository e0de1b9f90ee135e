//! Untrue statements, signed with the real keys: by an engine with a fault, or by somebody inside. Whatever the enclosed
//! spec, plan, journal or proof refute is refused, and the reason names the field.

use certificate::{
    At, Certificate, Deployment, Ending, Problem, Trust,
    deployment::{Found, Intervention},
    verify::check,
};
use model::{
    Digest, Event, Outcome, Record, Severity, Timestamp,
    deployment::Mode,
    expert::{Action, AnswerStatus, PlanAdvice, Stance, Voice},
    spec::GateMode,
};
use serde_json::{Value, json};

use crate::{
    fixture::{BEGAN, NOW, Office, facts, journal, person, promoted, rolled_back},
    mutations::sign,
};

/// A promotion on which experts had to approve, and did.
pub fn advised() -> Vec<Record> {
    let voice = |name: &str, family: &str, stance| Voice {
        expert: name.parse().unwrap(),
        family: family.parse().unwrap(),
        status: AnswerStatus::Ok,
        stance: Some(stance),
        text: "no objection".to_owned(),
    };
    let advice: PlanAdvice = serde_json::from_value(json!({
        "question": "q-1", "consultation": Digest::of_bytes(b"all of it"), "source": "models", "action": "approve",
        "reason": "approving loses least", "findings": [], "votes": 3, "effectiveVotes": 1.7, "costMicroUsd": 0, "tookMs": 9,
        "voices": [
            voice("one", "claude", Stance::Approve),
            voice("two", "gpt", Stance::Approve),
            voice("three", "gemini", Stance::Reject),
        ],
    }))
    .unwrap();
    let mut records = promoted();
    for record in &mut records {
        if matches!(record.events.as_slice(), [Event::Advised { .. }]) {
            record.events = vec![
                Event::AdviceAsked { gate: GateMode::Require, until: Timestamp(BEGAN + 60_000) },
                Event::Advised {
                    source: "models".to_owned(),
                    summary: advice.summary(),
                    advice: Some(Box::new(advice.clone())),
                },
            ];
        }
    }
    records
}

pub fn names(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}\n")).collect()
}

pub fn says(problems: &[Problem], field: &str) -> bool {
    problems.iter().any(|problem| problem.field == field && !problem.text.is_empty())
}

fn instant(text: &str) -> At {
    serde_json::from_value(json!(text)).unwrap()
}

/// Changes what is signed, and nothing else.
pub type Lie = fn(&mut Deployment);

pub const LIES: &[(&str, &str, Lie)] = &[
    ("a measured value beyond its limit", "gates[1].measured", |told| told.gates[1].measured = Some(0.9)),
    ("a measured value that nobody measured", "gates[1].measured", |told| {
        told.gates[1].measured = Some(0.02)
    }),
    ("an error rate below zero", "gates[1].measured", |told| told.gates[1].measured = Some(-1.0)),
    ("another limit", "gates[1].limit", |told| told.gates[1].limit = "< 0.95".to_owned()),
    ("an empty limit", "gates[1].limit", |told| told.gates[1].limit = String::new()),
    ("a limit of traffic that is none", "gates[2].limit", |told| {
        told.gates[2].limit = "100 ± 90.0 %".to_owned()
    }),
    ("a share of traffic that is off", "gates[2].measured", |told| told.gates[2].measured = Some(50.0)),
    ("a smoke test with failures", "gates[0].measured", |told| told.gates[0].measured = Some(3.0)),
    ("a smoke test with another limit", "gates[0].limit", |told| told.gates[0].limit = "< 5".to_owned()),
    ("no samples", "gates[1].samples", |told| told.gates[1].samples = 0),
    ("fewer samples than are needed", "gates[1].samples", |told| told.gates[1].samples = 19),
    ("more samples than there were", "gates[1].samples", |told| told.gates[1].samples = 100_000),
    ("a second gate of the same name, failed", "gates[4].gate", |told| {
        let twice = told.gates[1].clone();
        told.gates.push(certificate::deployment::Gate { outcome: Outcome::Failed, ..twice });
    }),
    ("a gate that nothing asks for", "gates[1].gate", |told| told.gates[1].gate = "latency".to_owned()),
    ("a gate of an attempt that there was not", "gates[0].attempt", |told| told.gates[0].attempt = 2),
    ("an approval after the end", "approvals[0].at", |told| {
        told.approvals[0].at = At(told.ended.0.plus(std::time::Duration::from_millis(1)))
    }),
    ("an approval without a bound", "approvals[0].until", |told| told.approvals[0].until = None),
    ("an approval in 2030 without a bound", "approvals[0].until", |told| {
        told.approvals[0].at = instant("2030-01-01T00:00:00.000Z");
        told.approvals[0].until = None;
    }),
    ("an approval with a bound in 2030", "approvals[0].until", |told| {
        told.approvals[0].until = Some(instant("2030-01-01T00:00:00.000Z"))
    }),
    ("an approval before it was asked for", "approvals[0].at", |told| {
        told.approvals[0].at = instant("2020-01-01T00:00:00.000Z");
        told.approvals[0].until = Some(instant("2020-01-01T01:00:00.000Z"));
    }),
    ("an approval by somebody else who may", "approvals[0].by", |told| {
        told.approvals[0].by = person("carol")
    }),
    ("a critical finding waived by nothing", "findings[1].waived", |told| {
        let (step, module) = (told.findings[0].step.clone(), told.findings[0].module.clone());
        told.findings.push(Found {
            step,
            rule: "security/host-mount".to_owned(),
            severity: Severity::Critical,
            module,
            message: "web mounts the host".to_owned(),
            waived: Some("nobody minds".to_owned()),
        });
    }),
    ("a finding waived for another reason", "findings[0].waived", |told| {
        told.findings[0].waived = Some("nobody minds".to_owned())
    }),
    ("a finding called less grave", "findings[0].severity", |told| told.findings[0].severity = Severity::Low),
    ("a finding left out", "findings", |told| told.findings.clear()),
    ("all votes reject what is approved", "experts.opinion.action", |told| {
        for vote in &mut told.experts.opinion.as_mut().unwrap().votes {
            vote.vote = Some(Stance::Reject);
        }
    }),
    ("a vote that was not given so", "experts.opinion.votes[0].vote", |told| {
        told.experts.opinion.as_mut().unwrap().votes[0].vote = Some(Stance::Reject);
    }),
    ("a vote by one who gave no answer", "experts.opinion.votes[0].vote", |told| {
        told.experts.opinion.as_mut().unwrap().votes[0].status = AnswerStatus::Timeout;
    }),
    ("an expert who votes twice", "experts.opinion.votes[1].expert", |told| {
        let opinion = told.experts.opinion.as_mut().unwrap();
        opinion.votes[1].expert = opinion.votes[0].expert.clone();
    }),
    ("more votes than stand there", "experts.opinion.counted", |told| {
        told.experts.opinion.as_mut().unwrap().counted = 9
    }),
    ("votes worth more than they are", "experts.opinion.effective", |told| {
        told.experts.opinion.as_mut().unwrap().effective = 7.5
    }),
    ("an opinion that is not there", "experts.opinion", |told| told.experts.opinion = None),
    ("an opinion that does not approve", "experts.opinion.action", |told| {
        told.experts.opinion.as_mut().unwrap().action = Action::Escalate
    }),
    ("experts who need not approve", "policy.experts", |told| told.policy.experts = GateMode::Off),
    ("a way back, which needs no approval", "mode", |told| {
        told.mode = Mode::Rollback;
        told.approvals.clear();
        told.experts.opinion = None;
    }),
    ("another digest of the journal", "journal.digest", |told| {
        told.journal.digest = Digest::of_bytes(b"none")
    }),
    ("another length of the journal", "journal.version", |told| told.journal.version = 3),
    ("a log that nothing shows", "journal.range", |told| {
        told.audit = Some(
            serde_json::from_value(json!({
                "origin": "acme/elsewhere", "first": 0, "last": 900, "records": told.journal.version, "size": 1000,
                "root": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
            }))
            .unwrap(),
        )
    }),
    ("issued in 2999", "issued", |told| told.issued = instant("2999-01-01T00:00:00.000Z")),
    ("issued before it was over", "issued", |told| told.issued = told.received),
    ("issued before it was looked at", "issued", |told| {
        told.observed.as_mut().unwrap().at = At(told.issued.0.plus(std::time::Duration::from_secs(1)))
    }),
    ("looked at in 2020", "observed.at", |told| {
        told.observed.as_mut().unwrap().at = instant("2020-01-01T00:00:00.000Z")
    }),
    ("looked at in 2999", "issued", |told| {
        told.observed.as_mut().unwrap().at = instant("2999-01-01T00:00:00.000Z")
    }),
    ("what runs compared with the baseline", "observed.expected", |told| {
        told.observed.as_mut().unwrap().expected = told.baseline.clone()
    }),
    ("asked for by somebody else", "initiator", |told| told.initiator = person("eve")),
    ("asked for earlier", "received", |told| told.received = instant("2026-11-01T00:00:00.000Z")),
    ("over earlier", "ended", |told| told.ended = told.received),
    ("forced, which nobody did", "forced", |told| told.forced = Some("it is urgent".to_owned())),
    ("something that nobody did on the way", "interventions", |told| {
        let at = told.ended;
        told.interventions.push(Intervention { what: "promoted_in_full".to_owned(), by: person("ada"), at });
    }),
    ("an analysis that nobody skipped", "gates", |told| {
        told.steps[6].skipped_by = Some(person("ada"));
        told.gates.retain(|gate| gate.gate != "error-rate");
    }),
    ("another runner", "steps[3].runner", |told| told.steps[3].runner = Some("rep-9".to_owned())),
    ("another fence", "steps[3].fence.lock", |told| told.steps[3].fence.as_mut().unwrap().lock = 9),
    ("another attempt", "steps[3].attempts", |told| told.steps[3].attempts = 2),
    ("another key of a step", "steps[3].idempotencyKey", |told| {
        told.steps[3].idempotency_key = Some("x".to_owned())
    }),
    ("a step that ended before it began", "steps[3].finished", |told| {
        told.steps[3].finished = Some(instant("2026-11-20T00:00:00.000Z"))
    }),
    ("evidence that there is not", "steps[3].evidence", |told| {
        told.steps[3].evidence = Some(Digest::of_bytes(b"none"))
    }),
    ("an input that there is not", "inputs", |told| {
        let more = told.inputs[0].clone();
        told.inputs.push(more);
    }),
    ("another bill of materials", "inputs[0].digest", |told| {
        told.inputs[0].digest = Digest::of_bytes(b"other")
    }),
];

#[tokio::test]
async fn what_the_enclosed_documents_refute_is_refused_although_it_is_signed() {
    let office = Office::open();
    let (trust, records) = (office.ready(), advised());
    let (truth, documents) = facts(&records);
    assert_eq!(truth.ending, Ending::Promoted, "{:?}", truth.missing);
    let honest = sign(&office, &truth, documents.clone(), journal(&records)).await;
    assert!(check(&honest, &trust, NOW).unwrap().is_positive());

    for (what, field, lie) in LIES {
        let mut told = truth.clone();
        lie(&mut told);
        assert_ne!(told, truth, "{what} changes nothing");

        let signed = sign(&office, &told, documents.clone(), journal(&records)).await;
        let problems = check(&signed, &trust, NOW).expect_err(what);

        let field = match *field {
            "journal.digest" => "journal.records".to_owned(),
            "journal.range" => "journal.range".to_owned(),
            field => format!("predicate.{field}"),
        };
        assert!(says(&problems, &field), "{what}: {field} is not named:\n{}", names(&problems));
    }
}

/// What a certificate may say and nothing enclosed shows.
const BELIEVED: [&str; 4] = ["/certifier/replica", "/certifier/version", "/observed/at", "/issued"];

/// Every single value of a statement, with another one in its place that can be read.
pub fn others(value: &Value) -> Vec<(String, Value)> {
    fn scalars(value: &Value, path: String, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| scalars(value, format!("{path}/{name}"), found))
            }
            Value::Array(all) => {
                all.iter().enumerate().for_each(|(at, value)| scalars(value, format!("{path}/{at}"), found))
            }
            _ => found.push(path),
        }
    }
    let mut paths = Vec::new();
    scalars(value, String::new(), &mut paths);
    let texts = [
        "other",
        "unauthenticated:other",
        "s9-other",
        "failed",
        "rollback",
        "CANCELLED",
        "require",
        "low",
        "review",
        "verify",
        "validator",
        "deployer",
        "quarantined",
        "2026-11-21T05:51:07.000Z",
        "sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ];
    let candidates: Vec<Value> = texts.iter().map(|text| json!(text)).chain([json!(7), json!(0.5)]).collect();
    let changed = |path: &String| {
        candidates.iter().find_map(|candidate| {
            let mut changed = value.clone();
            *changed.pointer_mut(path)? = candidate.clone();
            let read = serde_json::from_value::<Deployment>(changed.clone()).ok()?;
            (serde_json::to_value(read).ok()? != *value).then_some((path.clone(), changed))
        })
    };
    paths.iter().filter_map(changed).collect()
}

#[tokio::test]
async fn no_value_of_a_statement_can_be_another_one_but_what_is_believed() {
    let office = Office::open();
    let trust = office.ready();

    for records in [advised(), rolled_back()] {
        let (truth, documents) = facts(&records);
        let all = others(&serde_json::to_value(&truth).unwrap());
        assert!(all.len() > 150, "{}", all.len());
        for (path, changed) in all {
            let told: Deployment = serde_json::from_value(changed).unwrap();
            let signed = sign(&office, &told, documents.clone(), journal(&records)).await;
            let refused = check(&signed, &trust, NOW).is_err();
            assert!(refused || BELIEVED.contains(&path.as_str()), "{path} may be another");
        }
    }
}

#[tokio::test]
async fn what_is_left_to_believe_is_listed_with_who_is_believed() {
    let office = Office::open();
    let certificate: Certificate = office.issue(&advised()).await;

    let believed = check(&certificate, &office.ready(), NOW).unwrap().believed;

    let by = |field: &str| {
        let found = believed.iter().find(|belief| belief.field == field);
        found.unwrap_or_else(|| panic!("{field} is not among {believed:?}")).by.as_str()
    };
    assert_eq!(by("predicate.initiator"), "ada (unauthenticated)");
    assert_eq!(by("predicate.approvals"), "bob (unauthenticated)");
    assert_eq!(by("predicate.gates"), "rep-0200");
    assert_eq!(by("predicate.observed"), "certifier rep-0200");
    assert_eq!(by("predicate.inputs[0]"), "the spec's author");
    assert_eq!(by("predicate.inputs[1]"), "the runners");
    assert_eq!(by("predicate.experts.opinion"), "consensus");
    assert!(by("predicate.journal").starts_with("certifier"));
}

#[tokio::test]
async fn that_a_publisher_asked_for_it_is_believed_of_the_engine() {
    let office = Office::open();
    let mut records = promoted();
    for event in records.iter_mut().flat_map(|record| &mut record.events) {
        if let Event::Received { initiator, .. } = event {
            *initiator = "publisher:ci-1".parse().unwrap();
        }
    }
    let certificate = office.issue(&records).await;

    let believed = check(&certificate, &office.ready(), NOW).unwrap().believed;

    let found = believed.iter().find(|belief| belief.field == "predicate.initiator").unwrap();
    assert_eq!(found.by, "ci-1 (publisher)");
    assert!(found.text.contains("nothing of that is kept"), "{}", found.text);
}

#[tokio::test]
async fn labels_that_nobody_read_are_no_input_of_the_summary() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let office = Office::open();
    let certificate = office.issue(&promoted()).await;

    let payload = STANDARD.decode(&certificate.vsa.payload).unwrap();
    let summary: Value = serde_json::from_slice(&payload).unwrap();

    let inputs = summary["predicate"]["inputAttestations"].as_array().unwrap();
    assert_eq!(inputs.len(), 1, "{inputs:?}");
    assert!(inputs[0]["uri"].as_str().unwrap().starts_with("code:certificate/"));
}

#[test]
fn a_trust_file_that_lists_a_key_twice_is_refused() {
    let office = Office::open();
    let mut keys = office.ring.keys.clone();
    let mut twice = keys[0].clone();
    twice.revoked = Some(At(Timestamp(BEGAN)));
    keys.push(twice);

    let error = Trust { keys, log: None }.ready().unwrap_err();

    assert!(error.to_string().contains("is listed twice"), "{error}");
}
