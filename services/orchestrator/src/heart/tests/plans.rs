//! What is compiled into which steps.

use super::{super::compile::compile, *};

/// What a plan does while it executes.
fn executed(modules: &str, more: &str) -> Vec<String> {
    let spec = |version: &str| -> DeploymentSpec {
        let modules = modules.replace("VERSION", version);
        let text = format!(
            r#"{{"apiVersion":"code/v1","name":"shop","target":"scripted","modules":[{modules}]{more}}}"#
        );
        serde_json::from_str(&text).unwrap()
    };
    let baseline = model::plan::Snapshot {
        deployment: DeploymentId::derived("before"),
        spec: spec("1.0.0"),
        at: Timestamp(0),
    };
    let plan = compile(&spec("2.0.0"), Some(&baseline), Mode::Apply).unwrap();
    let executed = plan.steps.into_iter().filter(|step| step.stage == Stage::Execute);
    executed.map(|step| format!("{} {}", step.wave, step.id.as_str().split_once('-').unwrap().1)).collect()
}

const TESTED: &str = r#"{"name": "web", "run": {"command": ["web", "VERSION"]}, "replicas": 3,
    "expose": {"listen": 8080}, "ports": [{"name": "http"}], "smoke": [{"path": "/"}], STRATEGY}"#;

#[test]
fn a_rolling_update_tests_the_first_new_instances_before_they_get_traffic() {
    let default = TESTED.replace(", STRATEGY", "");
    assert_eq!(
        executed(&default, ""),
        ["1 scale-1-web", "2 smoke-web", "3 roll-1-web", "4 roll-2-web", "5 roll-3-web"]
    );

    let wide = TESTED.replace("STRATEGY", r#""strategy": {"rolling": {"maxSurge": 5}}"#);
    assert_eq!(executed(&wide, ""), ["1 scale-3-web", "2 smoke-web", "3 roll-3-web"]);
}

#[test]
fn a_rolling_update_without_room_tests_its_first_batch() {
    let tight =
        TESTED.replace("STRATEGY", r#""strategy": {"rolling": {"maxSurge": 0, "maxUnavailable": 1}}"#);

    assert_eq!(executed(&tight, ""), ["1 roll-1-web", "2 smoke-web", "3 roll-2-web", "4 roll-3-web"]);
}

#[test]
fn a_hook_goes_by_its_name() {
    let plain = TESTED.replace(", STRATEGY", "").replace(r#""smoke": [{"path": "/"}]"#, r#""smoke": []"#);
    let hooks = r#","hooks":[{"name":"migrate","when":"beforeDeploy","command":["true"]}]"#;

    assert_eq!(executed(&plain, hooks)[0], "1 hook-migrate");
}

#[test]
fn a_long_soak_has_the_time_it_takes() {
    let spec: DeploymentSpec =
        serde_json::from_str(&CANARY.replace(r#""strategy""#, r#""soak": "30m", "strategy""#)).unwrap();
    let plan = compile(&spec, None, Mode::Apply).unwrap();
    let soak = plan.steps.iter().find(|step| step.id.as_str().ends_with("guardian-validate")).unwrap();

    assert!(soak.deadline.0 > std::time::Duration::from_secs(30 * 60), "{}", soak.deadline);
}
