//! What the gates of a step must show, recomputed from the plan and the spec: which gates there are, their limits, and
//! whether the measured value keeps within them.

use model::{
    DeploymentSpec, Outcome, Step, StepKind, Token,
    plan::Revision,
    route::Weights,
    spec::{Metric, NoData, Provider, Smoke},
    step::Agent,
};
use stats::Condition;

use super::{Gap, gap};
use crate::deployment::Gate;

/// The gate of a step that counts what arrives.
const SHARE: &str = "traffic-share";
/// The gate of the guardian, which looks at what runs for a while before the promotion.
const SOAK: &str = "soak";

/// The gates of the last attempt of one step, each with its place in the predicate.
pub(super) struct Judged<'a> {
    pub(super) step: &'a Step,
    pub(super) gates: Vec<(usize, &'a Gate)>,
}

/// What is wrong with a gate, and at which of its fields.
type Wrong = (&'static str, String);

impl Judged<'_> {
    /// What is missing or does not hold.
    pub(super) fn gaps(&self, spec: &DeploymentSpec, gaps: &mut Vec<Gap>) {
        match &self.step.kind {
            StepKind::SetWeight { verify: true, weights, .. } if !weights.0.is_empty() => {
                self.names(&[SHARE.to_owned()], gaps);
                self.each(gaps, |_, gate| share(gate, weights));
            }
            StepKind::Smoke { module, revision } => {
                let tests = smoke(spec, module, revision);
                if let Some(tests) = tests {
                    self.names(&tests.iter().map(Smoke::gate).collect::<Vec<_>>(), gaps);
                } else if self.gates.is_empty() {
                    self.nothing(gaps);
                }
                self.each(gaps, |place, gate| asked(gate, tests.and_then(|tests| tests.get(place))));
            }
            StepKind::Analyse { analysis, .. } => {
                let names: Vec<String> = analysis.metrics.iter().map(|metric| metric.name.clone()).collect();
                // What is only recorded may be missing.
                let needed: Vec<String> = analysis
                    .metrics
                    .iter()
                    .filter(|metric| !metric.dry_run)
                    .map(|metric| metric.name.clone())
                    .collect();
                self.needs(&needed, gaps);
                self.knows(&names, gaps);
                self.each(gaps, |_, gate| {
                    let metric = analysis.metrics.iter().find(|metric| metric.name == gate.gate);
                    metric.and_then(|metric| measured(gate, metric))
                });
            }
            StepKind::Validate if self.step.agent == Agent::Guardian => {
                self.names(&[SOAK.to_owned()], gaps);
                self.each(gaps, |_, gate| asked(gate, None));
            }
            StepKind::SetWeight { .. }
            | StepKind::Review
            | StepKind::Scale { .. }
            | StepKind::RollBatch { .. }
            | StepKind::Pause { .. }
            | StepKind::Hook { .. }
            | StepKind::Guard { .. }
            | StepKind::Validate
            | StepKind::Certify => self.each(gaps, |_, gate| {
                (gate.outcome == Outcome::Failed)
                    .then(|| ("outcome", "failed, and the step succeeded".to_owned()))
            }),
        }
    }

    fn each(&self, gaps: &mut Vec<Gap>, look: impl Fn(usize, &Gate) -> Option<Wrong>) {
        for (place, (at, gate)) in self.gates.iter().enumerate() {
            if let Some((field, text)) = look(place, gate) {
                gaps.push(gap(
                    format!("gates[{at}].{field}"),
                    format!("step {} gate {} {text}", self.step.id, gate.gate),
                ));
            }
        }
    }

    fn nothing(&self, gaps: &mut Vec<Gap>) {
        gaps.push(gap("gates", format!("step {} has no gate: nothing was measured", self.step.id)));
    }

    /// Exactly these gates, in this order.
    fn names(&self, names: &[String], gaps: &mut Vec<Gap>) {
        if self.gates.is_empty() && !names.is_empty() {
            return self.nothing(gaps);
        }
        for (place, name) in names.iter().enumerate() {
            match self.gates.get(place) {
                None => gaps.push(gap(
                    "gates",
                    format!("step {} has no gate {name}: nothing was measured", self.step.id),
                )),
                Some((at, gate)) if gate.gate != *name => gaps.push(gap(
                    format!("gates[{at}].gate"),
                    format!("step {} has the gate {}, where {name} is asked for", self.step.id, gate.gate),
                )),
                Some(_) => {}
            }
        }
        for (at, gate) in self.gates.iter().skip(names.len()) {
            gaps.push(gap(
                format!("gates[{at}].gate"),
                format!("step {} has the gate {}, which nothing asks for", self.step.id, gate.gate),
            ));
        }
    }

    fn needs(&self, names: &[String], gaps: &mut Vec<Gap>) {
        for name in names.iter().filter(|name| !self.gates.iter().any(|(_, gate)| gate.gate == **name)) {
            gaps.push(gap(
                "gates",
                format!("step {} has no gate {name}: nothing was measured", self.step.id),
            ));
        }
    }

    /// Nothing but these gates, each at most once.
    fn knows(&self, names: &[String], gaps: &mut Vec<Gap>) {
        for (place, (at, gate)) in self.gates.iter().enumerate() {
            let field = format!("gates[{at}].gate");
            if !names.contains(&gate.gate) {
                let text =
                    format!("step {} has the gate {}, which nothing asks for", self.step.id, gate.gate);
                gaps.push(gap(field, text));
            } else if self.gates.iter().take(place).any(|(_, before)| before.gate == gate.gate) {
                gaps.push(gap(field, format!("step {} has the gate {} twice", self.step.id, gate.gate)));
            }
        }
    }
}

