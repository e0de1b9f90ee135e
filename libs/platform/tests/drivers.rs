//! The scenario suite on the scripted and on the process platform.

#![allow(clippy::unwrap_used, reason = "a test; helpers outside of test functions too")]

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use model::spec::Module;
use platform::{
    Platform, ProcessPlatform, ScriptedPlatform,
    process::Settings,
    scenarios::{Fixture, Program, Scripted, module_of, sample},
};

mod scripted {
    use super::*;

    fn fixture() -> Option<Arc<dyn Fixture>> {
        Some(Arc::new(Scripted(ScriptedPlatform::new())))
    }

    platform::scenario_tests!(fixture());
}

struct Processes {
    state: tempfile::TempDir,
    program: PathBuf,
    control_groups: bool,
}

impl Processes {
    fn fixture(control_groups: bool) -> Option<Arc<dyn Fixture>> {
        let state = tempfile::tempdir().unwrap();
        Some(Arc::new(Processes { state, program: sample::program(), control_groups }))
    }
}

#[async_trait]
impl Fixture for Processes {
    async fn open(&self) -> Arc<dyn Platform> {
        sample::keep_output();
        let mut settings = Settings::new(self.state.path());
        settings.control_groups = self.control_groups;
        settings.host_root = Some(self.state.path().to_owned());
        Arc::new(ProcessPlatform::new(settings).unwrap())
    }

    fn module(&self, program: Program) -> Module {
        let mut command = vec![self.program.display().to_string()];
        command.extend(program.words());
        module_of(serde_json::json!({ "command": command }), 8080)
    }

    fn command(&self, words: &[&str]) -> Vec<String> {
        let mut command = vec![self.program.display().to_string()];
        command.extend(words.iter().map(|word| (*word).to_owned()));
        command
    }

    fn missing(&self) -> Module {
        module_of(serde_json::json!({ "command": ["/no/such/program"] }), 8080)
    }
}

mod process {
    use super::*;

    platform::scenario_tests!(@real Processes::fixture(true));
}

mod process_without_control_groups {
    use super::*;

    platform::scenario_tests!(@each Processes::fixture(false); a_memory_limit_is_enforced a_start_is_idempotent);
}

/// Run by the next test in a process of its own: starts an instance and dies without a word.
#[tokio::test]
#[ignore = "run by an_instance_outlives_the_engine_that_started_it"]
async fn engine_that_dies() {
    let Some(state) = std::env::var_os("SAMPLE_STATE") else { return };
    sample::keep_output();
    let engine = ProcessPlatform::new(Settings::new(PathBuf::from(state))).unwrap();
    engine.start(&outliving()).await.unwrap();
    std::process::abort();
}

fn outliving() -> platform::StartOrder {
    let command = [sample::program().display().to_string(), "serve".to_owned(), "{port}".to_owned()];
    let module = module_of(serde_json::json!({ "command": command }), 8080);
    platform::StartOrder {
        target: "test.process.outliving".parse().unwrap(),
        deployment: model::DeploymentId::derived("outliving"),
        revision: module.revision(),
        module,
        slot: 0,
        fence: platform::scenarios::fence(1),
        peers: Default::default(),
        labels: Default::default(),
        secrets: Vec::new(),
    }
}

#[tokio::test]
async fn an_instance_outlives_the_engine_that_started_it() {
    let state = tempfile::tempdir().unwrap();
    let order = outliving();
    let died = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "engine_that_dies", "--ignored"])
        .env("SAMPLE_STATE", state.path())
        .output()
        .unwrap();
    assert!(!died.status.success(), "the engine did not die: {}", String::from_utf8_lossy(&died.stdout));

    let next = ProcessPlatform::new(Settings::new(state.path())).unwrap();
    let seen = next.observe(&order.target).await.unwrap();
    let again = next.start(&order).await.unwrap();
    let probe = order.module.health.clone().unwrap().probe;
    // It may not have come so far as to listen yet.
    testkit::eventually("an answer of the instance", Duration::from_secs(20), || async {
        next.probe(&order.target, &again, &probe, Duration::from_secs(5)).await.unwrap()
    })
    .await;
    let stop = next.stop(&order.target, &again.id, order.fence, Duration::from_secs(5)).await;

    assert_eq!(seen, [again]);
    assert!(seen[0].is_running());
    stop.unwrap();
    assert_eq!(next.observe(&order.target).await.unwrap(), []);
}
