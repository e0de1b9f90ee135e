//! Changed certificates. Each must fail, and name the field that was changed.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use certificate::{
    At, Certificate, Deployment, Ending, Journal, Problem,
    bundle::Bundle,
    deployment,
    dsse::Envelope,
    statement::{Statement, subjects},
    verify, vsa,
};
use model::{Outcome, Timestamp, digest::canonical_json, step::Stage};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixture::{BEGAN, NOW, Office, facts, journal, person, promoted, rolled_back};

fn names(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// Changes the file as somebody without a key would.
type Change = fn(&mut Value);

const CHANGES: &[(&str, &str, Change)] = &[
    ("another media type", "mediaType", |file| file["mediaType"] = json!("application/json")),
    ("another bundle version", "bundle.mediaType", |file| {
        file["bundle"]["mediaType"] = json!("application/vnd.dev.sigstore.bundle.v0.1+json")
    }),
    ("another payload type", "bundle.dsseEnvelope.payloadType", |file| {
        file["bundle"]["dsseEnvelope"]["payloadType"] = json!("text/plain")
    }),
    ("a payload that is no base64", "bundle.dsseEnvelope.payload", |file| {
        file["bundle"]["dsseEnvelope"]["payload"] = json!("%%%")
    }),
    ("another verdict in the payload", "bundle.dsseEnvelope.signatures[0].sig", |file| {
        rewrite(&mut file["bundle"]["dsseEnvelope"], ":ada\"", ":eve\"")
    }),
    ("another statement under a summary that holds", "bundle.dsseEnvelope", |file| {
        rewrite(&mut file["bundle"]["dsseEnvelope"], ":bob\"", ":eve\"")
    }),
    ("a signature that is no base64", "bundle.dsseEnvelope.signatures[0].sig", |file| {
        file["bundle"]["dsseEnvelope"]["signatures"][0]["sig"] = json!("!")
    }),
    ("an empty signature", "bundle.dsseEnvelope.signatures[0].sig", |file| {
        file["bundle"]["dsseEnvelope"]["signatures"][0]["sig"] = json!("")
    }),
    ("no signature", "bundle.dsseEnvelope.signatures", |file| {
        file["bundle"]["dsseEnvelope"]["signatures"] = json!([])
    }),
    ("two signatures in the bundle", "bundle.dsseEnvelope.signatures", |file| {
        file["bundle"]["dsseEnvelope"]["signatures"] = file["vsa"]["signatures"].clone()
    }),
    ("an unknown key", "bundle.dsseEnvelope.signatures[0].keyid", |file| {
        file["bundle"]["dsseEnvelope"]["signatures"][0]["keyid"] = json!("0".repeat(64))
    }),
    ("the other kind of key", "bundle.dsseEnvelope.signatures[0].keyid", |file| {
        file["bundle"]["dsseEnvelope"]["signatures"][0]["keyid"] =
            file["vsa"]["signatures"][1]["keyid"].clone()
    }),
    ("a hint at another key", "bundle.verificationMaterial.publicKey.hint", |file| {
        file["bundle"]["verificationMaterial"]["publicKey"]["hint"] = json!("AAAA")
    }),
    ("an entry of another log", "bundle.verificationMaterial.tlogEntries", |file| {
        file["bundle"]["verificationMaterial"]["tlogEntries"] = json!([{"logIndex": "1"}])
    }),
    ("the summary in place of the certificate", "bundle.dsseEnvelope.payload", |file| {
        file["bundle"]["dsseEnvelope"]["payload"] = file["vsa"]["payload"].clone();
        file["bundle"]["dsseEnvelope"]["signatures"][0] = file["vsa"]["signatures"][0].clone();
    }),
    ("another level in the summary", "vsa.signatures[0].sig", |file| {
        rewrite(&mut file["vsa"], "CODE_DEPLOYMENT_L1", "CODE_DEPLOYMENT_L9")
    }),
    ("a summary without the second signature", "vsa.signatures", |file| {
        file["vsa"]["signatures"].as_array_mut().unwrap().truncate(1)
    }),
    ("a summary whose signatures change places", "vsa.signatures[0].keyid", |file| {
        file["vsa"]["signatures"].as_array_mut().unwrap().reverse()
    }),
    ("a second signature that is the first again", "vsa.signatures[1].keyid", |file| {
        file["vsa"]["signatures"][1] = file["vsa"]["signatures"][0].clone()
    }),
    ("a broken second signature", "vsa.signatures[1].sig", |file| {
        let sig = file["vsa"]["signatures"][1]["sig"].as_str().unwrap();
        let mut bytes = STANDARD.decode(sig).unwrap();
        bytes[7] ^= 1;
        file["vsa"]["signatures"][1]["sig"] = json!(STANDARD.encode(bytes));
    }),
    ("another spec", "documents.spec", |file| {
        let text = file["documents"]["spec"].as_str().unwrap().replace("\"replicas\":3", "\"replicas\":4");
        file["documents"]["spec"] = json!(text);
    }),
    ("another plan", "documents.plan", |file| {
        let text = file["documents"]["plan"].as_str().unwrap().replace("\"count\":3", "\"count\":4");
        file["documents"]["plan"] = json!(text);
    }),
    ("a plan with a blank", "documents.plan", |file| {
        file["documents"]["plan"] = json!(format!("{} ", file["documents"]["plan"].as_str().unwrap()));
    }),
    ("a plan that is none", "documents.plan", |file| file["documents"]["plan"] = json!("{}")),
    ("no plan", "documents.plan", |file| file["documents"]["plan"] = Value::Null),
    ("an unknown field", "certificate", |file| file["also"] = json!(1)),
    ("an unknown field in an envelope", "certificate", |file| file["vsa"]["unsigned"] = json!("PASSED")),
];

/// Changes the signed bytes and leaves the signatures as they are.
fn rewrite(envelope: &mut Value, from: &str, to: &str) {
    let bytes = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    envelope["payload"] = json!(STANDARD.encode(text.replace(from, to)));
}

#[tokio::test]
async fn every_change_of_the_file_is_found_and_named() {
    let office = Office::open();
    let trust = office.ready();
    let file: Value = serde_json::from_slice(&office.issue(&promoted()).await.to_bytes()).unwrap();

    for (what, field, change) in CHANGES {
        let mut changed = file.clone();
        change(&mut changed);
        assert_ne!(changed, file, "{what} changes nothing");

        let problems = verify(&serde_json::to_vec(&changed).unwrap(), &trust, NOW).expect_err(what);

        assert!(problems.iter().any(|problem| problem.field == *field), "{what}:\n{}", names(&problems));
    }
}

/// Signs whatever it is given, as an engine with a bug, or somebody inside, would.
pub async fn sign(
    office: &Office,
    facts: &Deployment,
    documents: certificate::Documents,
    journal: Journal,
) -> Certificate {
    let (classic, quantum) = office.signers();
    let subject = subjects(&facts.spec, facts.plan.as_ref(), &facts.artifacts);
    let statement = Statement::new(deployment::TYPE, subject, facts);
    let envelope = Envelope::sign(&canonical_json(&statement), &[classic]).await.unwrap();
    let summary = vsa::summary(facts, &envelope.digest());
    Certificate {
        media_type: certificate::MEDIA_TYPE.to_owned(),
        bundle: Bundle::new(classic.key(), envelope),
        vsa: Envelope::sign(&canonical_json(&summary), &[classic, quantum]).await.unwrap(),
        documents,
        journal,
        log: None,
    }
}

/// Changes what is signed.
type Lie = fn(&mut Deployment);

const LIES: &[(&str, &str, Lie)] = &[
    ("another target", "predicate.target", |facts| facts.target.name = "shop2".parse().unwrap()),
    ("nobody approved", "predicate.approvals", |facts| facts.approvals.clear()),
    ("the initiator approved", "predicate.approvals[0].by", |facts| facts.approvals[0].by = person("ada")),
    ("a stranger approved", "predicate.approvals[0].by", |facts| facts.approvals[0].by = person("mallory")),
    ("the engine approved", "predicate.approvals[0].by", |facts| {
        facts.approvals[0].by = "engine:orchestrator/rep-0100".parse().unwrap()
    }),
    ("an event approved", "predicate.approvals[0].by", |facts| {
        facts.approvals[0].by = "event-source:bob".parse().unwrap()
    }),
    ("another plan was approved", "predicate.approvals[0].plan", |facts| {
        facts.approvals[0].plan = facts.spec.clone()
    }),
    ("approved too late", "predicate.approvals[0].at", |facts| {
        facts.approvals[0].at =
            At(facts.approvals[0].until.unwrap().0.plus(std::time::Duration::from_secs(1)))
    }),
    ("fewer approvals were needed", "predicate.policy.approvals", |facts| facts.policy.approvals = 0),
    ("anybody may approve", "predicate.policy.approvers", |facts| facts.policy.approvers.clear()),
    ("other rules", "predicate.policy.digest", |facts| facts.policy.digest = facts.spec.clone()),
    ("a gate is missing", "predicate.gates", |facts| facts.gates.retain(|gate| gate.gate != "error-rate")),
    ("a gate has no value", "predicate.gates[0].measured", |facts| facts.gates[0].measured = None),
    ("a gate said no", "predicate.gates[1].outcome", |facts| facts.gates[1].outcome = Outcome::Failed),
    ("a gate of another attempt", "predicate.gates", |facts| facts.gates[0].attempt = 9),
    ("a step failed", "predicate.steps[3].outcome", |facts| facts.steps[3].outcome = Some(Outcome::Failed)),
    ("a step has no result", "predicate.steps[3].outcome", |facts| facts.steps[3].outcome = None),
    ("a step was left out", "predicate.steps", |facts| drop(facts.steps.remove(2))),
    ("a step was added", "predicate.steps", |facts| {
        let mut step = facts.steps[3].clone();
        step.id = "s9-more".parse().unwrap();
        facts.steps.push(step);
    }),
    ("two steps changed places", "predicate.steps", |facts| facts.steps.swap(1, 2)),
    ("a step of the plan is called a step back", "predicate.steps", |facts| {
        facts.steps[6].stage = Stage::Rollback
    }),
    ("a finding was not accepted", "predicate.findings[0]", |facts| facts.findings[0].waived = None),
    ("nobody looked", "predicate.observed", |facts| facts.observed = None),
    ("something else runs", "predicate.observed.expected", |facts| {
        facts.observed.as_mut().unwrap().expected = facts.plan.clone()
    }),
    ("what runs differs", "predicate.observed.differences[0]", |facts| {
        facts.observed.as_mut().unwrap().differences.push("2 instances run, 3 should".to_owned())
    }),
    ("another artefact", "predicate.artifacts", |facts| facts.artifacts[0].digest = Some(facts.spec.clone())),
    ("another baseline", "predicate.baseline", |facts| facts.baseline = None),
    ("something is missing", "predicate.missing", |facts| facts.missing.push("a gate".to_owned())),
    ("issued before it ended", "predicate.issued", |facts| facts.issued = At(Timestamp(BEGAN))),
    ("a promotion with a cause", "predicate.cause", |facts| {
        facts.cause = Some(deployment::Cause {
            kind: model::deployment::CauseKind::Failed,
            step: None,
            gate: None,
            text: "it failed".to_owned(),
            at: facts.ended,
        })
    }),
    ("a rollback called without a cause", "predicate.cause", |facts| facts.ending = Ending::RolledBack),
    ("no plan", "documents.plan", |facts| facts.plan = None),
];

#[tokio::test]
async fn every_false_promotion_is_found_although_it_is_signed() {
    let office = Office::open();
    let trust = office.ready();
    let (truth, documents) = facts(&promoted());
    let journal = journal(&promoted());
    let honest = sign(&office, &truth, documents.clone(), journal.clone()).await;
    assert!(certificate::verify::check(&honest, &trust, NOW).is_ok());

    for (what, field, lie) in LIES {
        let mut told = truth.clone();
        lie(&mut told);
        assert_ne!(told, truth, "{what} changes nothing");

        let signed = sign(&office, &told, documents.clone(), journal.clone()).await;
        let problems = certificate::verify::check(&signed, &trust, NOW).expect_err(what);

        assert!(problems.iter().any(|problem| problem.field == *field), "{what}:\n{}", names(&problems));
    }
}

#[tokio::test]
async fn statements_of_two_certificates_do_not_mix() {
    let office = Office::open();
    let (one, mut two) = (office.issue(&promoted()).await, office.issue(&rolled_back()).await);
    two.vsa = one.vsa;

    let problems = certificate::verify::check(&two, &office.ready(), NOW).unwrap_err();

    for field in ["vsa.predicate.verificationResult", "vsa.predicate.inputAttestations"] {
        assert!(problems.iter().any(|problem| problem.field == field), "{}", names(&problems));
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_office_is_worth_nothing() {
    let (office, stranger) = (Office::open(), Office::open());

    let problems =
        certificate::verify::check(&stranger.issue(&promoted()).await, &office.ready(), NOW).unwrap_err();

    assert_eq!(problems[0].field, "bundle.dsseEnvelope.signatures[0].keyid");
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let office = Office::open();
    let trust = office.ready();
    let file = runtime.block_on(office.issue(&promoted())).to_bytes();

    let cases = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(cases, |(at in 0..file.len(), bit in 0..8u8)| {
        let mut changed = file.clone();
        changed[at] ^= 1 << bit;

        let problems = verify(&changed, &trust, NOW);

        prop_assert!(problems.is_err(), "bit {} of byte {} may be flipped", bit, at);
        prop_assert!(problems.unwrap_err().iter().all(|problem| !problem.field.is_empty()));
    });
}
