//! Several services in one process, through the same `start` as in their own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bus::{Beat, Call, Drain, Job, Meta, Signal, Signalled, WorkRules};
use chassis::{BoxError, Clock, Config, Metric, Process, Service};
use model::{Code, Fault, ReplicaId, Timestamp};
use serde::{Deserialize, Serialize};

use testkit::nats;

use crate::child::{eventually, get};

const ASK: Call<Drain, Beat> = Call::new("one", "ask");
const DO: Job<Drain> = Job::new("one", "do");
const SAY: Signal<Drain> = Signal::new("one", "say");
const SWEEPS: Metric = Metric::new("code_test_sweeps_total", "sweeps");

macro_rules! settings {
    ($name:ident, $service:literal) => {
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct $name {}
        impl Config for $name {
            const SERVICE: &'static str = $service;
        }
    };
}
settings!(One, "one");
settings!(Two, "two");

fn drain() -> Drain {
    Drain { replica: ReplicaId::new() }
}

#[derive(Debug, thiserror::Error)]
#[error("asked by a stranger")]
struct Stranger;

impl From<Stranger> for Fault {
    fn from(error: Stranger) -> Fault {
        Fault::new(Code::Denied, error.to_string())
    }
}

async fn start_one(service: Service<One>) -> Result<(), bus::Failure> {
    let ctx = service.clone();
    service
        .answer(&ASK, ctx, |service: Service<One>, _: Drain, meta: Meta| async move {
            if meta.principal.is_meant_by("stranger") {
                return Err(Stranger);
            }
            let at = service.clock.now();
            let name = "one".parse().map_err(|_| Stranger)?;
            Ok(Beat { replica: service.replica, service: name, at, draining: false, ready: true })
        })
        .await
}

async fn start_two(service: Service<Two>) -> Result<(), BoxError> {
    service.metrics.counter(&SWEEPS).inc();
    Ok(())
}

