//! Specs of the greeter, one per kind of behaviour.

use tempfile::TempDir;

/// A folder that is gone with the test.
pub fn scratch() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A release of the greeter.
#[derive(Default)]
pub struct Spec {
    version: String,
    environment: &'static str,
    strategy: &'static str,
    top: &'static str,
}

impl Spec {
    /// One instance that does what it should, replaced at once.
    pub fn new(version: &str) -> Spec {
        Spec { version: version.to_owned(), strategy: "recreate", ..Spec::default() }
    }

    /// Replaced without a gap.
    pub fn switched(self) -> Spec {
        Spec { strategy: "\n      blueGreen: {hold: 0s}", ..self }
    }

    /// Its health check never succeeds; the step may take 2 s.
    pub fn never_ready(self) -> Spec {
        Spec { environment: "\n      GREETER_NEVER_READY: \"true\"", top: "deadlines: {step: 2s}\n", ..self }
    }

    /// Something is done first that cannot be undone.
    pub fn irreversible(self) -> Spec {
        let top = "deadlines: {step: 2s}\nhooks:\n  - {name: migrate, when: beforeDeploy, command: [/bin/true], timeout: 2s, irreversible: true}\n";
        Spec { top, ..self }
    }

    /// Both sets run side by side until a person promotes.
    pub fn waits_for_a_person(self) -> Spec {
        Spec { strategy: "\n      blueGreen: {autoPromote: false, hold: 1s}", ..self }
    }

    /// The set before stands for half a day after the switch, unless somebody says otherwise.
    pub fn held(self) -> Spec {
        Spec { strategy: "\n      blueGreen: {hold: 12h}", ..self }
    }

    /// Asked before it gets traffic, then tried with half of it.
    pub fn tried(self) -> Spec {
        let strategy = "
      canary:
        steps:
          - setWeight: 50
          - analysis:
              duration: 3s
              metrics:
                - {name: errors, provider: errorRate, success: \"< 0.5\", minimumSamples: 5, interval: 1s}
                - {name: slowest, provider: {latency: 0.9}, baseline: {}, minimumSamples: 5, noData: pass, interval: 1s}
    smoke:
      - {path: /health, times: 3}";
        Spec { strategy, ..self }
    }

    /// Something that looks like a placeholder and is none.
    pub fn mistyped(self) -> Spec {
        Spec { environment: "\n      PUBLIC_NAME: \"{host}\"", ..self }
    }

    /// Somebody else has to approve the plan.
    pub fn approved_by_one(self) -> Spec {
        Spec { top: "gates: {approvals: {required: 1}}\n", ..self }
    }

    /// As YAML. The data plane listens on `port`.
    pub fn text(&self, program: &str, port: u16) -> String {
        let Spec { version, environment, strategy, top } = self;
        let space = if strategy.starts_with('\n') { "" } else { " " };
        format!(
            "apiVersion: code/v1
name: greeter
target: process
{top}modules:
  - name: greeter
    # what others depend on
    version: {version}
    run:
      command: [{program}, --host, 127.0.0.1, --port, \"{{port}}\"]
    replicas: 1
    ports:
      - name: http
    expose:
      listen: {port}
    health:
      probe:
        http: {{path: /health}}
    environment:
      GREETER_VERSION: {version}{environment}
    strategy:{space}{strategy}
"
        )
    }
}
