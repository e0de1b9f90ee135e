//! A platform in memory that does what a script says: for simulations, benchmarks and tests.
//!
//! Deterministic: time is tokio's (so paused time works), addresses are counted, nothing is drawn. Its ledger keeps
//! every write with its fence, so that duplicates can be found. It never opens a socket and never starts a process.

mod ledger;
mod script;

pub use ledger::{Effect, Ledger, Write, WriteKind};
pub use script::Script;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use model::{Fence, TargetId, Timestamp, spec::Probe};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::{Capacity, Error, FenceStore, Fenced, Instance, Platform, Result, StartOrder, State, health};

/// What a scripted instance is.
#[derive(Clone, Debug)]
struct Running {
    instance: Instance,
    order: StartOrder,
    ends: Option<(Instant, i64)>,
    /// It runs and answers nothing.
    frozen: bool,
}

#[derive(Debug)]
struct World {
    begin: Instant,
    begin_at: Timestamp,
    capacity: (u64, u64),
    script: Script,
    ledger: Ledger,
    instances: BTreeMap<(String, String), Running>,
    next_address: u16,
}

/// The scripted platform. Clones share one world, as several driver objects share one machine.
#[derive(Clone, Debug)]
pub struct ScriptedPlatform {
    world: Arc<Mutex<World>>,
    fences: Arc<FenceStore>,
}

impl Default for ScriptedPlatform {
    fn default() -> Self {
        Self::new()
    }
}

impl ScriptedPlatform {
    /// An empty world with 16 cores and 64 GiB whose clock begins at 0.
    pub fn new() -> ScriptedPlatform {
        let world = World {
            begin: Instant::now(),
            begin_at: Timestamp(0),
            capacity: (16_000, 64 << 30),
            script: Script::default(),
            ledger: Ledger::default(),
            instances: BTreeMap::new(),
            next_address: 0,
        };
        ScriptedPlatform { world: Arc::new(Mutex::new(world)), fences: Arc::new(FenceStore::in_memory()) }
    }

    /// Changes the script; what runs already is not touched, but probes and calls follow it at once.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.world().script);
    }

    /// Everything written so far.
    pub fn ledger(&self) -> Ledger {
        self.world().ledger.clone()
    }

    /// Sets what the place has in all.
    pub fn set_capacity(&self, cpu_millis: u64, memory_bytes: u64) {
        self.world().capacity = (cpu_millis, memory_bytes);
    }

    /// Ends an instance with this status, as if its program had ended; nothing when it does not run.
    pub fn crash(&self, target: &TargetId, instance: &str, code: i64) {
        let mut world = self.world();
        let at = world.now();
        if let Some(running) = world.instances.get_mut(&(target.token(), instance.to_owned()))
            && running.instance.is_running()
        {
            running.instance.state = State::Exited { code: Some(code), at, oom: false };
        }
    }

    /// The kernel kills something of a running instance for want of memory: the program itself, or a child of it.
    pub fn starve(&self, target: &TargetId, instance: &str, whole: bool) {
        let mut world = self.world();
        let at = world.now();
        if let Some(running) = world.instances.get_mut(&(target.token(), instance.to_owned()))
            && running.instance.is_running()
        {
            running.instance.out_of_memory = true;
            if whole {
                running.instance.state = State::Exited { code: Some(137), at, oom: true };
            }
        }
    }

    /// Stops an instance from answering while it runs on, until it is started anew.
    pub fn freeze(&self, target: &TargetId, instance: &str) {
        if let Some(running) = self.world().instances.get_mut(&(target.token(), instance.to_owned())) {
            running.frozen = true;
        }
    }

    /// Takes an instance away without a trace, as a lost machine does; it is observed no longer.
    pub fn lose(&self, target: &TargetId, instance: &str) {
        self.world().instances.remove(&(target.token(), instance.to_owned()));
    }

    /// The order an instance was started with, as long as it is there.
    pub fn order_of(&self, target: &TargetId, instance: &str) -> Option<StartOrder> {
        let world = self.world();
        world.instances.get(&(target.token(), instance.to_owned())).map(|running| running.order.clone())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock()
    }

    /// Waits as the script says; fails when it says that the engine is away.
    async fn arrive(&self) -> Result<()> {
        let (slow, lost) = {
            let world = self.world();
            (world.script.slow, world.script.lost)
        };
        if slow > Duration::ZERO {
            tokio::time::sleep(slow).await;
        }
        if lost { Err(away()) } else { Ok(()) }
    }
}

