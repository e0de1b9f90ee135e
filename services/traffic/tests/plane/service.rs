//! The service around the plane: it follows the bucket, says what it counts, and goes on without NATS.

use std::path::Path;

use bus::{Bus, subjects};
use chassis::Service;
use futures::StreamExt;
use model::{
    Span,
    route::{RouteTable, TrafficCount, Weights},
};
use traffic::TrafficConfig;

use crate::support::*;

fn service(bus: &Bus, state_dir: &Path) -> Service<TrafficConfig> {
    let config = TrafficConfig {
        state_dir: state_dir.into(),
        count_period: Span::millis(20),
        ..TrafficConfig::default()
    };
    Service::for_tests(config, bus.clone())
}

async fn reachable(caller: &Caller, text: &str) {
    let check = || async {
        let found = tokio::net::TcpStream::connect(caller.address).await;
        found.map_err(|error| error.to_string())?;
        let said = caller.get("/").await.text;
        if said == text { Ok(()) } else { Err(format!("it says {said:?}")) }
    };
    let what = format!("{} answers {text}", caller.address);
    testkit::eventually(&what, std::time::Duration::from_secs(10), check).await
}

#[tokio::test]
async fn tables_in_the_bucket_come_in_force_are_counted_and_go() {
    let nats = testkit::nats().await;
    let (a, b, folder) =
        (Instance::start("a").await, Instance::start("b").await, tempfile::tempdir().unwrap());
    let caller = Caller::new(nobody().await);
    let first =
        RouteTable { listen: caller.address.port(), ..table(&[("r1", 100, &[&a]), ("r2", 0, &[&b])]) };
    let second = RouteTable { version: 2, weights: Weights::all_to(revision("r2")), ..first.clone() };
    let routes = nats.bus.bucket(&subjects::buckets::ROUTES);
    let mut said = nats.bus.listen(&subjects::traffic::COUNT, Some("dev--process--shop")).await.unwrap();
    let service = service(&nats.bus, folder.path());

    let written = routes.create(KEY, &first).await.unwrap();
    traffic::start(service.clone()).await.unwrap();
    reachable(&caller, "a").await;
    let written = routes.update(KEY, &second, written).await.unwrap();
    reachable(&caller, "b").await;

    let counted = |count: &TrafficCount| {
        count.version == 2 && count.revisions.get(&revision("r2")).is_some_and(|of| of.requests > 0)
    };
    let heard = async {
        loop {
            let count = said.next().await.unwrap().message;
            if counted(&count) {
                return count;
            }
        }
    };
    let count = tokio::time::timeout(std::time::Duration::from_secs(10), heard).await.unwrap();
    assert_eq!(count.plane, service.replica.to_string());
    assert!(count.revisions[&revision("r1")].requests > 0);
    assert_eq!(
        count.revisions[&revision("r2")].latency.iter().map(|(_, n)| n).sum::<u64>(),
        count.revisions[&revision("r2")].requests
    );

    let page = chassis::metrics::Page::default();
    page.add(&service.metrics);
    let shown = page.text().unwrap();
    for line in [
        "code_traffic_requests_total{target=\"dev.process.shop\",module=\"web\",revision=\"r2\"}",
        "code_traffic_request_seconds_bucket{le=\"+Inf\",target=\"dev.process.shop\",module=\"web\",revision=\"r2\"}",
        "code_traffic_last_known 0",
    ] {
        assert!(shown.contains(line), "{line} is missing in\n{shown}");
    }

    routes.delete(KEY, written).await.unwrap();
    closed(caller.address).await;
    assert!(service.stop(std::time::Duration::from_secs(20)).await.is_empty());
}

#[tokio::test]
async fn a_restart_without_nats_serves_the_last_known_routes() {
    let mut nats = testkit::nats().await;
    let (a, folder) = (Instance::start("a").await, tempfile::tempdir().unwrap());
    let caller = Caller::new(nobody().await);
    let routes = RouteTable { listen: caller.address.port(), ..table(&[("r1", 100, &[&a])]) };
    nats.bus.bucket(&subjects::buckets::ROUTES).create(KEY, &routes).await.unwrap();
    let before = service(&nats.bus, folder.path());
    traffic::start(before.clone()).await.unwrap();
    reachable(&caller, "a").await;
    let copy = folder.path().join("routes.json");
    eventually("the copy is written", || {
        std::fs::read_to_string(&copy).is_ok_and(|text| text.contains("r1"))
    })
    .await;

    nats.server.kill9().await.unwrap();
    assert_eq!(caller.get("/").await.text, "a", "it goes on without NATS");
    before.crash();
    closed(caller.address).await;
    let after = service(&nats.bus, folder.path());
    traffic::start(after.clone()).await.unwrap();

    reachable(&caller, "a").await;
    after.crash();
}

#[tokio::test]
async fn a_port_that_cannot_be_opened_makes_the_service_not_ready_and_is_named() {
    let nats = testkit::nats().await;
    let (a, folder) = (Instance::start("a").await, tempfile::tempdir().unwrap());
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let routes = RouteTable { listen: port, ..table(&[("r1", 100, &[&a])]) };
    nats.bus.bucket(&subjects::buckets::ROUTES).create(KEY, &routes).await.unwrap();
    let service = service(&nats.bus, folder.path());
    traffic::start(service.clone()).await.unwrap();
    let why = format!("cannot listen on 127.0.0.1:{port}");

    eventually("it is not ready", || service.health.reasons().iter().any(|reason| reason.contains(&why)))
        .await;
    drop(taken);

    eventually("it is ready", || service.health.is_ready()).await;
    service.crash();
}
