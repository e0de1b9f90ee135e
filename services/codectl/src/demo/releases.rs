//! The releases of the demo's service, and what its journals tell.

use model::{Event, Outcome, Record};

/// One release of the greeter.
pub struct Release {
    /// Its version.
    pub version: &'static str,
    error_rate: &'static str,
    pause: &'static str,
    experts: &'static str,
    approvals: &'static str,
    hooks: &'static str,
}

/// Cannot be undone; nothing in it says that a person has to approve it.
const DROPS_A_COLUMN: &str = "
hooks:
  - name: drop-column
    when: beforePromotion
    command: [\"true\"]
    irreversible: true";

impl Release {
    /// Works.
    pub fn good(version: &'static str) -> Release {
        Release { version, error_rate: "0", pause: "2s", experts: "advise", approvals: "", hooks: "" }
    }

    /// Errs under load.
    pub fn bad(version: &'static str) -> Release {
        Release { error_rate: "0.3", ..Release::good(version) }
    }

    /// Works, and pauses long enough to be killed in.
    pub fn slow(version: &'static str) -> Release {
        Release { pause: "8s", ..Release::good(version) }
    }

    /// Has a step that cannot be undone, and needs the experts' approval.
    pub fn without_return(version: &'static str) -> Release {
        Release { experts: "require", hooks: DROPS_A_COLUMN, ..Release::good(version) }
    }

    /// Works, and has to be approved by somebody who signs.
    pub fn to_be_signed(version: &'static str) -> Release {
        Release { approvals: ", approvals: {required: 1}", ..Release::good(version) }
    }

    /// The spec.
    pub fn spec(&self, greeter: &str, port: u16, ledger: &str) -> String {
        let Release { version, error_rate, pause, experts, approvals, hooks } = self;
        format!(
            r#"apiVersion: code/v1
name: greeter
environment: demo
target: process
modules:
  - name: web
    version: {version}
    run:
      command: ["{greeter}", --port, "{{port}}"]
    replicas: 3
    resources: {{cpu: 100m, memory: 128Mi}}
    ports:
      - name: http
    expose: {{listen: {port}}}
    health:
      probe:
        http: {{path: /health}}
      interval: 200ms
      healthyAfter: 500ms
      healthyDeadline: 20s
    environment:
      GREETER_HOST: 127.0.0.1
      GREETER_VERSION: "{version}"
      GREETER_ERROR_RATE: "{error_rate}"
      CODE_EFFECT_LEDGER: "{ledger}"
    smoke:
      - path: /health
    analysis:
      duration: 5s
      metrics:
        - name: error-rate
          provider: {{errorRate: {{}}}}
          success: "< 0.05"
          interval: 1s
          minimumSamples: 20
          inconclusiveLimit: 30
strategy:
  canary:
    steps:
      - setWeight: 10
      - pause: {{duration: {pause}}}
      - setWeight: 50
      - pause: {{duration: 2s}}
gates: {{experts: {experts}{approvals}}}
soak: 2s
deadlines: {{total: 5m, step: 1m}}{hooks}
"#
        )
    }
}

/// Milliseconds from the end of the step that said no to the beginning of the way back.
pub fn verdict_to_rollback(records: &[Record]) -> Option<i64> {
    let mut verdict = None;
    for record in records {
        for event in &record.events {
            match event {
                Event::StepFinished { result, .. } if result.outcome == Outcome::Failed => {
                    verdict.get_or_insert(record.at.0);
                }
                Event::RollbackBegan { .. } => return Some(record.at.0 - verdict?),
                _ => {}
            }
        }
    }
    None
}
