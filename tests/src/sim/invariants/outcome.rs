//! In the end exactly the last good release runs: all of it, with all of the traffic, and nothing of any other.

use model::Verdict;

use crate::sim::{Harm, Simulation};

pub(super) fn check(sim: &mut Simulation) {
    if sim.verdicts().contains(&Some(Verdict::NeedsHuman)) {
        return;
    }
    let promoted = sim.scenario.releases.iter().rev().zip(sim.verdicts().into_iter().rev());
    let last = promoted
        .into_iter()
        .find(|(_, verdict)| *verdict == Some(Verdict::Promoted))
        .map(|(release, _)| release);
    let should = last.map(|release| release.spec.clone()).or_else(|| sim.scenario.baseline.clone());
    if should != sim.truth.target.snapshot.as_ref().map(|snapshot| snapshot.spec.clone()) {
        sim.violate("outcome", Harm::Wrong, "the snapshot is not the last release that was promoted");
    }
    if let Some(text) = should.as_ref().and_then(|spec| sim.complaint(spec)) {
        sim.violate("outcome", Harm::Wrong, text);
    }
    let kept = |module: &model::Token| should.as_ref().and_then(|spec| spec.module(module));
    let stray = sim.world.instances.keys().find(|(module, revision, _)| {
        kept(module).map(|module| module.revision()).as_ref() != Some(revision)
    });
    if let Some((module, revision, slot)) = stray {
        let text = format!("{module} {revision} #{slot} still runs");
        sim.violate("outcome", Harm::Wrong, text);
    }
    let routed = sim.world.routes.iter().find(|(module, route)| {
        !route.weights.0.is_empty() && kept(module).is_none_or(|module| module.expose.is_none())
    });
    if let Some((module, route)) = routed {
        let text = format!("traffic of {module} still goes to {}", route.weights);
        sim.violate("outcome", Harm::Wrong, text);
    }
}
