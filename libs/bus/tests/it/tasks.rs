//! Calls that say how far they are, and that end when nobody waits any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bus::{Bus, Error, Serving, Teller, Told, subjects::experts};
use model::{
    Code, Fault,
    expert::{AskingStep, ConsultationProgress, TestReply, TestRequest},
};
use testkit::{eventually, nats};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::LONG;

fn request() -> TestRequest {
    TestRequest { expert: None }
}

fn step(number: u64) -> ConsultationProgress {
    let question = "q".parse().unwrap();
    ConsultationProgress { question, expert: None, step: AskingStep::Asked {}, at_ms: number }
}

fn done() -> TestReply {
    TestReply { results: Vec::new() }
}

/// Serves with a handler that tells so many steps, and counts those that left.
async fn counting(bus: &Bus, steps: u64, told: &Arc<AtomicU64>) -> Serving {
    let told = Arc::clone(told);
    let handler = move |_: TestRequest, _, teller: Teller<ConsultationProgress>| {
        let told = Arc::clone(&told);
        async move {
            for number in 0..steps {
                if !teller.tell(&step(number)).await {
                    return Err(Fault::new(Code::Unavailable, "nobody listens"));
                }
                told.fetch_add(1, Ordering::SeqCst);
            }
            Ok(done())
        }
    };
    bus.serve(&experts::TEST, 4, handler).await.unwrap()
}

#[tokio::test]
async fn progress_comes_in_order_before_the_answer_and_nothing_is_lost() {
    let nats = nats().await;
    let _serving = counting(&nats.bus, 100, &Arc::default()).await;
    let asker = nats.connect("asker").await;

    let mut task = asker.begin(&experts::TEST, &request(), LONG).await.unwrap();
    let mut heard = Vec::new();
    let answer = loop {
        match task.next().await.unwrap() {
            Told::Progress(step) => heard.push(step.at_ms),
            Told::Lost(lost) => panic!("{lost} frames were lost"),
            Told::Answer(reply) => break reply,
        }
    };

    assert_eq!(heard, (0..100).collect::<Vec<u64>>());
    assert_eq!(answer, done());
}

#[tokio::test]
async fn a_handler_waits_until_the_asker_has_taken_in_what_was_said() {
    let nats = nats().await;
    let told: Arc<AtomicU64> = Arc::default();
    let _serving = counting(&nats.bus, 1000, &told).await;

    let mut task = nats.bus.begin(&experts::TEST, &request(), LONG).await.unwrap();
    let first = task.next().await.unwrap();
    eventually("the window is full", LONG, async || match told.load(Ordering::SeqCst) {
        32 => Ok(()),
        other => Err(other),
    })
    .await;
    testkit::never("more is said than is taken in", Duration::from_millis(300), async || {
        Some(told.load(Ordering::SeqCst)).filter(|told| *told > 32)
    })
    .await;

    assert_eq!(first, Told::Progress(step(0)));
    assert_eq!(task.answer().await.unwrap(), done());
    assert_eq!(told.load(Ordering::SeqCst), 1000);
}

/// Serves with a handler that gives out by what it is told that nobody waits, and then waits for just that.
async fn waiting(bus: &Bus) -> (Serving, mpsc::UnboundedReceiver<CancellationToken>) {
    let (begun, heard) = mpsc::unbounded_channel();
    let handler = move |_: TestRequest, _, teller: Teller<ConsultationProgress>| {
        let begun = begun.clone();
        async move {
            begun.send(teller.stopped()).unwrap();
            teller.stopped().cancelled().await;
            Err::<TestReply, _>(Fault::new(Code::Unavailable, "nobody waits"))
        }
    };
    (bus.serve(&experts::TEST, 1, handler).await.unwrap(), heard)
}

#[tokio::test]
async fn an_asker_that_goes_away_ends_the_work_wherever_it_is_done() {
    let nats = nats().await;
    let (_one, mut at_one) = waiting(&nats.connect("one").await).await;
    let (_two, mut at_two) = waiting(&nats.connect("two").await).await;

    let task = nats.bus.begin(&experts::TEST, &request(), LONG).await.unwrap();
    let stopped = tokio::select! {
        stopped = at_one.recv() => stopped.unwrap(),
        stopped = at_two.recv() => stopped.unwrap(),
    };
    assert!(!stopped.is_cancelled());
    drop(task);

    tokio::time::timeout(LONG, stopped.cancelled()).await.expect("it was not told");
}

