use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bus::{Job, WorkRules};
use model::{Code, Fault, Outcome, deployment::StepReport, step::StepResult};
use testkit::{TestNats, eventually, never};

use crate::{LONG, report};

/// A job like any other.
const REPORT: Job<StepReport> = Job::new("orchestrator", "report");

/// A server with a lane for that job.
async fn nats() -> TestNats {
    let nats = testkit::nats().await;
    nats.bus.ensure_job(&REPORT, quick().ack_wait).await.unwrap();
    nats
}

fn quick() -> WorkRules {
    WorkRules {
        concurrency: 4,
        ack_wait: Duration::from_millis(600),
        progress_every: Duration::from_millis(150),
        max_deliver: 5,
        backoff: vec![Duration::from_millis(10)],
    }
}

async fn send(nats: &TestNats, step: &str) {
    nats.bus.send(&REPORT, None, &report(step), step).await.unwrap();
}

async fn until(what: &str, counter: &AtomicU64, wanted: u64) {
    eventually(what, LONG, || async {
        let count = counter.load(Ordering::SeqCst);
        if count >= wanted { Ok(()) } else { Err(format!("{count} of {wanted}")) }
    })
    .await;
}

#[tokio::test]
async fn every_job_runs_and_a_repeated_message_id_is_one_job() {
    let nats = nats().await;
    let done = Arc::new(Mutex::new(Vec::new()));
    let seen = done.clone();
    for number in 0..50 {
        send(&nats, &format!("s-{number}")).await;
        send(&nats, &format!("s-{number}")).await;
    }

    let serving = nats
        .bus
        .work(&REPORT, None, quick(), move |job: StepReport, _| {
            seen.lock().unwrap().push(job.step.to_string());
            async { Ok(()) }
        })
        .await
        .unwrap();

    eventually("all jobs run", LONG, || async {
        let count = done.lock().unwrap().len();
        if count >= 50 { Ok(()) } else { Err(format!("{count} of 50")) }
    })
    .await;
    serving.stop().await;
    let mut steps = done.lock().unwrap().clone();
    steps.sort();
    steps.dedup();
    assert_eq!((steps.len(), done.lock().unwrap().len()), (50, 50));
}

