//! Whether a document is about what the plan asked for.

use std::fmt::Debug;

use model::{DeploymentSpec, Step, StepKind, spec::Module, step::Agent};

use crate::{
    analysis,
    document::{Document, Measurements},
    verdict::Difference,
};

/// Differences as they are found.
#[derive(Default)]
struct Found(Vec<Difference>);

impl Found {
    fn same<T: PartialEq + Debug>(&mut self, field: &str, found: &T, asked: &T) {
        if found != asked {
            self.say(field, &format!("is {found:?}, asked for is {asked:?}"));
        }
    }

    fn say(&mut self, field: &str, text: &str) {
        self.0.push(Difference::new(format!("measured.{field}"), text));
    }
}

impl Document {
    /// Where what was measured is not what the step of the plan asks for. What no plan says, such as the shares before, is
    /// not compared.
    pub fn strays(&self, step: &Step, spec: &DeploymentSpec) -> Vec<Difference> {
        let mut found = Found::default();
        match (&self.measured, &step.kind) {
            (Measurements::Smoke(it), StepKind::Smoke { module, revision }) => {
                found.same("module", &it.module, module);
                found.same("revision", &it.revision, revision);
                let made = |it: &&Module| it.revision() == *revision;
                if let Some(made) = spec.module(module).filter(made)
                    && !made.smoke.contains(&it.test)
                {
                    found.say("test", "is none of the module's");
                }
            }
            (Measurements::Traffic(it), StepKind::SetWeight { module, weights, .. }) => {
                found.same("module", &it.module, module);
                found.same("weights", &it.weights, weights);
            }
            (
                Measurements::Analysis(it),
                StepKind::Analyse { module, revision, baseline, analysis: asked, .. },
            ) => {
                found.same("module", &it.module, module);
                found.same("revision", &it.revision, revision);
                found.same("baseline", &it.baseline, baseline);
                match asked.metrics.iter().find(|metric| metric.name == self.gate) {
                    None => found.say("metric", &format!("{} is none of the analysis", self.gate)),
                    Some(metric) => {
                        found.same("metric", &it.metric, metric);
                        found.same("confidence", &it.confidence, &analysis::confidence(metric));
                    }
                }
            }
            (Measurements::Regression(it), StepKind::Validate) if step.agent == Agent::Performance => {
                match spec.module(&it.module) {
                    None => found.say("module", "is none of the release"),
                    Some(module) => found.same("now.revision", &it.now.revision, &module.revision()),
                }
            }
            (Measurements::Soak(it), StepKind::Validate) if step.agent == Agent::Guardian => {
                found.same("module", &it.module, &None);
                found.same("window", &it.window, &spec.soak_time());
            }
            (Measurements::Soak(it), StepKind::Guard { module, .. }) => {
                found.same("module", &it.module, &Some(module.clone()));
            }
            _ => found.0.push(Difference::new(
                "measured",
                format!("is nothing that the step measures, which is to {}", step.describe()),
            )),
        }
        found.0
    }
}
