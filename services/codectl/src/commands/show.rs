//! Where deployments are, and why.

use model::{
    Event, Phase, Record, Timestamp, Verdict,
    command::ListRequest,
    view::{DeploymentView, StepStatus, Summary},
};

use crate::{
    cli::{Global, List, Which},
    commands::experts,
    connect::{connect, resolve},
    failure::Failure,
    output::{self, paint, screen, steps, table},
};

/// The exit status of a deployment that is not over.
pub const UNDER_WAY: u8 = 20;

/// The exit status that says where a deployment is.
pub fn exit_status(summary: &Summary) -> u8 {
    match summary.verdict {
        Some(Verdict::Promoted) => 0,
        Some(Verdict::RolledBack) => 10,
        Some(Verdict::Rejected) => 11,
        Some(Verdict::NeedsHuman) => 12,
        Some(Verdict::Cancelled) => 13,
        Some(Verdict::Superseded) => 14,
        None if summary.phase == Phase::Promoted => 0,
        None => UNDER_WAY,
    }
}

/// Shows the tree of steps.
pub async fn status(global: &Global, which: Which) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let view = super::view(&client, &resolve(&client, which.deployment).await?).await?;
    if output::json() {
        output::document(&view);
    } else {
        card(&view);
        let lines = steps::tree(&view, &steps::Progress::new());
        let (width, _) = screen::size().unwrap_or((usize::MAX, 0));
        lines.iter().skip(1).for_each(|line| output::line(screen::cut(line, width)));
        remarks(&view).for_each(|remark| output::line(format!("  {remark}")));
        if let Some(advice) = &view.advice {
            experts::advice(advice);
        }
        output::line("");
        explanation(&view);
    }
    Ok(exit_status(&view.summary))
}

/// What steps that ended well have to say, such as what a hook wrote. What is against the release stands in the
/// explanation.
fn remarks(view: &DeploymentView) -> impl Iterator<Item = String> {
    let well = view.steps.iter().filter(|step| step.status == StepStatus::Succeeded);
    let hooks = well.flat_map(|step| &step.findings).filter(|found| found.field.starts_with("hooks."));
    // Whatever a program wrote moves no cursor here.
    let still = |letter: char| if letter.is_control() && letter != '\n' { ' ' } else { letter };
    hooks.map(move |found| {
        let said: String = found.message.chars().map(still).collect();
        format!("{} {}", paint::faint("note:"), said.replace('\n', "\n    "))
    })
}

/// Says why.
pub async fn explain(global: &Global, which: Which) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let view = super::view(&client, &resolve(&client, which.deployment).await?).await?;
    if output::json() {
        output::document(&view.explanation);
    } else {
        card(&view);
        explanation(&view);
    }
    Ok(exit_status(&view.summary))
}

/// What it is, where it stands, and what it is known by.
fn card(view: &DeploymentView) {
    let summary = &view.summary;
    output::line(format!(
        "{}  {}  {}",
        paint::strong(steps::modules(&summary.modules)),
        paint::stand(summary),
        summary.target
    ));
    let asked = format!("asked for by {} {}", summary.initiator, ago(summary.received));
    let plan = view.plan.as_ref().map(|(digest, _)| digest.to_string());
    let lock = match (view.lock, summary.phase) {
        (Some(token), Phase::Closed) => format!("token {token}, given back"),
        (Some(token), _) => format!("token {token}"),
        (None, _) => "none".to_owned(),
    };
    let owner = view.owner.as_ref().map(|(owner, epoch)| format!("{owner}, epoch {epoch}"));
    for (name, value) in [
        ("id", format!("{}  revision {}, {asked}", summary.deployment, view.version)),
        ("plan", plan.unwrap_or_else(|| "none yet".to_owned())),
        ("lock", lock),
        ("owner", owner.unwrap_or_else(|| "nobody".to_owned())),
    ] {
        output::line(format!("  {} {value}", paint::faint(format!("{name:<5}"))));
    }
}

/// The explanation for people.
pub fn explanation(view: &DeploymentView) {
    output::line(format!("{} {}", paint::strong("why:"), view.explanation.headline));
    details(view);
}

/// The explanation after the verdict was shown: of a promotion nothing more needs to be said.
pub fn reasons(view: &DeploymentView) {
    if view.summary.verdict != Some(Verdict::Promoted) {
        explanation(view);
    }
}

fn details(view: &DeploymentView) {
    let said = &view.explanation;
    for detail in &said.details {
        output::line(format!("  {detail}"));
    }
    let label = if view.summary.closed.is_some() { "next:" } else { "moved on by:" };
    for way in &said.unblocked_by {
        output::line(format!("  {} {way}", paint::moving(label)));
    }
    if let Some((until, then)) = &said.next_deadline {
        output::line(format!("  {} {} ({until}): {then}", paint::warn("deadline:"), ahead(*until)));
    }
}

