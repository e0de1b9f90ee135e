//! 9: watches. Its background analyses are in [`crate::analysis`]; here are the guard of a trial, the soak before the
//! promotion, and the alert rules that go on watching when the deployment is over.

mod guard;
mod soak;

use std::{fmt::Write as _, time::Duration};

use model::{
    DeploymentSpec, Outcome,
    deployment::StepJob,
    spec::{Analysis, CanaryStep, Metric, Module, Provider, Strategy},
    step::{Agent, StepResult},
};

pub use guard::guard;

use super::judged;
use crate::{context::Ctx, error::Result};

/// Soaks, and keeps the alert rules as evidence.
pub async fn validate(job: &StepJob, ctx: &Ctx) -> Result<StepResult> {
    let window = job.spec.soak_time();
    let soak = soak::watch(job, ctx, window.0).await?;
    let rules = alert_rules(&job.spec);
    let evidence = ctx.store.keep(rules.as_bytes()).await?;
    let mut result = judged(Agent::Guardian, soak.findings(job));
    if result.outcome == Outcome::Succeeded {
        let count = rules.matches("\n      - alert: ").count();
        let instances = soak.count();
        result.reason =
            format!("{instances} stayed well over {window}; {count} alert rules kept as evidence");
    }
    result.gates = vec![soak.gate("soak", job, ctx, window.0).await?];
    result.evidence = Some(evidence);
    Ok(result)
}

/// Prometheus alert rules from the limits in the spec, over the data plane's own metrics. A module without limits gets
/// one rule for its errors.
pub fn alert_rules(spec: &DeploymentSpec) -> String {
    let mut text = format!("groups:\n  - name: code-{}-{}\n    rules:\n", spec.environment, spec.name);
    for module in spec.modules.iter().filter(|module| module.expose.is_some()) {
        let analyses = analyses(spec, module);
        let metrics: Vec<&Metric> = analyses.iter().flat_map(|analysis| &analysis.metrics).collect();
        let mut known: Vec<&str> = Vec::new();
        let mut rules = 0;
        for metric in metrics {
            if known.contains(&metric.name.as_str()) {
                continue;
            }
            known.push(&metric.name);
            if let Some(bad) = alarm(spec, module, metric) {
                rule(
                    &mut text,
                    spec,
                    module,
                    &metric.name,
                    &bad,
                    metric.interval.0.max(Duration::from_secs(60)),
                );
                rules += 1;
            }
        }
        if rules == 0 {
            let bad = format!("{} > 0.05", error_rate(spec, module));
            rule(&mut text, spec, module, "error-rate", &bad, Duration::from_secs(60));
        }
    }
    text
}

fn analyses<'a>(spec: &'a DeploymentSpec, module: &'a Module) -> Vec<&'a Analysis> {
    let mut all: Vec<&Analysis> = module.analysis.iter().collect();
    match spec.strategy_of(module) {
        Strategy::Canary(canary) => all.extend(canary.steps.iter().filter_map(|step| match step {
            CanaryStep::Analysis(analysis) => Some(analysis),
            CanaryStep::SetWeight(_) | CanaryStep::Pause { .. } => None,
        })),
        Strategy::BlueGreen(blue_green) => {
            all.extend(blue_green.pre_promotion.iter().chain(&blue_green.post_promotion))
        }
        Strategy::Rolling(_) | Strategy::Recreate {} => {}
    }
    all
}

fn selector(spec: &DeploymentSpec, module: &Module) -> String {
    format!("{{target=\"{}\",module=\"{}\"}}", spec.target_id(), module.name)
}

fn error_rate(spec: &DeploymentSpec, module: &Module) -> String {
    let of = selector(spec, module);
    format!("sum(rate(code_traffic_errors_total{of}[5m])) / sum(rate(code_traffic_requests_total{of}[5m]))")
}

/// The expression that is true when the metric is bad; none for what cannot be asked of Prometheus.
fn alarm(spec: &DeploymentSpec, module: &Module, metric: &Metric) -> Option<String> {
    let of = selector(spec, module);
    let value = match &metric.provider {
        Provider::ErrorRate {} => error_rate(spec, module),
        Provider::Latency(quantile) => {
            format!(
                "1000 * histogram_quantile({quantile}, sum by (le) (rate(code_traffic_request_seconds_bucket{of}[5m])))"
            )
        }
        Provider::RequestRate {} => format!("sum(rate(code_traffic_requests_total{of}[5m]))"),
        Provider::Prometheus { query, .. } => format!("({query})"),
        Provider::Http { .. } => return None,
    };
    let (condition, negate) = match (&metric.failure, &metric.success) {
        (Some(failure), _) => (failure, false),
        (None, Some(success)) => (success, true),
        (None, None) => return None,
    };
    let condition: stats::Condition = condition.parse().ok()?;
    Some(match (condition, negate) {
        (stats::Condition::Within(low, high), true) => format!("({value}) < {low} or ({value}) > {high}"),
        (stats::Condition::Within(low, high), false) => format!("({value}) >= {low} and ({value}) <= {high}"),
        (condition, false) => format!("({value}) {condition}"),
        (stats::Condition::Less(limit), true) => format!("({value}) >= {limit}"),
        (stats::Condition::AtMost(limit), true) => format!("({value}) > {limit}"),
        (stats::Condition::Greater(limit), true) => format!("({value}) <= {limit}"),
        (stats::Condition::AtLeast(limit), true) => format!("({value}) < {limit}"),
        (stats::Condition::Equal(limit), true) => format!("({value}) != {limit}"),
    })
}

fn rule(
    text: &mut String,
    spec: &DeploymentSpec,
    module: &Module,
    name: &str,
    expression: &str,
    hold: Duration,
) {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    // Writing to a text cannot fail.
    let _ = writeln!(
        text,
        "      - alert: {}\n        expr: {}\n        for: {}s\n        labels: {{severity: page, target: {}, module: {}}}\n        annotations: {{summary: {}}}",
        quoted(&format!("{} {} {name}", spec.name, module.name)),
        quoted(expression),
        hold.as_secs(),
        quoted(&spec.target_id().to_string()),
        quoted(module.name.as_str()),
        quoted(&format!("{name} of {} is beyond the limit of its release", module.name)),
    );
}

#[cfg(test)]
mod tests;
