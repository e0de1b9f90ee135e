//! What would be done.

use comfy_table::{Table, presets};
use model::{
    StepKind,
    command::{PlanReply, PlanRequest},
    plan::{Change, ModuleChange},
};

use crate::{
    cli::{Global, SpecFile},
    client::Client,
    commands::read,
    failure::Failure,
    output::{self, paint},
};

async fn ask(global: &Global, file: &SpecFile) -> Result<PlanReply, Failure> {
    let document = read(&file.file)?;
    // Locally first: complaints with line and column need no engine.
    spec::read(&document).map_err(|fault| Failure::from(fault).in_file(&file.file))?;
    let client = Client::connect(global).await?;
    let asked = client.ask(&bus::subjects::orchestrator::PLAN, &PlanRequest { document }).await;
    asked.map_err(|failure| failure.in_file(&file.file))
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
        "\napply exactly this:\n  codectl apply {} --plan {} --watch",
        file.file.display(),
        reply.digest
    ));
    Ok(0)
}

/// Shows only what differs.
pub async fn diff(global: &Global, file: &SpecFile) -> Result<u8, Failure> {
    let reply = ask(global, file).await?;
    if output::json() {
        output::document(&reply.plan.changes);
    } else {
        reply.plan.changes.iter().for_each(change);
    }
    Ok(0)
}

/// The plan for people.
pub fn show(reply: &PlanReply) {
    let plan = &reply.plan;
    output::line(format!("{} {}", paint::strong("plan for"), paint::strong(&plan.target)));
    plan.changes.iter().for_each(change);
    if plan.is_no_op() {
        output::line(paint::good("nothing changes: what runs is what is asked for"));
    }

    output::line(format!(
        "\n{}  {}",
        paint::strong("timeline"),
        paint::faint(format!("at least {} of pauses and analyses", plan.at_least))
    ));
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let mut last = None;
    for step in &plan.steps {
        let stage = format!("{:?}", step.stage).to_lowercase();
        let head = if last == Some(step.wave) { String::new() } else { format!("{:>3}", step.wave + 1) };
        last = Some(step.wave);
        let gate = match &step.kind {
            StepKind::Analyse { analysis, .. } => gates(analysis),
            _ => String::new(),
        };
        let end = if step.irreversible { paint::bad("no way back") } else { gate };
        table.add_row([
            head,
            stage,
            step.agent.to_string(),
            step.describe(),
            format!("≤ {}", step.deadline),
            end,
        ]);
    }
    output::line(table.to_string());

    let (instances, moving) = blast_radius(reply);
    output::line(format!(
        "\n{}  {instances} instances of {moving} modules change; traffic moves only while gates hold",
        paint::strong("blast radius")
    ));
    output::line(format!("{}", paint::strong("way back")));
    for step in &reply.way_back {
        output::line(format!("  {step}"));
    }
    if !reply.reviews.is_empty() {
        output::line(format!("\n{}", paint::strong("checks")));
    }
    for review in &reply.reviews {
        let sign = if review.passed { paint::good("✓") } else { paint::bad("✗") };
        output::line(format!("  {sign} {}: {}", review.agent, review.summary));
        for finding in &review.findings {
            let waived = finding
                .waived
                .as_ref()
                .map(|why| paint::faint(format!(" (waived: {why})")))
                .unwrap_or_default();
            output::line(format!(
                "      {} {} {}{waived}",
                paint::severity(finding.severity),
                finding.rule,
                finding.message
            ));
            if !finding.cure.is_empty() {
                output::line(format!("        {}", paint::faint(&finding.cure)));
            }
        }
    }
    for obstacle in &reply.obstacles {
        output::line(format!("{} {obstacle}", paint::warn("obstacle:")));
    }
    output::line(format!("\n{} {}", paint::strong("digest"), reply.digest));
}

fn gates(analysis: &model::spec::Analysis) -> String {
    let gates =
        analysis.metrics.iter().map(|metric| match (&metric.success, &metric.failure, &metric.baseline) {
            (Some(success), ..) => format!("{} {success}", metric.name),
            (None, Some(failure), _) => format!("{} not {failure}", metric.name),
            _ => format!("{} against the old release", metric.name),
        });
    gates.collect::<Vec<_>>().join(", ")
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