#[tokio::test]
async fn a_long_job_shows_that_it_lives_and_is_not_given_to_another() {
    let nats = nats().await;
    let (begun, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counters = (begun.clone(), ended.clone());
    let _serving = nats
        .bus
        .work(&REPORT, None, quick(), move |_: StepReport, _| {
            let (begun, ended) = counters.clone();
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                // Four times the time after which a silent worker loses its job.
                tokio::time::sleep(Duration::from_millis(2400)).await;
                ended.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        })
        .await
        .unwrap();

    send(&nats, "long").await;

    until("the job ends", &ended, 1).await;
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_job_of_a_killed_worker_goes_to_another() {
    let nats = nats().await;
    let begun = Arc::new(AtomicU64::new(0));
    let counter = begun.clone();
    let killed = nats
        .bus
        .work(&REPORT, None, quick(), move |_: StepReport, _| {
            counter.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<Result<(), Fault>>()
        })
        .await
        .unwrap();
    send(&nats, "orphan").await;
    until("the first worker takes it", &begun, 1).await;

    drop(killed);
    let taken = Arc::new(AtomicU64::new(0));
    let counter = taken.clone();
    let other = nats.connect("other").await;
    let _serving = other
        .work(&REPORT, None, quick(), move |_: StepReport, meta| {
            counter.store(meta.deliveries, Ordering::SeqCst);
            async { Ok(()) }
        })
        .await
        .unwrap();

    until("the second worker takes it", &taken, 2).await;
    assert_eq!(other.counts().redelivered, 1);
}

#[tokio::test]
async fn stopping_finishes_what_is_held() {
    let nats = nats().await;
    let (begun, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counters = (begun.clone(), ended.clone());
    let serving = nats
        .bus
        .work(&REPORT, None, quick(), move |_: StepReport, _| {
            let (begun, ended) = counters.clone();
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(300)).await;
                ended.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        })
        .await
        .unwrap();
    send(&nats, "held").await;
    until("it is held", &begun, 1).await;

    serving.stop().await;

    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_fifth_failure_is_a_dead_letter_that_says_why() {
    let nats = nats().await;
    let runs = Arc::new(AtomicU64::new(0));
    let counter = runs.clone();
    let _serving = nats
        .bus
        .work(&REPORT, None, quick(), move |_: StepReport, meta| {
            counter.fetch_add(1, Ordering::SeqCst);
            async move { Err(Fault::new(Code::Unavailable, format!("no luck, try {}", meta.deliveries))) }
        })
        .await
        .unwrap();

    send(&nats, "doomed").await;

    let letter = eventually("a dead letter", LONG, || async {
        nats.bus.dead_letters(10).await.unwrap().pop().ok_or("none")
    })
    .await;
    assert_eq!(letter.fault, Fault::new(Code::Unavailable, "no luck, try 5"));
    assert_eq!((letter.deliveries, letter.subject.as_str()), (5, "code.v1.job.orchestrator.report"));
    never("a sixth run", Duration::from_millis(700), || async {
        let runs = runs.load(Ordering::SeqCst);
        (runs > 5).then(|| format!("{runs} runs"))
    })
    .await;
    assert_eq!(nats.bus.dead_letters(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_invalid_job_is_a_dead_letter_after_one_run() {
    let nats = nats().await;
    let runs = Arc::new(AtomicU64::new(0));
    let counter = runs.clone();
    let _serving = nats
        .bus
        .work(&REPORT, None, quick(), move |_: StepReport, _| {
            counter.fetch_add(1, Ordering::SeqCst);
            async { Err(Fault::new(Code::Invalid, "never")) }
        })
        .await
        .unwrap();

    send(&nats, "wrong").await;

    let letter = eventually("a dead letter", LONG, || async {
        nats.bus.dead_letters(10).await.unwrap().pop().ok_or("none")
    })
    .await;
    assert_eq!((letter.deliveries, runs.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn bytes_that_nobody_can_read_are_a_dead_letter_and_later_jobs_run() {
    let nats = nats().await;
    let runs = Arc::new(AtomicU64::new(0));
    let counter = runs.clone();
    let client = crate::foreign(&nats).await;
    let jetstream = async_nats::jetstream::new(client);
    jetstream.publish("code.v1.job.orchestrator.report", "garbage".into()).await.unwrap().await.unwrap();
    send(&nats, "good").await;

    let _serving = nats
        .bus
        .work(&REPORT, None, quick(), move |_: StepReport, _| {
            counter.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        })
        .await
        .unwrap();

    until("the good one runs", &runs, 1).await;
    let letter = eventually("a dead letter", LONG, || async {
        nats.bus.dead_letters(10).await.unwrap().pop().ok_or("none")
    })
    .await;
    assert_eq!((letter.fault.code, &letter.payload[..]), (Code::Invalid, &b"garbage"[..]));
}

#[tokio::test]
async fn a_job_that_kills_every_worker_is_buried_without_a_sixth_victim() {
    let nats = nats().await;
    let begun = Arc::new(AtomicU64::new(0));
    send(&nats, "killer").await;
    for victim in 1..=5 {
        let counter = begun.clone();
        let serving = nats
            .bus
            .work(&REPORT, None, quick(), move |_: StepReport, _| {
                counter.fetch_add(1, Ordering::SeqCst);
                std::future::pending::<Result<(), Fault>>()
            })
            .await
            .unwrap();
        until("a worker takes it", &begun, victim).await;
        drop(serving);
    }

    let counter = begun.clone();
    let _serving = nats
        .bus
        .work(&REPORT, None, quick(), move |_: StepReport, _| {
            counter.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        })
        .await
        .unwrap();

    let letter = eventually("a dead letter", LONG, || async {
        nats.bus.dead_letters(10).await.unwrap().pop().ok_or("none")
    })
    .await;
    assert!(letter.fault.message.contains("5 workers"), "{}", letter.fault);
    assert_eq!(begun.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_panic_is_tried_again_as_an_internal_fault() {
    let nats = nats().await;
    let runs = Arc::new(AtomicU64::new(0));
    let counter = runs.clone();
    let _serving = nats
        .bus
        .work(&REPORT, None, quick(), move |_: StepReport, meta| {
            counter.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(meta.deliveries > 2, "planted");
                Ok(())
            }
        })
        .await
        .unwrap();

    send(&nats, "shaky").await;

    until("the third run succeeds", &runs, 3).await;
    assert!(nats.bus.dead_letters(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn workers_go_on_after_the_server_was_killed_and_no_job_is_lost() {
    let mut nats = nats().await;
    let done = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
    let seen = done.clone();
    let _serving = nats
        .bus
        .work(&REPORT, None, quick(), move |job: StepReport, _| {
            let seen = seen.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                seen.lock().unwrap().insert(job.step.to_string());
                Ok(())
            }
        })
        .await
        .unwrap();
    for number in 0..40 {
        send(&nats, &format!("s-{number}")).await;
    }

    nats.server.restart().await.unwrap();
    let mut late = report("late");
    late.result = Some(StepResult::new(Outcome::Succeeded, "x"));
    nats.bus.send(&REPORT, None, &late, "late").await.unwrap();

    eventually("all jobs run", LONG, || async {
        let count = done.lock().unwrap().len();
        if count == 41 { Ok(()) } else { Err(format!("{count} of 41")) }
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_can_be_sent_again() {
    let nats = nats().await;
    let healthy = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let state = (healthy.clone(), done.clone());
    let _serving = nats
        .bus
        .work(&REPORT, None, quick(), move |_: StepReport, _| {
            let (healthy, done) = state.clone();
            async move {
                if !healthy.load(Ordering::SeqCst) {
                    return Err(Fault::new(Code::Denied, "not today"));
                }
                done.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        })
        .await
        .unwrap();
    send(&nats, "again").await;
    let letter = eventually("a dead letter", LONG, || async {
        nats.bus.dead_letters(10).await.unwrap().pop().ok_or("none")
    })
    .await;

    healthy.store(true, Ordering::SeqCst);
    nats.bus.resend(letter.seq).await.unwrap();

    until("it is done", &done, 1).await;
}

#[tokio::test]
async fn a_job_that_is_too_large_is_refused_before_it_is_sent() {
    let nats = nats().await;
    let mut large = report("large");
    large.runner = "x".repeat(5 * 1024 * 1024);

    let error = nats.bus.send(&REPORT, None, &large, "large").await.unwrap_err();

    assert!(matches!(error, bus::Error::TooLarge { .. }), "{error:?}");
    assert_eq!((error.code(), nats.bus.counts().disconnects), (Code::Invalid, 0));
}
