//! Constant load through the data plane, counted request by request.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::failure::Failure;

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Requests that ended.
    pub requests: u64,
    /// Requests without an answer.
    pub lost: u64,
    /// Answers of 500 and above.
    pub errors: u64,
    /// Answers below 500 by the version that gave them.
    pub versions: BTreeMap<String, u64>,
}

impl Counts {
    /// Everything that was not a good answer.
    pub fn failed(&self) -> u64 {
        self.lost + self.errors
    }

    /// What came after `earlier`.
    pub fn since(&self, earlier: &Counts) -> Counts {
        let versions = self.versions.iter().filter_map(|(version, count)| {
            let more = count - earlier.versions.get(version).copied().unwrap_or(0);
            (more > 0).then(|| (version.clone(), more))
        });
        Counts {
            requests: self.requests - earlier.requests,
            lost: self.lost - earlier.lost,
            errors: self.errors - earlier.errors,
            versions: versions.collect(),
        }
    }
}

/// A generator that sends at a constant rate, whether or not answers come (open loop).
pub struct Load {
    counts: Arc<Mutex<Counts>>,
    open: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Load {
    /// Nothing is sent before [`Load::open`].
    pub fn begin(port: u16, rate: u32) -> Result<Load, Failure> {
        let address = format!("http://127.0.0.1:{port}/");
        let uri: hyper::Uri =
            address.parse().map_err(|_| Failure::other(format!("{address} is no address")))?;
        let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let counts = Arc::new(Mutex::new(Counts::default()));
        let (open, mut opened) = watch::channel(false);
        let counted = counts.clone();
        let every = Duration::from_secs_f64(1.0 / f64::from(rate.max(1)));
        #[allow(
            clippy::disallowed_methods,
            reason = "the command line has no service whose tasks these could be"
        )]
        let task = tokio::spawn(async move {
            if opened.wait_for(|open| *open).await.is_err() {
                return;
            }
            let mut ticks = tokio::time::interval(every);
            loop {
                ticks.tick().await;
                if !*opened.borrow() {
                    return;
                }
                tokio::spawn(one(client.clone(), uri.clone(), counted.clone()));
            }
        });
        Ok(Load { counts, open, task })
    }

    /// From now on requests are sent.
    pub async fn open(&self) {
        self.open.send_replace(true);
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.counts.lock().clone()
    }

    /// Waits until so many requests have ended.
    pub async fn wait_for(&self, requests: u64) -> Result<(), Failure> {
        let until = Instant::now() + Duration::from_secs(30);
        while self.counts().requests < requests {
            if Instant::now() > until {
                let counted = self.counts().requests;
                return Err(Failure::other(format!(
                    "{counted} requests ended within 30 s, {requests} were awaited"
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Sends no more; the last answers are waited for.
    pub async fn end(self) -> Counts {
        self.open.send_replace(false);
        let _ = self.task.await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.counts.lock().clone()
    }
}

async fn one(client: Client<HttpConnector, Empty<Bytes>>, uri: hyper::Uri, counts: Arc<Mutex<Counts>>) {
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = uri;
    let answer = tokio::time::timeout(Duration::from_secs(10), async {
        let response = client.request(request).await.ok()?;
        let (head, body) = response.into_parts();
        body.collect().await.ok()?;
        Some(head)
    });
    let head = answer.await.ok().flatten();
    let mut counts = counts.lock();
    counts.requests += 1;
    match head {
        None => counts.lost += 1,
        Some(head) if head.status.as_u16() >= 500 => counts.errors += 1,
        Some(head) => {
            let version =
                head.headers.get("x-version").and_then(|version| version.to_str().ok()).unwrap_or("?");
            *counts.versions.entry(version.to_owned()).or_insert(0) += 1;
        }
    }
}