#[tokio::test]
async fn an_asker_that_says_so_ends_the_work() {
    let nats = nats().await;
    let (_serving, mut begun) = waiting(&nats.connect("engine").await).await;

    let task = nats.bus.begin(&experts::TEST, &request(), LONG).await.unwrap();
    let stopped = begun.recv().await.unwrap();
    task.cancel().await;

    tokio::time::timeout(LONG, stopped.cancelled()).await.expect("it was not told");
}

#[tokio::test]
async fn an_asker_that_left_before_its_turn_is_not_worked_for() {
    let nats = nats().await;
    let (_serving, mut begun) = waiting(&nats.connect("engine").await).await;
    let first = nats.bus.begin(&experts::TEST, &request(), LONG).await.unwrap();
    begun.recv().await.unwrap();

    // One is done at a time: the second waits for its turn.
    drop(nats.bus.begin(&experts::TEST, &request(), LONG).await.unwrap());
    let mut third = nats.bus.begin(&experts::TEST, &request(), LONG).await.unwrap();
    nats.bus.flush().await;
    drop(first);
    let second = begun.recv().await.unwrap();
    let of_third = begun.recv().await.unwrap();

    assert!(second.is_cancelled());
    assert!(!of_third.is_cancelled());
    let next = tokio::time::timeout(Duration::from_millis(100), third.next()).await;
    assert!(next.is_err(), "{next:?}");
}

#[tokio::test]
async fn the_deadline_ends_both_sides() {
    let nats = nats().await;
    let (_serving, mut begun) = waiting(&nats.connect("engine").await).await;

    let task = nats.bus.begin(&experts::TEST, &request(), Duration::from_millis(200)).await.unwrap();
    let stopped = begun.recv().await.unwrap();
    let error = task.answer().await.unwrap_err();

    assert_eq!(error.code(), Code::Timeout);
    tokio::time::timeout(LONG, stopped.cancelled()).await.expect("it was not told");
}

#[tokio::test]
async fn a_task_that_nobody_serves_and_one_that_fails_are_told_apart() {
    let nats = nats().await;
    let unserved = nats.bus.begin(&experts::TEST, &request(), LONG).await.unwrap().answer().await;
    let handler = |_: TestRequest, _, _: Teller<ConsultationProgress>| {
        std::future::ready(Err::<TestReply, _>(Fault::new(Code::Denied, "not you")))
    };
    let _serving = nats.bus.serve(&experts::TEST, 1, handler).await.unwrap();
    let refused = nats.bus.begin(&experts::TEST, &request(), LONG).await.unwrap().answer().await;

    assert!(matches!(unserved, Err(Error::NoResponders { .. })), "{unserved:?}");
    assert!(matches!(&refused, Err(Error::Fault(fault)) if fault.message == "not you"), "{refused:?}");
}

#[tokio::test]
async fn frames_that_are_lost_are_noticed() {
    let nats = nats().await;
    let foreign = crate::foreign(&nats).await;
    let mut asked = crate::subscribed(&foreign, experts::TEST.subject()).await;
    let mut task = nats.bus.begin(&experts::TEST, &request(), LONG).await.unwrap();
    let asker = futures::StreamExt::next(&mut asked).await.unwrap().reply.unwrap();

    let frame = async |name: &str, number: &str, body: Vec<u8>| {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(name, number);
        foreign.publish_with_headers(asker.clone(), headers, body.into()).await.unwrap();
    };
    frame("Code-Progress", "0", bus::Message::encode(&step(0))).await;
    frame("Code-Progress", "3", bus::Message::encode(&step(3))).await;
    frame("Code-Told", "6", bus::Message::encode(&done())).await;
    let mut heard = Vec::new();
    for _ in 0..5 {
        heard.push(task.next().await.unwrap());
    }

    assert_eq!(
        heard,
        [
            Told::Progress(step(0)),
            Told::Lost(2),
            Told::Progress(step(3)),
            Told::Lost(2),
            Told::Answer(done())
        ]
    );
}