/// The smoke tests of a module; none when the plan tests a revision that the spec does not describe.
fn smoke<'a>(spec: &'a DeploymentSpec, module: &Token, revision: &Revision) -> Option<&'a [Smoke]> {
    let module = spec.module(module).filter(|module| module.revision() == *revision)?;
    Some(&module.smoke)
}

/// What holds for every gate that has to be good and to have a value.
fn good(gate: &Gate, samples: u64) -> Result<f64, Wrong> {
    if gate.outcome != Outcome::Succeeded {
        return Err(("outcome", gate.outcome.to_string()));
    }
    let Some(measured) = gate.measured.filter(|value| value.is_finite()) else {
        return Err(("measured", "has no measured value".to_owned()));
    };
    if gate.samples < samples.max(1) {
        return Err(("samples", format!("rests on {} samples, {} are needed", gate.samples, samples.max(1))));
    }
    Ok(measured)
}

fn limit(gate: &Gate, expected: &str) -> Result<(), Wrong> {
    if gate.limit == expected {
        return Ok(());
    }
    Err(("limit", format!("was held against {:?}, asked for is {expected:?}", gate.limit)))
}

fn share(gate: &Gate, weights: &Weights) -> Option<Wrong> {
    let look = || {
        let measured = good(gate, 1)?;
        let shares = weights.0.values().copied().chain([0]);
        let Some(wanted) =
            shares.into_iter().find(|share| Weights::limit(*share, gate.samples) == gate.limit)
        else {
            let text = format!(
                "was held against {:?}, which is no share of the step among {} requests",
                gate.limit, gate.samples
            );
            return Err(("limit", text));
        };
        let off = (measured - f64::from(wanted)).abs();
        if !(0.0..=100.0).contains(&measured) || off > Weights::tolerance(wanted, gate.samples) {
            return Err(("measured", format!("measured {measured}, which is not within {}", gate.limit)));
        }
        Ok(())
    };
    look().err()
}

fn asked(gate: &Gate, test: Option<&Smoke>) -> Option<Wrong> {
    let look = || {
        let measured = good(gate, test.map_or(1, |test| test.times.into()))?;
        limit(gate, Smoke::LIMIT)?;
        if measured != 0.0 {
            return Err(("measured", format!("measured {measured} failures, which is not {}", gate.limit)));
        }
        Ok(())
    };
    look().err()
}

fn measured(gate: &Gate, metric: &Metric) -> Option<Wrong> {
    let look = || {
        limit(gate, &metric.limit())?;
        if metric.dry_run {
            return Ok(());
        }
        if gate.measured.is_none() && gate.outcome == Outcome::Succeeded && metric.no_data == NoData::Pass {
            return Ok(());
        }
        let counted = matches!(
            metric.provider,
            Provider::ErrorRate {} | Provider::Latency(_) | Provider::RequestRate {}
        );
        let measured = good(gate, if counted { metric.minimum_samples } else { 1 })?;
        let possible = match metric.provider {
            Provider::ErrorRate {} => (0.0..=1.0).contains(&measured),
            Provider::Latency(_) | Provider::RequestRate {} => measured >= 0.0,
            Provider::Http { .. } | Provider::Prometheus { .. } => true,
        };
        if !possible {
            return Err(("measured", format!("measured {measured}, which cannot be")));
        }
        if !tolerates(metric) && beyond(metric, measured)? {
            return Err(("measured", format!("measured {measured}, which is beyond {}", gate.limit)));
        }
        Ok(())
    };
    look().err()
}

/// Whether a metric may pass although its last measurement was beyond the limit.
pub(crate) fn tolerates(metric: &Metric) -> bool {
    metric.failure_limit > 0 || metric.inconclusive_limit > 0
}

/// Whether a value is not good by the fixed limits of the metric.
pub(crate) fn beyond(metric: &Metric, value: f64) -> Result<bool, Wrong> {
    let read = |text: &Option<String>| {
        let read = text.as_deref().map(str::parse::<Condition>).transpose();
        read.map_err(|error| ("limit", error.to_string()))
    };
    let (success, failure) = (read(&metric.success)?, read(&metric.failure)?);
    Ok(success.is_some_and(|good| !good.holds(value)) || failure.is_some_and(|bad| bad.holds(value)))
}