#[tokio::test]
async fn services_share_the_endpoint_and_keep_their_own_metrics_and_readiness() {
    let nats = nats().await;
    let bus = nats.connect("code").await;
    let process = Process::default();
    let address = process.serve(([127, 0, 0, 1], 0).into()).await.unwrap().to_string();
    assert_eq!(get(&address, "/ready").await.0, 503, "nothing has started");

    let one = process.start(One {}, bus.clone(), start_one).await.unwrap();
    let two = process.start(Two {}, bus.clone(), start_two).await.unwrap();
    let again = process.start(Two {}, bus.clone(), start_two).await.unwrap();

    assert_eq!(get(&address, "/ready").await, (200, r#"{"ready":true,"reasons":[]}"#.to_owned()));
    let page = get(&address, "/metrics").await.1;
    assert!(page.contains("code_test_sweeps_total{service=\"two\"} 1\n"), "{page}");
    assert!(page.contains("code_test_sweeps_total{service=\"two\",copy=\"2\"} 1\n"), "{page}");
    let cold = two.health().latch("cache is cold");
    assert_eq!(get(&address, "/ready").await.1, r#"{"ready":false,"reasons":["two: cache is cold"]}"#);
    cold.release();
    for running in [two, again, one] {
        assert_eq!(running.stop(Duration::from_secs(5)).await, Vec::<String>::new());
    }
    process.end().await;
}

#[tokio::test]
async fn a_service_whose_critical_task_failed_is_not_alive() {
    let nats = nats().await;
    let bus = nats.connect("code").await;
    let process = Process::default();
    let address = process.serve(([127, 0, 0, 1], 0).into()).await.unwrap().to_string();
    let start = |service: Service<Two>| async move {
        service.tasks.critical("serve", async { Err::<(), BoxError>("it broke".into()) });
        Ok::<(), BoxError>(())
    };

    let running = process.start(Two {}, bus, start).await.unwrap();
    let failed = running.failed().await;
    let health = running.health().clone();
    eventually("health knows", || health.died().map(|_| ()).ok_or_else(|| "alive".to_owned())).await;

    assert_eq!(failed.to_string(), "task serve failed: it broke");
    assert_eq!(get(&address, "/live").await, (503, "two: task serve failed: it broke\n".to_owned()));
    assert_eq!(get(&address, "/ready").await.0, 503);
    running.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_service_that_does_not_start_leaves_nothing_behind() {
    let nats = nats().await;
    let bus = nats.connect("code").await;
    let process = Process::default();
    let start = |service: Service<One>| async move {
        start_one(service).await?;
        Err::<(), BoxError>("no disk".into())
    };

    let error = process.start(One {}, bus.clone(), start).await.unwrap_err();

    assert_eq!(chassis::chain(&error), "one did not start: no disk");
    assert_eq!(process.board.readiness().reasons, ["no service has started"]);
    // What is ended as in a crash unsubscribes a moment later; until then a question may get no answer.
    let mut gone = bus.call(&ASK, &drain(), Duration::from_millis(200)).await.unwrap_err();
    for _ in 0..20 {
        if matches!(gone, bus::Error::NoResponders { .. }) {
            return;
        }
        gone = bus.call(&ASK, &drain(), Duration::from_millis(200)).await.unwrap_err();
    }
    panic!("it is answered still: {gone}");
}

#[tokio::test]
async fn a_call_is_answered_and_a_services_error_arrives_as_its_fault() {
    let nats = nats().await;
    let bus = nats.connect("code").await;
    let (clock, _hands) = Clock::manual(Timestamp(42));
    let process = Process::default().with_clock(clock);
    let running = process.start(One {}, bus.clone(), start_one).await.unwrap();

    let good = bus.call(&ASK, &drain(), Duration::from_secs(5)).await.unwrap();
    let stranger = nats.connect("stranger").await;
    let bad = stranger.call(&ASK, &drain(), Duration::from_secs(5)).await.unwrap_err();

    assert_eq!((good.at, &good.replica), (Timestamp(42), running.replica()));
    assert_eq!((bad.code(), bad.to_string().as_str()), (Code::Denied, "asked by a stranger"));
    running.stop(Duration::from_secs(5)).await;
    let gone = bus.call(&ASK, &drain(), Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(gone, bus::Error::NoResponders { .. }), "{gone}");
}

#[tokio::test]
async fn a_job_held_by_a_crashed_copy_is_done_by_another() {
    let nats = nats().await;
    let bus = nats.connect("code").await;
    let rules = WorkRules {
        ack_wait: Duration::from_millis(500),
        progress_every: Duration::from_millis(100),
        ..WorkRules::default()
    };
    let counts = || (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let ((taken, done), (taken_again, done_again)) = (counts(), counts());
    let first = Service::for_tests(One {}, bus.clone());
    let stuck = |(taken, _): (Arc<AtomicU32>, Arc<AtomicU32>), _: Drain, _: Meta| async move {
        taken.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<Result<(), Fault>>().await
    };
    bus.ensure_job(&DO, rules.ack_wait).await.unwrap();
    first.work(&DO, None, rules.clone(), (taken.clone(), done), stuck).await.unwrap();
    bus.send(&DO, None, &drain(), "do-1").await.unwrap();
    eventually("the first copy takes it", || match taken.load(Ordering::SeqCst) {
        0 => Err("not taken".to_owned()),
        _ => Ok(()),
    })
    .await;

    first.crash();
    let second = Service::for_tests(One {}, bus.clone());
    let well = |(_, done): (Arc<AtomicU32>, Arc<AtomicU32>), _: Drain, _: Meta| async move {
        done.fetch_add(1, Ordering::SeqCst);
        Ok::<(), Fault>(())
    };
    second.work(&DO, None, rules, (taken_again, done_again.clone()), well).await.unwrap();

    eventually("the second copy does it", || match done_again.load(Ordering::SeqCst) {
        0 => Err("not done".to_owned()),
        _ => Ok(()),
    })
    .await;
    second.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_is_done_every_so_often_follows_the_services_clock_and_survives_errors() {
    let nats = nats().await;
    let bus = nats.connect("code").await;
    let (clock, hands) = Clock::manual(Timestamp(0));
    let service = Service::for_tests_with_clock(One {}, bus, clock.clone());
    let turns = Arc::new(AtomicU32::new(0));

    service.every("sweep", Duration::from_secs(60), turns.clone(), |turns: Arc<AtomicU32>| async move {
        turns.fetch_add(1, Ordering::SeqCst);
        Err::<(), BoxError>("this turn fails".into())
    });
    eventually("the first turn, at once", || match turns.load(Ordering::SeqCst) {
        0 => Err("none".to_owned()),
        turns => Ok(turns),
    })
    .await;
    assert_eq!(turns.load(Ordering::SeqCst), 1, "the hands have not moved");
    for expected in 2..=4 {
        eventually("the next turn", || {
            // Moves the hands while it looks: a turn that has not gone to sleep yet would miss one move.
            hands.advance(Duration::from_secs(60));
            let turns = turns.load(Ordering::SeqCst);
            if turns >= expected { Ok(()) } else { Err(format!("{turns} turns, expected {expected}")) }
        })
        .await;
    }

    assert_eq!(service.stop(Duration::from_secs(5)).await, Vec::<String>::new());
}

#[tokio::test]
async fn signals_are_heard_with_their_id_and_hooks_run_at_the_stop() {
    let nats = nats().await;
    let bus = nats.connect("code").await;
    let service = Service::for_tests(One {}, bus.clone());
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ctx = heard.clone();
    service
        .listen(
            &SAY,
            None,
            ctx,
            |heard: Arc<std::sync::Mutex<Vec<String>>>, said: Signalled<Drain>| async move {
                heard.lock().unwrap().push(format!("{} by {}", said.id, said.meta.principal));
            },
        )
        .await
        .unwrap();
    let at_stop = heard.clone();
    service.on_stop(move || async move { at_stop.lock().unwrap().push("handed over".to_owned()) });

    bus.signal(&SAY, "rep-1", &drain()).await.unwrap();
    eventually("the signal is heard", || match heard.lock().unwrap().len() {
        0 => Err("nothing".to_owned()),
        _ => Ok(()),
    })
    .await;
    service.stop(Duration::from_secs(5)).await;

    assert_eq!(*heard.lock().unwrap(), ["rep-1 by code (unauthenticated)", "handed over"]);
    assert_eq!(service.health.reasons(), ["stopping"]);
}
