//! Where deployments are, and why.

use bus::subjects;
use comfy_table::{Table, presets};
use model::{
    Event, Phase, Record,
    command::{HistoryRequest, ListRequest},
    view::{DeploymentView, Summary},
};

use crate::{
    cli::{Global, List, Which},
    client::Client,
    failure::Failure,
    output::{self, paint, steps},
};

/// The exit status of a deployment that is not over.
pub const UNDER_WAY: u8 = 20;

/// The exit status that says where a deployment is.
pub fn exit_status(summary: &Summary) -> u8 {
    match summary.verdict {
        Some(verdict) => verdict.exit_code(),
        None if summary.phase == Phase::Promoted => 0,
        None => UNDER_WAY,
    }
}

/// Shows the tree of steps.
pub async fn status(global: &Global, which: Which) -> Result<u8, Failure> {
    let client = Client::connect(global).await?;
    let view = client.view(&client.resolve(which.deployment, false).await?).await?;
    if output::json() {
        output::document(&view);
    } else {
        steps::tree(&view, &steps::Progress::new()).iter().for_each(output::line);
        output::line("");
        explanation(&view);
    }
    Ok(exit_status(&view.summary))
}

/// Says why.
pub async fn explain(global: &Global, which: Which) -> Result<u8, Failure> {
    let client = Client::connect(global).await?;
    let view = client.view(&client.resolve(which.deployment, false).await?).await?;
    if output::json() {
        output::document(&view.explanation);
    } else {
        output::line(steps::head(&view));
        explanation(&view);
    }
    Ok(exit_status(&view.summary))
}

/// The explanation for people.
pub fn explanation(view: &DeploymentView) {
    let said = &view.explanation;
    output::line(format!("{} {}", paint::strong("why:"), said.headline));
    for detail in &said.details {
        output::line(format!("  {detail}"));
    }
    for way in &said.unblocked_by {
        output::line(format!("  {} {way}", paint::moving("moved on by:")));
    }
    if let Some((until, then)) = &said.next_deadline {
        output::line(format!("  {} {until}, then: {then}", paint::warn("deadline:")));
    }
}

/// Lists, newest first.
pub async fn list(global: &Global, list: List) -> Result<u8, Failure> {
    let client = Client::connect(global).await?;
    let request = ListRequest { target: list.target, active: list.active, limit: Some(list.limit) };
    let reply = client.ask(&subjects::orchestrator::LIST, &request).await?;
    if output::json() {
        output::document(&reply.deployments);
        return Ok(0);
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["deployment", "target", "modules", "verdict", "received", "by", "why"]);
    for summary in &reply.deployments {
        let verdict = match summary.verdict {
            Some(verdict) => paint::verdict(verdict),
            None => paint::moving(summary.phase),
        };
        let why: String = summary.reason.chars().take(60).collect();
        table.add_row([
            summary.deployment.to_string(),
            summary.target.to_string(),
            summary.modules.join(", "),
            verdict,
            summary.received.to_string(),
            summary.initiator.clone(),
            why,
        ]);
    }
    output::line(table.to_string());
    Ok(0)
}

/// Shows a journal.
pub async fn history(global: &Global, which: Which) -> Result<u8, Failure> {
    let client = Client::connect(global).await?;
    let deployment = client.resolve(which.deployment, false).await?;
    let reply = client.ask(&subjects::orchestrator::HISTORY, &HistoryRequest { deployment }).await?;
    if output::json() {
        output::document(&reply.records);
    } else {
        reply.records.iter().for_each(record);
    }
    Ok(0)
}

/// One record of a journal for people.
pub fn record(record: &Record) {
    for (index, event) in record.events.iter().enumerate() {
        let head = if index == 0 { format!("{:>4}  {}", record.version, record.at) } else { " ".repeat(30) };
        output::line(format!("{}  {:<18} {}", paint::faint(head), event.name(), words(event)));
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
        Event::Advised { source, summary } => format!("{source}: {summary}"),
        Event::ApprovalAwaited { until } | Event::LockAwaited { until } | Event::ExecutionBegan { until } => {
            format!("until {until}")
        }
        Event::Approved { by, .. }
        | Event::Paused { by }
        | Event::Resumed { by }
        | Event::RollbackRetried { by, .. }
        | Event::PromoteRequested { by, full: false } => format!("by {by}"),
        Event::PromoteRequested { by, full: true } => format!("in full, by {by}"),
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
