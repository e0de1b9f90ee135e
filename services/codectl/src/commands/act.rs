//! What a person does with a deployment under way.

use bus::subjects;
use model::{
    DeploymentId, Event, Phase,
    command::{Action, Command, HistoryRequest, Submit},
    deployment::Mode,
};

use crate::{
    cli::{Abort, Approve, Global, Guarded, Promote, Retry},
    client::Client,
    commands::{apply::submit_and_watch, watch},
    failure::Failure,
    output::{self, paint},
};

/// Lets it go on.
pub async fn promote(global: &Global, promote: Promote) -> Result<u8, Failure> {
    act(global, promote.guarded, Action::Promote { full: promote.full }, "let go on").await
}

/// Begins nothing new.
pub async fn pause(global: &Global, guarded: Guarded) -> Result<u8, Failure> {
    act(global, guarded, Action::Pause {}, "paused").await
}

/// Goes on.
pub async fn resume(global: &Global, guarded: Guarded) -> Result<u8, Failure> {
    act(global, guarded, Action::Resume {}, "resumed").await
}

/// Turns back, or ends what a person has set right.
pub async fn abort(global: &Global, abort: Abort) -> Result<u8, Failure> {
    let (reason, word) = (abort.reason, if abort.close { "closed" } else { "aborted" });
    let action = if abort.close { Action::Close { reason } } else { Action::Abort { reason } };
    act(global, abort.guarded, action, word).await
}

/// Approves exactly one plan.
pub async fn approve(global: &Global, approve: Approve) -> Result<u8, Failure> {
    act(global, approve.guarded, Action::Approve { plan: approve.plan }, "approved").await
}

/// The way back once more, or an ended release once more.
pub async fn retry(global: &Global, retry: Retry) -> Result<u8, Failure> {
    let client = Client::connect(global).await?;
    let deployment =
        client.resolve_in(retry.guarded.deployment.clone(), false, Some(Phase::NeedsHuman)).await?;
    let view = client.view(&deployment).await?;
    if view.summary.phase != Phase::Closed {
        let guarded = Guarded { deployment: Some(deployment), expect: retry.guarded.expect };
        let sent = send(&client, guarded, Action::Retry {}, "way back tried again").await?;
        return if retry.watch {
            watch::until_interrupted(&client, &view.summary.deployment).await
        } else {
            Ok(sent)
        };
    }
    let history = client.ask(&subjects::orchestrator::HISTORY, &HistoryRequest { deployment }).await?;
    let spec = history.records.iter().flat_map(|record| &record.events).find_map(|event| match event {
        Event::Received { spec, .. } => Some(spec),
        _ => None,
    });
    let spec = spec.ok_or_else(|| Failure::other("the journal holds no spec"))?;
    let submit = Submit {
        document: serde_json::to_string(spec).map_err(|error| Failure::other(error.to_string()))?,
        initiator: client.who.clone(),
        request_id: None,
        plan: None,
        force: retry.force,
        mode: Mode::Apply,
    };
    submit_and_watch(&client, &submit, retry.watch).await
}

async fn act(global: &Global, guarded: Guarded, action: Action, word: &str) -> Result<u8, Failure> {
    send(&Client::connect(global).await?, guarded, action, word).await
}

async fn send(client: &Client, guarded: Guarded, action: Action, word: &str) -> Result<u8, Failure> {
    // Without a name it is the newest that waits for exactly this.
    let phase = match &action {
        Action::Approve { .. } => Some(Phase::AwaitingApproval),
        Action::Close { .. } | Action::Retry {} => Some(Phase::NeedsHuman),
        Action::Promote { .. } | Action::Pause {} | Action::Resume {} => Some(Phase::Executing),
        Action::Abort { .. } => None,
    };
    let deployment: DeploymentId = client.resolve_in(guarded.deployment, true, phase).await?;
    let command =
        Command { deployment: deployment.clone(), expect: guarded.expect, by: client.who.clone(), action };
    let accepted = client.ask(&subjects::orchestrator::COMMAND, &command).await?;
    if output::json() {
        output::document(&accepted);
    } else {
        let revision = paint::faint(format!("revision {}", accepted.version));
        output::line(format!("{} {deployment}  {revision}", paint::good(word)));
    }
    Ok(0)
}
