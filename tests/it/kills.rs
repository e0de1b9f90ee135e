//! The kill matrix with real processes, for a sample: `kill -9` of the orchestrator that owns the deployment, or of the
//! agents, right after every few journal records, again and again within one deployment. The whole matrix is simulated
//! (`sim.rs`, `make matrix`). With `CODE_TEST_KILL_OFFSET` 1 (default 0) the kills come after other records; the
//! two together kill after each one: `for n in 0 1; do CODE_TEST_KILL_OFFSET=$n make test ARGS="--no-verify kills"; done`

use std::time::Duration;

use bus::{Start, subjects};
use code_tests::cluster::{Cluster, Setting, analysis, blue_green, canary, owners, rolling, told};
use futures::StreamExt;
use model::{Event, Verdict};
use serde_json::Value;

const RATE: u32 = 50;
/// A kill after every so many records of the journal: the agents and the owner in turns.
const EVERY: u64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_canary_with_kills_all_along_is_promoted_and_nothing_happens_twice() {
    Box::pin(kills_all_along(canary(), false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_blue_green_switch_with_kills_all_along_is_promoted_and_nothing_happens_twice() {
    Box::pin(kills_all_along(blue_green(), false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_rolling_update_with_kills_all_along_is_promoted_and_nothing_happens_twice() {
    Box::pin(kills_all_along(rolling(), false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_bad_canary_with_kills_all_along_is_rolled_back_and_nothing_happens_twice() {
    Box::pin(kills_all_along(canary(), true)).await;
}

async fn kills_all_along(strategy: Value, bad: bool) {
    let mut cluster = Cluster::with(Setting { orchestrators: 0, hands: false, ..Setting::default() }).await;
    cluster.start_traffic().await;
    cluster.spawn_agents();
    for _ in 0..2 {
        cluster.spawn_orchestrator().await;
    }
    cluster.promote(&cluster.shop("1.0.0", strategy.clone())).await;
    let load = cluster.load(RATE);
    load.wait_for(20).await;
    let mut journal = cluster.nats.bus.follow(&subjects::deployment::JOURNAL, Start::Now).await.unwrap();
    let mut spec = cluster.shop("2.0.0", strategy);
    spec["deadlines"] = serde_json::json!({"total": "5m", "step": "90s", "rollback": "3m"});
    if bad {
        // No request fails, but the gate asks for less than no errors.
        let mut impossible = analysis("2s");
        impossible["metrics"][0]["success"] = "< 0".into();
        let step = serde_json::json!({"analysis": impossible});
        spec["strategy"]["canary"]["steps"].as_array_mut().unwrap().push(step);
    }
    let id = cluster.submit(&spec).await;

    let offset = std::env::var("CODE_TEST_KILL_OFFSET").map_or(0, |text| text.parse().expect("0 or 1"));
    let (mut owner, mut kills, mut killed_agents) = (None, 0, 0);
    loop {
        let entry = tokio::time::timeout(Duration::from_secs(90), journal.next())
            .await
            .unwrap_or_else(|_| panic!("no record for 90 s after {kills} kills"))
            .unwrap();
        if entry.record.id != id.to_string() {
            continue;
        }
        for event in &entry.record.events {
            if let Event::OwnerClaimed { owner: new, .. } = event {
                owner = Some(new.to_string());
            }
        }
        if entry.record.events.iter().any(|event| matches!(event, Event::Closed { .. })) {
            break;
        }
        if entry.record.version % EVERY == offset {
            match (owner.take(), kills % 2) {
                (Some(owner), 0) => {
                    cluster.kill(&owner);
                    cluster.spawn_orchestrator().await;
                }
                (kept, _) => {
                    owner = kept;
                    cluster.kill("agents");
                    cluster.spawn_agents();
                    killed_agents += 1;
                }
            }
            kills += 1;
        }
    }

    let view = cluster.closed(&id).await;
    let counts = load.end().await;
    let wanted = if bad { Verdict::RolledBack } else { Verdict::Promoted };
    assert_eq!(view.summary.verdict, Some(wanted), "after {kills} kills:\n{}", told(&view));
    assert!(kills >= 4 && killed_agents >= 2, "only {kills} kills, {killed_agents} of the agents");
    assert_eq!((counts.failed(), counts.ended), (0, counts.sent), "{counts:?}");
    assert_eq!(cluster.started_twice(), Vec::<String>::new());
    assert!(owners(&cluster.history(&id).await).len() > 1, "nobody took over");
    println!("{kills} kills, {killed_agents} of them of the agents, {} records", view.version);
    cluster.is_back_on("process", if bad { "1.0.0" } else { "2.0.0" }).await;
}