/// `5m ago`.
pub fn ago(at: Timestamp) -> String {
    format!("{} ago", screen::short(output::now().since(at)))
}

fn ahead(at: Timestamp) -> String {
    let left = at.since(output::now());
    if left.is_zero() { "due now".to_owned() } else { format!("in {}", screen::short(left)) }
}

/// Lists, newest first.
pub async fn list(global: &Global, list: List) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let request = ListRequest { target: list.target, active: list.active, limit: Some(list.limit) };
    let deployments = client.list(&request).await?;
    if output::json() {
        output::document(&deployments);
        return Ok(0);
    }
    if deployments.is_empty() {
        output::line("no deployments; make one with codectl apply FILE");
        return Ok(0);
    }
    // Without a terminal as wide as it takes; a reason that is longer stands in `explain`.
    let (width, _) = screen::size().unwrap_or((120, 0));
    let rows = deployments.iter().map(|summary| {
        [
            summary.deployment.to_string(),
            summary.target.to_string(),
            screen::cut(&steps::modules(&summary.modules), 28),
            paint::stand(summary),
            screen::short(output::now().since(summary.received)),
            screen::cut(&summary.initiator.to_string(), 32),
        ]
    });
    let lines = table::lines(["DEPLOYMENT", "TARGET", "MODULES", "STAND", "AGE", "BY"], rows.collect());
    let reasons = std::iter::once("").chain(deployments.iter().map(|summary| summary.reason.as_str()));
    for (line, reason) in lines.iter().zip(reasons) {
        output::line(line);
        if !reason.is_empty() {
            output::line(paint::faint(screen::cut(&format!("    {reason}"), width)));
        }
    }
    Ok(0)
}

/// Shows a journal.
pub async fn history(global: &Global, which: Which) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let deployment = resolve(&client, which.deployment).await?;
    let records = client.history(&deployment).await?;
    if output::json() {
        output::document(&records);
    } else {
        // A journal is shown as it was written, but for what the revisions in it are called.
        super::view(&client, &deployment).await?;
        records.iter().for_each(record);
    }
    Ok(0)
}

/// One record of a journal for people.
pub fn record(record: &Record) {
    for (index, event) in record.events.iter().enumerate() {
        let head = if index == 0 { format!("{:>4}  {}", record.version, record.at) } else { " ".repeat(30) };
        let line = format!("{}  {:<18} {}", paint::faint(head), event.name(), words(event));
        output::line(line.trim_end());
    }
}

/// What an event says beyond its name.
pub fn words(event: &Event) -> String {
    match event {
        Event::Received { initiator, spec_digest, .. } => {
            format!("by {initiator}, spec {}", spec_digest.short())
        }
        Event::OwnerClaimed { owner, epoch } => format!("{owner}, epoch {epoch}"),
        Event::OwnerReleased { owner } => owner.to_string(),
        Event::Planned { plan, .. } => format!("{} steps, {}", plan.steps.len(), plan.digest()),
        Event::AdviceAsked { gate, until } => {
            format!("gate {}, until {until}", format!("{gate:?}").to_lowercase())
        }
        Event::Advised { source, summary, .. } => format!("{source}: {summary}"),
        Event::ApprovalAwaited { until, terms: Some(terms) } => {
            format!("signed, {}, until {until}", approval::in_words(terms))
        }
        Event::Denied { by, reason, .. } => format!("by {by}: {reason}"),
        Event::ApprovalAwaited { until, terms: None }
        | Event::LockAwaited { until }
        | Event::ExecutionBegan { until } => {
            format!("until {until}")
        }
        Event::Approved { by, .. }
        | Event::Paused { by }
        | Event::Resumed { by }
        | Event::RollbackRetried { by, .. }
        | Event::PromoteRequested { by, full: false } => format!("by {by}"),
        Event::PromoteRequested { by, full: true } => format!("in full, by {by}"),
        Event::RecordSkipped(skip) => format!("sequence {}, by {}: {}", skip.seq, skip.by, skip.reason),
        Event::Locked { token } => format!("token {token}"),
        Event::StepScheduled { step, attempt, fence, .. } => {
            format!("{step}, attempt {attempt}, fence {fence}")
        }
        Event::StepStarted { step, runner, .. } => format!("{step} by {runner}"),
        Event::StepFinished { step, result, .. } => format!("{step} {}: {}", result.outcome, result.reason),
        Event::RollbackBegan { cause, .. } | Event::HumanNeeded { cause } => cause.text.clone(),
        Event::Decided { verdict, .. } | Event::Closed { verdict, .. } => paint::verdict(*verdict),
        Event::Validated {} | Event::VerificationBegan {} | Event::Promoted {} | Event::RolledBack {} => {
            String::new()
        }
    }
}
