//! Nobody's request fails while a release moves: canary, blue-green and rolling, under constant open-loop load.

use code_tests::cluster::{
    Cluster, analysis, at_once, blue_green, canary, rolling, told, verdict_to_way_back,
};
use model::{Verdict, command::TargetAction, deployment::CauseKind};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// Requests a second. Enough that one lost instance would show, little enough for two cores in a debug build.
const RATE: u32 = 150;

/// 1.0.0 to 2.0.0 and on to 3.0.0: the second switch also shows that the first left nothing half done.
async fn no_request_fails_through(strategy: Value) {
    let cluster = Cluster::start().await;
    cluster.promote(&cluster.shop("1.0.0", strategy.clone())).await;
    let load = cluster.load(RATE);
    load.wait_for(100).await;

    cluster.promote(&cluster.shop("2.0.0", strategy.clone())).await;
    cluster.promote(&cluster.shop("3.0.0", strategy)).await;
    let after = load.wait_for(100).await;
    let counts = load.end().await;

    assert_eq!((counts.failed(), counts.ended), (0, counts.sent), "{counts:?}");
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        assert!(counts.versions.contains_key(version), "{version} never answered: {counts:?}");
    }
    assert_eq!(after.versions.keys().collect::<Vec<_>>(), ["3.0.0"]);
    assert_eq!(cluster.started_twice(), Vec::<String>::new());
    cluster.is_back_on("process", "3.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_no_request_fails_through_a_canary() {
    no_request_fails_through(canary()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_no_request_fails_through_a_blue_green_switch() {
    no_request_fails_through(blue_green()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_no_request_fails_through_a_rolling_update() {
    no_request_fails_through(rolling()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_release_that_errs_is_taken_back_by_its_measurements() {
    let cluster = Cluster::start().await;
    let good = cluster.shop("1.0.0", canary());
    cluster.promote(&good).await;
    let load = cluster.load(RATE);
    load.wait_for(100).await;
    let mut bad = cluster
        .shop("2.0.0", json!({"canary": {"steps": [{"setWeight": 20}, {"pause": {"duration": "20s"}}]}}));
    bad["modules"][0]["environment"]["GREETER_ERROR_RATE"] = "0.3".into();
    bad["modules"][0]["analysis"] = analysis("5s");

    let view = cluster.deploy(&bad).await;
    let back = load.wait_for(200).await;
    let counts = load.end().await;

    assert_eq!(view.summary.verdict, Some(Verdict::RolledBack), "{}", told(&view));
    let cause = view.cause.clone().unwrap();
    let gate = cause.gate.unwrap_or_else(|| panic!("no gate: {}", told(&view)));
    assert_eq!((cause.kind, gate.gate.as_str()), (CauseKind::Failed, "error-rate"));
    assert!(gate.measured.is_some_and(|share| (0.1..0.6).contains(&share)), "{gate}");
    assert!(told(&view).contains("0.05"), "the limit is not told:\n{}", told(&view));
    let took = verdict_to_way_back(&cluster.history(&view.summary.deployment).await).unwrap();
    println!("the way back began {took:?} after the verdict");
    assert!(took < Duration::from_secs(1), "the way back began {took:?} after the verdict");
    assert_eq!(back.failed(), 0, "{back:?}");
    assert_eq!(back.versions.keys().collect::<Vec<_>>(), ["1.0.0"]);
    assert_eq!(counts.lost, 0, "{counts:?}");
    cluster.is_back_on("process", "1.0.0").await;

    let again = cluster.deploy(&bad).await;
    assert_eq!(again.summary.verdict, Some(Verdict::Rejected), "{}", told(&again));
    assert_eq!(again.cause.unwrap().kind, CauseKind::Quarantined);
    let target = cluster.target("process", "ann", TargetAction::Show {}).await;
    assert_eq!(target.quarantined.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_whole_set_that_is_cut_over_by_mistake_is_cut_back_without_a_lost_request() {
    let cluster = Cluster::start().await;
    cluster.promote(&cluster.shop("1.0.0", at_once())).await;
    let load = cluster.load(RATE);
    load.wait_for(100).await;
    let mut bad = cluster.shop("2.0.0", json!({"blueGreen": {"postPromotion": analysis("5s")}}));
    bad["modules"][0]["environment"]["GREETER_ERROR_RATE"] = "0.3".into();

    let view = cluster.deploy(&bad).await;
    let back = load.wait_for(200).await;
    let counts = load.end().await;

    assert_eq!(view.summary.verdict, Some(Verdict::RolledBack), "{}", told(&view));
    assert_eq!((back.failed(), counts.lost), (0, 0), "{counts:?}");
    assert_eq!(cluster.versions(20).await, BTreeMap::from([("1.0.0".to_owned(), 20)]));
}
