//! What data planes say they counted, as heard on the bus, and what came since a moment.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use bus::{Attempt, Bus, subjects};
use chassis::{Backoff, BoxError, Tasks};
use futures::StreamExt;
use model::{
    TargetId, Token,
    plan::Revision,
    route::{RevisionCount, TrafficCount},
};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::Result;

/// A data plane that was silent for so long no longer counts.
pub const SILENT: Duration = Duration::from_secs(3);
/// Data planes speak four times a second; after so long every one of them was heard.
const SETTLED: Duration = Duration::from_millis(600);
/// A target that nobody asked about for so long is no longer listened to.
const IDLE: Duration = Duration::from_secs(60);

/// The counts of all targets that someone asked about.
pub struct Traffic {
    source: Option<(Bus, Tasks)>,
    targets: tokio::sync::Mutex<HashMap<String, (Arc<Heard>, Instant)>>,
}

/// What each data plane said of each module.
type Modules = BTreeMap<Token, BTreeMap<String, Plane>>;

/// The counts of one target.
pub struct Heard {
    since: Instant,
    modules: Mutex<Modules>,
    changed: watch::Sender<u64>,
    _listening: Option<DropGuard>,
}

#[derive(Clone, Debug)]
struct Plane {
    first: TrafficCount,
    last: TrafficCount,
    at: Instant,
}

impl Traffic {
    /// Listens on the bus when asked about a target.
    pub fn new(bus: Bus, tasks: Tasks) -> Traffic {
        Traffic { source: Some((bus, tasks)), targets: tokio::sync::Mutex::default() }
    }

    /// Hears nothing but what a test hands to it.
    #[cfg(test)]
    pub(crate) fn without_bus() -> Traffic {
        Traffic { source: None, targets: tokio::sync::Mutex::default() }
    }

    /// The counts of a target; begins to listen when nobody did.
    pub async fn of(&self, target: &TargetId) -> Result<Arc<Heard>> {
        let mut targets = self.targets.lock().await;
        targets.retain(|_, (heard, asked)| Arc::strong_count(heard) > 1 || asked.elapsed() < IDLE);
        if let Some((heard, asked)) = targets.get_mut(&target.token()) {
            *asked = Instant::now();
            return Ok(Arc::clone(heard));
        }
        let stop = CancellationToken::new();
        let heard = Arc::new(Heard {
            since: Instant::now(),
            modules: Mutex::default(),
            changed: watch::Sender::new(0),
            _listening: self.source.is_some().then(|| stop.clone().drop_guard()),
        });
        if let Some((bus, tasks)) = &self.source {
            // The first subscription is made here, so that the caller knows that it listens.
            let stream = bus
                .listen(&subjects::traffic::COUNT, Some(&target.token()))
                .await
                .attempt("listen to traffic")?;
            let first = Arc::new(Mutex::new(Some(stream)));
            let (bus, token, weak) = (bus.clone(), target.token(), Arc::downgrade(&heard));
            tasks.restarted(format!("counts {token}"), Backoff::default(), move || {
                let (bus, token, weak, stop) = (bus.clone(), token.clone(), weak.clone(), stop.clone());
                let given = first.lock().take();
                async move {
                    let mut stream = match given {
                        Some(stream) => stream,
                        None => bus.listen(&subjects::traffic::COUNT, Some(&token)).await?,
                    };
                    loop {
                        let said = tokio::select! {
                            () = stop.cancelled() => return Ok::<(), BoxError>(()),
                            said = stream.next() => said,
                        };
                        let Some(count) = said else { return Err("the subscription ended".into()) };
                        let Some(heard) = weak.upgrade() else { return Ok(()) };
                        heard.hear(count.message);
                    }
                }
            });
        }
        targets.insert(target.token(), (Arc::clone(&heard), Instant::now()));
        Ok(heard)
    }
}

