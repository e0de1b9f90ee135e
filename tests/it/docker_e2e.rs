//! The same on a real Docker daemon. Without one these tests say so and have nothing to say.

use std::{collections::BTreeMap, time::Duration};

use code_tests::cluster::{
    Cluster, Setting, analysis, at_once, blue_green, canary,
    docker::{self, Socket},
    rolling, told,
};
use model::{Phase, Verdict, command::TargetAction, deployment::CauseKind};
use serde_json::{Value, json};

const RATE: u32 = 80;

fn setting() -> Setting {
    Setting { platforms: vec![agents::config::Driver::Docker], ..Setting::default() }
}

fn shop(cluster: &Cluster, version: &str, strategy: Value) -> Value {
    let mut web = cluster.container("web", version);
    web["expose"] = json!({"listen": cluster.port});
    let mut spec = cluster.release("docker", vec![web]);
    spec["strategy"] = strategy;
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_e2e_no_request_fails_through_canary_blue_green_and_rolling() {
    if !docker::is_there() {
        return;
    }
    let _alone = docker::alone();
    let cluster = Cluster::with(setting()).await;
    cluster.promote(&shop(&cluster, "1.0.0", canary())).await;
    let load = cluster.load(RATE);
    load.wait_for(50).await;

    for (version, strategy) in [("2.0.0", canary()), ("3.0.0", blue_green()), ("4.0.0", rolling())] {
        let before = load.counts();
        cluster.promote(&shop(&cluster, version, strategy)).await;
        let counts = load.counts().since(&before);
        assert_eq!(counts.failed(), 0, "{version}: {counts:?}");
    }
    let counts = load.end().await;

    assert_eq!((counts.failed(), counts.ended), (0, counts.sent), "{counts:?}");
    assert_eq!(counts.versions.len(), 4, "{counts:?}");
    let runs = ("web".to_owned(), "4.0.0".to_owned(), "running".to_owned());
    assert_eq!(docker::containers(&cluster.environment), [runs.clone(), runs]);
    cluster.is_back_on("docker", "4.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_e2e_a_third_module_that_fails_at_half_takes_all_three_back_to_the_snapshot() {
    if !docker::is_there() {
        return;
    }
    let _alone = docker::alone();
    let cluster = Cluster::with(setting()).await;
    let ports = [cluster.another_port(), cluster.another_port()];
    let release = |version: &str, errors: &str| {
        let (mut data, mut api, mut web) = (
            cluster.container("data", version),
            cluster.container("api", version),
            cluster.container("web", version),
        );
        data["expose"] = json!({"listen": ports[0]});
        api["expose"] = json!({"listen": ports[1]});
        api["dependsOn"] = json!([{"module": "data"}]);
        web["expose"] = json!({"listen": cluster.port});
        web["dependsOn"] = json!([{"module": "api"}]);
        web["environment"]["GREETER_ERROR_RATE"] = errors.into();
        web["strategy"] = json!({"canary": {"steps": [{"setWeight": 50}, {"analysis": analysis("6s")}]}});
        let mut spec = cluster.release("docker", vec![data, api, web]);
        spec["strategy"] = at_once();
        spec
    };
    cluster.promote(&release("1.0.0", "0")).await;
    let before = docker::containers(&cluster.environment);
    let load = cluster.load(RATE);
    load.wait_for(50).await;

    let view = cluster.deploy(&release("2.0.0", "0.4")).await;
    let back = load.wait_for(100).await;
    let counts = load.end().await;

    assert_eq!(view.summary.verdict, Some(Verdict::RolledBack), "{}", told(&view));
    let cause = view.cause.clone().unwrap();
    assert!(cause.step.as_ref().unwrap().as_str().contains("analyse-web"), "{cause:?}");
    let moved = |module: &str| {
        let of_it = |id: &str| {
            id.starts_with('s') && (id.contains("roll") || id.contains("weight")) && id.ends_with(module)
        };
        view.steps.iter().any(|step| of_it(step.id.as_str()) && step.attempt > 0)
    };
    assert!(moved("data") && moved("api") && moved("web"), "not all three had moved:\n{}", told(&view));
    assert_eq!(docker::containers(&cluster.environment), before);
    assert_eq!((counts.lost, back.failed()), (0, 0), "{counts:?}");
    for port in [ports[0], ports[1], cluster.port] {
        let old = BTreeMap::from([("1.0.0".to_owned(), 20)]);
        assert_eq!(cluster.versions_at(port, 20).await, old, "on port {port}");
    }
    assert_eq!(cluster.drift("docker").await.drifts, []);
    cluster.is_back_on("docker", "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_e2e_an_image_that_is_not_there_is_named_and_nothing_changes() {
    if !docker::is_there() {
        return;
    }
    let _alone = docker::alone();
    let cluster = Cluster::with(setting()).await;
    cluster.promote(&shop(&cluster, "1.0.0", canary())).await;
    let mut missing = shop(&cluster, "2.0.0", canary());
    missing["modules"][0]["run"]["image"] = "127.0.0.1:9/code-tests/no-such-image:1".into();

    let view = cluster.deploy(&missing).await;

    assert_eq!(view.summary.verdict, Some(Verdict::RolledBack), "{}", told(&view));
    assert_eq!(view.cause.as_ref().unwrap().kind, CauseKind::Failed, "{}", told(&view));
    assert!(told(&view).contains("127.0.0.1:9/code-tests/no-such-image:1 is not there"), "{}", told(&view));
    cluster.is_back_on("docker", "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_e2e_a_daemon_that_is_lost_in_a_canary_costs_the_release_and_not_a_request() {
    if !docker::is_there() {
        return;
    }
    let _alone = docker::alone();
    let folder = tempfile::tempdir().unwrap();
    let socket = Socket::before_docker(folder.path().join("docker.sock"));
    let docker_endpoint = format!("unix://{}", socket.path().display());
    let cluster = Cluster::with(Setting { docker_endpoint, ..setting() }).await;
    cluster.promote(&shop(&cluster, "1.0.0", canary())).await;
    let load = cluster.load(RATE);
    load.wait_for(50).await;
    let slow =
        json!({"canary": {"steps": [{"setWeight": 10}, {"pause": {"duration": "1s"}}, {"setWeight": 60}]}});
    let id = cluster.submit(&shop(&cluster, "2.0.0", slow)).await;
    cluster.pauses(&id).await;

    socket.cut();
    let back = cluster.until(&id, "it turns back", |view| view.summary.phase == Phase::RollingBack).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    socket.heal();
    let view = cluster.closed(&id).await;
    load.wait_for(50).await;
    let counts = load.end().await;

    assert!(told(&back).contains("platform docker is not reachable"), "{}", told(&back));
    assert_eq!(view.summary.verdict, Some(Verdict::RolledBack), "{}", told(&view));
    assert_eq!(view.cause.as_ref().unwrap().kind, CauseKind::Errored, "{}", told(&view));
    assert_eq!((counts.failed(), counts.ended), (0, counts.sent), "{counts:?}");
    cluster.is_back_on("docker", "1.0.0").await;
    assert_eq!(cluster.target("docker", "ann", TargetAction::Show {}).await.holder, None);
}

/// The check of `web` is a program in its container: it reads from the environment where `db` is and asks there.
#[tokio::test(flavor = "multi_thread")]
async fn docker_e2e_a_container_reaches_its_peer_where_its_environment_says() {
    if !docker::is_there() {
        return;
    }
    let _alone = docker::alone();
    let cluster = Cluster::with(setting()).await;
    let image = docker::image_of("sample", &platform::scenarios::sample::program());
    let db = cluster.container("db", "1.0.0");
    let mut web = cluster.container("web", "1.0.0");
    web["run"] = json!({"image": image.name, "digest": image.digest, "command": ["/sample", "serve", "8080"], "user": "10001"});
    web["dependsOn"] = json!([{"module": "db"}]);
    web["health"]["probe"] = json!({"command": ["/sample", "ask", "CODE_PEER_DB"]});
    let mut spec = cluster.release("docker", vec![db, web]);
    spec["strategy"] = at_once();

    cluster.promote(&spec).await;

    let target = format!("label=code.target={}", cluster.target_id("docker").token());
    let id = docker::docker(&["ps", "--quiet", "--filter", &target, "--filter", "label=code.module=web"]);
    let given = docker::docker(&["inspect", "--format", "{{json .Config.Env}}", id.lines().next().unwrap()]);
    for peer in ["CODE_PEER_DB=db:8080", "CODE_PEER_DB_HTTP=db:8080", "CODE_PEER_WEB=web:8080"] {
        assert!(given.contains(&format!("\"{peer}\"")), "no {peer} in {given}");
    }
    assert!(!given.contains("127.0.0.1"), "{given}");
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_e2e_a_foreign_container_at_a_name_we_want_is_named_and_left() {
    if !docker::is_there() {
        return;
    }
    let _alone = docker::alone();
    let cluster = Cluster::with(setting()).await;
    cluster.promote(&shop(&cluster, "1.0.0", at_once())).await;
    let next = shop(&cluster, "2.0.0", at_once());
    let module: model::spec::Module = serde_json::from_value(next["modules"][0].clone()).unwrap();
    let wanted = platform::instance_id(&cluster.target_id("docker"), &module.name, &module.revision(), 0);
    let foreign = docker::docker(&["create", "--name", &wanted, &docker::greeter().name, "/greeter"]);
    assert_eq!(cluster.drift("docker").await.drifts, [], "it is nothing of the target's");

    let view = cluster.deploy(&next).await;

    let left = docker::docker(&["inspect", "--format", "{{.Id}}", &wanted]);
    docker::docker(&["rm", "--force", &wanted]);
    assert_eq!(view.summary.verdict, Some(Verdict::RolledBack), "{}", told(&view));
    assert!(told(&view).contains(&wanted) && told(&view).contains("without our labels"), "{}", told(&view));
    assert_eq!((left.trim(), foreign.trim().is_empty()), (foreign.trim(), false));
    cluster.is_back_on("docker", "1.0.0").await;
    assert_eq!(cluster.drift("docker").await.drifts, []);
    // Once it is gone, so is the trouble: the release is not the worse for it.
    cluster.promote(&shop(&cluster, "3.0.0", at_once())).await;
}
