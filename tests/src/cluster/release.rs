//! Specs, as JSON that tests change where they differ.

use serde_json::{Value, json};

use super::{Cluster, docker, program};

impl Cluster {
    /// A release named `shop` of one exposed module `web` on the process platform: two instances that behave.
    pub fn shop(&self, version: &str, strategy: Value) -> Value {
        let mut spec = self.release("process", vec![self.web(version)]);
        spec["strategy"] = strategy;
        spec
    }

    /// The module `web` on the first port.
    pub fn web(&self, version: &str) -> Value {
        let mut web = self.module("web", version);
        web["expose"] = json!({"listen": self.port});
        web
    }

    /// A release of these modules.
    pub fn release(&self, platform: &str, modules: Vec<Value>) -> Value {
        json!({
            "apiVersion": "code/v1",
            "name": "shop",
            "environment": self.environment,
            "target": platform,
            "modules": modules,
            "soak": "1s",
            "deadlines": {"total": "2m", "step": "30s", "rollback": "90s"},
        })
    }

    /// A greeter on the process platform, two instances, not exposed.
    pub fn module(&self, name: &str, version: &str) -> Value {
        let mut module = behaving(name, version);
        module["run"] = json!({"command": [program("greeter"), "--port", "{port}"]});
        module["ports"] = json!([{"name": "http"}]);
        module["environment"]["GREETER_HOST"] = "127.0.0.1".into();
        module["environment"]["CODE_EFFECT_LEDGER"] = self.ledger_file().to_string_lossy().into();
        module
    }

    /// A greeter as a container, two instances, not exposed.
    pub fn container(&self, name: &str, version: &str) -> Value {
        let image = docker::greeter();
        let mut module = behaving(name, version);
        module["run"] = json!({
            "image": image.name, "digest": image.digest, "command": ["/greeter", "--port", "8080"], "user": "10001",
        });
        module["ports"] = json!([{"name": "http", "container": 8080}]);
        module
    }

    /// Where the instances write down that they were started and stopped.
    pub fn ledger_file(&self) -> std::path::PathBuf {
        self.folder().join("effects.log")
    }

    /// Instances that were started more often than once, in two processes: what must never happen to one that does
    /// not end by itself.
    pub fn started_twice(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.ledger_file()).unwrap_or_default();
        let mut starts = std::collections::BTreeMap::<&str, u32>::new();
        for line in text.lines() {
            let mut words = line.split(' ');
            if let (Some("start"), Some(_), Some(instance)) = (words.next(), words.next(), words.next()) {
                *starts.entry(instance).or_default() += 1;
            }
        }
        assert!(!starts.is_empty(), "no instance wrote down that it was started: {text:?}");
        starts.into_iter().filter(|(_, times)| *times > 1).map(|(instance, _)| instance.to_owned()).collect()
    }
}

/// A module that behaves, in two instances; what runs is still to be said.
pub(crate) fn behaving(name: &str, version: &str) -> Value {
    json!({
        "name": name,
        "version": version,
        "replicas": 2,
        "health": {
            "probe": {"http": {"path": "/health"}},
            "interval": "150ms",
            "healthyAfter": "300ms",
            "healthyDeadline": "20s",
        },
        "environment": {"GREETER_VERSION": version},
        "smoke": [{"path": "/health"}],
    })
}

/// 10 %, a short pause, 50 %, all.
pub fn canary() -> Value {
    json!({"canary": {"steps": [{"setWeight": 10}, {"pause": {"duration": "300ms"}}, {"setWeight": 50}]}})
}

/// A second set, one switch, a short hold.
pub fn blue_green() -> Value {
    json!({"blueGreen": {"hold": "500ms"}})
}

/// One by one.
pub fn rolling() -> Value {
    json!({"rolling": {"maxSurge": 1, "maxUnavailable": 0}})
}

/// Two at a time, no shares to be measured: the quickest, for tests that are about something else.
pub fn at_once() -> Value {
    json!({"rolling": {"maxSurge": 2}})
}

/// Judges the share of errors: good below 5 %.
pub fn analysis(duration: &str) -> Value {
    json!({
        "duration": duration,
        "metrics": [{
            "name": "error-rate",
            "provider": "errorRate",
            "success": "< 0.05",
            "interval": "1s",
            "minimumSamples": 20,
            "inconclusiveLimit": 30,
        }],
    })
}
