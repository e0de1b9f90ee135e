//! Certificates as a person and a pipeline meet them.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    specs::Spec,
    stage::{Answer, Stage, command_of},
    vault,
};

/// The certificate of the newest deployment, which is over: the command waits for it.
fn show(stage: &Stage) -> Answer {
    stage.run(&["certificate", "show"]).exits(0)
}

#[test]
fn a_promotion_is_proven_without_its_engine_and_a_changed_byte_is_found() {
    let stage = Stage::up();
    let one = stage.spec("one", &Spec::new("1.0.0"));
    stage.run(&["apply", &one, "--watch"]).exits(0);
    show(&stage).says("PROMOTED").says("not verified");
    stage.run(&["certificate", "verify"]).exits(2).says("codectl certificate keys trust");
    stage.run(&["certificate", "keys", "trust"]).exits(0).says("ml-dsa-65").says("in force");
    stage.run(&["certificate", "export", "--to", "shop"]).exits(0).says("cosign verify-blob-attestation");
    stage.run(&["down"]).exits(0);

    stage
        .run(&["certificate", "verify", "shop", "--promoted"])
        .exits(0)
        .says("VALID")
        .says("tester (unauthenticated) asked for it");
    let told = stage.json(&["certificate", "verify", "shop"]);
    assert_eq!((&told["valid"], &told["promoted"]), (&Value::from(true), &Value::from(true)));
    assert!(told["log"]["index"].is_u64(), "{told}");
    let believed = told["believed"].as_array().unwrap();
    assert!(
        believed
            .iter()
            .any(|belief| belief["field"] == "predicate.initiator"
                && belief["by"] == "tester (unauthenticated)"),
        "{told}"
    );
    let audit = &told["certificate"]["audit"];
    assert!(audit["last"].as_u64() < told["log"]["index"].as_u64(), "{told}");
    stage
        .run(&["certificate", "verify", "shop"])
        .exits(0)
        .says("believed")
        .says("a message only states who sends it");

    let part = stage.path("shop/spec.json");
    let spec = fs::read(&part).unwrap();
    fs::write(&part, [&spec[..], b" "].concat()).unwrap();
    stage.run(&["certificate", "verify", "shop"]).exits(1).says("INVALID").says("spec.json:");
    fs::write(&part, spec).unwrap();

    let place = stage.path("shop/certificate.json");
    let text = fs::read_to_string(&place).unwrap();
    fs::write(&place, text.replacen("\\\"replicas\\\":1", "\\\"replicas\\\":2", 1)).unwrap();
    stage.run(&["certificate", "verify", "shop"]).exits(1).says("INVALID").says("documents.spec:");
    let told = stage.json_of(&["certificate", "verify", "shop"], 1);
    assert_eq!(told["problems"][0]["field"], "documents.spec");

    fs::write(&place, text.split_at(text.len() / 2).0).unwrap();
    stage.run(&["certificate", "verify", "shop"]).exits(1).says("certificate:");
    stage.run(&["certificate", "verify", "nothing-there"]).exits(2);
}

#[test]
fn a_release_that_went_back_gets_a_certificate_that_says_no() {
    let stage = Stage::up();
    let one = stage.spec("one", &Spec::new("1.0.0"));
    let two = stage.spec("two", &Spec::new("2.0.0").never_ready());
    stage.run(&["apply", &one, "--watch"]).exits(0);
    stage.run(&["apply", &two, "--watch"]).exits(10);
    show(&stage).says("ROLLED BACK");
    stage.run(&["certificate", "keys", "trust"]).exits(0);

    stage.run(&["certificate", "verify"]).exits(0).says("VALID").says("ROLLED BACK").says("because");
    stage.run(&["certificate", "verify", "--promoted"]).exits(1).says("no certificate of a promotion");
}

#[test]
fn a_way_back_that_was_asked_for_is_called_one_and_is_no_promotion_through_gates() {
    let stage = Stage::up();
    let (one, two) = (stage.spec("one", &Spec::new("1.0.0")), stage.spec("two", &Spec::new("2.0.0")));
    stage.run(&["apply", &one, "--watch"]).exits(0);
    stage.run(&["apply", &two, "--force", "it is urgent", "--watch"]).exits(0);
    show(&stage).says("forced").says("whether there was one is not in the journal");
    stage.run(&["rollback", &stage.target(), "--watch"]).exits(0);
    show(&stage)
        .says("PROMOTED AS A WAY BACK")
        .says("a way back asks for no approval")
        .says("a way back passes none");
    stage.run(&["certificate", "keys", "trust"]).exits(0);

    stage.run(&["certificate", "verify"]).exits(0).says("VALID").says("PROMOTED AS A WAY BACK");
    stage
        .run(&["certificate", "verify", "--promoted"])
        .exits(1)
        .says("nobody had to approve and no gate judged");
    let told = stage.json(&["certificate", "verify"]);
    assert_eq!((&told["valid"], &told["promoted"]), (&Value::from(true), &Value::from(false)));
}

