//! A rolling update never has more instances than `max_total` and, once it had so many, never fewer healthy ones than
//! `min_healthy`.

use crate::sim::{
    Harm, Simulation,
    world::{Effect, Line, Write},
};

pub(super) fn check(sim: &mut Simulation, line: &Line, before: (u32, u32)) {
    let (Some((most, fewest)), Effect::Took) = (line.author.rolling, line.effect) else { return };
    let text = match &line.write {
        Write::Start((module, ..)) => {
            let (total, _) = sim.world.of_module(module);
            (total > most).then(|| format!("{total} instances of {module}, at most {most} were allowed"))
        }
        Write::Stop((module, ..)) => {
            let (_, healthy) = sim.world.of_module(module);
            let fell = healthy < fewest && healthy < before.1;
            fell.then(|| format!("{healthy} healthy instances of {module}, at least {fewest} were promised"))
        }
        Write::Route(..) | Write::Hook(_) => None,
    };
    if let Some(text) = text {
        sim.violate("rolling", Harm::Wrong, text);
    }
}
