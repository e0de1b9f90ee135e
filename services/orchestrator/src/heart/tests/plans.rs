//! What is compiled into which steps.

mod covered;

use model::{Plan, Step};

use super::{
    super::{compile::compile, way_back::way_back},
    *,
};

/// What a plan does while it executes.
fn executed(modules: &str, more: &str) -> Vec<String> {
    let (_, plan, _) = planned(modules, more, Mode::Apply);
    let executed = plan.steps.into_iter().filter(|step| step.stage == Stage::Execute);
    executed.map(shown).collect()
}

fn shown(step: Step) -> String {
    format!("{} {}", step.wave, step.id.as_str().split_once('-').unwrap().1)
}

fn planned(modules: &str, more: &str, mode: Mode) -> (DeploymentSpec, Plan, model::plan::Snapshot) {
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
    let plan = compile(&spec("2.0.0"), Some(&baseline), mode).unwrap();
    (spec("2.0.0"), plan, baseline)
}

/// Where only the port changes the revision is the same, and going back still has to put the old port in force.
#[test]
fn the_way_back_takes_a_changed_port_back_although_the_revision_stayed() {
    let back = |old: &str, new: &str| {
        let spec = |more: &str| -> DeploymentSpec {
            let text = format!(
                r#"{{"apiVersion":"code/v1","name":"shop","target":"scripted","modules":[
                    {{"name":"web","run":{{"command":["web"]}},"ports":[{{"name":"http"}}]{more}}}]}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let (deployment, at) = (DeploymentId::derived("before"), Timestamp(0));
        let baseline = model::plan::Snapshot { deployment, spec: spec(old), at };
        let plan = compile(&spec(new), Some(&baseline), Mode::Apply).unwrap();
        let steps = way_back(&spec(new), &plan, Some(&baseline));
        let traffic = steps.into_iter().filter(|step| matches!(step.kind, StepKind::SetWeight { .. }));
        traffic.map(shown).collect::<Vec<_>>()
    };
    let (one, other) = (r#","expose":{"listen":8080}"#, r#","expose":{"listen":8081}"#);

    assert_eq!(back(one, other), ["0 weight-100-web"]);
    assert_eq!(back(one, ""), ["0 weight-100-web"], "the port that was given up");
    assert_eq!(back("", one), ["0 weight--web"], "the port that nobody had asked for before");
    assert_eq!(back(one, one), Vec::<String>::new());
}

#[test]
fn of_a_module_that_is_recreated_no_two_revisions_run_at_once_on_the_way_back_either() {
    let modules = r#"{"name": "db", "run": {"command": ["db", "VERSION"]}, "strategy": {"recreate": {}}},
        {"name": "cache", "run": {"command": ["cache", "VERSION"]}, "strategy": {"recreate": {}},
         "expose": {"listen": 6379}, "ports": [{"name": "sql"}]},
        {"name": "web", "run": {"command": ["web", "VERSION"]}}"#;
    let (spec, plan, baseline) = planned(modules, "", Mode::Apply);

    let back: Vec<String> = way_back(&spec, &plan, Some(&baseline)).into_iter().map(shown).collect();
    let (_, rollback, _) = planned(modules, "", Mode::Rollback);
    let db: Vec<String> = rollback
        .steps
        .into_iter()
        .filter(|step| step.module() == Some(&"db".parse().unwrap()))
        .map(shown)
        .collect();

    assert_eq!(
        back,
        [
            "0 scale-1-web",
            "0 weight--cache",
            "1 scale-0-web",
            "1 scale-0-db",
            "1 scale-0-cache",
            "2 scale-1-db",
            "2 weight-100-cache",
            "2 scale-1-cache",
            "3 validator-validate",
        ]
    );
    assert_eq!(&db[..2], ["1 scale-0-db", "2 scale-1-db"]);
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

#[test]
fn a_module_that_goes_is_told_without_its_contents() {
    let modules = r#"{"name": "web", "run": {"command": ["web", "VERSION"]}},
        {"name": "api", "run": {"command": ["api", "VERSION"]}}"#;
    let (mut spec, _, baseline) = planned(modules, "", Mode::Apply);
    spec.modules.retain(|module| module.name.as_str() == "web");

    let plan = compile(&spec, Some(&baseline), Mode::Apply).unwrap();

    let gone = plan.changes.iter().find(|change| change.module.as_str() == "api").unwrap();
    assert_eq!((gone.change, gone.to.clone(), gone.replicas_to), (model::plan::Change::Remove, None, 0));
    assert!(gone.differences.is_empty(), "{:?}", gone.differences);
}
