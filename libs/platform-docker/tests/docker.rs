//! The scenario suite, and what is Docker's own, against a real engine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::{
    path::Path,
    process::Command,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use model::{
    Code, Digest, TargetId,
    spec::{Module, Volume},
};
use platform::{
    Error, Platform, State,
    scenarios::{Fixture, Program, Stage, module_of, run, sample},
};
use platform_docker::{DockerPlatform, Registries, Settings};

const GRACE: Duration = Duration::from_secs(5);

struct Docker {
    state: tempfile::TempDir,
    image: String,
}

/// None only when the engine's tests were switched off by hand.
fn fixture() -> Option<Arc<dyn Fixture>> {
    if std::env::var("CODE_TEST_NO_DOCKER").is_ok_and(|value| value == "1") {
        testkit::skip("CODE_TEST_NO_DOCKER=1 leaves out what needs Docker", "unset it");
        return None;
    }
    static IMAGE: OnceLock<String> = OnceLock::new();
    let image = IMAGE.get_or_init(build).clone();
    Some(Arc::new(Docker { state: tempfile::tempdir().unwrap(), image }))
}

fn docker(words: &[&str]) -> Result<String, String> {
    let ran = Command::new("docker").args(words).output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if ran.status.success() { Ok(text(&ran.stdout)) } else { Err(text(&ran.stderr)) }
}

fn build() -> String {
    if let Err(error) = docker(&["version", "--format", "{{.Server.APIVersion}}"]) {
        panic!(
            "no docker engine answers ({error}). Install one (apt-get install docker.io) and start it (dockerd &), or \
             set CODE_TEST_NO_DOCKER=1 to leave these tests out"
        );
    }
    let program = sample::program();
    let name = format!("code-sample:{}", Digest::of_bytes(&std::fs::read(&program).unwrap()).short());
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(&program, folder.path().join("sample")).unwrap();
    std::fs::write(
        folder.path().join("Dockerfile"),
        "FROM scratch\nCOPY sample /sample\nENTRYPOINT [\"/sample\"]\n",
    )
    .unwrap();
    docker(&["build", "-q", "-t", &name, folder.path().to_str().unwrap()]).unwrap();
    name
}

fn settings(state: &Path) -> Settings {
    let mut settings = Settings::new(state);
    settings.host_root = Some(state.to_owned());
    settings
}

#[async_trait]
impl Fixture for Docker {
    async fn open(&self) -> Arc<dyn Platform> {
        Arc::new(DockerPlatform::new(settings(self.state.path())).unwrap())
    }

    fn module(&self, program: Program) -> Module {
        module_of(serde_json::json!({ "image": self.image, "command": self.words(program.words()) }), 8080)
    }

    fn command(&self, words: &[&str]) -> Vec<String> {
        self.words(words.iter().map(|word| (*word).to_owned()).collect())
    }

    async fn sweep(&self, target: &TargetId) {
        let filter = format!("label=code.target={}", target.token());
        for kind in ["volume", "network"] {
            for left in docker(&[kind, "ls", "-q", "--filter", &filter]).unwrap_or_default().lines() {
                let _ = docker(&[kind, "rm", left]);
            }
        }
    }

    /// A registry that nobody serves, on this machine: refused at once, and nothing leaves the machine.
    fn missing(&self) -> Module {
        module_of(
            serde_json::json!({ "image": "127.0.0.1:1/none:missing", "command": ["/sample", "mute"] }),
            8080,
        )
    }
}

impl Docker {
    fn words(&self, rest: Vec<String>) -> Vec<String> {
        let mut words = vec!["/sample".to_owned()];
        words.extend(rest);
        words
    }
}

mod docker_scenarios {
    use super::fixture;

    platform::scenario_tests!(@real fixture());
}

macro_rules! docker_test {
    ($name:ident, $body:expr) => {
        #[tokio::test]
        async fn $name() {
            if let Some(fixture) = fixture() {
                run(fixture, $body).await;
            }
        }
    };
}

docker_test!(docker_containers_have_no_rights_and_hard_limits, |stage: Arc<Stage>| async move {
    let platform = stage.fixture.open().await;
    let order = stage.order(stage.fixture.module(Program::Serve));
    let instance = platform.start(&order).await.unwrap();
    let address = instance.address(None).unwrap();

    let status = stage.get(address, "/file/proc/self/status").await.1;
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    let first = async |paths: [&str; 2]| {
        for path in paths {
            if let (200, text) = stage.get(address, &format!("/file{path}")).await {
                return text.trim().to_owned();
            }
        }
        panic!("none of {paths:?} is there")
    };

    assert_eq!(field("CapEff:"), "0000000000000000");
    assert_eq!(field("CapBnd:"), "0000000000000000");
    assert_eq!(field("NoNewPrivs:"), "1");
    let memory = first(["/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"]).await;
    assert_eq!(memory, (64 << 20).to_string());
    let cpu = first(["/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu.max"]).await;
    assert_eq!(cpu.split(' ').next(), Some("50000"));
    let pids = first(["/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max"]).await;
    assert_eq!(pids, "512");
});

