//! Where requests go, and that nobody notices when that changes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use hyper::{Method, StatusCode};
use model::{
    Fence,
    route::{Pin, RouteTable, Weights},
};
use tokio::task::JoinSet;
use traffic::proxy::{Applied, Settings};

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_tables_switch_a_thousand_times_under_load() {
    let (a, b, c) = (Instance::start("a").await, Instance::start("b").await, Instance::start("c").await);
    let tables = [
        table(&[("r1", 100, &[&a])]),
        table(&[("r1", 90, &[&a]), ("r2", 10, &[&b])]),
        table(&[("r1", 50, &[&a, &c]), ("r2", 50, &[&b])]),
        table(&[("r2", 100, &[&b])]),
        table(&[("r2", 40, &[&b, &c]), ("r1", 60, &[&a])]),
    ];
    let (plane, caller) = plane_with(tables[0].clone()).await;
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut load = JoinSet::new();
    for worker in 0..8 {
        let (caller, done, answered) = (caller.clone(), Arc::clone(&done), Arc::clone(&answered));
        load.spawn(async move {
            let mut wrong = Vec::new();
            while !done.load(SeqCst) {
                let method = if worker % 2 == 0 { Method::GET } else { Method::POST };
                let reply = caller.send(method, "/", &[]).await;
                if reply.status != StatusCode::OK || !["a", "b", "c"].contains(&reply.text.as_str()) {
                    wrong.push(reply);
                }
                answered.fetch_add(1, SeqCst);
            }
            wrong
        });
    }

    for version in 2..=1001_u64 {
        let before = answered.load(SeqCst);
        let next = RouteTable { version, ..tables[version as usize % tables.len()].clone() };
        assert_eq!(plane.apply(next), Ok(Applied::Taken));
        while answered.load(SeqCst) < before + 2 {
            tokio::task::yield_now().await;
        }
    }
    done.store(true, SeqCst);
    let wrong: Vec<Reply> = load.join_all().await.into_iter().flatten().collect();

    assert!(wrong.is_empty(), "{} of {} failed: {:?}", wrong.len(), answered.load(SeqCst), wrong.first());
    let counted = said(&plane);
    assert_eq!(counted.version, 1001);
    assert_eq!(counted.revisions.values().map(|count| count.errors).sum::<u64>(), 0);
    assert_eq!(counted.revisions.values().map(|count| count.requests).sum::<u64>(), answered.load(SeqCst));
    assert!(plane.stop(Duration::from_secs(20)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_old_instances_are_killed_once_they_have_drained() {
    let mut old = Instance::start("g0").await;
    let (plane, caller) = plane_with(table(&[("g0", 100, &[&old])])).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for _ in 0..6 {
        let (caller, done) = (caller.clone(), Arc::clone(&done));
        load.spawn(async move {
            let mut wrong = Vec::new();
            while !done.load(SeqCst) {
                let reply = caller.send(Method::POST, "/", &[]).await;
                if reply.status != StatusCode::OK {
                    wrong.push(reply);
                }
            }
            wrong
        });
    }

    for generation in 1..=30_u64 {
        let name = format!("g{generation}");
        let new = Instance::start(&name).await;
        plane.apply(RouteTable { version: generation + 1, ..table(&[(&name, 100, &[&new])]) }).unwrap();
        eventually("the new one is asked", || new.requests.load(SeqCst) > 3).await;
        let before = old.name.clone();
        eventually("the old one has drained", || count_of(&plane, &before).in_flight == 0).await;
        old.kill();
        old = new;
    }
    done.store(true, SeqCst);

    let wrong: Vec<Reply> = load.join_all().await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} failed: {:?}", wrong.len(), wrong.first());
}

#[tokio::test]
async fn a_revision_drains_where_it_was_while_new_requests_go_elsewhere() {
    let (old, new) = (Instance::start("old").await, Instance::start("new").await);
    let (plane, caller) = plane_with(table(&[("r1", 100, &[&old])])).await;
    let mut waiting = JoinSet::new();
    let slow = caller.clone();
    waiting.spawn(async move { slow.get("/slow").await });
    eventually("the request is in flight", || old.requests.load(SeqCst) == 1).await;

    plane.apply(RouteTable { version: 2, ..table(&[("r2", 100, &[&new])]) }).unwrap();

    assert_eq!(caller.get("/").await.text, "new");
    assert_eq!(plane.in_flight(KEY)[&revision("r1")]["old"], 1);
    assert_eq!(count_of(&plane, "r1").in_flight, 1);
    old.gate.add_permits(1);
    assert_eq!(waiting.join_next().await.unwrap().unwrap().text, "old");
    eventually("the old revision has drained", || {
        plane.in_flight(KEY).values().flat_map(|all| all.values()).sum::<u32>() == 0
    })
    .await;
    assert_eq!(count_of(&plane, "r1").in_flight, 0);
}

#[tokio::test]
async fn a_client_with_a_cookie_stays_where_it_is_while_its_weight_does_not_shrink() {
    let (old, new) = (Instance::start("old").await, Instance::start("new").await);
    let at = |version: u64, share: u8| RouteTable {
        version,
        sticky_cookie: Some("lane".to_owned()),
        weights: Weights::split(revision("new"), share, revision("old")),
        ..table(&[("new", share, &[&new]), ("old", 100 - share, &[&old])])
    };
    let (plane, caller) = plane_with(at(1, 30)).await;
    let mut cookies = Vec::new();
    for _ in 0..60 {
        let reply = caller.get("/").await;
        let cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
        assert!(cookie.starts_with("lane="), "{reply:?}");
        cookies.push((cookie, reply.text));
    }

    for (version, share) in [(2, 30), (3, 60), (4, 100)] {
        plane.apply(at(version, share)).unwrap();
        for (cookie, went) in &mut cookies {
            let reply = caller.get_with("/", &[("cookie", cookie)]).await;
            assert!(reply.text == "new" || *went == "old", "a client left the canary");
            assert_eq!(reply.header("set-cookie"), "");
            *went = reply.text;
        }
    }

    assert!(cookies.iter().all(|(_, went)| went == "new"));
}

#[tokio::test]
async fn a_pinned_request_reaches_a_revision_without_a_share() {
    let (old, new) = (Instance::start("old").await, Instance::start("new").await);
    let pin = Pin { source: "x-preview".into(), value: "yes".into(), revision: revision("r2") };
    let routes = RouteTable { pins: vec![pin], ..table(&[("r1", 100, &[&old]), ("r2", 0, &[&new])]) };
    let (_plane, caller) = plane_with(routes).await;

    let pinned = caller.get_with("/", &[("x-preview", "yes")]).await;
    let other = caller.get("/").await;

    assert_eq!((pinned.text.as_str(), pinned.header("x-code-revision")), ("new", "r2"));
    assert_eq!((other.text.as_str(), other.header("x-code-revision")), ("old", "r1"));
}

#[tokio::test]
async fn what_cannot_be_routed_is_refused_with_the_reason() {
    let old = Instance::start("old").await;
    let pin = Pin { source: "x-preview".into(), value: "yes".into(), revision: revision("r2") };
    let (plane, caller) = plane_with(RouteTable { pins: vec![pin], ..table(&[("r1", 100, &[&old])]) }).await;

    let pinned = caller.get_with("/", &[("x-preview", "yes")]).await;
    plane.apply(RouteTable { version: 2, ..table(&[("r1", 0, &[&old])]) }).unwrap();
    let shares = caller.get("/").await;

    for (reply, reason) in
        [(pinned, "revision r2 was asked for by a pin"), (shares, "no revision has a share")]
    {
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (StatusCode::SERVICE_UNAVAILABLE, "application/json")
        );
        let said: serde_json::Value = serde_json::from_str(&reply.text).unwrap();
        assert_eq!(said["code"], "unavailable");
        assert!(said["reason"].as_str().unwrap().contains(reason), "{said}");
    }
    assert_eq!(said(&plane).unroutable, 2);
}

#[tokio::test]
async fn older_tables_and_lower_fences_are_ignored() {
    let (a, b) = (Instance::start("a").await, Instance::start("b").await);
    let fence = Fence { lock: 3, epoch: 1 };
    let in_force = RouteTable { version: 5, fence, ..table(&[("r1", 100, &[&a])]) };
    let (plane, caller) = plane_with(in_force.clone()).await;
    let other = table(&[("r2", 100, &[&b])]);

    assert_eq!(plane.apply(RouteTable { version: 4, fence, ..other.clone() }), Ok(Applied::Stale));
    assert_eq!(
        plane.apply(RouteTable { version: 9, fence: Fence { lock: 2, epoch: 9 }, ..other }),
        Ok(Applied::Stale)
    );
    assert_eq!(plane.apply(in_force), Ok(Applied::Known));

    assert_eq!(caller.get("/").await.text, "a");
}

#[tokio::test]
async fn after_the_routes_were_lost_a_higher_fence_is_followed_whatever_its_version() {
    let (a, b) = (Instance::start("a").await, Instance::start("b").await);
    let fence = Fence { lock: 3, epoch: 1 };
    let (plane, caller) = plane_with(RouteTable { version: 5, fence, ..table(&[("r1", 100, &[&a])]) }).await;

    let later = RouteTable { version: 2, fence: Fence { lock: 4, epoch: 1 }, ..table(&[("r2", 100, &[&b])]) };
    assert_eq!(plane.apply(later), Ok(Applied::Taken));

    assert_eq!(caller.get("/").await.text, "b");
}

#[tokio::test]
async fn a_port_in_use_is_reported_and_opened_once_it_is_free() {
    let a = Instance::start("a").await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let plane = traffic::proxy::Plane::new(Settings::default());
    plane.apply(RouteTable { listen: port, ..table(&[("r1", 100, &[&a])]) }).unwrap();
    eventually("the trouble is reported", || {
        plane.troubles().iter().any(|why| why.contains("cannot listen"))
    })
    .await;

    drop(taken);

    let address = plane.listening(KEY).await;
    assert_eq!(address.port(), port);
    assert!(plane.troubles().is_empty());
    assert_eq!(Caller::new(address).get("/").await.text, "a");
}

#[tokio::test]
async fn a_removed_module_answers_no_more_and_its_port_closes() {
    let a = Instance::start("a").await;
    let (plane, caller) = plane_with(table(&[("r1", 100, &[&a])])).await;
    assert_eq!(caller.get("/").await.text, "a");

    plane.remove(KEY);

    closed(caller.address).await;
}

#[tokio::test]
async fn connections_to_instances_are_used_again() {
    let a = Instance::start("a").await;
    let (_plane, caller) = plane_with(table(&[("r1", 100, &[&a])])).await;

    for path in ["/", "/status/204", "/status/304", "/bytes/100000", "/head"].iter().cycle().take(50) {
        caller.get(path).await;
    }
    for method in [Method::HEAD, Method::POST, Method::PUT, Method::DELETE] {
        assert_eq!(caller.send(method, "/", &[]).await.status, StatusCode::OK);
    }

    assert_eq!(a.requests.load(SeqCst), 54);
    assert_eq!(a.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn instances_see_who_asks_and_clients_see_who_answered() {
    let a = Instance::start("a").await;
    let (_plane, caller) = plane_with(table(&[("r1", 100, &[&a])])).await;

    let reply = caller
        .get_with("/head", &[("x-forwarded-for", "192.0.2.7"), ("connection", "x-gone"), ("x-gone", "1")])
        .await;

    let id = reply.header("x-request-id");
    assert_eq!((id.len(), reply.header("x-code-revision")), (32, "r1"));
    for line in ["x-forwarded-for: 192.0.2.7, 127.0.0.1".to_owned(), format!("x-request-id: {id}")] {
        assert!(reply.text.contains(&line), "{line} is missing in\n{}", reply.text);
    }
    assert!(!reply.text.contains("x-gone"), "{}", reply.text);
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_understood() {
    let a = Instance::start("a").await;
    let (_plane, caller) = plane_with(table(&[("r1", 100, &[&a])])).await;
    let caller = Caller::http2(caller.address);

    let mut all = JoinSet::new();
    for _ in 0..20 {
        let caller = caller.clone();
        all.spawn(async move { caller.get("/bytes/100000").await });
    }

    for reply in all.join_all().await {
        assert_eq!((reply.status, reply.text.len()), (StatusCode::OK, 100_000));
    }
}
