//! What would be done.

use std::time::Duration;

use model::{
    Span, Step, StepKind,
    command::{PlanReply, ReviewReply},
    plan::{Change, ModuleChange},
    spec::{GateMode, Gates},
    step::Agent,
};

use crate::{
    cli::{Global, SpecFile},
    commands::{document, experts},
    connect::connect,
    failure::Failure,
    output::{self, paint, screen, steps},
};

/// Shorter waits are not worth a word.
const MOMENT: Duration = Duration::from_secs(1);
const NOTHING: &str = "nothing changes: what runs is what is asked for";
const REPAIRED: &str = "nothing new is asked for; what differs is put right";

async fn ask(global: &Global, file: &SpecFile) -> Result<PlanReply, Failure> {
    // Locally first: complaints with line and column need no engine.
    let document = document(&file.file)?;
    document.warn(&file.file);
    let document = document.text;
    let client = connect(global).await?;
    let asked = waiting(client.plan(document)).await;
    let reply = asked.map_err(|error| Failure::from(error).in_file(&file.file))?;
    output::know(&reply.versions);
    Ok(reply)
}

/// Says on a terminal that it waits, once that takes longer than a moment.
async fn waiting<T>(answer: impl Future<Output = T>) -> T {
    let mut canvas = screen::Canvas::default();
    let begun = tokio::time::Instant::now();
    let mut tick = tokio::time::interval_at(begun + MOMENT, MOMENT);
    tokio::pin!(answer);
    let answer = loop {
        tokio::select! {
            answer = &mut answer => break answer,
            _ = tick.tick(), if output::live() && !output::json() => {
                let seconds = begun.elapsed().as_secs();
                let line = format!("  agents check the plan, experts look at it … {seconds} s");
                draw(&mut canvas, &[paint::faint(line)]);
            }
        }
    };
    draw(&mut canvas, &[]);
    answer
}

fn draw(canvas: &mut screen::Canvas, lines: &[String]) {
    let (width, _) = screen::size().unwrap_or((80, 24));
    if let Some(text) = canvas.draw(lines, width) {
        output::raw(text);
    }
}

/// Shows differences, timeline, gates, findings, blast radius, way back and digest.
pub async fn plan(global: &Global, file: &SpecFile) -> Result<u8, Failure> {
    let reply = ask(global, file).await?;
    if output::json() {
        output::document(&reply);
        return Ok(0);
    }
    show(&reply);
    output::line(format!(
        "\napply exactly this:\n  codectl apply {}{} --watch --plan {}",
        file.file.display(),
        if reply.obstacles.iter().any(|obstacle| obstacle.contains("--force")) {
            " --force REASON"
        } else {
            ""
        },
        reply.digest
    ));
    Ok(0)
}

/// Whom the change waits for.
fn waits_for(gates: &Gates, signing: Option<&str>) {
    let experts = match gates.experts {
        GateMode::Off => None,
        GateMode::Advise => Some("advise: they are asked and recorded, and hold nothing back"),
        GateMode::Require => Some("require: without their approval it is rejected and nothing is touched"),
    };
    if experts.is_none() && gates.approvals.is_none() && signing.is_none() {
        return;
    }
    output::line(format!("\n{}", paint::strong("waits for")));
    if let Some(experts) = experts {
        output::line(format!("  experts    {experts}"));
    }
    if let Some(signing) = signing {
        return output::line(format!(
            "  approvals  signed, of exactly this plan: {signing}; not by who asks for it"
        ));
    }
    if let Some(rule) = &gates.approvals {
        let among = match rule.from.as_slice() {
            [] => "anyone but who asks for it".to_owned(),
            names => format!("{}, not who asks for it", names.join(", ")),
        };
        let people =
            if rule.required == 1 { "1 person has" } else { &format!("{} people have", rule.required) };
        output::line(format!(
            "  approvals  {people} to approve exactly this plan: {among} (unauthenticated)"
        ));
    }
}

/// Shows only what differs.
pub async fn diff(global: &Global, file: &SpecFile) -> Result<u8, Failure> {
    let reply = ask(global, file).await?;
    if output::json() {
        output::document(&reply.plan.changes);
    } else {
        reply.plan.changes.iter().for_each(change);
        standing(&reply);
    }
    Ok(0)
}

