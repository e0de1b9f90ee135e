//! 1: is there room for the release while it moves, and where does it go. Renders the plan as a Compose file.

mod compose;
mod ports;

pub use compose::render;
pub use ports::{peers, ports};

use model::{
    DeploymentSpec, Finding, Severity, Token,
    deployment::StepJob,
    spec::{Module, Strategy},
    step::{Agent, StepResult},
};
use platform::{Capacity, Unenforced};
use serde::Serialize;
use serde_json::json;

use super::{finding, judged};
use crate::{context::Ctx, error::Result};

/// Checks the room and keeps the plan of resources as evidence.
pub async fn review(job: &StepJob, ctx: &Ctx) -> Result<StepResult> {
    let platform = ctx.platform(&job.spec.target)?;
    let capacity = platform.capacity().await?;
    let (mut findings, plan) = check(&job.spec, job.baseline.as_deref(), capacity);
    findings.extend(ports(&job.spec, job.baseline.as_deref(), &ctx.store.tables().await?));
    findings.extend(unenforced(platform.unenforced(&job.spec.modules).await?));
    findings.extend(peers(&job.spec, job.baseline.as_deref(), ctx.config.peer_host.is_some()));
    let mut result = judged(Agent::Architect, findings);
    let evidence = json!({"placement": plan, "compose": render(&job.spec)});
    result.evidence = Some(ctx.store.keep(&model::digest::canonical_json(&evidence)).await?);
    Ok(result)
}

/// Limits that the place cannot enforce: told, or in the way where their instances would be refused.
pub fn unenforced(found: Vec<Unenforced>) -> Vec<Finding> {
    let told = found.into_iter().map(|one| {
        let (severity, what) = match one.refused {
            true => (Severity::High, "its instances would be refused"),
            false => (Severity::Low, "its instances run without it"),
        };
        let text = format!("{}: {}; {what}", one.module, one.fact);
        let cure = "let the agents make control groups (delegate one to their user), or leave the limit out"
            .to_owned();
        Finding { cure, ..finding("architect/unenforced-limit", severity, Some(&one.module), text) }
    });
    told.collect()
}

/// What one module takes beyond what it has now, at the worst moment of its move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ask {
    /// Which.
    pub module: Token,
    /// Instances.
    pub count: u64,
    /// Thousandths of a core, each.
    pub cpu_millis: u64,
    /// Bytes, each.
    pub memory_bytes: u64,
}

/// A place with what is free in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// Its name.
    pub name: String,
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Bytes.
    pub memory_bytes: u64,
}

/// How many instances of a module go to a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Placed {
    /// Which.
    pub module: Token,
    /// Where.
    pub place: String,
    /// How many.
    pub count: u64,
}

/// Checks the release against the room there is. Pure.
pub fn check(
    spec: &DeploymentSpec,
    baseline: Option<&DeploymentSpec>,
    capacity: Capacity,
) -> (Vec<Finding>, Vec<Placed>) {
    let asks = asks(spec, baseline);
    let room = Room {
        name: spec.target.to_string(),
        cpu_millis: capacity.free_cpu_millis,
        memory_bytes: capacity.free_memory_bytes,
    };
    let (placed, refused) = pack(&asks, vec![room]);
    let mut findings: Vec<Finding> = refused.iter().map(no_room).collect();
    for module in &spec.modules {
        if module.resources.reserved_memory_bytes() == 0 {
            let text = format!("module {} has no limit of memory, its room cannot be planned", module.name);
            findings.push(finding("architect/unbounded", Severity::Info, Some(&module.name), text));
        }
    }
    (findings, placed)
}

