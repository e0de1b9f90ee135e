//! The parts that stories are made of.

use model::{
    DeploymentId, DeploymentSpec, Token, Verdict, command::Action, deployment::Mode, plan::Revision,
};
use serde_json::{Value, json};

use super::{Person, Release, Scenario, Wanted, When};
use crate::sim::world::Flaw;

/// Bound of a story without waits for people, in milliseconds.
pub const LIMIT: i64 = 45 * 60_000;

pub fn analysis(duration: &str) -> Value {
    json!({"metrics": [{"name": "error-rate", "provider": {"errorRate": {}}, "success": "< 0.05"}], "duration": duration})
}

/// A strategy of this name; with gates where it has some.
pub fn strategy(name: &str) -> Value {
    match name {
        "canary" => json!({"canary": {"steps": [
            {"setWeight": 25}, {"pause": {"duration": "5s"}}, {"analysis": analysis("10s")}, {"setWeight": 50},
            {"analysis": analysis("10s")}
        ]}}),
        "blue-green" => json!({"blueGreen": {
            "prePromotion": analysis("5s"), "postPromotion": analysis("10s"), "hold": "5s"
        }}),
        "rolling" => json!({"rolling": {"maxSurge": 1, "maxUnavailable": 1}}),
        _ => json!({"recreate": {}}),
    }
}

/// The same, but it waits for a person in the middle, with traffic on the new revision where the strategy can.
pub fn waiting(name: &str) -> Value {
    match name {
        "canary" => json!({"canary": {"steps": [{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}]}}),
        _ => json!({"blueGreen": {"autoPromote": false, "hold": "5s"}}),
    }
}

pub fn module(name: &str, version: &str, port: u16) -> Value {
    json!({
        "name": name, "version": version, "replicas": 4,
        "run": {"command": ["serve", version, "{port}"]},
        "ports": [{"name": "http"}],
        "expose": {"listen": port},
        "health": {"probe": {"http": {"path": "/"}}},
        "smoke": [{"path": "/"}],
    })
}

/// A module that nobody routes to.
pub fn worker(name: &str, version: &str) -> Value {
    json!({"name": name, "version": version, "replicas": 3, "run": {"command": ["work", version]}})
}

pub fn with(mut value: Value, field: &str, part: Value) -> Value {
    value[field] = part;
    value
}

pub fn spec(strategy: &Value, modules: Vec<Value>) -> DeploymentSpec {
    let value = json!({
        "apiVersion": "code/v1", "name": "shop", "target": "scripted", "modules": modules, "strategy": strategy,
    });
    serde_json::from_value(value).expect("a spec")
}

pub fn web(name: &str, version: &str) -> DeploymentSpec {
    spec(&strategy(name), vec![module("web", version, 8080)])
}

pub fn revision(spec: &DeploymentSpec, module: &str) -> (Token, Revision) {
    let name: Token = module.parse().expect("a token");
    let revision = spec.module(&name).expect("a module").revision();
    (name, revision)
}

pub fn flaw(spec: &DeploymentSpec, module: &str, flaw: Flaw) -> (Token, Revision, Flaw) {
    let (name, revision) = revision(spec, module);
    (name, revision, flaw)
}

pub fn release(place: usize, spec: &DeploymentSpec, after: When) -> Release {
    let id = DeploymentId::derived(&format!("release {place}"));
    Release { id, spec: spec.clone(), mode: Mode::Apply, force: None, after }
}

pub fn story(
    name: String,
    baseline: Option<&DeploymentSpec>,
    new: &DeploymentSpec,
    end: Verdict,
) -> Scenario {
    Scenario {
        name,
        baseline: baseline.cloned(),
        releases: vec![release(0, new, When::Begin)],
        people: Vec::new(),
        flaws: Vec::new(),
        ends: vec![end],
        panel: None,
        advice: "5m".parse().expect("a span"),
        replicas: 3,
        runners: 3,
        limit: LIMIT,
    }
}

pub fn person(name: &'static str, release: usize, when: When, delay: i64, action: Wanted) -> Person {
    Person { name, release, when, delay, action }
}

pub fn abort() -> Wanted {
    Wanted::Do(Action::Abort { reason: "we do not like it".to_owned() })
}

pub fn promote() -> Wanted {
    Wanted::Do(Action::Promote { full: false })
}
