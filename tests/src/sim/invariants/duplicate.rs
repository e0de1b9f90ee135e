//! One effect per intent: a step starts an instance at most once, however often it is sent, retried or resumed.

use crate::sim::{
    Harm, Simulation,
    world::{Effect, Line, Write},
};

pub(super) fn check(sim: &mut Simulation, line: &Line) {
    let (Write::Start(key), Effect::Took) = (&line.write, line.effect) else { return };
    let start = (line.author.deployment.clone(), line.author.step.clone(), key.clone());
    if !sim.watch.started.insert(start) {
        let text = format!("{} started {} {} #{} a second time", line.author.step, key.0, key.1, key.2);
        sim.violate("duplicate", Harm::Duplicate, text);
    }
}