fn no_room(refused: &Refused) -> Finding {
    let Refused { ask, free_cpu_millis, free_memory_bytes } = refused;
    let Ask { module, count, cpu_millis, memory_bytes } = ask;
    let times = |amount: String| format!("{amount} × {count}");
    let asked = if memory_bytes * count > *free_memory_bytes {
        format!("{}, {} free", times(mebibytes(*memory_bytes)), mebibytes(*free_memory_bytes))
    } else if cpu_millis * count > *free_cpu_millis {
        format!("{}, {} free", times(format!("{cpu_millis}m of a core")), format_args!("{free_cpu_millis}m"))
    } else {
        format!(
            "{} and {}, no place has both free",
            times(mebibytes(*memory_bytes)),
            times(format!("{cpu_millis}m"))
        )
    };
    let mut found = finding(
        "architect/no-room",
        Severity::High,
        Some(module),
        format!("module {module} asks for {asked}"),
    );
    found.cure =
        "lower resources.request (for memory, without it, the limit) or the replicas, choose a strategy with less surge, or make room".to_owned();
    found
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// What each module takes on top at its worst moment. Canary and blue-green keep the whole old set beside the new one
/// until the promotion; rolling has its surge, and the difference of every replaced instance; recreate frees first.
pub fn asks(spec: &DeploymentSpec, baseline: Option<&DeploymentSpec>) -> Vec<Ask> {
    let mut asks = Vec::new();
    for module in &spec.modules {
        let old = baseline.and_then(|spec| spec.module(&module.name));
        let new = u64::from(module.replicas);
        let had = old.map_or(0, |old| u64::from(old.replicas));
        let (cpu, memory) = reserved(module);
        let same = old.is_some_and(|old| old.revision() == module.revision());
        let whole = match spec.strategy_of(module) {
            _ if same || old.is_none() => new.saturating_sub(had),
            Strategy::Canary(_) | Strategy::BlueGreen(_) => new,
            Strategy::Rolling(rolling) => new.saturating_sub(had) + u64::from(rolling.max_surge),
            Strategy::Recreate {} => new.saturating_sub(had),
        };
        let mut ask = |count, cpu_millis, memory_bytes| {
            if count > 0 && (cpu_millis > 0 || memory_bytes > 0) {
                asks.push(Ask { module: module.name.clone(), count, cpu_millis, memory_bytes });
            }
        };
        ask(whole, cpu, memory);
        if let (Some(old), false, Strategy::Rolling(_) | Strategy::Recreate {}) =
            (old, same, spec.strategy_of(module))
        {
            let (old_cpu, old_memory) = reserved(old);
            ask(new.min(had), cpu.saturating_sub(old_cpu), memory.saturating_sub(old_memory));
        }
    }
    asks
}

fn reserved(module: &Module) -> (u64, u64) {
    (module.resources.reserved_cpu_millis(), module.resources.reserved_memory_bytes())
}

/// What found no place, with what was free where most was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What was asked for.
    pub ask: Ask,
    /// Most that was free before it.
    pub free_cpu_millis: u64,
    /// Most that was free before it.
    pub free_memory_bytes: u64,
}

/// Packs in several dimensions, the largest first, each instance where least is left over (best fit decreasing by the
/// dimension that is scarcest). Instances of one module may go to several places; a module of which not all instances
/// fit is refused as a whole, so that what is refused says what is missing. Deterministic.
pub fn pack(asks: &[Ask], mut rooms: Vec<Room>) -> (Vec<Placed>, Vec<Refused>) {
    let total = |of: fn(&Room) -> u64| rooms.iter().map(of).sum::<u64>().max(1) as f64;
    let (all_cpu, all_memory) = (total(|room| room.cpu_millis), total(|room| room.memory_bytes));
    let weight = |cpu: u64, memory: u64| (cpu as f64 / all_cpu).max(memory as f64 / all_memory);
    let mut order: Vec<&Ask> = asks.iter().collect();
    order.sort_by(|one, two| {
        weight(two.cpu_millis, two.memory_bytes)
            .total_cmp(&weight(one.cpu_millis, one.memory_bytes))
            .then_with(|| one.module.cmp(&two.module))
    });
    let (mut placed, mut refused) = (Vec::<Placed>::new(), Vec::new());
    for ask in order {
        let before = rooms.clone();
        let mut here: Vec<Placed> = Vec::new();
        let fits = (0..ask.count).all(|_| {
            let fitting = rooms
                .iter_mut()
                .filter(|room| room.cpu_millis >= ask.cpu_millis && room.memory_bytes >= ask.memory_bytes);
            let left =
                |room: &Room| weight(room.cpu_millis - ask.cpu_millis, room.memory_bytes - ask.memory_bytes);
            let Some(best) = fitting.min_by(|one, two| left(one).total_cmp(&left(two))) else { return false };
            best.cpu_millis -= ask.cpu_millis;
            best.memory_bytes -= ask.memory_bytes;
            match here.iter_mut().find(|placed| placed.place == best.name) {
                Some(placed) => placed.count += 1,
                None => here.push(Placed { module: ask.module.clone(), place: best.name.clone(), count: 1 }),
            }
            true
        });
        if fits {
            placed.extend(here);
        } else {
            rooms = before;
            refused.push(Refused {
                ask: ask.clone(),
                free_cpu_millis: rooms.iter().map(|room| room.cpu_millis).max().unwrap_or(0),
                free_memory_bytes: rooms.iter().map(|room| room.memory_bytes).max().unwrap_or(0),
            });
        }
    }
    (placed, refused)
}

#[cfg(test)]
mod tests;
