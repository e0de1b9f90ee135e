//! A good and a bad plan. An expert that lets the bad one pass, or stops the good one, is not worth asking.

use model::{
    Token,
    expert::{Exhibit, Question},
};
use serde_json::{Value, json};

/// Whether a test of experts asked the question of this id: `test-`, 32 hexadecimal digits, `-good` or `-bad`. What is said
/// to a plan that we made up tells nothing of a team's deployments.
pub fn is_test(question: &Token) -> bool {
    let run = question.as_str().strip_prefix("test-");
    let run = run.and_then(|rest| rest.strip_suffix("-good").or_else(|| rest.strip_suffix("-bad")));
    run.is_some_and(|run| run.len() == 32 && run.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// A careful update: limited, healthy, judged, with a way back.
pub fn good(id: &Token, deadline_ms: u64) -> Question {
    let module = |version: &str| {
        json!({
            "name": "web", "version": version, "replicas": 4,
            "run": {"image": format!("registry.example.org/web@sha256:{}", "a".repeat(64)), "user": "10001"},
            "resources": {"cpu": "500m", "memory": "256Mi"},
            "expose": {"listen": 8080},
            "health": {"probe": {"http": {"path": "/health"}}},
            "smoke": [{"path": "/health"}],
            "analysis": {"metrics": [{"name": "errors", "provider": {"errorRate": {}}, "success": "< 0.01"}], "duration": "5m"},
        })
    };
    let strategy =
        json!({"canary": {"steps": [{"setWeight": 5}, {"pause": {"duration": "10m"}}, {"setWeight": 50}]}});
    let spec = spec(module("2.1.0"), &strategy, &[], &json!({}));
    let baseline = self::spec(module("2.0.9"), &strategy, &[], &json!({}));
    let plan = plan("update", 4, 4, None);
    question(id, deadline_ms, vec![("spec", spec), ("baseline", baseline), ("plan", plan)])
}

/// Everything at once that must not be: no way back, no instance left, root with the engine's socket, nothing measured.
pub fn bad(id: &Token, deadline_ms: u64) -> Question {
    let module = json!({
        "name": "web", "version": "3.0.0", "replicas": 1,
        "run": {"image": "registry.example.org/web:latest", "user": "root"},
        "expose": {"listen": 8080},
        "volumes": [{"host": "/var/run/docker.sock", "path": "/sock"}, {"name": "data", "path": "/data"}],
    });
    let before = json!({
        "name": "web", "version": "2.0.9", "replicas": 12,
        "run": {"image": format!("registry.example.org/web@sha256:{}", "b".repeat(64)), "user": "10001"},
        "resources": {"cpu": "500m", "memory": "256Mi"},
        "expose": {"listen": 8080},
        "volumes": [{"name": "data", "path": "/data"}],
    });
    let strategy = json!({"rolling": {"maxSurge": 0, "maxUnavailable": 1}});
    let hooks = [json!({
        "name": "drop-old-columns", "when": "beforePromotion", "irreversible": true,
        "command": ["psql", "-c", "ALTER TABLE orders DROP COLUMN total"],
    })];
    let waivers = json!([
        {"rule": "security/latest-tag", "reason": "no time", "expires": "2099-01-01"},
        {"rule": "security/root-user", "reason": "no time", "expires": "2099-01-01"},
        {"rule": "security/host-mount", "reason": "no time", "expires": "2099-01-01"},
    ]);
    let spec = spec(module, &strategy, &hooks, &waivers);
    let baseline = self::spec(before, &strategy, &[], &json!([]));
    let plan = plan("update", 12, 1, Some("hook-drop-old-columns"));
    question(id, deadline_ms, vec![("spec", spec), ("baseline", baseline), ("plan", plan)])
}

fn spec(module: Value, strategy: &Value, hooks: &[Value], waivers: &Value) -> Value {
    let mut spec = json!({
        "apiVersion": "code/v1", "name": "decoy", "environment": "prod", "target": "docker",
        "modules": [module], "strategy": strategy, "hooks": hooks,
    });
    if waivers.is_array() {
        spec["waivers"] = waivers.clone();
    }
    spec
}

fn plan(change: &str, from: u32, to: u32, no_return: Option<&str>) -> Value {
    let mut plan = json!({
        "target": {"environment": "prod", "platform": "docker", "name": "decoy"},
        "spec": format!("sha256:{}", "c".repeat(64)),
        "baseline": format!("sha256:{}", "d".repeat(64)),
        "changes": [{
            "module": "web", "change": change, "from": "old", "to": "new", "replicasFrom": from, "replicasTo": to,
            "strategy": "canary", "rank": 0, "differences": [],
        }],
        "steps": [],
        "atLeast": "10m",
    });
    if let Some(step) = no_return {
        plan["noReturnAfter"] = step.into();
    }
    plan
}

fn question(id: &Token, deadline_ms: u64, exhibits: Vec<(&str, Value)>) -> Question {
    let exhibit = |(name, value): (&str, Value)| {
        let id: Token = name.parse().ok()?;
        Some(Exhibit { kind: id.clone(), id, text: value.to_string() })
    };
    Question {
        id: id.to_string(),
        text: "Should this deployment go on as planned?".to_owned(),
        evidence: exhibits.into_iter().filter_map(exhibit).collect(),
        constraints: Vec::new(),
        deadline_ms,
        budget_micro_usd: None,
        panel: Vec::new(),
        fresh: true,
    }
}
