//! Clients at work while members lose power and the network is cut, slow and repeats itself: what they saw must be
//! explained by one order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tokio::{task::JoinSet, time::Instant};

use super::{
    Bug,
    cluster::{Cluster, HASTY, NumbersCluster},
    history::Call,
    kv::{Change, Do, History, Numbers, wrong},
    net::{Net, Weather},
    seeds,
};
use crate::{Error, Replicated, transport::Serve};

const CLIENTS: u64 = 5;
const NAMES: u64 = 3;
/// The weather between mishaps.
const USUAL: Weather = Weather { lost: 10, answer_lost: 30, repeated: 20, slow: Duration::from_millis(2) };
/// Many answers are lost, so that clients ask again.
const DEAF: Weather = Weather { answer_lost: 250, ..USUAL };
/// How long a client waits for one try.
const PATIENCE: Duration = Duration::from_millis(700);
/// How long the cluster may take to be whole again once nothing goes wrong any more.
const END: Duration = Duration::from_secs(15);
/// How often a client tries with the same ticket before it calls the outcome unknown.
const TRIES: u32 = 4;

/// What all clients share.
struct Shared {
    members: Mutex<Vec<Replicated<Numbers>>>,
    history: Mutex<History>,
    over: AtomicBool,
    values: AtomicU64,
    acknowledged: AtomicU64,
    began: Instant,
    net: Net,
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap()
    }

    /// What a member said; nothing, if it has lost power meanwhile: it could not have said it.
    fn heard<T>(&self, member: &Replicated<Numbers>, said: Result<T, Error>) -> Option<T> {
        let door: Arc<dyn Serve> = Arc::clone(&member.core) as _;
        said.ok().filter(|_| self.net.has(&door))
    }
}

async fn client(shared: Arc<Shared>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    while !shared.over.load(Ordering::Relaxed) {
        let key = format!("n{}", random.random_range(0..NAMES));
        let value = shared.values.fetch_add(1, Ordering::Relaxed) + 1_000_000;
        let what = match random.random_range(0..8) {
            0 => Do::Set(value),
            1 => Do::Swap(random.random_range(0..20), value),
            2..5 => Do::Add,
            _ => Do::Get,
        };
        let some = |random: &mut StdRng| {
            let members = shared.members.lock();
            if members.is_empty() {
                None
            } else {
                Some(members[random.random_range(0..members.len())].clone())
            }
        };
        let Some(member) = some(&mut random) else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let begun = shared.now();
        let output = if what == Do::Get {
            let read =
                member.read(PATIENCE, |state| state.values.get(&key).copied().unwrap_or_default()).await;
            shared.heard(&member, read)
        } else {
            let (ticket, change) = (member.ticket(), Change { key: key.clone(), what: what.clone() });
            let (mut output, mut member) = (None, Some(member));
            for _ in 0..TRIES {
                if let Some(member) = &member {
                    let said = member.propose(&ticket, &change, PATIENCE).await;
                    output = shared.heard(member, said);
                }
                if output.is_some() {
                    break;
                }
                // The same wish again, at any member.
                member = some(&mut random);
            }
            output
        };
        let ended = output.map(|_| shared.now());
        if ended.is_some() {
            shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        if ended.is_some() || what != Do::Get {
            shared.history.lock().entry(key).or_default().push(Call { begun, ended, input: what, output });
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..6))).await;
    }
}

/// One thing that goes wrong, and is mended before the next.
async fn mishap(cluster: &mut NumbersCluster, shared: &Shared, random: &mut StdRng) -> String {
    let many = cluster.slots.len();
    let mut order: Vec<usize> = (0..many).collect();
    order.shuffle(random);
    let names = |slots: &[usize]| -> Vec<String> { slots.iter().map(|at| format!("m{at}:1")).collect() };
    let minority = random.random_range(1..=(many - 1) / 2);
    let what = match random.random_range(0..6) {
        0 => {
            cluster.net.cut(&names(&order[..minority]), &names(&order[minority..]));
            format!("cut off {:?}", &order[..minority])
        }
        1 => {
            for other in &order[1..] {
                cluster.net.cut_one_way(&format!("m{other}:1"), &format!("m{}:1", order[0]));
            }
            format!("deaf {}", order[0])
        }
        2 => {
            cluster.net.weather(Weather {
                lost: 150,
                answer_lost: 150,
                repeated: 200,
                slow: Duration::from_millis(30),
            });
            "bad weather".to_owned()
        }
        kind => {
            let dead = if kind == 5 { many } else { minority };
            for at in &order[..dead] {
                cluster.kill(*at).await;
                *shared.members.lock() = cluster.alive();
            }
            format!("power lost at {:?}", &order[..dead])
        }
    };
    tokio::time::sleep(Duration::from_millis(random.random_range(100..900))).await;
    what
}

