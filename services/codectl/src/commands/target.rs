//! Targets: locks, queue, snapshot, quarantine, drift.

use model::{
    command::{Holding, TargetAction, TargetView},
    target::Quarantine,
};

use crate::{
    cli::{Global, Holdings, Lock, Target},
    commands::show::ago,
    connect::connect,
    failure::Failure,
    output::{self, paint, steps},
};

/// Shows, holds or lets go.
pub async fn lock(global: &Global, lock: Lock) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let (target, action) = match lock {
        Lock::Show(Target { target }) => (target, TargetAction::Show {}),
        Lock::Hold { target: Target { target }, reason } => (target, TargetAction::Hold { reason }),
        Lock::Release(Target { target }) => (target, TargetAction::Unhold {}),
    };
    let view = client.target(&target, action).await?;
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
    if let Some(hold) = &view.held {
        let cure = paint::faint(format!("let go with codectl lock release {}", view.target));
        let (by, reason) = (&hold.by, &hold.reason);
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
    for Quarantine { spec, deployment, reason } in &view.quarantined {
        output::line(format!("  {} {} by {deployment}: {reason}", paint::bad("quarantined"), spec.short()));
    }
}

/// Shows what is there, or takes away what nothing asks for. Exit status 1 when something that nothing asks for is left.
pub async fn holdings(global: &Global, holdings: Holdings) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let (target, take_away) = match holdings {
        Holdings::Show(Target { target }) => (target, false),
        Holdings::Clear(Target { target }) => (target, true),
    };
    let reply = client.holdings(&target, take_away).await?;
    if output::json() {
        output::document(&reply);
    } else if reply.instances.is_empty() {
        output::line(format!("no instance of {} is there", target));
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
    let client = connect(global).await?;
    let reply = client.drift(&target.target).await?;
    output::know(&reply.versions);
    if output::json() {
        output::document(&reply);
        return Ok(u8::from(!reply.drifts.is_empty()));
    }
    if let Some(under_way) = &reply.under_way {
        output::line(format!("{} {under_way}", paint::moving("→")));
    }
    if reply.drifts.is_empty() {
        let all = if reply.under_way.is_some() { "what it asks for now" } else { "what was promoted" };
        output::line(paint::good(format!("no drift: what runs is {all}")));
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
