//! Constant open-loop load: requests go out at a rate, whether or not answers come, and each one is accounted for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Uri;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use testkit::eventually;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

type HttpClient = Client<HttpConnector, Empty<Bytes>>;

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Sent.
    pub sent: u64,
    /// Ended, in whatever way.
    pub ended: u64,
    /// Without an answer.
    pub lost: u64,
    /// Answered with 500 or above.
    pub errors: u64,
    /// Answered below 500, by version.
    pub versions: BTreeMap<String, u64>,
    /// The first few that failed: when and how.
    pub failures: Vec<String>,
    /// When each that failed was sent, and how it failed; at most [`KEPT`].
    pub failed_at: Vec<(Instant, String)>,
}

/// How many failures are kept with their moments.
const KEPT: usize = 20_000;

impl Counts {
    /// Lost or answered with an error.
    pub fn failed(&self) -> u64 {
        self.lost + self.errors
    }

    /// What came after `earlier`.
    pub fn since(&self, earlier: &Counts) -> Counts {
        let more = |(version, count): (&String, &u64)| {
            let more = count - earlier.versions.get(version).copied().unwrap_or(0);
            (more > 0).then(|| (version.clone(), more))
        };
        Counts {
            sent: self.sent - earlier.sent,
            ended: self.ended - earlier.ended,
            lost: self.lost - earlier.lost,
            errors: self.errors - earlier.errors,
            versions: self.versions.iter().filter_map(more).collect(),
            failures: self.failures.clone(),
            failed_at: self.failed_at.get(earlier.failed_at.len()..).unwrap_or_default().to_vec(),
        }
    }
}

/// A generator of requests. Ends when it is dropped.
pub struct Load {
    counts: Arc<Mutex<Counts>>,
    going: watch::Sender<bool>,
    driver: JoinSet<()>,
}

impl Load {
    /// `rate` requests a second for `/` on a port of this machine.
    pub fn begin(port: u16, rate: u32) -> Load {
        let uri: Uri = format!("http://127.0.0.1:{port}/").parse().unwrap();
        let counts: Arc<Mutex<Counts>> = Arc::default();
        let (going, stop) = watch::channel(true);
        let mut driver = JoinSet::new();
        driver.spawn(drive(uri, rate, counts.clone(), stop));
        Load { counts, going, driver }
    }

    /// As it stands.
    pub fn counts(&self) -> Counts {
        self.counts.lock().unwrap().clone()
    }

    /// Waits until so many more have ended.
    pub async fn wait_for(&self, more: u64) -> Counts {
        let before = self.counts();
        eventually("requests end", Duration::from_secs(30), || async {
            let since = self.counts().since(&before);
            if since.ended >= more { Ok(since) } else { Err(format!("{} of {more}", since.ended)) }
        })
        .await
    }

    /// Sends no more and waits for the last answers.
    pub async fn end(mut self) -> Counts {
        self.going.send_replace(false);
        while self.driver.join_next().await.is_some() {}
        self.counts()
    }
}

async fn drive(uri: Uri, rate: u32, counts: Arc<Mutex<Counts>>, mut stop: watch::Receiver<bool>) {
    let client: HttpClient = Client::builder(TokioExecutor::new()).build_http();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    // Late ticks are made up for: the load stays open-loop when the machine is busy.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut open, began) = (JoinSet::new(), Instant::now());
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                counts.lock().unwrap().sent += 1;
                open.spawn(one(client.clone(), uri.clone(), counts.clone(), began));
            }
            Some(_) = open.join_next(), if !open.is_empty() => {}
            _ = stop.changed() => break,
        }
    }
    while open.join_next().await.is_some() {}
}

async fn one(client: HttpClient, uri: Uri, counts: Arc<Mutex<Counts>>, began: Instant) {
    let sent = Instant::now();
    let answer = tokio::time::timeout(Duration::from_secs(15), get(&client, uri)).await;
    let mut counts = counts.lock().unwrap();
    counts.ended += 1;
    let failure = match answer {
        Ok(Ok((status, version))) if status < 500 => {
            *counts.versions.entry(version).or_default() += 1;
            return;
        }
        Ok(Ok((status, version))) => {
            counts.errors += 1;
            format!("status {status} from {version}")
        }
        Ok(Err(why)) => {
            counts.lost += 1;
            why
        }
        Err(_) => {
            counts.lost += 1;
            "no answer within 15 s".to_owned()
        }
    };
    if counts.failed_at.len() < KEPT {
        counts.failed_at.push((sent, failure.clone()));
    }
    if counts.failures.len() < 10 {
        counts.failures.push(format!("after {} ms: {failure}", began.elapsed().as_millis()));
    }
}

/// Status and version of one answer that came whole.
async fn get(client: &HttpClient, uri: Uri) -> Result<(u16, String), String> {
    let answer = client.get(uri).await.map_err(|error| format!("{error:?}"))?;
    let (head, body) = answer.into_parts();
    body.collect().await.map_err(|error| format!("{error:?}"))?;
    let version = head.headers.get("x-version").and_then(|version| version.to_str().ok());
    Ok((head.status.as_u16(), version.unwrap_or("?").to_owned()))
}

/// Sends `number` requests one after the other and counts the versions that answer; an error stands as its status.
pub(crate) async fn versions(port: u16, number: u32) -> BTreeMap<String, u32> {
    let uri: Uri = format!("http://127.0.0.1:{port}/").parse().unwrap();
    let client: HttpClient = Client::builder(TokioExecutor::new()).build_http();
    let mut versions = BTreeMap::new();
    for _ in 0..number {
        let answer = match get(&client, uri.clone()).await {
            Ok((200, version)) => version,
            Ok((status, _)) => format!("status {status}"),
            Err(why) => why,
        };
        *versions.entry(answer).or_default() += 1;
    }
    versions
}
