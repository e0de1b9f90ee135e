//! W1: a revision never gets a share that its healthy instances cannot carry. W2: none with zero healthy instances. W3:
//! instances are taken away only from a share they are not needed for. In a rolling batch shares follow the healthy
//! instances; on the way back one healthy instance is enough, because every request is better off there.

use model::{Token, plan::Revision, step::Stage};

use crate::sim::{
    Harm, Simulation,
    world::{Effect, Line, Write},
};

pub(super) fn check(sim: &mut Simulation, line: &Line) {
    if line.effect != Effect::Took {
        return;
    }
    let complaint = match &line.write {
        Write::Route(module, weights, _) => {
            if !weights.is_valid() {
                Some(format!("shares of {module} do not sum to 100: {weights}"))
            } else {
                weights.0.iter().find_map(|(revision, share)| overload(sim, line, module, revision, *share))
            }
        }
        Write::Stop((module, revision, _)) => {
            overload(sim, line, module, revision, sim.world.route(module).weights.of(revision))
        }
        Write::Start(_) | Write::Hook(_) => None,
    };
    if let Some(text) = complaint {
        sim.violate("weight", Harm::Wrong, format!("{}: {text}", line.author.step));
    }
}

fn overload(sim: &Simulation, line: &Line, module: &Token, revision: &Revision, share: u8) -> Option<String> {
    let healthy = sim.world.healthy(module, revision);
    if share == 0 {
        return None;
    }
    let carried = if line.author.rolling.is_some() {
        // Shares are whole percents; traffic leaves an old instance before it ends.
        let (_, all) = sim.world.of_module(module);
        healthy > 0 && u32::from(share) <= (100 * healthy).div_ceil(all.saturating_sub(1).max(1)) + 1
    } else if line.author.stage == Stage::Rollback && matches!(line.write, Write::Route(..)) {
        healthy > 0
    } else {
        healthy > 0 && healthy >= sim.world.needed(module, revision, share)
    };
    (!carried).then(|| format!("{healthy} healthy instances of {module} {revision} carry {share} %"))
}
