//! The fence of writes that took effect never goes down on a target: who is behind changes nothing.

use crate::sim::{
    Harm, Simulation,
    world::{Effect, Line},
};

pub(super) fn check(sim: &mut Simulation, line: &Line) {
    if line.effect != Effect::Took {
        return;
    }
    let highest = sim.watch.highest;
    if line.author.fence < highest {
        let text = format!(
            "{} wrote {:?} under {} after {highest}",
            line.author.step, line.write, line.author.fence
        );
        sim.violate("fence", Harm::Wrong, text);
    }
    sim.watch.highest = highest.max(line.author.fence);
}