/// The plan for people.
pub fn show(reply: &PlanReply) {
    let plan = &reply.plan;
    output::line(format!("{} {}", paint::strong("plan for"), paint::strong(&plan.target)));
    plan.changes.iter().for_each(change);
    standing(reply);

    output::line(format!(
        "\n{}  {}",
        paint::strong("timeline"),
        paint::faint(format!("at least {} of pauses, analyses and soak", plan.at_least))
    ));
    timeline(&plan.steps, reply.soak);

    let (instances, moving) = blast_radius(reply);
    output::line(format!(
        "\n{}  {} of {} change; traffic moves only while gates hold",
        paint::strong("blast radius"),
        steps::counted(instances as usize, "instance"),
        steps::counted(moving, "module")
    ));
    output::line(paint::strong("way back"));
    for step in &reply.way_back {
        output::line(format!("  {step}"));
    }
    waits_for(&reply.gates, reply.signing.as_deref());
    if !reply.reviews.is_empty() {
        output::line(format!("\n{}", paint::strong("checks")));
        reply.reviews.iter().flat_map(checked).for_each(output::line);
    }
    if let Some(advice) = &reply.advice {
        experts::advice(advice);
    }
    for obstacle in &reply.obstacles {
        output::line(format!("{} {obstacle}", paint::warn("obstacle:")));
    }
    output::line(format!("\n{} {}", paint::strong("digest"), reply.digest));
}

/// What an agent says of the plan: how it came out, then what it found.
fn checked(review: &ReviewReply) -> Vec<String> {
    let sign = if review.passed { paint::good("✓") } else { paint::bad("✗") };
    let mut lines = vec![format!("  {sign} {}: {}", review.agent, review.summary)];
    for (finding, text) in review.findings.iter().zip(steps::told_apart(&review.findings)) {
        let waived = finding.waived.as_ref().map(|why| paint::faint(format!(" (waived: {why})")));
        let (severity, waived) = (paint::severity(finding.severity), waived.unwrap_or_default());
        lines.push(format!("      {severity} {} {text}{waived}", finding.rule));
        if !finding.cure.is_empty() {
            lines.push(format!("        {}", paint::faint(&finding.cure)));
        }
    }
    lines
}

/// What runs and is not as it was promoted, and whether anything is to be done.
fn standing(reply: &PlanReply) {
    for drift in &reply.drifts {
        output::line(format!("{} {} is not as promoted: {}", paint::warn("~"), drift.module, drift.text));
    }
    if reply.plan.is_no_op() {
        output::line(if reply.drifts.is_empty() { paint::good(NOTHING) } else { paint::warn(REPAIRED) });
    }
}

/// Waves by number, steps of one wave below each other, what is judged below its step.
fn timeline(steps: &[Step], soak: Span) {
    let widest = steps.iter().map(|step| screen::visible(&step.describe())).max().unwrap_or_default().min(60);
    let (mut wave, mut stage) = (None, None);
    for step in steps {
        if stage != Some(step.stage) {
            output::line(format!("  {}", paint::faint(format!("{:?}", step.stage).to_lowercase())));
        }
        let number = if wave == Some(step.wave) { String::new() } else { (step.wave + 1).to_string() };
        (wave, stage) = (Some(step.wave), Some(step.stage));
        let within = paint::faint(format!("≤ {:<6} {}", step.deadline.to_string(), step.agent));
        let end = if step.irreversible { paint::bad("  no way back after this") } else { String::new() };
        output::line(format!("  {number:>4}  {}  {within}{end}", screen::pad(&step.describe(), widest)));
        if step.agent == Agent::Guardian && step.kind == StepKind::Validate {
            output::line(format!("          {} for {soak} nothing is changed", paint::faint("soak:")));
        }
        if let StepKind::Analyse { analysis, .. } = &step.kind {
            output::line(format!("          {} {}", paint::faint("gate:"), gates(analysis)));
            for needed in needed(analysis) {
                output::line(format!("                {}", paint::faint(needed)));
            }
        }
    }
}

fn gates(analysis: &model::spec::Analysis) -> String {
    let gates =
        analysis.metrics.iter().map(|metric| match (&metric.success, &metric.failure, &metric.baseline) {
            (Some(success), ..) => format!("{} {success}", metric.name),
            (None, Some(failure), _) => format!("{} not {failure}", metric.name),
            _ => format!("{} against the old release", metric.name),
        });
    format!("{} over {}", gates.collect::<Vec<_>>().join(", "), analysis.duration)
}