docker_test!(docker_an_instance_killed_for_memory_says_so, |stage: Arc<Stage>| async move {
    let platform = stage.fixture.open().await;
    let order = stage.order(stage.fixture.module(Program::Eat(512)));
    platform.start(&order).await.unwrap();

    let ended = stage.eventually(&*platform, &order, |instance| !instance.is_running()).await;

    assert!(matches!(ended.state, State::Exited { code: Some(137), oom: true, .. }), "{:?}", ended.state);
});

docker_test!(docker_networks_live_as_long_as_their_targets, |stage: Arc<Stage>| async move {
    let platform = stage.fixture.open().await;
    let order = stage.order(stage.fixture.module(Program::Serve));
    let network = format!("code-{}", stage.target.token());
    let list = || docker(&["network", "ls", "-q", "--filter", &format!("name={network}")]).unwrap();

    let id = platform.start(&order).await.unwrap().id;
    let while_running = list();
    let format = "{{range .NetworkSettings.Networks}}{{.Aliases}}{{end}}";
    let aliases = docker(&["inspect", "--format", format, &id]).unwrap();
    let team = docker(&["inspect", "--format", "{{index .Config.Labels \"team\"}}", &id]).unwrap();
    platform.stop(&stage.target, &id, order.fence, GRACE).await.unwrap();

    assert_eq!(while_running.lines().count(), 1);
    assert!(aliases.contains("web"), "{aliases}");
    assert_eq!(team, "shop");
    assert_eq!(list(), "");
});

/// Lets nothing be fetched.
struct Nowhere;

#[async_trait]
impl Registries for Nowhere {
    async fn check_registry(&self, registry: &str) -> Result<(), String> {
        Err(format!("{registry} is inside"))
    }
}

docker_test!(docker_a_registry_that_may_not_be_asked_is_not_asked, |stage: Arc<Stage>| async move {
    let state = tempfile::tempdir().unwrap();
    let registry = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    registry.set_nonblocking(true).unwrap();
    let at = registry.local_addr().unwrap();
    let guarded = Settings { registries: Some(Arc::new(Nowhere)), ..settings(state.path()) };
    let platform = DockerPlatform::new(guarded).unwrap();
    let mut order = stage.order(stage.fixture.module(Program::Mute));
    let here = platform.start(&order).await;
    order.module.run.image = Some(format!("{at}/web:1"));
    order.revision = order.module.revision();

    let refused = platform.start(&order).await.unwrap_err();

    assert!(here.is_ok(), "an image that is here is not fetched: {here:?}");
    assert_eq!(refused.code(), Code::Denied);
    assert_eq!(refused.to_string(), format!("image {at}/web:1 is not fetched from {at}: {at} is inside"));
    assert!(registry.accept().is_err(), "somebody connected");
});

docker_test!(docker_a_name_that_is_not_ours_is_left_alone, |stage: Arc<Stage>| async move {
    let platform = stage.fixture.open().await;
    let order = stage.order(stage.fixture.module(Program::Serve));
    let image = order.module.run.image.clone().unwrap();
    docker(&["create", "--name", &order.id(), &image, "mute"]).unwrap();

    let refused = platform.start(&order).await.unwrap_err();
    platform.stop(&stage.target, &order.id(), order.fence, GRACE).await.unwrap();
    let still_there = docker(&["rm", &order.id()]);

    assert!(matches!(refused, Error::NameTaken { .. }), "{refused:?}");
    assert!(still_there.is_ok(), "{still_there:?}");
});