fn away() -> Error {
    Error::Unavailable { platform: "scripted", source: "the script says that it is lost".into() }
}

impl World {
    fn now(&self) -> Timestamp {
        self.begin_at.plus(self.begin.elapsed())
    }

    /// Lets end what was to end by now.
    fn settle(&mut self) {
        let now = Instant::now();
        let (begin, begin_at) = (self.begin, self.begin_at);
        for running in self.instances.values_mut() {
            if let Some((ends, code)) = running.ends
                && ends <= now
                && running.instance.is_running()
            {
                let at = begin_at.plus(ends.saturating_duration_since(begin));
                running.instance.state = State::Exited { code: Some(code), at, oom: false };
            }
        }
    }

    fn addresses(&mut self, order: &StartOrder) -> BTreeMap<String, String> {
        let mut addresses = BTreeMap::new();
        for port in &order.module.ports {
            let set = self.script.address(&order.module.name, &order.revision, port.name.as_str());
            let address = set.unwrap_or_else(|| {
                self.next_address = self.next_address.wrapping_add(1);
                let [high, low] = self.next_address.to_be_bytes();
                // 198.18.0.0/15 is set aside for benchmarks (RFC 2544): nothing real answers there.
                format!("198.18.{high}.{low}:{}", port.container.unwrap_or(8080))
            });
            addresses.insert(port.name.to_string(), address);
        }
        addresses
    }

    fn begin(&mut self, order: &StartOrder) -> Result<(Instance, Effect)> {
        self.settle();
        let key = (order.target.token(), order.id());
        let mut restarts = 0;
        if let Some(running) = self.instances.get_mut(&key) {
            match running.instance.state {
                State::Starting | State::Running => {
                    running.instance.fence = running.instance.fence.max(order.fence);
                    return Ok((running.instance.clone(), Effect::AlreadyThere));
                }
                State::Exited { .. } => restarts = running.instance.restarts + 1,
            }
        }
        if let Some(error) = self.script.start_fails(&order.module.name, &order.revision) {
            return Err(error);
        }
        let starting = self.script.stays_starting(&order.module.name, &order.revision);
        let crash = self.script.crash(&order.module.name, &order.revision);
        let instance = Instance {
            id: order.id(),
            module: order.module.name.clone(),
            revision: order.revision.clone(),
            slot: order.slot,
            state: if starting { State::Starting } else { State::Running },
            addresses: self.addresses(order),
            first_port: order.first_port(),
            fence: order.fence,
            deployment: order.deployment.clone(),
            restarts,
            out_of_memory: false,
            started_at: Some(self.now()),
            handle: format!("scripted-{}", self.ledger.writes.len()),
        };
        let ends = crash.map(|(after, code)| (Instant::now() + after, code));
        let running = Running { instance: instance.clone(), order: order.clone(), ends, frozen: false };
        self.instances.insert(key, running);
        self.settle();
        let seen =
            self.instances.get(&(order.target.token(), order.id())).map(|running| running.instance.clone());
        Ok((seen.unwrap_or(instance), Effect::Done))
    }

    fn reserved(&self) -> (u64, u64) {
        let live =
            self.instances.values().filter(|running| !matches!(running.instance.state, State::Exited { .. }));
        live.fold((0, 0), |(cpu, memory), running| {
            let resources = &running.order.module.resources;
            (cpu + resources.reserved_cpu_millis(), memory + resources.reserved_memory_bytes())
        })
    }
}

#[async_trait]
impl Fenced for ScriptedPlatform {
    fn fences(&self) -> &FenceStore {
        &self.fences
    }

    /// All clones share what is kept: what runs carries nothing that is not there.
    async fn found(&self, _: &TargetId) -> Result<Fence> {
        Ok(Fence::default())
    }
}

#[async_trait]
impl Platform for ScriptedPlatform {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    async fn capacity(&self) -> Result<Capacity> {
        self.arrive().await?;
        let world = self.world();
        let (cpu, memory) = world.reserved();
        Ok(Capacity {
            cpu_millis: world.capacity.0,
            memory_bytes: world.capacity.1,
            free_cpu_millis: world.capacity.0.saturating_sub(cpu),
            free_memory_bytes: world.capacity.1.saturating_sub(memory),
        })
    }

