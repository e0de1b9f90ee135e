//! Asks for a deployment.

use client::Client;
use model::{
    DeploymentId, Phase,
    command::{Action, Submit, TargetAction, TargetView},
    deployment::Mode,
    target::TargetEvent,
};

use crate::{
    cli::{Apply, Global, Rollback},
    commands::{document, watch},
    connect::connect,
    failure::Failure,
    output::{self, paint},
};

/// Deploys a spec.
pub async fn apply(global: &Global, apply: Apply) -> Result<u8, Failure> {
    let document = document(&apply.file)?;
    document.warn(&apply.file);
    let document = document.text;
    let client = connect(global).await?;
    let submit = Submit {
        document,
        request_id: apply.request_id,
        plan: apply.plan,
        force: apply.force,
        mode: Mode::Apply,
    };
    submit_and_watch(&client, &submit, apply.watch).await.map_err(|failure| failure.in_file(&apply.file))
}

/// Asks, and follows if wanted.
pub async fn submit_and_watch(client: &Client, submit: &Submit, follow: bool) -> Result<u8, Failure> {
    let submitted = client.submit(submit).await?;
    if !follow {
        if output::json() {
            output::document(&submitted);
        } else {
            let again = if submitted.repeated { paint::faint(" (asked for before)") } else { String::new() };
            output::line(format!("{}{again}", submitted.deployment));
            output::line(paint::faint(format!("follow it: codectl watch {}", submitted.deployment)));
        }
        return Ok(0);
    }
    watch::until_interrupted(client, &submitted.deployment).await
}

/// Back to an older release, without canary, gates or approvals. While a release is under way, the older one is what ran
/// before it, and the release is aborted: its way back is the shortest, since what ran before still stands.
pub async fn rollback(global: &Global, rollback: Rollback) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let view = client.target(&rollback.target, TargetAction::Show {}).await?;
    let to = match rollback.to {
        Some(to) => to,
        None => match under_way(&client, &view).await? {
            Some(deployment) => return turn_back(&client, &deployment, &rollback).await,
            None => before_the_last(&view)?,
        },
    };
    let spec = client.spec(&to).await?;
    if spec.target_id() != rollback.target {
        return Err(Failure::invalid(format!(
            "{to} was for {} and not for {}",
            spec.target_id(),
            rollback.target
        )));
    }
    let submit = Submit {
        document: serde_json::to_string(&spec).map_err(|error| Failure::other(error.to_string()))?,
        request_id: None,
        plan: None,
        force: Some(format!("rollback to {to}")),
        mode: Mode::Rollback,
    };
    submit_and_watch(&client, &submit, rollback.watch).await
}

/// The release that is being brought to the target and is not promoted yet.
async fn under_way(client: &Client, target: &TargetView) -> Result<Option<DeploymentId>, Failure> {
    let Some((holder, _)) = &target.holder else { return Ok(None) };
    let phase = client.status(holder).await?.summary.phase;
    let may_turn_back = matches!(phase, Phase::Locked | Phase::Executing | Phase::Verifying);
    Ok(may_turn_back.then(|| holder.clone()))
}

async fn turn_back(client: &Client, deployment: &DeploymentId, rollback: &Rollback) -> Result<u8, Failure> {
    let reason = format!("rollback of {}", rollback.target);
    let accepted = client.act(deployment, None, Action::Abort { reason }).await?;
    if rollback.watch {
        return watch::until_interrupted(client, deployment).await;
    }
    if output::json() {
        output::document(&accepted);
    } else {
        output::line(format!("{} {deployment}: it was under way and goes back", paint::good("aborted")));
        output::line(paint::faint(format!("follow it: codectl watch {deployment}")));
    }
    Ok(0)
}

fn before_the_last(view: &TargetView) -> Result<DeploymentId, Failure> {
    let target = &view.target;
    let mut settled: Vec<DeploymentId> = view
        .events
        .iter()
        .filter_map(|event| match event {
            TargetEvent::Settled { snapshot } => Some(snapshot.deployment.clone()),
            _ => None,
        })
        .collect();
    settled.pop();
    settled.pop().ok_or_else(|| {
        Failure::other(format!("{target} has no release before the one that runs; name one with --to"))
    })
}
