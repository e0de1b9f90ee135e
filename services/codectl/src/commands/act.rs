//! What a person does with a deployment under way.

use client::Client;
use model::{
    DeploymentId, Phase,
    command::{Action, Submit},
    deployment::Mode,
};

use crate::{
    cli::{Abort, Global, Guarded, Promote, Retry},
    commands::{apply::submit_and_watch, watch},
    connect::{connect, resolve_in},
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

/// The way back once more, or an ended release once more.
pub async fn retry(global: &Global, retry: Retry) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let named = retry.guarded.deployment.clone();
    let deployment = resolve_in(&client, named, false, &[Phase::NeedsHuman]).await?;
    let view = client.status(&deployment).await?;
    if view.summary.phase != Phase::Closed {
        let guarded = Guarded { deployment: Some(deployment), expect: retry.guarded.expect };
        let sent = send(&client, guarded, Action::Retry {}, "way back tried again").await?;
        return if retry.watch {
            watch::until_interrupted(&client, &view.summary.deployment).await
        } else {
            Ok(sent)
        };
    }
    let spec = client.spec(&deployment).await?;
    let submit = Submit {
        document: serde_json::to_string(&spec).map_err(|error| Failure::other(error.to_string()))?,
        request_id: None,
        plan: None,
        force: retry.force,
        mode: Mode::Apply,
    };
    submit_and_watch(&client, &submit, retry.watch).await
}

async fn act(global: &Global, guarded: Guarded, action: Action, word: &str) -> Result<u8, Failure> {
    send(&connect(global).await?, guarded, action, word).await
}

/// Sends one command and says that it was taken.
pub async fn send(client: &Client, guarded: Guarded, action: Action, word: &str) -> Result<u8, Failure> {
    // Without a name it is the newest that waits for exactly this.
    let phases: &[Phase] = match &action {
        Action::Approve { .. } | Action::Deny { .. } => &[Phase::AwaitingApproval],
        Action::Close { .. } | Action::Retry {} => &[Phase::NeedsHuman],
        // Also in the hold of blue-green.
        Action::Promote { .. } | Action::Pause {} | Action::Resume {} => {
            &[Phase::Executing, Phase::Verifying]
        }
        Action::Abort { .. } => &[],
    };
    let deployment: DeploymentId = resolve_in(client, guarded.deployment, true, phases).await?;
    let accepted = client.act(&deployment, guarded.expect, action).await?;
    if output::json() {
        output::document(&accepted);
    } else {
        let revision = paint::faint(format!("revision {}", accepted.version));
        output::line(format!("{} {deployment}  {revision}", paint::good(word)));
    }
    Ok(0)
}
