//! A network in one process that loses, delays, reorders, repeats and cuts, by seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

use crate::{
    transport::{Lost, Serve, Transport},
    types::{Peer, Vote},
    wire::{Answer, Ask, Frame},
};

/// How bad the network is, out of a thousand messages each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub lost: u32,
    pub answer_lost: u32,
    pub repeated: u32,
    /// Longest delay of one message; each has its own, so that they overtake each other.
    pub slow: Duration,
}

struct Inner {
    random: StdRng,
    weather: Weather,
    doors: BTreeMap<String, Arc<dyn Serve>>,
    /// From whom to whom nothing goes.
    cut: BTreeSet<(String, String)>,
    late: JoinSet<()>,
    /// The highest vote that each member gave, across restarts.
    given: BTreeMap<u64, Vote>,
    heartbeats_only: bool,
    voting: Arc<tokio::sync::Mutex<()>>,
    broken: Vec<String>,
    frames: u64,
}

#[derive(Clone)]
pub(crate) struct Net(Arc<Mutex<Inner>>);

/// One member's way out. It is cut for good when the member dies.
pub(crate) struct Wire {
    net: Net,
    from: String,
}

impl Net {
    pub fn new(seed: u64) -> Net {
        Net(Arc::new(Mutex::new(Inner {
            random: StdRng::seed_from_u64(seed),
            weather: Weather::default(),
            doors: BTreeMap::new(),
            cut: BTreeSet::new(),
            late: JoinSet::new(),
            given: BTreeMap::new(),
            heartbeats_only: false,
            voting: Arc::default(),
            broken: Vec::new(),
            frames: 0,
        })))
    }

    pub fn wire(&self, from: &str) -> Arc<Wire> {
        Arc::new(Wire { net: self.clone(), from: from.to_owned() })
    }

    pub fn join(&self, address: &str, door: Arc<dyn Serve>) {
        self.0.lock().doors.insert(address.to_owned(), door);
    }

    /// Whether this member, and none that came after it, is there.
    pub fn has(&self, door: &Arc<dyn Serve>) -> bool {
        self.0.lock().doors.values().any(|one| Arc::ptr_eq(one, door))
    }

    pub fn leave(&self, address: &str) {
        self.0.lock().doors.remove(address);
    }

    pub fn weather(&self, weather: Weather) {
        self.0.lock().weather = weather;
    }

    /// Nothing goes between the two sides any more.
    pub fn cut(&self, one: &[String], other: &[String]) {
        let mut inner = self.0.lock();
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (a.clone(), b.clone()))) {
            inner.cut.insert((a.clone(), b.clone()));
            inner.cut.insert((b, a));
        }
    }

    /// Nothing goes from one to the other; back it does.
    pub fn cut_one_way(&self, from: &str, to: &str) {
        self.0.lock().cut.insert((from.to_owned(), to.to_owned()));
    }

    /// Of what leaders send to followers, only what tells them nothing of their logs goes through.
    pub fn heartbeats_only(&self, only: bool) {
        self.0.lock().heartbeats_only = only;
    }

    pub fn heal(&self) {
        self.0.lock().cut.clear();
    }

    /// Votes that went back.
    pub fn broken(&self) -> Vec<String> {
        self.0.lock().broken.clone()
    }

    pub fn frames(&self) -> u64 {
        self.0.lock().frames
    }

    async fn deliver(&self, door: Arc<dyn Serve>, frame: Frame) -> Frame {
        let asked = serde_json::from_slice::<Ask>(&frame.body).ok();
        // In the order in which they are given, so that it is known which came before.
        let one_by_one = Arc::clone(&self.0.lock().voting);
        let _held = if matches!(asked, Some(Ask::Vote(_))) { Some(one_by_one.lock().await) } else { None };
        let answer = door.answer(frame).await;
        if let (Some(Ask::Vote(request)), Ok(Answer::Vote(Ok(said)))) =
            (asked, serde_json::from_slice::<Answer>(&answer.body))
            && said.vote_granted
        {
            let mut inner = self.0.lock();
            let before = inner.given.get(&answer.from).copied();
            if before > Some(request.vote) {
                let text = format!("{:016x} gave its vote to {} after {before:?}", answer.from, request.vote);
                inner.broken.push(text);
            }
            inner.given.insert(answer.from, request.vote);
        }
        answer
    }
}

impl Wire {
    fn is_there(&self) -> bool {
        self.net.0.lock().doors.contains_key(&self.from)
    }
}

#[async_trait::async_trait]
impl Transport for Wire {
    async fn ask(&self, peer: &Peer, frame: Frame, within: Duration) -> Result<Frame, Lost> {
        let (door, way, back, answer_lost, repeat) = {
            let mut inner = self.net.0.lock();
            inner.frames += 1;
            let weather = inner.weather;
            let mut chance = |of: u32| inner.random.random_ratio(of, 1000);
            let (lost, answer_lost, repeated) =
                (chance(weather.lost), chance(weather.answer_lost), chance(weather.repeated));
            let mut span = || inner.random.random_range(Duration::ZERO..=weather.slow);
            let (way, back, again) = (span(), span(), span() * 4);
            let is_cut = |a: &str, b: &str| inner.cut.contains(&(a.to_owned(), b.to_owned()));
            let replicates = || match serde_json::from_slice::<Ask>(&frame.body) {
                Ok(Ask::Append(append)) => append.prev_log_id.is_some() || !append.entries.is_empty(),
                _ => false,
            };
            let lost = lost || inner.heartbeats_only && replicates();
            let dead = !inner.doors.contains_key(&self.from);
            if lost || dead || is_cut(&self.from, &peer.address) {
                (None, way, back, true, None)
            } else {
                let answer_lost = answer_lost || is_cut(&peer.address, &self.from);
                (inner.doors.get(&peer.address).cloned(), way, back, answer_lost, repeated.then_some(again))
            }
        };
        let Some(door) = door else {
            tokio::time::sleep(way.min(within)).await;
            return Err(Lost::Unreachable("cut".to_owned()));
        };
        if let Some(again) = repeat {
            let (net, door, frame) = (self.net.clone(), Arc::clone(&door), frame.clone());
            self.net.0.lock().late.spawn(async move {
                tokio::time::sleep(way + again).await;
                drop(tokio::time::timeout(within, net.deliver(door, frame)).await);
            });
        }
        let (net, there_still) = (self.net.clone(), Arc::clone(&door));
        let there = async move {
            tokio::time::sleep(way).await;
            let answer = net.deliver(door, frame).await;
            tokio::time::sleep(back).await;
            answer
        };
        match tokio::time::timeout(within, there).await {
            // Whoever has lost power says and hears nothing more.
            Ok(answer) if !answer_lost && self.net.has(&there_still) && self.is_there() => Ok(answer),
            _ => Err(Lost::Unanswered("lost".to_owned())),
        }
    }
}