#[test]
fn keys_are_replaced_with_an_overlap_and_revoked_on_their_host() {
    let stage = Stage::up();
    let one = stage.spec("one", &Spec::new("1.0.0"));
    stage.run(&["apply", &one, "--watch"]).exits(0);
    show(&stage);

    let keys = stage.json(&["certificate", "keys", "rotate", "--overlap", "1h"]);
    let keys = keys.as_array().unwrap();
    let old = keys[0]["id"].as_str().unwrap();
    let revoked = stage.json(&["certificate", "keys", "revoke", old]);

    assert_eq!(keys.len(), 4);
    assert_eq!(keys.iter().filter(|key| key["validUntil"].is_null()).count(), 2);
    assert!(revoked[0]["revoked"].is_string(), "{revoked}");
    stage.run(&["certificate", "keys", "revoke", "nonsense"]).exits(2);
    // The revocation is in the very next trust file: nobody has to deploy anything first.
    stage.run(&["certificate", "keys", "trust"]).exits(0).says("revoked");
    let trust: Value = serde_json::from_slice(&fs::read(stage.path("trust.json")).unwrap()).unwrap();
    let taken = trust["keys"].as_array().unwrap().iter().find(|key| key["id"] == old).unwrap();
    assert_eq!(taken["revoked"], revoked[0]["revoked"]);
    // The engine tells the new keys by itself, before it signs anything with them.
    stage.until("the engine to tell the new keys", || {
        stage.json(&["certificate", "keys", "list"]).as_array().unwrap().len() == 4
    });
}

#[test]
fn a_key_that_lies_in_vault_signs_what_is_verified_without_either() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (vault, address) = runtime.block_on(vault::start());
    let stage = Stage::configured(&format!(
        "[agents.certificates.vault]\naddress = \"{address}\"\nkey = \"certificates\"\ntoken = \"s.secret\"\n"
    ));
    let one = stage.spec("one", &Spec::new("1.0.0"));
    stage.run(&["apply", &one, "--watch"]).exits(0);
    show(&stage).says("PROMOTED");
    stage.run(&["certificate", "keys", "trust"]).exits(0);
    stage.run(&["certificate", "export", "--to", "shop"]).exits(0);
    stage.run(&["down"]).exits(0);
    let shown = vault::public(&vault.lock().unwrap().versions[0]);
    drop(runtime);

    stage.run(&["certificate", "verify", "shop", "--promoted"]).exits(0).says("VALID");
    assert_eq!(fs::read_to_string(stage.path("shop/trust/ecdsa-p256-sha256.pub")).unwrap(), shown);
    // The statement and the summary.
    assert_eq!(vault.lock().unwrap().asked.len(), 2);
    let held = fs::read_dir(stage.path("agents/keys")).unwrap().flatten();
    let held: Vec<String> = held.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    assert!(!held.iter().any(|name| name.contains("ecdsa")), "{held:?}");
}