docker_test!(docker_a_start_that_broke_off_after_the_creation_is_finished, |stage: Arc<Stage>| async move {
    let platform = stage.fixture.open().await;
    let order = stage.order(stage.fixture.module(Program::Serve));
    let started = platform.start(&order).await.unwrap();
    let labels = docker(&["inspect", "--format", "{{json .Config.Labels}}", &started.id]).unwrap();
    platform.stop(&stage.target, &started.id, order.fence, GRACE).await.unwrap();
    let network = format!("code-{}", stage.target.token());
    docker(&["network", "create", &network]).unwrap();
    let mut words =
        vec!["create".to_owned(), "--name".to_owned(), started.id.clone(), "--network".to_owned(), network];
    let labels: std::collections::BTreeMap<String, String> = serde_json::from_str(&labels).unwrap();
    for (name, value) in labels {
        words.extend(["--label".to_owned(), format!("{name}={value}")]);
    }
    words.extend(["-e", "CODE_CONFIG_DIR=/"].map(str::to_owned));
    words.extend([order.module.run.image.clone().unwrap(), "serve".to_owned(), "8080".to_owned()]);
    let made = docker(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();

    let finished = platform.start(&order).await.unwrap();

    assert_eq!(finished.handle, made);
    assert!(finished.is_running());
    let config = stage.get(finished.address(None).unwrap(), "/config/etc/sample/app.conf").await;
    assert_eq!(config, (200, "colour = green\n".to_owned()));
});

docker_test!(docker_a_host_folder_below_the_root_is_mounted_read_only, |stage: Arc<Stage>| async move {
    let state = tempfile::tempdir().unwrap();
    std::fs::create_dir(state.path().join("shared")).unwrap();
    std::fs::write(state.path().join("shared/mark"), "here").unwrap();
    let platform = DockerPlatform::new(settings(state.path())).unwrap();
    let mut order = stage.order(stage.fixture.module(Program::Serve));
    let host = Some(state.path().join("shared").display().to_string());
    order.module.volumes = vec![Volume { name: None, host, path: "/shared".to_owned(), read_only: true }];

    let instance = platform.start(&order).await.unwrap();
    let address = instance.address(None).unwrap();

    assert_eq!(stage.get(address, "/file/shared/mark").await.1, "here");
    assert_eq!(stage.get(address, "/write/shared/other").await.0, 404);
});

docker_test!(
    docker_a_program_that_is_not_in_the_image_is_named_and_leaves_nothing,
    |stage: Arc<Stage>| async move {
        let platform = stage.fixture.open().await;
        let mut order = stage.order(stage.fixture.module(Program::Serve));
        order.module.run.command = vec!["/none".to_owned()];

        let refused = platform.start(&order).await.unwrap_err();

        assert!(matches!(refused, Error::ArtefactMissing { .. }), "{refused:?}");
        assert_eq!(platform.observe(&stage.target).await.unwrap(), []);
    }
);

docker_test!(docker_an_image_with_another_digest_is_not_started, |stage: Arc<Stage>| async move {
    let platform = stage.fixture.open().await;
    let mut order = stage.order(stage.fixture.module(Program::Serve));
    let id = docker(&["image", "inspect", "--format", "{{.Id}}", order.module.run.image.as_ref().unwrap()])
        .unwrap();
    order.module.run.digest = Some(Digest::of_bytes(b"something else"));

    let refused = platform.start(&order).await.unwrap_err();
    order.module.run.digest = Some(id.parse().unwrap());
    let started = platform.start(&order).await.unwrap();

    assert!(matches!(refused, Error::WrongDigest { .. }), "{refused:?}");
    assert!(started.is_running());
});

docker_test!(
    docker_a_fence_in_a_label_keeps_out_a_driver_with_an_empty_folder,
    |stage: Arc<Stage>| async move {
        let platform = stage.fixture.open().await;
        let mut order = stage.order(stage.fixture.module(Program::Serve));
        order.fence.lock = 5;
        platform.start(&order).await.unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let other = DockerPlatform::new(settings(elsewhere.path())).unwrap();
        (order.fence.lock, order.slot) = (4, 1);

        let refused = other.start(&order).await.unwrap_err();

        assert!(matches!(refused, Error::Fence(_)), "{refused:?}");
    }
);

docker_test!(docker_drivers_that_share_only_the_engine_make_one_instance, |stage: Arc<Stage>| async move {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, two] = [0, 1].map(|at: usize| DockerPlatform::new(settings(folders[at].path())).unwrap());
    let order = stage.order(stage.fixture.module(Program::Serve));

    let (first, second) = tokio::join!(one.start(&order), two.start(&order));

    assert_eq!(first.unwrap().handle, second.unwrap().handle);
    assert_eq!(one.observe(&stage.target).await.unwrap().len(), 1);
});

#[tokio::test]
async fn an_engine_that_is_away_is_unavailable_for_every_call() {
    let state = tempfile::tempdir().unwrap();
    let mut settings = settings(state.path());
    settings.endpoint = format!("unix://{}/docker.sock", state.path().display());
    let platform = DockerPlatform::new(settings).unwrap();
    let target = "test.docker.away".parse().unwrap();

    let observed = platform.observe(&target).await.unwrap_err();
    let stopped = platform.stop(&target, "x", Default::default(), GRACE).await.unwrap_err();
    let asked = platform.capacity().await.unwrap_err();

    assert_eq!([observed.code(), stopped.code(), asked.code()], [Code::Unavailable; 3]);
}