/// Clients and mishaps by seed. The error says what cannot be explained.
async fn storm(
    many: usize,
    seed: u64,
    mishaps: u32,
    usual: Weather,
    bug: Option<Bug>,
) -> Result<String, String> {
    let mut cluster = Cluster::<Numbers>::with(many, seed, HASTY, bug).await;
    let mut random = StdRng::seed_from_u64(seed ^ 0x5eed);
    let shared = Arc::new(Shared {
        members: Mutex::new(cluster.alive()),
        history: Mutex::default(),
        over: AtomicBool::new(false),
        values: AtomicU64::new(0),
        acknowledged: AtomicU64::new(0),
        began: Instant::now(),
        net: cluster.net.clone(),
    });
    cluster.net.weather(usual);
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(Arc::clone(&shared), seed * 100 + number));
    }
    let mut story = Vec::new();
    let mut failed = None;
    for _ in 0..mishaps {
        story.push(mishap(&mut cluster, &shared, &mut random).await);
        cluster.net.heal();
        cluster.net.weather(usual);
        for at in 0..many {
            if cluster.slots[at].alive.is_none()
                && let Err(error) = cluster.start(at).await
            {
                failed = Some(format!("m{at} does not come back: {error}"));
            }
        }
        if failed.is_some() {
            break;
        }
        *shared.members.lock() = cluster.alive();
        tokio::time::sleep(Duration::from_millis(random.random_range(100..600))).await;
    }
    shared.over.store(true, Ordering::Relaxed);
    while clients.join_next().await.is_some() {}
    if failed.is_none() {
        cluster.net.weather(Weather::default());
        for name in 0..NAMES {
            let (key, begun) = (format!("n{name}"), shared.now());
            let read =
                cluster.at(0).read(END, |state| state.values.get(&key).copied().unwrap_or_default()).await;
            match read {
                Ok(value) => shared.history.lock().entry(key).or_default().push(Call {
                    begun,
                    ended: Some(shared.now()),
                    input: Do::Get,
                    output: Some(value),
                }),
                Err(error) => {
                    failed = Some(format!("the last read: {error}"));
                    break;
                }
            }
        }
    }
    let frames = cluster.net.frames();
    failed = failed.or(cluster.net.broken().first().cloned()).or_else(|| wrong(&shared.history.lock()));
    cluster.stop().await;
    let story = story.join("; ");
    match failed {
        Some(why) => Err(format!("{story}\n{why}")),
        None => Ok(format!(
            "{many} members, seed {seed}: {} calls answered, {frames} messages: {story}",
            shared.acknowledged.load(Ordering::Relaxed)
        )),
    }
}

/// Until one seed finds it.
async fn hunt(bug: Bug, seeds: u64) -> Option<(u64, String)> {
    for seed in 0..seeds {
        if let Err(why) = storm(3, seed, 6, DEAF, Some(bug)).await {
            return Some((seed, why));
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_in_a_storm_act_as_one() {
    for seed in seeds(1) {
        match storm(3, seed, 8, USUAL, None).await {
            Ok(told) => println!("{told}"),
            Err(why) => panic!("QUORUM_SEED={seed}: {why}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_members_in_a_storm_act_as_one() {
    for seed in seeds(1) {
        match storm(5, seed, 8, USUAL, None).await {
            Ok(told) => println!("{told}"),
            Err(why) => panic!("QUORUM_SEED={seed}: {why}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_finds_members_that_acknowledge_before_they_flush() {
    let (seed, why) = hunt(Bug::AcknowledgeBeforeFlush, 20).await.expect("found within 20 seeds");
    println!("seed {seed}: {}", why.lines().nth(1).unwrap_or_default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_finds_votes_that_are_not_put_down() {
    let (seed, why) = hunt(Bug::VoteNotSaved, 20).await.expect("found within 20 seeds");
    println!("seed {seed}: {}", why.lines().nth(1).unwrap_or_default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_finds_retries_that_a_snapshot_forgot() {
    let (seed, why) = hunt(Bug::MemoNotInSnapshot, 20).await.expect("found within 20 seeds");
    println!("seed {seed}: {}", why.lines().nth(1).unwrap_or_default());
}
