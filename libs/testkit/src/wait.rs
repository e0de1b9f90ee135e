use std::{fmt::Display, future::Future, time::Duration};

use tokio::time::{Instant, sleep};

const EVERY: Duration = Duration::from_millis(20);

/// Checks until it holds, and returns what the check found. Panics with the last status after `timeout`.
pub async fn eventually<T, S, C, F>(what: &str, timeout: Duration, mut check: C) -> T
where
    S: Display,
    C: FnMut() -> F,
    F: Future<Output = Result<T, S>>,
{
    let until = Instant::now() + timeout;
    loop {
        match check().await {
            Ok(found) => return found,
            Err(status) if Instant::now() >= until => {
                panic!("{what}: not within {timeout:?}; last status: {status}")
            }
            Err(_) => sleep(EVERY).await,
        }
    }
}

/// Checks for the whole time that something does not happen. Panics with the status when the check finds it.
pub async fn never<S, C, F>(what: &str, during: Duration, mut check: C)
where
    S: Display,
    C: FnMut() -> F,
    F: Future<Output = Option<S>>,
{
    let until = Instant::now() + during;
    while Instant::now() < until {
        if let Some(status) = check().await {
            panic!("{what}: it happened: {status}");
        }
        sleep(EVERY).await;
    }
}
