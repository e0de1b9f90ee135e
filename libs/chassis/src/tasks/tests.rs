use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

fn boom(message: &str) -> Result<(), BoxError> {
    Err(message.into())
}

#[tokio::test]
async fn a_critical_task_that_errors_is_told_with_its_name() {
    let tasks = Tasks::new("test");

    tasks.critical("serve", async { boom("the port is taken") });

    let failed = tasks.failed().await;
    assert_eq!(failed.to_string(), "task serve failed: the port is taken");
}

#[tokio::test]
async fn a_panic_is_a_failure_like_any_other() {
    let tasks = Tasks::new("test");

    tasks.critical("serve", async { if true { panic!("index {}", 3) } else { boom("unreached") } });

    assert_eq!(tasks.failed().await.cause, "panic: index 3");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_task_begins_again_until_it_ends_well() {
    let tasks = Tasks::new("test");
    let tries = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tries);

    tasks.restarted("sweep", Backoff::default(), move || {
        let tried = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            match tried {
                0 => boom("not yet"),
                1 => panic!("nor now"),
                _ => Ok(()),
            }
        }
    });
    while !tasks.names().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    assert_eq!(tries.load(Ordering::Relaxed), 3);
    assert!(futures::poll!(std::pin::pin!(tasks.failed())).is_pending(), "the service goes on");
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_what_is_held() {
    let tasks = Tasks::new("test");
    let done = Arc::new(AtomicU32::new(0));
    let (stopping, counted) = (tasks.stopping(), Arc::clone(&done));
    tasks.critical("work", async move {
        stopping.cancelled().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        counted.fetch_add(1, Ordering::Relaxed);
        Ok::<(), BoxError>(())
    });

    let unfinished = tasks.stop(Duration::from_secs(20)).await;

    assert_eq!((unfinished, done.load(Ordering::Relaxed)), (Vec::new(), 1));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_stop_in_time_is_ended_and_named() {
    let tasks = Tasks::new("test");
    tasks.critical("deaf", std::future::pending::<Result<(), BoxError>>());
    tasks.critical("quick", async { Ok::<(), BoxError>(()) });

    let unfinished = tasks.stop(Duration::from_secs(20)).await;

    assert_eq!(unfinished, ["deaf"]);
    assert_eq!(tasks.names(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_task_begun_while_stopping_is_waited_for_too() {
    let tasks = Tasks::new("test");
    let done = Arc::new(AtomicU32::new(0));
    let (late, stopping, counted) = (tasks.clone(), tasks.stopping(), Arc::clone(&done));
    tasks.critical("first", async move {
        stopping.cancelled().await;
        late.critical("second", async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            counted.fetch_add(1, Ordering::Relaxed);
            Ok::<(), BoxError>(())
        });
        Ok::<(), BoxError>(())
    });

    tasks.stop(Duration::from_secs(20)).await;

    assert_eq!(done.load(Ordering::Relaxed), 1);
}
