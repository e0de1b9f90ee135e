//! Whatever dies, comes twice or comes late: every deployment ends as it would have ended undisturbed.

use crate::sim::{Harm, Simulation};

pub(super) fn check(sim: &mut Simulation) {
    let (found, expected) = (sim.verdicts(), sim.scenario.ends.clone());
    for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
        if *found != Some(*expected) {
            let id = &sim.scenario.releases[place].id;
            let cause = sim
                .truth
                .deployments
                .get(id)
                .and_then(|state| state.ending.cause.as_ref().map(|cause| cause.text.clone()));
            let text = format!(
                "release {place} ended {found:?}, undisturbed it ends {expected}: {}",
                cause.unwrap_or_default()
            );
            sim.violate("verdict", Harm::Wrong, text);
        }
    }
}
