//! What does it take more than before?

use model::{
    expert::{Topic, Weight},
    spec::{DeploymentSpec, Module, Strategy},
};

use super::{Said, Sight};

/// Growth in percent from which on it is worth a remark, and from which on someone should have decided on it.
const REMARK: u64 = 25;
const DECIDE: u64 = 100;
/// A second full set that stands longer than this costs more than it protects.
const LONG_HOLD_SECONDS: u64 = 30 * 60;

pub(super) fn judge(sight: &Sight, said: &mut Said) {
    if let Some(before) = &sight.baseline {
        growth("processor", total(before, cpu), total(&sight.spec, cpu), said);
        growth("memory", total(before, memory), total(&sight.spec, memory), said);
        growth("instances", total(before, |_| Some(1)), total(&sight.spec, |_| Some(1)), said);
    } else {
        let (cores, bytes) = (total(&sight.spec, cpu), total(&sight.spec, memory));
        said.find_if(true, Topic::Other, Weight::Info, "spec", || {
            format!("it asks for {} and {}", cores_in_words(cores), memory_in_words(bytes))
        });
    }
    for (module, before, _) in sight.moving() {
        let Strategy::BlueGreen(both) = sight.spec.strategy_of(module) else { continue };
        let hold = both.hold.0.as_secs();
        said.find_if(
            before.is_some() && hold > LONG_HOLD_SECONDS,
            Topic::Other,
            Weight::Minor,
            "plan",
            || format!("both full sets of {} stand for {} after the switch", module.name, both.hold),
        );
    }
}

fn growth(what: &str, before: Option<u64>, now: Option<u64>, said: &mut Said) {
    let Some((before, now)) = before.zip(now).filter(|(before, _)| *before > 0) else { return };
    let percent = now.saturating_sub(before) * 100 / before;
    let weight = if percent >= DECIDE { Weight::Major } else { Weight::Minor };
    said.find_if(percent >= REMARK, Topic::Other, weight, "baseline", || {
        format!("it asks for {percent} % more {what} than what runs now")
    });
}

/// Over all instances; none when an amount is not stated.
fn total(spec: &DeploymentSpec, of: impl Fn(&Module) -> Option<u64>) -> Option<u64> {
    spec.modules.iter().map(|module| Some(of(module)? * u64::from(module.replicas))).sum()
}

fn cpu(module: &Module) -> Option<u64> {
    module.resources.cpu_millis()
}

fn memory(module: &Module) -> Option<u64> {
    module.resources.memory_bytes()
}

fn cores_in_words(millis: Option<u64>) -> String {
    millis.map_or("an unstated share of the processors".to_owned(), |millis| {
        format!("{} cores", model::number(millis as f64 / 1000.0))
    })
}

fn memory_in_words(bytes: Option<u64>) -> String {
    bytes.map_or("an unstated amount of memory".to_owned(), |bytes| format!("{} MiB of memory", bytes >> 20))
}
