//! Who may speak with an engine that `codectl up` started.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::json;

use crate::{specs::Spec, stage::Stage};

/// A release as an event, published by the key in a file.
fn publish(stage: &Stage, key: &Path, name: &str, spec: &str) -> Result<(), String> {
    let event = json!({
        "specversion": "1.0", "id": name, "source": "/ci/shop", "type": "code.deployment.requested.v1",
        "datacontenttype": "application/yaml", "data": fs::read_to_string(spec).unwrap(),
    });
    let subject = format!("code.v1.in.{name}.deployment.submit");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let said = runtime.block_on(testkit::publish(&stage.nats(), key, &subject, event.to_string().as_bytes()));
    said.map_err(|error| format!("{error:#}"))
}

#[test]
fn a_publisher_with_a_key_deploys_under_its_name_until_it_is_removed() {
    let stage = Stage::up();
    let one = stage.spec("one", &Spec::new("1.0.0"));
    let added = stage.json(&["access", "publisher", "add", "ci-1"]);
    let key = stage.path(added["file"].as_str().unwrap());
    stage.until("the server knows ci-1", || publish(&stage, &key, "ci-1", &one).is_ok());

    stage.until("it is deployed", || {
        let list = stage.json(&["list"]);
        list[0]["initiator"] == "publisher:ci-1" && list[0]["verdict"] == "promoted"
    });
    assert!(publish(&stage, &key, "ci-2", &one).unwrap_err().contains("Permissions Violation"));
    stage.run(&["access", "publisher", "list"]).exits(0).says("ci-1").says(added["key"].as_str().unwrap());
    stage.run(&["access", "publisher", "remove", "ci-1"]).exits(0);
    stage.until("the server forgets ci-1", || {
        publish(&stage, &key, "ci-1", &one).is_err_and(|error| error.contains("Authorization Violation"))
    });
    stage.run(&["access", "publisher", "remove", "ci-1"]).exits(2).says("publisher-ci-1 has no key");
}

#[test]
fn without_the_operators_key_nothing_is_answered_and_the_error_says_what_to_do() {
    let stage = Stage::up();
    let other = stage.path("other.nk");
    bus::Key::generate().write(&other).unwrap();

    let refused = stage.run(&["list", "--nats-key", other.to_str().unwrap()]);

    refused.exits(3).says("does not know operator").says("--nats-key");
    fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).unwrap();
    stage.run(&["list", "--nats-key", other.to_str().unwrap()]).exits(3).says("chmod 600");
    stage.run(&["list"]).exits(0);
}

#[test]
fn keys_are_their_owners_and_what_is_deployed_is_given_none() {
    let stage = Stage::up();
    let one = stage.spec("one", &Spec::new("1.0.0"));
    stage.run(&["apply", &one, "--watch"]).exits(0);

    let mode = |name: &str| fs::metadata(stage.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("access"), mode("access/keys"), mode("access/keys/operator.nk")), (0o700, 0o700, 0o600));
    let instances = stage.instances();
    assert!(!instances.is_empty());
    for pid in instances {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        assert!(!environment.contains("NATS") && !environment.contains(".nk"), "{environment}");
        let opened = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let opened = opened.filter_map(|file| fs::read_link(file.path()).ok()).collect::<Vec<_>>();
        assert!(!opened.iter().any(|file| file.to_string_lossy().contains("/access/")), "{opened:?}");
    }
}

#[test]
fn an_engine_that_ran_serves_without_one_refusal() {
    let stage = Stage::up();
    let one = stage.spec("one", &Spec::new("1.0.0"));
    stage.run(&["apply", &one, "--watch"]).exits(0);
    stage.run(&["experts", "list"]).exits(0);
    stage.until("the certificate is there", || stage.run(&["certificate", "show"]).code == 0);
    stage.run(&["audit", "status"]).exits(0);
    stage.run(&["history"]).exits(0);

    let log = fs::read_to_string(stage.path("nats/nats.log")).unwrap();
    let refused: Vec<&str> = log.lines().filter(|line| line.contains("Violation")).collect();
    assert!(refused.is_empty(), "{refused:?}");
}
