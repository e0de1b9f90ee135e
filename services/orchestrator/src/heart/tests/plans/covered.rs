//! Every plan that is made does what the spec asks for, by the rule that certificates are verified with.

use serde_json::{Value, json};

use crate::heart::{compile::compile, tests::*};

fn strategies() -> Vec<Value> {
    let analysis =
        json!({ "metrics": [{ "name": "errors", "provider": { "errorRate": {} }, "success": "< 0.05" }] });
    vec![
        Value::Null,
        json!({ "recreate": {} }),
        json!({ "rolling": { "maxSurge": 0, "maxUnavailable": 1 } }),
        json!({ "rolling": { "maxSurge": 9, "maxUnavailable": 0 } }),
        json!({ "blueGreen": { "hold": "0s" } }),
        json!({ "blueGreen": { "autoPromote": false, "prePromotion": analysis, "postPromotion": analysis } }),
        json!({ "canary": { "steps": [{ "pause": {} }, { "setWeight": 0 }] } }),
        json!({ "canary": { "steps": [{ "setWeight": 10 }, { "pause": { "duration": "5m" } }, { "analysis": analysis },
            { "setWeight": 50 }, { "pause": {} }, { "setWeight": 100 }] } }),
    ]
}

fn module(name: &str, version: &str, replicas: u32, strategy: &Value, exposed: bool) -> Value {
    let mut module = json!({
        "name": name, "run": { "command": [name, version] }, "replicas": replicas, "ports": [{ "name": "http" }],
        "smoke": [{ "path": "/" }],
        "analysis": { "metrics": [{ "name": "late", "provider": { "latency": 0.99 }, "success": "< 200" }] },
    });
    if !strategy.is_null() {
        module["strategy"] = strategy.clone();
    }
    if exposed {
        module["expose"] = json!({ "listen": 8080 });
    }
    module
}

fn release(target: &str, modules: Vec<Value>) -> DeploymentSpec {
    serde_json::from_value(json!({
        "apiVersion": "code/v1", "name": "shop", "target": target, "modules": modules,
        "hooks": [
            { "name": "migrate", "when": "beforeDeploy", "command": ["true"] },
            { "name": "warm", "when": "beforePromotion", "command": ["true"] },
            { "name": "tell", "when": "afterPromotion", "command": ["true"] },
        ],
    }))
    .unwrap()
}

#[test]
fn every_plan_does_what_its_spec_asks_for() {
    let mut made = 0;
    for target in ["scripted", "process"] {
        for strategy in strategies() {
            for exposed in [true, false] {
                let now = release(
                    target,
                    vec![
                        module("web", "2.0.0", 3, &strategy, exposed),
                        module("db", "1.0.0", 1, &Value::Null, false),
                    ],
                );
                let before = [
                    None,
                    Some(vec![module("web", "1.0.0", 2, &strategy, exposed)]),
                    Some(vec![
                        module("web", "1.0.0", 5, &Value::Null, !exposed),
                        module("db", "1.0.0", 1, &Value::Null, false),
                    ]),
                    Some(vec![module("web", "2.0.0", 3, &strategy, exposed)]),
                    Some(vec![module("web", "2.0.0", 1, &strategy, !exposed)]),
                    Some(vec![
                        module("old", "1.0.0", 2, &strategy, true),
                        module("db", "0.9.0", 2, &strategy, true),
                    ]),
                ];
                for before in before {
                    let before = before.map(|modules| release(target, modules));
                    for mode in [Mode::Apply, Mode::Rollback] {
                        let baseline = before.clone().map(|spec| model::plan::Snapshot {
                            deployment: DeploymentId::derived("before"),
                            spec,
                            at: Timestamp(0),
                        });
                        let plan = compile(&now, baseline.as_ref(), mode).unwrap();

                        let lacks = certificate::rules::lacks(&now, before.as_ref(), mode, &plan);

                        let steps: Vec<String> = plan.steps.iter().map(model::Step::describe).collect();
                        assert!(lacks.is_empty(), "{mode:?} {strategy} of {target}: {lacks:?}\n{steps:#?}");
                        made += 1;
                    }
                }
            }
        }
    }
    assert_eq!(made, 2 * 8 * 2 * 6 * 2);
}