    async fn observe(&self, target: &TargetId) -> Result<Vec<Instance>> {
        self.arrive().await?;
        let mut world = self.world();
        world.settle();
        let ours = world.instances.iter().filter(|((of, _), _)| *of == target.token());
        Ok(ours.map(|(_, running)| running.instance.clone()).collect())
    }

    async fn start(&self, order: &StartOrder) -> Result<Instance> {
        order.check()?;
        self.arrive().await?;
        let admitted = self.admit(&order.target, order.fence).await;
        let mut world = self.world();
        let outcome = admitted.and_then(|_guard| world.begin(order));
        let effect = match &outcome {
            Ok((_, effect)) => *effect,
            Err(Error::Fence(_)) => Effect::Refused,
            Err(_) => Effect::Failed,
        };
        let at = world.now();
        world.ledger.note(WriteKind::Start, &order.target, &order.id(), order.fence, effect, at);
        outcome.map(|(instance, _)| instance)
    }

    async fn stop(&self, target: &TargetId, instance: &str, fence: Fence, _grace: Duration) -> Result<()> {
        self.arrive().await?;
        let outcome = self.admit(target, fence).await;
        let mut world = self.world();
        let stuck = world.instances.get(&(target.token(), instance.to_owned())).is_some_and(|running| {
            world.script.is_stuck(&running.instance.module, &running.instance.revision)
        });
        let effect = match &outcome {
            Ok(_) if stuck => Effect::Failed,
            Ok(_) if world.instances.remove(&(target.token(), instance.to_owned())).is_some() => Effect::Done,
            Ok(_) => Effect::AlreadyThere,
            Err(_) => Effect::Refused,
        };
        let at = world.now();
        world.ledger.note(WriteKind::Stop, target, instance, fence, effect, at);
        if effect == Effect::Failed {
            return Err(Error::invalid(format!("instance {instance} does not end, the script says so")));
        }
        outcome.map(drop)
    }

    async fn logs(&self, target: &TargetId, instance: &str, lines: usize) -> Result<String> {
        self.arrive().await?;
        let world = self.world();
        let Some(running) = world.instances.get(&(target.token(), instance.to_owned())) else {
            return Err(Error::NoInstance { instance: instance.to_owned() });
        };
        let text = world.script.log_of(&running.instance.module, &running.instance.revision);
        let all: Vec<&str> = text.lines().collect();
        Ok(all[all.len().saturating_sub(lines)..].join("\n"))
    }

    async fn exec(
        &self,
        target: &TargetId,
        instance: &str,
        _command: &[String],
        _timeout: Duration,
    ) -> Result<i32> {
        self.arrive().await?;
        let mut world = self.world();
        world.settle();
        match world.instances.get(&(target.token(), instance.to_owned())) {
            None => Err(Error::NoInstance { instance: instance.to_owned() }),
            Some(running) if !running.instance.is_running() => {
                Err(Error::NotRunning { instance: instance.to_owned() })
            }
            Some(running) => {
                Ok(world.script.exec_status(&running.instance.module, &running.instance.revision))
            }
        }
    }

    /// Answered by the script, unless it gives real addresses to the module: then they are really asked.
    async fn probe(
        &self,
        target: &TargetId,
        instance: &Instance,
        probe: &Probe,
        timeout: Duration,
    ) -> Result<std::result::Result<(), String>> {
        self.arrive().await?;
        let (running, frozen, never, real) = {
            let mut world = self.world();
            world.settle();
            let there = world.instances.get(&(target.token(), instance.id.clone()));
            let running = there.is_some_and(|running| running.instance.is_running());
            let never = world.script.never_ready(&instance.module, &instance.revision);
            let frozen = there.is_some_and(|running| running.frozen);
            (running, frozen, never, world.script.has_addresses(&instance.module, &instance.revision))
        };
        if !running {
            return Ok(Err(format!("instance {} does not run", instance.id)));
        }
        if frozen {
            tokio::time::sleep(timeout).await;
            return Ok(Err(format!("no answer within {}", model::Span(timeout))));
        }
        if never {
            return Ok(Err("the script says that it is not ready".to_owned()));
        }
        if real { health::probe(self, target, instance, probe, timeout).await } else { Ok(Ok(())) }
    }
}

#[cfg(test)]
mod tests;
