//! At most one deployment holds a target, tokens rise by one, only the holder changes what runs or says what runs, and
//! in the end the lock is free.

use model::{Record, target::TargetEvent};

use crate::sim::{
    Harm, Simulation,
    world::{Effect, Line},
};

pub(super) fn check(sim: &mut Simulation, record: &Record<TargetEvent>) {
    if record.version != sim.truth.target.version + 1 {
        let text = format!("the target's version {} follows {}", record.version, sim.truth.target.version);
        sim.violate("lock", Harm::Wrong, text);
    }
    for event in &record.events {
        let target = &sim.truth.target;
        let complaint = match event {
            TargetEvent::Granted { deployment, .. } if target.holder.is_some() => {
                Some(format!("{deployment} was granted what {:?} held", target.holder))
            }
            TargetEvent::Granted { deployment, token, .. } if *token != target.grants + 1 => {
                Some(format!("{deployment} was granted token {token} after {}", target.grants))
            }
            TargetEvent::Settled { snapshot }
                if target.version > 0 && !target.holds(&snapshot.deployment) =>
            {
                Some(format!("{} settled without the lock", snapshot.deployment))
            }
            _ => None,
        };
        if let Some(text) = complaint {
            sim.violate("lock", Harm::Wrong, text);
        }
        sim.truth.target.evolve(event);
    }
    sim.truth.target.version = record.version;
    sim.truth.target.seq = sim.targets.head();
}

pub(super) fn check_write(sim: &mut Simulation, line: &Line) {
    if line.effect == Effect::Took && !sim.truth.target.holds(&line.author.deployment) {
        let text = format!(
            "{} of {} wrote {:?} without the lock",
            line.author.step, line.author.deployment, line.write
        );
        sim.violate("lock", Harm::Wrong, text);
    }
}

pub(super) fn check_end(sim: &mut Simulation) {
    let target = &sim.truth.target;
    if target.holder.is_some() || !target.queue.is_empty() {
        let text = format!("in the end {:?} holds the lock and {} wait", target.holder, target.queue.len());
        sim.violate("lock", Harm::Stuck, text);
    }
}
