//! Every deployment ends within its time, without a person beyond those in the story. That no timer is due without
//! anything following from it is checked where timers are set.

use crate::sim::{Harm, Simulation};

pub(super) fn check(sim: &mut Simulation) {
    if sim.is_over() {
        return;
    }
    let stands: Vec<String> = sim
        .scenario
        .releases
        .iter()
        .map(|release| match sim.truth.deployments.get(&release.id) {
            Some(state) => {
                let open: Vec<&str> = state
                    .all_steps()
                    .map(|step| &step.id)
                    .filter(|id| state.state_of(id).is_open())
                    .map(|id| id.as_str())
                    .collect();
                format!("{} is {} with open steps [{}]", release.id, state.phase, open.join(" "))
            }
            None => format!("{} was never asked for", release.id),
        })
        .collect();
    let text = format!("{}; the lock: {:?}", stands.join(", "), sim.truth.target.holder);
    sim.violate("progress", Harm::Stuck, text);
}
