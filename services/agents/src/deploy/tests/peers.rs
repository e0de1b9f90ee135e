//! What instances are told of where others are.

use model::deployment::StepJob;

use super::*;
use crate::{
    context::{Ctx, Stop},
    deploy::peers,
};

/// A scale of `web`, beside a database with two ports and a worker with none.
fn job_on(target: &str) -> StepJob {
    let text = format!(
        r#"{{"apiVersion":"code/v1","name":"shop","target":"{target}","modules":[
            {{"name":"web","version":"1.0.0","run":{{"image":"web:1"}},"ports":[{{"name":"http","container":8080}}],
              "expose":{{"listen":80}}}},
            {{"name":"order-db","version":"1.0.0","run":{{"image":"db:1"}},
              "ports":[{{"name":"sql","container":5432}},{{"name":"admin","container":9000}}]}},
            {{"name":"worker","version":"1.0.0","run":{{"image":"worker:1"}}}}]}}"#
    );
    let mut job = scale(1, "two", 1);
    *job.spec = serde_json::from_str(&text).unwrap();
    job
}

async fn told(job: &StepJob, config: AgentsConfig) -> BTreeMap<String, String> {
    let world = World::with(config);
    peers::of(job, &Ctx::new(Arc::clone(&world.engine), Stop::default())).await.unwrap()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, address)| ((*name).to_owned(), (*address).to_owned())).collect()
}

#[tokio::test]
async fn containers_are_told_names_that_mean_something_in_a_container() {
    let alone = told(&job_on("docker"), AgentsConfig::default()).await;
    let plane = AgentsConfig { peer_host: Some("plane".to_owned()), ..AgentsConfig::default() };
    let through = told(&job_on("docker"), plane).await;

    let others = [
        ("order-db", "order-db:5432"),
        ("order-db-admin", "order-db:9000"),
        ("order-db-sql", "order-db:5432"),
    ];
    assert_eq!(alone, map(&[&others[..], &[("web", "web:8080"), ("web-http", "web:8080")]].concat()));
    assert_eq!(through, map(&[&others[..], &[("web", "plane:80"), ("web-http", "plane:80")]].concat()));
}

#[tokio::test]
async fn programs_are_told_addresses_of_this_machine_that_stay() {
    let world = World::new();
    let ctx = Ctx::new(Arc::clone(&world.engine), Stop::default());
    let job = job_on("process");

    let first = peers::of(&job, &ctx).await.unwrap();
    let again = peers::of(&job, &ctx).await.unwrap();

    let names: Vec<&str> = first.keys().map(String::as_str).collect();
    assert_eq!(names, ["order-db", "order-db-admin", "order-db-sql", "web", "web-http"]);
    assert!(first.values().all(|address| address.starts_with("127.0.0.1:3")), "{first:?}");
    assert_eq!((&first["web"], &first["order-db"]), (&first["web-http"], &first["order-db-sql"]));
    assert_eq!(first, again);
}