/// How many requests the fixed limits need: with fewer nobody knows, and the analysis is extended.
fn needed(analysis: &model::spec::Analysis) -> impl Iterator<Item = String> {
    analysis.metrics.iter().filter_map(|metric| {
        let needed = agents::analysis::required(metric)?;
        Some(format!(
            "{} is known after {} requests without one beyond its limit; to tell half of it from twice takes about {}",
            metric.name, needed.at_least, needed.likely
        ))
    })
}

fn blast_radius(reply: &PlanReply) -> (u32, usize) {
    let moving: Vec<&ModuleChange> =
        reply.plan.changes.iter().filter(|change| change.change != Change::Keep).collect();
    (moving.iter().map(|change| change.replicas_from.max(change.replicas_to)).sum(), moving.len())
}

fn change(change: &ModuleChange) {
    let (sign, word) = match change.change {
        Change::Create => (paint::good("+"), "new"),
        Change::Update => (paint::warn("~"), "changes"),
        Change::Scale => (paint::warn("~"), "scales"),
        Change::Keep => (paint::faint("="), "stays"),
        Change::Remove => (paint::bad("-"), "goes"),
    };
    let revisions = match (&change.from, &change.to) {
        (Some(from), Some(to)) if from != to => format!("{from} → {to}"),
        (Some(revision), _) | (_, Some(revision)) => revision.to_string(),
        (None, None) => String::new(),
    };
    output::line(format!(
        "{sign} {} {word}  {}  {} → {} instances  {}",
        paint::strong(&change.module),
        paint::faint(revisions),
        change.replicas_from,
        change.replicas_to,
        paint::faint(&change.strategy)
    ));
    if change.change == Change::Create {
        return;
    }
    for difference in &change.differences {
        let none = || "nothing".to_owned();
        let old = difference.old.clone().unwrap_or_else(none);
        let new = difference.new.clone().unwrap_or_else(none);
        output::line(format!("    {}: {} → {}", difference.field, paint::bad(old), paint::good(new)));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::{Finding, Severity};

    use super::*;

    /// The same fault of a module at a place.
    fn found(module: Option<&str>, field: &str, message: &str) -> Finding {
        Finding {
            rule: "security/no-limit".to_owned(),
            severity: Severity::Medium,
            module: module.map(|name| name.parse().unwrap()),
            field: field.to_owned(),
            message: message.to_owned(),
            cure: String::new(),
            waived: None,
        }
    }

    #[test]
    fn no_two_findings_of_a_plan_read_the_same() {
        const TEXT: &str = "web and db share a port without a limit";
        let findings = vec![
            found(Some("web"), "modules[0].ports[0]", "no limit is set"),
            found(Some("db"), "modules[1].ports[0]", "no limit is set"),
            found(Some("db"), "modules[1].ports[1]", "no limit is set"),
            found(None, "limits", "no limit is set"),
            found(Some("web"), "modules[0].expose", TEXT),
            found(Some("we"), "modules[2].expose", TEXT),
            found(Some("db"), "modules[1].expose", TEXT),
        ];
        let review = ReviewReply {
            agent: "security".to_owned(),
            passed: false,
            summary: "7 findings".to_owned(),
            findings,
        };

        let lines = checked(&review);

        assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), 8, "{lines:#?}");
        assert!(lines[1].ends_with("security/no-limit web: no limit is set"), "{}", lines[1]);
        assert!(lines[2].ends_with("db: no limit is set (modules[1].ports[0])"), "{}", lines[2]);
        assert!(lines[4].ends_with("security/no-limit no limit is set"), "{}", lines[4]);
        assert!(lines[5].ends_with(&format!("security/no-limit {TEXT}")), "{}", lines[5]);
        assert!(lines[6].ends_with(&format!("we: {TEXT}")), "{}", lines[6]);
    }

    #[test]
    fn a_plan_says_how_many_requests_a_fixed_limit_needs() {
        let analysis = serde_json::from_str(
            r#"{"metrics":[
                {"name":"errors","provider":{"errorRate":{}},"success":"< 0.01"},
                {"name":"slow","provider":{"latency":0.99},"failure":"> 500"},
                {"name":"versus","provider":{"errorRate":{}},"baseline":{}},
                {"name":"rate","provider":{"requestRate":{}},"success":"> 1"}]}"#,
        )
        .unwrap();

        let said: Vec<String> = needed(&analysis).collect();

        let [errors, slow] = &said[..] else { panic!("{said:?}") };
        assert!(errors.starts_with("errors is known after ") && errors.contains(" requests"), "{errors}");
        assert_eq!(errors.trim_start_matches("errors"), slow.trim_start_matches("slow"));
    }
}
