//! 9: watches. Its background analyses are in [`crate::analysis`]; here is a short soak before the promotion, and the
//! alert rules that go on watching when the deployment is over.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use model::{
    DeploymentSpec, Outcome, Severity,
    deployment::StepJob,
    spec::{Analysis, CanaryStep, Metric, Module, Provider, Strategy},
    step::{Agent, StepResult},
};
use platform::{Instance, State};

use super::{finding, judged};
use crate::{context::Ctx, error::Result};

/// How long nothing may end or start again.
const SOAK: Duration = Duration::from_secs(1);

/// Soaks, and keeps the alert rules as evidence.
pub async fn validate(job: &StepJob, ctx: &Ctx) -> Result<StepResult> {
    let target = job.spec.target_id();
    let platform = ctx.platform(&target.platform)?;
    let restarts = |instances: &[Instance]| -> BTreeMap<String, u32> {
        instances.iter().map(|instance| (instance.id.clone(), instance.restarts)).collect()
    };
    let before = restarts(&platform.observe(&target).await?);
    tokio::time::sleep(SOAK).await;
    let mut findings = Vec::new();
    for instance in platform.observe(&target).await? {
        let ours =
            job.spec.module(&instance.module).is_some_and(|module| module.revision() == instance.revision);
        let again = before.get(&instance.id).is_some_and(|restarts| *restarts < instance.restarts);
        if ours && (again || matches!(instance.state, State::Exited { .. })) {
            let text = format!("instance {} ended while nothing was changed", instance.id);
            findings.push(finding("guardian/restart", Severity::High, Some(&instance.module), text));
        }
    }
    let rules = alert_rules(&job.spec);
    let evidence = ctx.store.keep(rules.as_bytes()).await?;
    let mut result = judged(Agent::Guardian, findings);
    if result.outcome == Outcome::Succeeded {
        let count = rules.matches("\n      - alert: ").count();
        result.reason =
            format!("nothing ended within {} s; {count} alert rules kept as evidence", SOAK.as_secs());
    }
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
mod tests {
    use super::*;

    #[test]
    fn every_limit_of_the_spec_becomes_a_rule() {
        let spec: DeploymentSpec = serde_json::from_str(
            r#"{"apiVersion":"code/v1","name":"shop","target":"process","modules":[
                {"name":"web","run":{"command":["a"]},"expose":{"listen":8080},"analysis":{"metrics":[
                    {"name":"errors","provider":{"errorRate":{}},"success":"< 0.05"},
                    {"name":"slow","provider":{"latency":0.99},"failure":"> 250"}]}},
                {"name":"api","run":{"command":["a"]},"expose":{"listen":8081}},
                {"name":"job","run":{"command":["a"]}}]}"#,
        )
        .unwrap();

        let text = alert_rules(&spec);

        let alerts: Vec<&str> =
            text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
        assert_eq!(alerts, [r#""shop web errors""#, r#""shop web slow""#, r#""shop api error-rate""#]);
        assert!(text.contains(">= 0.05"), "{text}");
        assert!(text.contains("histogram_quantile(0.99"), "{text}");
    }
}
