//! Targets: locks, queue, snapshot, quarantine, drift.

use std::time::Duration;

use bus::subjects;
use model::command::{DriftRequest, Holding, HoldingsRequest, TargetAction, TargetCommand, TargetView};

use crate::{
    cli::{Global, Holdings, Lock, Target},
    client::Client,
    commands::show::ago,
    failure::Failure,
    output::{self, paint, steps},
};

/// Longer than stopping what is left over takes.
const CLEARING: Duration = Duration::from_secs(70);

/// Shows, holds or lets go.
pub async fn lock(global: &Global, lock: Lock) -> Result<u8, Failure> {
    let client = Client::connect(global).await?;
    let (target, action) = match lock {
        Lock::Show(Target { target }) => (target, TargetAction::Show {}),
        Lock::Hold { target: Target { target }, reason } => (target, TargetAction::Hold { reason }),
        Lock::Release(Target { target }) => (target, TargetAction::Unhold {}),
    };
    let command = TargetCommand { target, by: client.who.clone(), action };
    let view = client.ask(&subjects::orchestrator::TARGET, &command).await?;
    if output::json() {
        output::document(&view)
    } else {
        show(&view)
    }
    Ok(0)
}

fn show(view: &TargetView) {
    output::line(paint::strong(&view.target));
    if let Some((holder, token)) = &view.holder {
        output::line(format!("  {} by {holder}, token {token}", paint::moving("locked")));
    }
    if let Some((by, reason)) = &view.held {
        let cure = paint::faint(format!("let go with codectl lock release {}", view.target));
        output::line(format!("  {} by {by}: {reason}; {cure}", paint::warn("held")));
    }
    if view.holder.is_none() && view.held.is_none() {
        output::line(format!("  {}", paint::good("free")));
    }
    for (place, waiting) in view.queue.iter().enumerate() {
        output::line(format!("  {}. {waiting} waits", place + 1));
    }
    match &view.snapshot {
        Some(snapshot) => {
            let modules: Vec<String> = snapshot
                .spec
                .modules
                .iter()
                .map(|module| format!("{} {}", module.name, module.version))
                .collect();
            output::line(format!(
                "  runs {} since {} ({}), made by {}",
                steps::modules(&modules),
                snapshot.at,
                ago(snapshot.at),
                snapshot.deployment
            ));
        }
        None => output::line("  nothing was ever promoted here"),
    }
    for (spec, deployment, reason) in &view.quarantined {
        output::line(format!("  {} {} by {deployment}: {reason}", paint::bad("quarantined"), spec.short()));
    }
}

/// Shows what is there, or takes away what nothing asks for. Exit status 1 when something that nothing asks for is left.
pub async fn holdings(global: &Global, holdings: Holdings) -> Result<u8, Failure> {
    let client = Client::connect(global).await?;
    let (target, take_away) = match holdings {
        Holdings::Show(Target { target }) => (target, false),
        Holdings::Clear(Target { target }) => (target, true),
    };
    let request = HoldingsRequest { target, by: client.who.clone(), take_away, spec: None, clear: None };
    let reply = client.ask_within(&subjects::orchestrator::HOLDINGS, &request, CLEARING).await?;
    if output::json() {
        output::document(&reply);
    } else if reply.instances.is_empty() {
        output::line(format!("no instance of {} is there", request.target));
    } else {
        reply.instances.iter().for_each(holding);
    }
    Ok(u8::from(reply.instances.iter().any(|holding| !holding.asked_for && !holding.cleared)))
}

fn holding(holding: &Holding) {
    let word = match (holding.asked_for, holding.cleared) {
        (true, _) => paint::good("asked for "),
        (false, true) => paint::good("taken away"),
        (false, false) => paint::warn("left over "),
    };
    let made = paint::faint(format!("started by {}", holding.deployment));
    output::line(format!("{word} {}  {}  {made}", holding.id, holding.state));
    if let Some(trouble) = &holding.trouble {
        output::line(format!("  {trouble}"));
    }
}

/// Compares what runs with what should. Exit status 1 when something differs.
pub async fn drift(global: &Global, target: Target) -> Result<u8, Failure> {
    let client = Client::connect(global).await?;
    let request = DriftRequest { target: target.target, spec: None };
    let reply = client.ask(&subjects::orchestrator::DRIFT, &request).await?;
    if output::json() {
        output::document(&reply);
    } else if reply.drifts.is_empty() {
        output::line(paint::good("no drift: what runs is what was promoted"));
    } else {
        for drift in &reply.drifts {
            output::line(format!(
                "{} {} {}: {}",
                paint::warn("~"),
                drift.module,
                paint::faint(&drift.revision),
                drift.text
            ));
        }
    }
    Ok(u8::from(!reply.drifts.is_empty()))
}
