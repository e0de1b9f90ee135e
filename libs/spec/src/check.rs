//! The rules that go beyond types. Each complaint names the field, the value that stands there and a cure.

mod analysis;
mod network;
mod placeholders;
mod release;
mod resources;
mod strategy;
mod texts;
mod workload;

pub(crate) use placeholders::warnings;
pub(crate) use texts::{is_host_name, is_loose_variable};

use std::time::Duration;

use model::{DeploymentSpec, Span, fault::Complaint, limits, spec::Module};

use crate::document::{Objection, Path};

/// How to cure a number of replicas.
pub(crate) const REPLICAS_CURE: &str = "a module runs 1 to 1000 replicas; to stop it, remove the module";

/// Longest span anywhere in a spec.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Everything that is wrong with a spec although its types are right; empty when it is valid. Lines and columns are 0,
/// for a value knows no source text: [`crate::read()`] adds them. Pure: whether a waiver has expired is for whoever
/// has a clock to say.
pub fn check(spec: &DeploymentSpec) -> Vec<Complaint> {
    objections(spec).into_iter().map(Objection::unplaced).collect()
}

pub(crate) fn objections(spec: &DeploymentSpec) -> Vec<Objection> {
    let mut found = Found::default();
    let root = Path::default();
    release::check(spec, &root, &mut found);
    for (index, module) in spec.modules.iter().enumerate().take(limits::MODULES) {
        check_module(spec, module, &root.field("modules").index(index), &mut found);
    }
    found.0
}

fn check_module(spec: &DeploymentSpec, module: &Module, path: &Path, found: &mut Found) {
    workload::check(spec, module, path, found);
    resources::check(spec, module, path, found);
    network::check(spec, module, path, found);
    placeholders::check(module, path, found);
    if let Some(strategy) = &module.strategy {
        strategy::check(strategy, &path.field("strategy"), found);
    }
    if let Some(analysis) = &module.analysis {
        analysis::check(analysis, &path.field("analysis"), found);
    }
}

/// The objections so far.
#[derive(Default)]
struct Found(Vec<Objection>);

impl Found {
    fn add(&mut self, path: Path, message: impl Into<String>, cure: impl Into<String>) {
        self.0.push(Objection { path, key: false, message: message.into(), cure: cure.into() });
    }

    /// About a key rather than its value.
    fn add_key(&mut self, path: Path, message: impl Into<String>, cure: impl Into<String>) {
        self.0.push(Objection { path, key: true, message: message.into(), cure: cure.into() });
    }

    /// Every text that stands twice is named at its second place.
    fn unique<T: Eq + std::hash::Hash>(
        &mut self,
        items: impl Iterator<Item = (Path, T)>,
        message: impl Fn(&T) -> String,
        cure: &str,
    ) {
        let mut seen = std::collections::HashSet::new();
        for (path, item) in items {
            if seen.contains(&item) {
                self.add(path, message(&item), cure);
            } else {
                seen.insert(item);
            }
        }
    }

    /// A span that must be more than nothing and at most a day.
    fn span(&mut self, path: Path, span: Span) {
        if span.0.is_zero() || span.0 > DAY {
            self.add(path, format!("{span} is out of range"), "it may be more than 0 s and at most 24h");
        }
    }

    /// A span that may be nothing but at most a day.
    fn span_or_none(&mut self, path: Path, span: Span) {
        if span.0 > DAY {
            self.add(path, format!("{span} is out of range"), "it may be at most 24h");
        }
    }
}
