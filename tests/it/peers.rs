//! Modules of one release reach each other at addresses that stay, whatever moves behind them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use code_tests::cluster::{Cluster, at_once, blue_green, rolling, told};
use model::Verdict;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// What a running program was given.
fn environment(of: u32) -> Option<BTreeMap<String, String>> {
    let bytes = std::fs::read(format!("/proc/{of}/environ")).ok()?;
    let words = bytes.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok());
    let pairs = words.filter_map(|word| word.split_once('='));
    Some(pairs.map(|(name, value)| (name.into(), value.into())).collect())
}

/// The programs of a module, with what they were given.
fn running(cluster: &Cluster, module: &str) -> BTreeMap<u32, BTreeMap<String, String>> {
    let target = cluster.target_id("process").to_string();
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let given = pids.filter_map(|pid| Some((pid, environment(pid)?)));
    let ours = given.filter(|(_, given)| {
        given.get("CODE_TARGET") == Some(&target)
            && given.get("CODE_MODULE").map(String::as_str) == Some(module)
    });
    ours.collect()
}

/// One request on a connection of its own: the version that answers.
async fn version_at(address: &str) -> Result<String, String> {
    let told = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: db\r\nconnection: close\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    let text = told.await.map_err(|error| error.to_string())?;
    let known = ["1.0.0", "2.0.0", "3.0.0"].into_iter().find(|version| text.contains(version));
    known.map(str::to_owned).ok_or_else(|| format!("answered {text:?}"))
}

/// Asks without a pause, each time on a new connection, until it is told to end; gives answers and failures.
async fn ask_on(address: String, over: Arc<AtomicBool>) -> (Vec<String>, Vec<String>) {
    let (mut versions, mut failed) = (Vec::new(), Vec::new());
    while !over.load(SeqCst) {
        match version_at(&address).await {
            Ok(version) => versions.push(version),
            Err(why) => failed.push(why),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (versions, failed)
}

fn release(cluster: &Cluster, database: &str, strategy: Value) -> Value {
    let mut db = cluster.module("db", database);
    db["ports"] = json!([{"name": "http"}, {"name": "admin"}]);
    let mut web = cluster.web("1.0.0");
    web["dependsOn"] = json!([{"module": "db"}]);
    let mut spec = cluster.release("process", vec![web, db]);
    spec["strategy"] = strategy;
    spec
}

async fn whoever_knows_the_old_address_reaches_the_new_database(strategy: Value) {
    let mut cluster = Cluster::start().await;
    cluster.promote(&release(&cluster, "1.0.0", strategy.clone())).await;
    let before = running(&cluster, "web");
    let (_, given) = before.iter().next().unwrap();
    let address = given["CODE_PEER_DB"].clone();
    assert_eq!(given["CODE_PEER_DB_HTTP"], address);
    assert_ne!(given["CODE_PEER_DB_ADMIN"], address);
    assert_eq!(version_at(&address).await, Ok("1.0.0".to_owned()));
    // The exposed module has such an address as well.
    assert_eq!(version_at(&given["CODE_PEER_WEB"]).await, Ok("1.0.0".to_owned()));
    let over = Arc::new(AtomicBool::new(false));
    let mut asking = JoinSet::new();
    asking.spawn(ask_on(address.clone(), Arc::clone(&over)));

    cluster.promote(&release(&cluster, "2.0.0", strategy.clone())).await;
    let after = version_at(&address).await;
    cluster.promote(&release(&cluster, "3.0.0", strategy)).await;
    over.store(true, SeqCst);
    let (versions, failed) = asking.join_next().await.unwrap().unwrap();

    assert_eq!(failed, Vec::<String>::new(), "of {}", versions.len());
    assert_eq!(after, Ok("2.0.0".to_owned()));
    assert_eq!(version_at(&address).await, Ok("3.0.0".to_owned()));
    assert_eq!(running(&cluster, "web"), before, "web was not touched");
    assert_eq!(cluster.drift("process").await.drifts, []);

    cluster.restart_traffic().await;
    testkit::eventually("the new database is reached again", Duration::from_secs(10), || async {
        let met = version_at(&address).await?;
        if met == "3.0.0" { Ok(()) } else { Err(met) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_database_that_moves_in_a_rolling_update_is_reached_where_it_was() {
    whoever_knows_the_old_address_reaches_the_new_database(rolling()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_database_that_is_switched_is_reached_where_it_was() {
    whoever_knows_the_old_address_reaches_the_new_database(blue_green()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_database_that_is_taken_back_is_reached_where_it_was_all_the_time() {
    let cluster = Cluster::start().await;
    cluster.promote(&release(&cluster, "1.0.0", at_once())).await;
    let given = running(&cluster, "web").into_values().next().unwrap();
    let address = given["CODE_PEER_DB"].clone();
    let over = Arc::new(AtomicBool::new(false));
    let mut asking = JoinSet::new();
    asking.spawn(ask_on(address.clone(), Arc::clone(&over)));
    let mut bad = release(&cluster, "2.0.0", at_once());
    bad["modules"][0]["environment"]["GREETER_NEVER_READY"] = "true".into();
    bad["modules"][0]["version"] = "2.0.0".into();
    bad["modules"][0]["health"]["healthyDeadline"] = "3s".into();

    let view = cluster.deploy(&bad).await;
    over.store(true, SeqCst);
    let (versions, failed) = asking.join_next().await.unwrap().unwrap();

    assert_eq!(view.summary.verdict, Some(Verdict::RolledBack), "{}", told(&view));
    assert_eq!(failed, Vec::<String>::new(), "of {}", versions.len());
    assert!(versions.iter().any(|version| version == "2.0.0"), "the database never moved");
    assert_eq!(version_at(&address).await, Ok("1.0.0".to_owned()));
    assert_eq!(cluster.drift("process").await.drifts, []);
}
