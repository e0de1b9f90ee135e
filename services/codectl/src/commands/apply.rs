//! Asks for a deployment.

use bus::subjects;
use model::{
    DeploymentId, Event,
    command::{HistoryRequest, Submit, TargetAction, TargetCommand},
    deployment::Mode,
    target::TargetEvent,
};

use crate::{
    cli::{Apply, Global, Rollback},
    client::Client,
    commands::{document, watch},
    failure::Failure,
    output::{self, paint},
};

/// Deploys a spec.
pub async fn apply(global: &Global, apply: Apply) -> Result<u8, Failure> {
    let document = document(&apply.file)?.text;
    let client = Client::connect(global).await?;
    let submit = Submit {
        document,
        initiator: client.who.clone(),
        request_id: apply.request_id,
        plan: apply.plan,
        force: apply.force,
        mode: Mode::Apply,
    };
    submit_and_watch(&client, &submit, apply.watch).await.map_err(|failure| failure.in_file(&apply.file))
}

/// Asks, and follows if wanted.
pub async fn submit_and_watch(client: &Client, submit: &Submit, follow: bool) -> Result<u8, Failure> {
    let submitted = client.ask(&subjects::orchestrator::SUBMIT, submit).await?;
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

/// Back to an older release, without canary, gates or approvals.
pub async fn rollback(global: &Global, rollback: Rollback) -> Result<u8, Failure> {
    let client = Client::connect(global).await?;
    let to = match rollback.to {
        Some(to) => to,
        None => before_the_last(&client, &rollback.target).await?,
    };
    let history =
        client.ask(&subjects::orchestrator::HISTORY, &HistoryRequest { deployment: to.clone() }).await?;
    let spec = history.records.iter().flat_map(|record| &record.events).find_map(|event| match event {
        Event::Received { spec, .. } => Some(spec.clone()),
        _ => None,
    });
    let spec = spec.ok_or_else(|| Failure::other(format!("the journal of {to} holds no spec")))?;
    if spec.target_id() != rollback.target {
        return Err(Failure::invalid(format!(
            "{to} was for {} and not for {}",
            spec.target_id(),
            rollback.target
        )));
    }
    let submit = Submit {
        document: serde_json::to_string(&spec).map_err(|error| Failure::other(error.to_string()))?,
        initiator: client.who.clone(),
        request_id: None,
        plan: None,
        force: Some(format!("rollback to {to}")),
        mode: Mode::Rollback,
    };
    submit_and_watch(&client, &submit, rollback.watch).await
}

async fn before_the_last(client: &Client, target: &model::TargetId) -> Result<DeploymentId, Failure> {
    let command =
        TargetCommand { target: target.clone(), by: client.who.clone(), action: TargetAction::Show {} };
    let view = client.ask(&subjects::orchestrator::TARGET, &command).await?;
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
