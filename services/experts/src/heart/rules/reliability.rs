//! Does it stay up while it moves, and would anyone notice if it did not?

use model::{
    expert::{Advice, Topic, Weight},
    plan::Change,
    spec::{CanaryStep, Module, Strategy},
};

use super::{Said, Sight};

/// A first share above this shows a fault to too many.
const FIRST_SHARE: u8 = 25;
/// More modules that change at once make it hard to tell which one is at fault.
const AT_ONCE: usize = 5;

pub(super) fn judge(sight: &Sight, said: &mut Said) {
    for (module, before, change) in sight.moving() {
        let name = &module.name;
        let strategy = sight.spec.strategy_of(module);
        let exposed = module.expose.is_some();
        let updates = before.is_some() && change.change == Change::Update;
        said.find_if(exposed && module.health.is_none(), Topic::Slo, Weight::Major, "spec", || {
            format!("{name} takes traffic and has no health check, so a sick instance keeps getting requests")
        });
        said.find_if(exposed && module.replicas == 1, Topic::Slo, sight.weighty(), "spec", || {
            format!("{name} takes traffic with one instance: any restart of it is an outage")
        });
        said.find_if(
            exposed && updates && matches!(strategy, Strategy::Recreate {}),
            Topic::Slo,
            Weight::Major,
            "plan",
            || format!("{name} takes traffic and is recreated: nobody is served between stop and start"),
        );
        let judged = is_judged(module, strategy);
        said.find_if(exposed && updates && !judged, Topic::Observability, sight.weighty(), "spec", || {
            format!("no measurement judges the new revision of {name} before it is promoted")
        });
        said.find_if(exposed && module.smoke.is_empty(), Topic::Observability, Weight::Minor, "spec", || {
            format!("{name} has no smoke request: its first real request is its first test")
        });
        let first = first_share(strategy).filter(|_| updates);
        said.find_if(
            first.is_some_and(|share| share > FIRST_SHARE),
            Topic::Slo,
            Weight::Minor,
            "spec",
            || {
                format!(
                    "the first canary step of {name} already takes {} % of its traffic",
                    first.unwrap_or(0)
                )
            },
        );
    }
    let updated = sight.plan.changes.iter().filter(|change| change.change == Change::Update).count();
    said.find_if(updated >= AT_ONCE, Topic::Dependency, Weight::Minor, "plan", || {
        format!("{updated} modules change at once: if it gets worse, it will be hard to tell why")
    });
    recommend(sight, said);
}

fn is_judged(module: &Module, strategy: &Strategy) -> bool {
    module.analysis.is_some()
        || match strategy {
            Strategy::Canary(canary) => {
                canary.steps.iter().any(|step| matches!(step, CanaryStep::Analysis(_)))
            }
            Strategy::BlueGreen(both) => both.pre_promotion.is_some() || both.post_promotion.is_some(),
            Strategy::Rolling(_) | Strategy::Recreate {} => false,
        }
}

fn first_share(strategy: &Strategy) -> Option<u8> {
    let Strategy::Canary(canary) = strategy else { return None };
    canary.steps.iter().find_map(|step| match step {
        CanaryStep::SetWeight(share) if *share > 0 => Some(*share),
        _ => None,
    })
}

/// A canary where traffic can be split, else instance by instance.
fn recommend(sight: &Sight, said: &mut Said) {
    let routed = sight.moving().any(|(module, before, _)| module.expose.is_some() && before.is_some());
    if routed {
        said.strategy = Some(Advice::Canary);
        said.ranking = vec![Advice::Canary, Advice::BlueGreen, Advice::Rolling, Advice::Recreate];
        said.canary = if sight.is_production() { vec![5, 25, 50, 100] } else { vec![10, 50, 100] };
        said.bake_minutes = if sight.is_production() { 10 } else { 2 };
    } else {
        said.strategy = Some(Advice::Rolling);
        said.ranking = vec![Advice::Rolling, Advice::BlueGreen, Advice::Canary, Advice::Recreate];
    }
}