impl Heard {
    /// Takes in what a data plane said.
    pub fn hear(&self, count: TrafficCount) {
        let mut modules = self.modules.lock();
        let planes = modules.entry(count.module.clone()).or_default();
        let now = Instant::now();
        match planes.get_mut(&count.plane) {
            Some(plane) => (plane.last, plane.at) = (count, now),
            None => {
                let plane = Plane { first: count.clone(), last: count.clone(), at: now };
                planes.insert(count.plane, plane);
            }
        }
        planes.retain(|_, plane| plane.at.elapsed() < IDLE);
        drop(modules);
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Returns once every data plane that lives had the time to speak.
    pub async fn settled(&self) {
        tokio::time::sleep_until(self.since + SETTLED).await;
    }

    /// What the data planes that live last said of the module.
    pub fn planes(&self, module: &Token) -> Vec<TrafficCount> {
        let modules = self.modules.lock();
        let planes = modules.get(module).into_iter().flat_map(BTreeMap::values);
        planes.filter(|plane| plane.at.elapsed() < SILENT).map(|plane| plane.last.clone()).collect()
    }

    /// Waits for news, at most `limit`.
    pub async fn news(&self, limit: Duration) {
        let mut changed = self.changed.subscribe();
        // Neither the time nor a sender that went away makes a difference: the caller looks again.
        let _ = tokio::time::timeout(limit, changed.changed()).await;
    }

    /// Counts from now on.
    pub fn window(&self, module: &Token) -> Window {
        opened(&self.modules.lock(), module)
    }

    /// What the data planes that live counted since they began, per revision.
    pub fn totals(&self, module: &Token) -> BTreeMap<Revision, RevisionCount> {
        let mut total: BTreeMap<Revision, RevisionCount> = BTreeMap::new();
        for plane in self.planes(module) {
            for (revision, count) in &plane.revisions {
                add(total.entry(revision.clone()).or_default(), count, &RevisionCount::default());
            }
        }
        total
    }

    /// What came since the window was opened, per revision. A data plane that was first heard after that counts from
    /// its first word, so that what it counted before is not taken for new.
    pub fn since(&self, window: &Window) -> BTreeMap<Revision, RevisionCount> {
        came(&self.modules.lock(), window)
    }

    /// The same, with a window that begins where this count ends: nothing lies between the two.
    pub fn since_and_on(&self, window: &Window) -> (BTreeMap<Revision, RevisionCount>, Window) {
        let modules = self.modules.lock();
        (came(&modules, window), opened(&modules, &window.module))
    }
}

fn opened(modules: &Modules, module: &Token) -> Window {
    let planes = modules.get(module).into_iter().flatten();
    let base = planes.map(|(name, plane)| (name.clone(), plane.last.clone())).collect();
    Window { module: module.clone(), base, began: Instant::now() }
}

fn came(modules: &Modules, window: &Window) -> BTreeMap<Revision, RevisionCount> {
    let mut total: BTreeMap<Revision, RevisionCount> = BTreeMap::new();
    for (name, plane) in modules.get(&window.module).into_iter().flatten() {
        let base = window.base.get(name).unwrap_or(&plane.first);
        for (revision, now) in &plane.last.revisions {
            let before = base.revisions.get(revision).cloned().unwrap_or_default();
            add(total.entry(revision.clone()).or_default(), now, &before);
        }
    }
    total
}

/// A moment from which is counted.
#[derive(Clone, Debug)]
pub struct Window {
    module: Token,
    base: BTreeMap<String, TrafficCount>,
    began: Instant,
}

impl Window {
    /// How long it is open.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Adds what came between two cumulative counts.
fn add(total: &mut RevisionCount, now: &RevisionCount, before: &RevisionCount) {
    total.requests += now.requests.saturating_sub(before.requests);
    total.errors += now.errors.saturating_sub(before.errors);
    total.retried += now.retried.saturating_sub(before.retried);
    total.in_flight += now.in_flight;
    let old: BTreeMap<u32, u64> = before.latency.iter().copied().collect();
    let mut sum: BTreeMap<u32, u64> = total.latency.iter().copied().collect();
    for (bucket, count) in &now.latency {
        let more = count.saturating_sub(old.get(bucket).copied().unwrap_or(0));
        if more > 0 {
            *sum.entry(*bucket).or_default() += more;
        }
    }
    total.latency = sum.into_iter().collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(plane: &str, requests: u64) -> TrafficCount {
        let revision = RevisionCount { requests, latency: vec![(3, requests)], ..Default::default() };
        TrafficCount {
            plane: plane.to_owned(),
            target: "test.process.shop".parse().unwrap(),
            module: "web".parse().unwrap(),
            version: 1,
            at: model::Timestamp(0),
            revisions: [("aaa".parse().unwrap(), revision)].into(),
            unroutable: 0,
            closed: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_counted_before_the_window_is_not_new() {
        let traffic = Traffic::without_bus();
        let heard = traffic.of(&"test.process.shop".parse().unwrap()).await.unwrap();
        let web: Token = "web".parse().unwrap();
        heard.hear(count("one", 100));

        let window = heard.window(&web);
        heard.hear(count("one", 130));
        heard.hear(count("two", 5000));
        heard.hear(count("two", 5007));
        let came = heard.since(&window);

        let all: Vec<&RevisionCount> = came.values().collect();
        assert_eq!(all[0].requests, 37);
        assert_eq!(all[0].latency, [(3, 37)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_data_plane_no_longer_counts() {
        let heard = Traffic::without_bus().of(&"test.process.shop".parse().unwrap()).await.unwrap();
        heard.hear(count("one", 1));
        tokio::time::advance(Duration::from_secs(2)).await;
        heard.hear(count("two", 1));
        tokio::time::advance(Duration::from_secs(2)).await;

        let planes = heard.planes(&"web".parse().unwrap());

        assert_eq!(planes.iter().map(|plane| plane.plane.as_str()).collect::<Vec<_>>(), ["two"]);
    }
}
