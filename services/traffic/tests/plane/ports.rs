//! Ports that are taken, handed over, kept and let go.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use hyper::StatusCode;
use model::{
    Fence,
    route::{RouteTable, TrafficCount},
};
use tokio::{net::TcpStream, task::JoinSet};
use traffic::proxy::{Plane, Settings};

use crate::support::*;

/// The table of a module of the same target.
fn named(name: &str, fence: u64, port: u16, revisions: &[(&str, u8, &[&Instance])]) -> RouteTable {
    RouteTable {
        module: name.parse().unwrap(),
        fence: Fence { lock: fence, epoch: 1 },
        version: fence,
        listen: port,
        ..table(revisions)
    }
}

fn key(name: &str) -> String {
    RouteTable::key(&table(&[]).target, &name.parse().unwrap())
}

fn closed(plane: &Plane, name: &str) -> Option<String> {
    let counts = plane.counts("rep-test", model::Timestamp(0));
    let of = |count: &TrafficCount| count.module.as_str() == name;
    counts.into_iter().find(of).unwrap().closed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_is_renamed_keeps_its_port_and_loses_no_request_there_and_back() {
    let (old, new) = (Instance::start("old").await, Instance::start("new").await);
    let port = nobody().await.port();
    let plane = Plane::new(Settings::default());
    plane.apply(named("web", 1, port, &[("r1", 100, &[&old])])).unwrap();
    let caller = Caller::new(plane.listening(&key("web")).await);
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let (caller, done, answered) = (caller.clone(), Arc::clone(&done), Arc::clone(&answered));
        load.spawn(async move {
            while !done.load(SeqCst) {
                let reply = caller.get("/").await;
                assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
                answered.fetch_add(1, SeqCst);
            }
        });
    }

    // Its instances are there first, nobody is sent to them yet.
    plane.apply(named("site", 2, port, &[("r2", 0, &[&new])])).unwrap();
    assert_eq!(closed(&plane, "site").as_deref(), Some(&*format!("port {port} is served for web")));
    assert_eq!(caller.get("/").await.text, "old");
    plane.apply(named("site", 3, port, &[("r2", 100, &[&new])])).unwrap();
    assert_eq!((closed(&plane, "site"), caller.get("/").await.text.as_str()), (None, "new"));
    assert!(closed(&plane, "web").is_some() && plane.troubles().is_empty());
    // The way back.
    plane.apply(named("web", 4, port, &[("r1", 100, &[&old])])).unwrap();
    assert_eq!((closed(&plane, "web"), caller.get("/").await.text.as_str()), (None, "old"));
    // And there again, for good.
    plane.apply(named("site", 5, port, &[("r2", 100, &[&new])])).unwrap();
    plane.remove(&key("web"));
    let before = answered.load(SeqCst);
    eventually("requests go on", || answered.load(SeqCst) > before + 100).await;
    done.store(true, SeqCst);

    load.join_all().await;
    assert_eq!(caller.get("/").await.text, "new");
}

#[tokio::test]
async fn a_restart_gives_the_port_to_the_later_table_whatever_comes_first() {
    let (old, new) = (Instance::start("old").await, Instance::start("new").await);
    let port = nobody().await.port();
    let tables =
        [named("web", 1, port, &[("r1", 100, &[&old])]), named("site", 2, port, &[("r2", 100, &[&new])])];

    for order in [[0, 1], [1, 0]] {
        let plane = Plane::new(Settings::default());
        for at in order {
            plane.apply(tables[at].clone()).unwrap();
        }
        let caller = Caller::new(plane.listening(&key("site")).await);
        assert_eq!(caller.get("/").await.text, "new");
        assert!(plane.stop(std::time::Duration::from_secs(20)).await);
    }
}

#[tokio::test]
async fn a_port_of_another_target_is_never_taken_and_its_holder_is_named() {
    let (a, b) = (Instance::start("a").await, Instance::start("b").await);
    let port = nobody().await.port();
    let plane = Plane::new(Settings::default());
    plane.apply(named("web", 1, port, &[("r1", 100, &[&a])])).unwrap();
    let caller = Caller::new(plane.listening(&key("web")).await);
    let other = RouteTable {
        target: "dev.process.blog".parse().unwrap(),
        ..named("site", 9, port, &[("r2", 100, &[&b])])
    };

    plane.apply(other).unwrap();

    eventually("it is told", || !plane.troubles().is_empty()).await;
    let why = closed(&plane, "site").unwrap();
    assert!(
        why.contains("cannot listen on") && why.ends_with("the port of web of dev.process.shop"),
        "{why}"
    );
    assert_eq!(caller.get("/").await.text, "a");
    assert_eq!(closed(&plane, "web"), None);
}

#[tokio::test]
async fn the_port_before_stays_open_until_the_new_one_is() {
    let a = Instance::start("a").await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let old = nobody().await.port();
    let plane = Plane::new(Settings::default());
    plane.apply(named("web", 1, old, &[("r1", 100, &[&a])])).unwrap();
    let before = Caller::new(plane.listening(&key("web")).await);

    plane.apply(named("web", 2, port, &[("r1", 100, &[&a])])).unwrap();
    eventually("the new port is told", || closed(&plane, "web").is_some_and(|it| it.contains("cannot")))
        .await;
    assert_eq!(before.get("/").await.text, "a", "clients of the old port lose nothing");
    // The way back finds the old port as it was.
    plane.apply(named("web", 3, old, &[("r1", 100, &[&a])])).unwrap();
    assert_eq!((closed(&plane, "web"), before.get("/").await.text.as_str()), (None, "a"));

    drop(taken);
    plane.apply(named("web", 4, port, &[("r1", 100, &[&a])])).unwrap();
    let after = Caller::new(plane.listening(&key("web")).await);
    assert_eq!((after.address.port(), after.get("/").await.text.as_str()), (port, "a"));
    for _ in 0..2000 {
        if TcpStream::connect(before.address).await.is_err() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the port before is still open");
}

#[tokio::test]
async fn who_asks_at_the_door_is_told_who_answers_and_is_not_counted() {
    let a = Instance::start("a").await;
    let (plane, caller) = plane_with(RouteTable { version: 7, ..table(&[("r1", 100, &[&a])]) }).await;

    let told = caller.get_with("/", &[("x-code-door", "1")]).await;
    let client = caller.get("/").await;
    plane.apply(RouteTable { version: 8, ..table(&[("r1", 100, &[])]) }).unwrap();
    let nobody = caller.get_with("/", &[("x-code-door", "1")]).await;

    let say = |reply: &Reply| {
        ["x-code-route", "x-code-revision", "x-code-instance"].map(|name| reply.header(name).to_owned())
    };
    assert_eq!(say(&told), [&*format!("{KEY}@7"), "r1", "a"]);
    assert_eq!(say(&client), ["", "r1", ""]);
    assert_eq!(
        (nobody.status, say(&nobody)[0].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, &*format!("{KEY}@8"))
    );
    assert_eq!(say(&nobody)[2], "");
    assert_eq!(count_of(&plane, "r1").requests, 1);
}
