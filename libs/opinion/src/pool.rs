//! Threads for arithmetic, each on a processor of its own, kept apart from those that wait for the network.
//!
//! The order of processors follows the machine: whole cores before their siblings, cores that share a cache side by
//! side, so that a pool of few threads uses whole cores and one cache. Where the system does not tell or does not let
//! itself be told, the pool works unpinned, and says so.

use std::{
    fmt, fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// One processor as the system numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processor {
    /// Its number.
    pub number: usize,
    /// The memory node or socket.
    pub package: usize,
    /// The core, which siblings share.
    pub core: usize,
    /// The smallest processor of those with which it shares its last cache.
    pub cache: usize,
}

/// The processors that this process may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// In the order of their numbers.
    pub processors: Vec<Processor>,
}

impl Topology {
    /// Asks the system. Empty where it does not tell.
    pub fn of_system() -> Topology {
        Topology::of_folder(Path::new("/sys/devices/system/cpu"), &allowed())
    }

    /// Reads the folder in which Linux describes its processors.
    pub fn of_folder(folder: &Path, allowed: &[usize]) -> Topology {
        let read = |number: usize, name: &str| {
            let text = fs::read_to_string(folder.join(format!("cpu{number}/{name}"))).ok()?;
            text.trim().split([',', '-']).next()?.parse().ok()
        };
        let processor = |number: &usize| Processor {
            number: *number,
            package: read(*number, "topology/physical_package_id").unwrap_or(0),
            core: read(*number, "topology/core_id").unwrap_or(*number),
            cache: read(*number, "cache/index3/shared_cpu_list").unwrap_or(0),
        };
        Topology { processors: allowed.iter().map(processor).collect() }
    }

    /// The numbers of the processors in the order in which threads take them.
    pub fn order(&self) -> Vec<usize> {
        let mut order: Vec<(usize, &Processor)> = self
            .processors
            .iter()
            .map(|one| {
                let before = |other: &&Processor| {
                    other.number < one.number && (other.package, other.core) == (one.package, one.core)
                };
                (self.processors.iter().filter(before).count(), one)
            })
            .collect();
        order.sort_by_key(|(sibling, one)| (*sibling, one.package, one.cache, one.core, one.number));
        order.into_iter().map(|(_, one)| one.number).collect()
    }

    /// Cores, siblings counted once.
    pub fn cores(&self) -> usize {
        let mut cores: Vec<(usize, usize)> =
            self.processors.iter().map(|one| (one.package, one.core)).collect();
        cores.sort_unstable();
        cores.dedup();
        cores.len()
    }
}

#[cfg(target_os = "linux")]
fn allowed() -> Vec<usize> {
    use nix::{sched::CpuSet, unistd::Pid};
    match nix::sched::sched_getaffinity(Pid::from_raw(0)) {
        Ok(set) => (0..CpuSet::count()).filter(|number| set.is_set(*number) == Ok(true)).collect(),
        Err(_) => Vec::new(),
    }
}

#[cfg(not(target_os = "linux"))]
fn allowed() -> Vec<usize> {
    Vec::new()
}

/// Binds the calling thread to a processor. Whether that worked.
#[cfg(target_os = "linux")]
fn bind(number: usize) -> bool {
    use nix::{sched::CpuSet, unistd::Pid};
    let mut set = CpuSet::new();
    set.set(number).is_ok() && nix::sched::sched_setaffinity(Pid::from_raw(0), &set).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn bind(_: usize) -> bool {
    false
}

/// How a pool is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    /// How many. 0: one per core.
    pub count: usize,
    /// Whether each is bound to a processor.
    pub pinned: bool,
}

impl Default for Threads {
    fn default() -> Threads {
        Threads { count: 0, pinned: true }
    }
}

/// The system gave no threads.
#[derive(Debug, thiserror::Error)]
#[error("starting {count} threads for the consensus")]
pub struct NoThreads {
    /// How many were asked for.
    pub count: usize,
    /// Why.
    #[source]
    source: rayon::ThreadPoolBuildError,
}

/// Threads that do nothing but arithmetic.
#[derive(Debug)]
pub struct Pool {
    threads: rayon::ThreadPool,
    order: Vec<usize>,
    bound: Arc<AtomicUsize>,
    cores: usize,
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, bound) = (self.threads.current_num_threads(), self.bound.load(Ordering::Relaxed));
        write!(f, "{count} threads on {} cores", self.cores)?;
        match bound {
            0 => write!(f, ", unpinned"),
            _ => write!(f, ", {bound} pinned, processors {:?}", &self.order[..count.min(self.order.len())]),
        }
    }
}

impl Pool {
    /// Starts the threads and waits until each is where it belongs.
    pub fn start(settings: Threads) -> Result<Pool, NoThreads> {
        let topology = Topology::of_system();
        let order = topology.order();
        let cores = if order.is_empty() { rayon::current_num_threads() } else { topology.cores() };
        let count = if settings.count == 0 { cores.max(1) } else { settings.count };
        let bound = Arc::new(AtomicUsize::new(0));
        let (places, counter) = (order.clone(), bound.clone());
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|at| format!("consensus-{at}"))
            .start_handler(move |at| {
                let place = places.get(at % places.len().max(1)).filter(|_| settings.pinned);
                if place.is_some_and(|place| bind(*place)) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build()
            .map_err(|source| NoThreads { count, source })?;
        threads.broadcast(|_| ());
        Ok(Pool { threads, order, bound, cores })
    }

    /// Runs work on these threads and waits for it. Not to be called on a thread that serves the network.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.threads.install(work)
    }

    /// Hands work over and returns at once; for callers that wait elsewhere, such as on a channel.
    pub fn hand_over(&self, work: impl FnOnce() + Send + 'static) {
        self.threads.spawn(work);
    }

    /// Threads.
    pub fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }
}
