//! Is there enough of it, also while it moves?

use model::{
    Severity,
    expert::{Advice, Topic, Weight},
    spec::{Module, Strategy},
};

use super::{Said, Sight};

pub(super) fn judge(sight: &Sight, said: &mut Said) {
    for (module, before, _) in sight.moving() {
        limits(module, before, sight, said);
        numbers(module, before, said);
        moving(module, sight, said);
    }
    for review in sight.reviews.iter().filter(|review| review.agent == "architect") {
        for finding in &review.findings {
            let weight = if finding.severity >= Severity::High { Weight::Major } else { Weight::Minor };
            said.find_if(finding.severity >= Severity::Medium, Topic::Capacity, weight, "findings", || {
                format!("{}: {}", finding.rule, finding.message)
            });
        }
    }
    let shrinks = said.findings.iter().any(|finding| finding.severity >= Weight::Major);
    if shrinks {
        // Traffic has to prove that what is left carries it.
        (said.strategy, said.canary, said.bake_minutes) = (Some(Advice::Canary), vec![5, 25, 50, 100], 15);
    }
}

fn limits(module: &Module, before: Option<&Module>, sight: &Sight, said: &mut Said) {
    let name = &module.name;
    let (cpu, memory) = (module.resources.cpu_millis(), module.resources.memory_bytes());
    said.find_if(memory.is_none(), Topic::Capacity, sight.weighty(), "spec", || {
        format!("the memory of {name} is not limited: one leak takes its neighbours with it")
    });
    said.find_if(cpu.is_none(), Topic::Capacity, Weight::Minor, "spec", || {
        format!("the processor share of {name} is not limited")
    });
    let less = |now: Option<u64>, then: Option<u64>| {
        now.zip(then).filter(|(now, then)| *now * 10 < *then * 7).map(|(now, then)| (then - now) * 100 / then)
    };
    let memory = less(memory, before.and_then(|before| before.resources.memory_bytes()));
    said.find_if(memory.is_some(), Topic::Capacity, Weight::Major, "baseline", || {
        format!("each instance of {name} gets {} % less memory than before", memory.unwrap_or(0))
    });
    let cpu = less(cpu, before.and_then(|before| before.resources.cpu_millis()));
    said.find_if(cpu.is_some(), Topic::Capacity, Weight::Major, "baseline", || {
        format!("each instance of {name} gets {} % less processor than before", cpu.unwrap_or(0))
    });
}

fn numbers(module: &Module, before: Option<&Module>, said: &mut Said) {
    let Some(before) = before else { return };
    let (now, then) = (module.replicas, before.replicas);
    let halved = now * 2 <= then;
    said.find_if(halved, Topic::Capacity, Weight::Major, "baseline", || {
        format!("{} goes from {then} to {now} instances in the same step as its change", module.name)
    });
    said.find_if(now < then && !halved, Topic::Capacity, Weight::Minor, "baseline", || {
        format!("{} goes from {then} to {now} instances", module.name)
    });
}

/// What is left while a rolling update is under way.
fn moving(module: &Module, sight: &Sight, said: &mut Said) {
    let Strategy::Rolling(rolling) = sight.spec.strategy_of(module) else { return };
    let (away, all, name) = (rolling.max_unavailable, module.replicas, &module.name);
    said.find_if(all > 0 && away >= all, Topic::Capacity, Weight::Blocking, "plan", || {
        format!("the update of {name} may stop all {all} instances at once")
    });
    said.find_if(away < all && away * 2 >= all && away > 0, Topic::Capacity, Weight::Major, "plan", || {
        format!("the update of {name} may stop {away} of {all} instances at once")
    });
}
