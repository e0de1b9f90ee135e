//! The audit log as a person, a pipeline and another machine meet it: asked while its engine runs, checked without.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

use ledger::{KeyKind, SigningKey, Store};
use model::{
    Timestamp,
    audit::{AuditOutcome, AuditRecord},
};
use serde_json::Value;

use crate::{
    specs::{Spec, scratch},
    stage::{Stage, codectl, command},
};

/// An engine that has promoted something, and how many entries its log has.
fn stage() -> (Stage, u64) {
    let stage = Stage::up();
    let one = stage.spec("one", &Spec::new("1.0.0"));
    stage.run(&["apply", &one, "--watch"]).exits(0);
    stage.until("the deployment is closed", || stage.json(&["status"])["summary"]["closed"].is_i64());
    let all = stage.json(&["audit", "search", "--limit", "1000"]);
    let size = all["entries"].as_array().unwrap().len() as u64;
    assert!(size > 10, "{all}");
    (stage, size)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_happened_is_shown_searched_counted_and_exported() {
    let (stage, _) = stage();

    stage
        .run(&["audit", "tail", "--last", "1000"])
        .exits(0)
        .says("deployment.received")
        .says("by unauthenticated:tester");
    let tail = stage.run(&["audit", "tail", "--from", "0", "--output", "json"]).exits(0);
    let indices: Vec<u64> = lines(&tail.out).iter().map(|entry| entry["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, (0..indices.len() as u64).collect::<Vec<_>>());
    stage.run(&["audit", "tail", "--from", "9999"]).exits(0).says("there is no entry 9999 yet");

    stage.run(&["audit", "search", "--actor", "unauthenticated:tester"]).exits(0).says("deployment.received");
    let page = stage.json(&["audit", "search", "--action", "deployment.*", "--limit", "2"]);
    let next = page["next"].to_string();
    let older = stage.json(&["audit", "search", "--action", "deployment.*", "--before", &next]);
    assert!(older["entries"][0]["index"].as_u64() < page["entries"][1]["index"].as_u64());
    stage.run(&["audit", "search", "--actor", "nobody"]).exits(0).says("nothing found among");

    stage.run(&["audit", "report"]).exits(0).says("deployment.decided").says("security events: 0");
    let report = stage.json(&["audit", "report", "--since", "1h"]);
    assert!(report["total"].as_u64().unwrap() > 10 && report["alerts"].is_array(), "{report}");
    stage.run(&["audit", "status"]).exits(0).says("code.internal/audit");
    assert_eq!(stage.json(&["audit", "status"])["keys"].as_array().unwrap().len(), 2);

    for (format, field) in [("jsonl", "record"), ("cloudevents", "specversion"), ("ocsf", "class_uid")] {
        let exported = stage.run(&["audit", "export", "--format", format]).exits(0);
        assert!(lines(&exported.out).iter().all(|line| line.get(field).is_some()), "{format}");
    }
    let cef = stage.run(&["audit", "export", "--format", "cef", "--from", "3"]).exits(0).out;
    assert!(cef.lines().all(|line| line.starts_with("CEF:0|CODE|audit|")), "{cef}");
    let (named, online) = (["audit", "export", "--log", "audit/log"], ["audit", "export"]);
    stage.run(&["audit", "verify"]).exits(0);
    let offline = stage.run(&named).exits(0);
    assert!(offline.err.contains("unchecked: codectl audit verify --log audit/log"), "{}", offline.err);
    assert!(
        stage.run(&online).exits(0).out.starts_with(&offline.out),
        "the files say the same as the service"
    );
}

#[test]
fn an_entry_is_proven_and_checked_without_the_engine() {
    let (stage, size) = stage();
    stage.run(&["audit", "prove", "0", "--out", "one.tlog-proof"]).exits(0).says("one.json");
    stage.run(&["audit", "prove", "0"]).exits(0).says("c2sp.org/tlog-proof@v1");
    let record: Value = serde_json::from_slice(&fs::read(stage.path("one.json")).unwrap()).unwrap();
    let named = format!("{}:{}", record["source"].as_str().unwrap(), record["counter"]);
    let again = stage.json(&["audit", "prove", &named]);
    assert_eq!(
        (&again["index"], &again["leaf"].as_str().unwrap().len()),
        (&Value::from(0), &record_size(&stage))
    );
    for (arguments, code, words) in [
        (&["nonsense"][..], 2, "is no entry"),
        (&["0", "--out", "one.json"], 2, "name the proof otherwise"),
        (&["0", "--out", "nowhere/one"], 1, "nowhere/one"),
        (&["99999"], 1, "there is no entry 99999: the log has "),
        (&["99999"], 1, ", the last is "),
        (&["nobody:7"], 1, "count 7 of nobody is not in the log"),
    ] {
        stage.run(&[&["audit", "prove"], arguments].concat()).exits(code).says(words);
    }
    stage.run(&["down"]).exits(0);

    stage.run(&["audit", "check", "one.tlog-proof", "one.json"]).exits(0).says("VALID").says("entry 0 of");
    let told = stage.json(&["audit", "check", "one.tlog-proof", "one.json"]);
    assert!(told["valid"] == true && told["proven"]["size"].as_u64().unwrap() >= size, "{told}");
    fs::write(stage.path("other.json"), "{}").unwrap();
    stage.run(&["audit", "check", "one.tlog-proof", "other.json"]).exits(1).says("INVALID").says("entry 0");
    assert_eq!(stage.json_of(&["audit", "check", "one.tlog-proof", "other.json"], 1)["valid"], false);
    for (arguments, words) in [
        (&["one.json", "one.json"][..], "one.json: proof file:"),
        (&["one.tlog-proof", "nothing-there"], "reading nothing-there"),
        (&["one.tlog-proof", "one.json", "--policy", "nothing-there"], "reading nothing-there"),
        (&["one.tlog-proof", "one.json", "--policy", "one.json"], "is not a line of a policy"),
        (&["one.tlog-proof", "one.json", "--home", "elsewhere"], "--policy FILE"),
    ] {
        stage.run(&[&["audit", "check"], arguments].concat()).exits(2).says(words);
    }
    stage.run(&["audit", "tail", "--nats", "nats://127.0.0.1:1"]).exits(3).says("no engine at");
}

fn record_size(stage: &Stage) -> usize {
    fs::read(stage.path("one.json")).unwrap().len()
}

#[test]
fn a_log_is_checked_from_its_files_and_against_what_was_seen_before() {
    let (stage, _) = stage();
    let checkpoint = stage.path("audit/log/checkpoint");
    fs::copy(&checkpoint, stage.path("old")).unwrap();
    stage.run(&["apply", &stage.spec("two", &Spec::new("2.0.0")), "--watch"]).exits(0);
    stage.run(&["down"]).exits(0);
    fs::copy(&checkpoint, stage.path("new")).unwrap();

    stage.run(&["audit", "verify", "--known", "old"]).exits(0).says("VALID").says("cosigned by no witness");
    let told = stage.json(&["audit", "verify", "--against", "audit/log"]);
    assert!(told["valid"] == true && told["differs"].is_null() && told["counts"] == Value::Array(Vec::new()));
    stage.run(&["audit", "consistency", "old", "new"]).exits(0).says("CONSISTENT");
    let told = stage.json_of(&["audit", "consistency", "new", "old"], 1);
    assert!(told["why"].as_str().unwrap().starts_with("the newer has"), "{told}");
    for (arguments, words) in [
        (&["verify", "--log", "nothing-there"][..], "the public files of a log are wanted"),
        (&["verify", "--against", "nothing-there"], "the public files of a log are wanted"),
        (&["verify", "--known", "nothing-there"], "reading nothing-there"),
        (&["verify", "--known", "one.yaml"], "one.yaml: "),
        (&["verify", "--policy", "one.yaml"], "one.yaml: policy: line"),
        (&["consistency", "old", "nothing-there"], "reading nothing-there"),
        (&["consistency", "old", "new", "--log", "nothing-there"], "is not there"),
        (&["export", "--log", "nothing-there"], "the public files of a log are wanted"),
        (&["export", "--format", "xml"], "expected jsonl, cloudevents, ocsf, cef"),
        (&["search", "--limit", "0"], "1..=1000"),
        (&["search", "--outcome", "maybe"], "expected done, denied or failed"),
        (&["search", "--since", "yesterday"], "such as 24h"),
        (&["report", "--since", "1h", "--until", "2h"], "nothing is between them"),
        (&["tail", "--last", "many"], "invalid value 'many'"),
    ] {
        stage.run(&[&["audit"], arguments].concat()).exits(2).says(words);
    }

    let bundle = stage.path("audit/log/tile/entries/000");
    let bundle = if bundle.exists() { bundle } else { newest(&stage.path("audit/log/tile/entries/000.p")) };
    let mut bytes = fs::read(&bundle).unwrap();
    bytes[40] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    stage.run(&["audit", "verify"]).exits(1).says("INVALID").says("entry 0:");
    assert_eq!(stage.json_of(&["audit", "verify"], 1)["findings"][0]["index"], 0);
}

/// The widest of the partial tiles in a folder.
fn newest(folder: &std::path::Path) -> std::path::PathBuf {
    let widths = fs::read_dir(folder)
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u16>().ok());
    folder.join(widths.max().unwrap().to_string())
}

#[test]
fn a_witness_on_the_other_side_cosigns_what_the_engine_signs() {
    let first = Stage::up();
    let keys = first.json(&["audit", "status"])["keys"].clone();
    let keys: Vec<&str> = keys.as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    let named = ["audit", "witness", "--state", "witness", "--listen", "127.0.0.1:0", "--name"];
    let asked = [&named[..], &["witness.example/1", "--log", keys[0], "--log", keys[1]]].concat();
    let mut witness = command(&first.path(""), &asked).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(witness.stdout.take().unwrap()).lines().map(Result::unwrap);
    let (address, key) = (said.next().unwrap().replace("witness on ", ""), said.next().unwrap());
    let policy = fs::read_to_string(first.path("audit/log.policy")).unwrap();
    let policy = policy.replace("quorum none", &format!("witness W {key} {address}\nquorum W"));
    fs::write(first.path("trust.policy"), policy).unwrap();
    first.run(&["audit", "verify", "--policy", "trust.policy"]).exits(1).says("lacks the quorum W");
    first.run(&["down"]).exits(0);

    let file = first.path("trust.policy");
    fs::write(first.path("code.toml"), format!("[audit]\npolicy = \"{}\"\n", file.display())).unwrap();
    first.run(&["up", "--detach", "--config", "code.toml"]).exits(0);
    first.run(&["apply", &first.spec("one", &Spec::new("1.0.0")), "--watch"]).exits(0);

    first.until("it is cosigned", || {
        first.run(&["audit", "verify", "--policy", "trust.policy"]).out.contains("cosigned by W")
    });
    first.until("there is a certificate", || first.run(&["certificate", "show"]).code == 0);
    first.run(&["certificate", "keys", "trust"]).exits(0);
    let mut trust: Value = serde_json::from_slice(&fs::read(first.path("trust.json")).unwrap()).unwrap();
    trust["log"] = fs::read_to_string(&file).unwrap().into();
    fs::write(first.path("trust.json"), trust.to_string()).unwrap();
    first.run(&["certificate", "verify", "--promoted"]).exits(0).says("W");
    let told = first.json(&["certificate", "verify"]);
    assert_eq!(told["log"]["witnesses"], serde_json::json!(["W"]), "{told}");

    // The same keys, made ahead, are found again.
    let prepare = ["audit", "prepare", "--log-state", "audit", "--witness-state", "witness", "--name"];
    let prepare = |url| [&prepare[..], &["witness.example/1", "--to", "again", "--url", url]].concat();
    first.run(&prepare(&address)).exits(0).says("wrote again");
    let again = fs::read_to_string(first.path("again")).unwrap();
    assert!(again.contains(&format!("witness W1 {key} {address}\nquorum W1\n")), "{again}");
    assert!(keys.iter().all(|key| again.contains(&format!("log {key}\n"))), "{again}");
    first.run(&prepare("nowhere")).exits(2).says("is no address");

    for (arguments, words) in [
        (&["--name", "two words", "--log", keys[0]][..], "a name is not empty and has no spaces"),
        (&["--name", "W", "--log", "nonsense"], "expected name+id+key"),
        (&["--name", "W"], "--log"),
    ] {
        let asked = [&["audit", "witness", "--state", "other"], arguments].concat();
        first.run(&asked).exits(2).says(words);
    }
    let asked = [&named[..], &["witness.example/1", "--log", keys[0]]].concat();
    first.run(&asked).exits(1).says("another witness uses witness/seen");
    witness.kill().unwrap();
    witness.wait().unwrap();
}

/// The public files of a log of these facts, and a policy that trusts its keys.
fn log_of(home: &std::path::Path, facts: &[AuditRecord]) {
    let keys = [(KeyKind::Ed25519, 1), (KeyKind::MlDsa44, 2)]
        .map(|(kind, seed)| SigningKey::from_seed("example.com/log", kind, [seed; 32]).unwrap());
    let (mut store, ()) = Store::open(home).unwrap();
    store.integrate(&facts.iter().map(AuditRecord::to_leaf).collect::<Vec<_>>(), &()).unwrap();
    store.publish("example.com/log", &keys, 1).unwrap();
    let lines: String = keys.iter().map(|key| format!("log {}\n", key.verifying_key())).collect();
    fs::write(home.join("trust.policy"), format!("{lines}quorum none\n")).unwrap();
}

#[test]
fn a_valid_log_that_tells_of_a_fork_has_an_exit_status_of_its_own() {
    let fact = |source: &str, counter, action: &str| AuditRecord {
        source: source.to_owned(),
        counter,
        ..AuditRecord::new(Timestamp(1), "ann", action, "LOG_deployment_0", AuditOutcome::Done)
    };
    let fork = AuditRecord {
        reason: Some("LOG_deployment_0 had lost 1 record".to_owned()),
        detail: serde_json::json!({"after": "LOG_deployment_0#2", "same": 1}),
        ..fact("audit", 1, "audit.fork")
    };
    let first = [fact("LOG_deployment_0", 1, "deployment.received"), fact("LOG_deployment_0", 2, "owner")];
    let other = fact("LOG_deployment_0#2", 2, "deployment.aborted");
    let verify = ["audit", "verify", "--log", "log", "--policy", "trust.policy"];
    let (whole, forked) = (scratch(), scratch());
    log_of(whole.path(), &first);
    log_of(forked.path(), &[&first[..], &[fork, other]].concat());

    codectl(whole.path(), &verify).exits(0).says("VALID");
    codectl(forked.path(), &verify).exits(4).says("FORKED").says("fork: LOG_deployment_0 had lost 1 record");
    let told = codectl(forked.path(), &[&verify[..], &["--output", "json"]].concat()).exits(4);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(told["forks"].as_array().unwrap().len(), 1, "{told}");
}
