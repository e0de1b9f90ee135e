//! Promoted means that clients come in: ports that others hold, and ports that pass from one module to the next.

use code_tests::cluster::{Cluster, canary, told};
use model::Verdict;
use serde_json::json;
use tokio::net::TcpListener;

const RATE: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_port_another_program_holds_is_not_promoted() {
    let cluster = Cluster::start().await;
    let _holder = TcpListener::bind(("127.0.0.1", cluster.port)).await.unwrap();
    let mut spec = cluster.shop("1.0.0", canary());
    spec["deadlines"]["step"] = "8s".into();

    let view = cluster.deploy(&spec).await;

    assert_eq!(view.summary.verdict, Some(Verdict::RolledBack), "{}", told(&view));
    assert!(told(&view).contains(&format!("cannot listen on 127.0.0.1:{}", cluster.port)), "{}", told(&view));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_moves_to_a_held_port_is_taken_back_and_its_clients_notice_nothing() {
    let cluster = Cluster::start().await;
    cluster.promote(&cluster.shop("1.0.0", json!({"rolling": {}}))).await;
    let load = cluster.load(RATE);
    load.wait_for(10).await;
    let port = cluster.another_port();
    let _holder = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let mut spec = cluster.shop("2.0.0", json!({"rolling": {}}));
    spec["modules"][0]["expose"]["listen"] = port.into();
    spec["deadlines"]["step"] = "8s".into();

    let view = cluster.deploy(&spec).await;
    load.wait_for(20).await;
    let counts = load.end().await;

    assert_eq!(view.summary.verdict, Some(Verdict::RolledBack), "{}", told(&view));
    assert_eq!((counts.failed(), counts.ended), (0, counts.sent), "{counts:?}");
    cluster.is_served_by("1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_port_another_target_holds_is_refused_with_the_holders_name() {
    let cluster = Cluster::start().await;
    cluster.promote(&cluster.shop("1.0.0", canary())).await;
    let mut blog = cluster.shop("7.0.0", canary());
    blog["name"] = "blog".into();

    let plan = cluster.plan(&blog).await;
    let view = cluster.deploy(&blog).await;

    let held = format!("port {} is held by web of {}", cluster.port, cluster.target_id("process"));
    assert!(plan.obstacles.iter().any(|why| why.contains(&held)), "{:?}", plan.obstacles);
    assert_eq!(view.summary.verdict, Some(Verdict::Rejected), "{}", told(&view));
    assert!(told(&view).contains(&held), "{}", told(&view));
    cluster.is_served_by("1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_renamed_loses_no_request() {
    let cluster = Cluster::start().await;
    cluster.promote(&cluster.shop("1.0.0", json!({"rolling": {}}))).await;
    let load = cluster.load(RATE);
    load.wait_for(10).await;
    let mut spec = cluster.shop("2.0.0", json!({"rolling": {}}));
    spec["modules"][0]["name"] = "site".into();

    let view = cluster.deploy(&spec).await;
    load.wait_for(20).await;
    let counts = load.end().await;

    assert_eq!(view.summary.verdict, Some(Verdict::Promoted), "{}", told(&view));
    assert_eq!((counts.failed(), counts.ended), (0, counts.sent), "{counts:?}");
    cluster.is_served_by("2.0.0").await;
    assert_eq!(cluster.drift("process").await.drifts, []);
}