#[test]
fn what_is_no_certificate_is_told_apart_from_one_that_is_not_valid() {
    let stage = Stage::up();
    let one = stage.spec("one", &Spec::new("1.0.0"));
    stage.run(&["certificate", "show"]).exits(1).says("there is no deployment yet");
    stage.run(&["apply", &one, "--watch"]).exits(0);
    show(&stage);
    stage.run(&["certificate", "keys", "trust"]).exits(0);
    let exported = stage.json(&["certificate", "export", "--to", "shop"]);
    fs::write(stage.path("nonsense"), "nonsense").unwrap();

    assert_eq!(exported["folder"], "shop");
    assert!(exported["files"].as_array().unwrap().contains(&Value::from("deployment.sigstore.json")));
    let shown = stage.json(&["certificate", "show", "shop"]);
    assert_eq!(shown["ending"], "PROMOTED");
    for (arguments, code, words) in [
        (&["show", "nonsense"][..], 2, "this is no certificate"),
        (&["show", "nothing-there"], 2, "reading nothing-there"),
        (&["show", "dep-01a21566a4a374a5853c619bb89e86c9"], 1, "there is no deployment"),
        (&["verify", "nonsense"], 1, "certificate: cannot be read"),
        (&["verify", "nothing-there"], 2, "reading nothing-there"),
        (&["verify", "shop", "--trust", "nonsense"], 2, "nonsense is no trust file"),
        (&["verify", "shop", "--trust", "nothing-there"], 2, "codectl certificate keys trust"),
        (&["export", "dep-01a21566a4a374a5853c619bb89e86c9"], 1, "there is no deployment"),
        (&["export", "shop", "--to", "nonsense/folder"], 1, "nonsense/folder"),
        (&["export", "shop", "--trust", "nonsense"], 2, "nonsense is no trust file"),
    ] {
        stage.run(&[&["certificate"], arguments].concat()).exits(code).says(words);
    }
}

/// Requests to the port until it is dropped.
struct Clients {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Clients {
    fn of(port: u16) -> Clients {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let request = b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n";
            while !told.load(Ordering::Relaxed) {
                if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
                    let asked = stream.write_all(request);
                    let _ = asked.and_then(|()| stream.read_to_end(&mut Vec::new()));
                }
                thread::park_timeout(Duration::from_millis(5));
            }
        });
        Clients { stop, thread: Some(thread) }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(thread::JoinHandle::join);
    }
}

/// Runs it where there is no network, when this machine lets us.
fn closed(stage: &Stage, arguments: &[&str]) -> Answer {
    let alone = ["--user", "--map-root-user", "--net"];
    let may = Command::new("unshare").args(alone).arg("true").status().is_ok_and(|status| status.success());
    if !may {
        return stage.run(arguments);
    }
    let all = [&alone[..], &[env!("CARGO_BIN_EXE_codectl")], arguments].concat();
    Answer::of(command_of(Path::new("unshare"), &stage.path(""), &all), arguments)
}

#[test]
fn every_gate_of_a_real_deployment_is_judged_again_from_what_it_measured_without_a_network() {
    let stage = Stage::up();
    let (one, two) = (stage.spec("one", &Spec::new("1.0.0")), stage.spec("two", &Spec::new("2.0.0").tried()));
    stage.run(&["apply", &one, "--watch"]).exits(0);
    let clients = Clients::of(stage.port());
    stage.run(&["apply", &two, "--watch"]).exits(0);
    drop(clients);
    show(&stage).says("PROMOTED");
    stage.run(&["certificate", "keys", "trust"]).exits(0);
    let written = stage.json(&["certificate", "export", "--to", "shop", "--evidence", "shop/evidence"]);
    stage.run(&["down"]).exits(0);
    let verify = ["certificate", "verify", "shop", "--promoted", "--evidence", "shop/evidence"];

    closed(&stage, &verify).exits(0).says("VALID").says("smoke /health of").says("recomputed");
    let told = stage.json(&verify);
    let gates = told["evidence"].as_array().unwrap();
    let names: Vec<&str> = gates.iter().map(|gate| gate["gate"].as_str().unwrap()).collect();
    for name in ["smoke /health", "traffic-share", "errors", "slowest", "trial", "soak"] {
        assert!(names.contains(&name), "{name} of {names:?}");
    }
    assert!(gates.iter().all(|gate| gate["result"] == "recomputed"), "{told}");
    assert_eq!(written["evidence"]["missing"], json!([]));
    let without = stage.json(&["certificate", "verify", "shop"]);
    assert!(without["evidence"].is_null());
    assert!(without["believed"].to_string().contains("the measurements are not enclosed"));

    let of =
        |name: &str| gates.iter().find(|gate| gate["gate"] == name).unwrap()["evidence"].as_str().unwrap();
    let file = stage.path(&format!("shop/evidence/{}.json", of("errors").replace(':', "-")));
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("\"errors\":0", "\"errors\":1", 1)).unwrap();
    stage.run(&verify).exits(1).says("INVALID").says("is named by the digest").says("it was changed");

    fs::remove_file(&file).unwrap();
    stage.run(&verify).exits(4).says("VALID").says("errors of").says("missing");
    let told = stage.json_of(&verify, 4);
    assert!(told["believed"].to_string().contains("the measured value and samples of errors"), "{told}");
}
