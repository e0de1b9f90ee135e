//! Says yes or no to a plan, by a signature where the engine knows signers.

use approval::{About, Signers, Statement, Words, shown};
use client::Client;
use model::{
    DeploymentId, Digest, Phase, Timestamp,
    approval::{Decision, Signature, Signed, Standing},
    command::Action,
    view::DeploymentView,
};

use crate::{
    cli::{Approve, Deny, Global, Guarded, Signing, Which},
    commands::{act, read, view},
    connect::{connect, name, resolve_in},
    failure::Failure,
    output::{self, paint},
    ssh,
};

/// Approves exactly one plan.
pub async fn approve(global: &Global, approve: Approve) -> Result<u8, Failure> {
    let Approve { guarded, plan, reason, signing } = approve;
    say(global, guarded, Choice { decision: Decision::Approve, plan, reason }, signing).await
}

/// Says no to exactly one plan.
pub async fn deny(global: &Global, deny: Deny) -> Result<u8, Failure> {
    let Deny { guarded, plan, reason, signing } = deny;
    say(global, guarded, Choice { decision: Decision::Deny, plan, reason }, signing).await
}

struct Choice {
    decision: Decision,
    plan: Digest,
    reason: String,
}

impl Choice {
    fn action(self, signed: Option<Signed>) -> (Action, &'static str) {
        let (plan, signed) = (self.plan, signed.map(Box::new));
        match self.decision {
            Decision::Approve => (Action::Approve { plan, signed }, "approved"),
            Decision::Deny => (Action::Deny { plan, reason: self.reason, signed }, "denied"),
        }
    }
}

async fn say(global: &Global, guarded: Guarded, choice: Choice, signing: Signing) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let Guarded { deployment, expect } = guarded;
    let deployment = waiting(&client, deployment).await?;
    let seen = view(&client, &deployment).await?;
    let guarded = Guarded { deployment: Some(deployment), expect };
    let Some(standing) = &seen.signing else {
        if signing.key.is_some() || signing.print || signing.statement.is_some() {
            return Err(Failure::other(format!(
                "{} waits for no signature: the engine knows no signers (orchestrator.approvals.signers)\n  approve it \
                 without --key, --print and --statement: then the journal says that it is unauthenticated",
                seen.summary.deployment
            )));
        }
        let (action, word) = choice.action(None);
        return act::send(&client, guarded, action, &format!("{word} (unauthenticated)")).await;
    };
    let signed = match (&signing.statement, &signing.signature) {
        (Some(statement), Some(signature)) => {
            Signed { statement: read(statement)?, signature: Signature::Sshsig(read(signature)?) }
        }
        _ => {
            let statement = statement(global, &seen, standing, &choice, &signing)?;
            if signing.print {
                output::raw(&statement);
                output::note(format!(
                    "sign exactly these bytes: ssh-keygen -Y sign -n {} -f KEY FILE, then hand them in with --statement \
                     FILE --signature FILE.sig",
                    approval::NAMESPACE
                ));
                return Ok(0);
            }
            sign(global, standing, &signing, statement)?
        }
    };
    let (action, word) = choice.action(Some(signed));
    act::send(&client, guarded, action, word).await
}

/// The deployment that was named, or the newest that waits for people.
async fn waiting(client: &Client, named: Option<DeploymentId>) -> Result<DeploymentId, Failure> {
    resolve_in(client, named, true, &[Phase::AwaitingApproval]).await
}

/// What is to be signed, after it was shown.
fn statement(
    global: &Global,
    seen: &DeploymentView,
    standing: &Standing,
    choice: &Choice,
    signing: &Signing,
) -> Result<String, Failure> {
    let id = &seen.summary.deployment;
    let Some((_, plan)) = &seen.plan else {
        return Err(Failure::other(format!("{id} has no plan yet: look again with codectl explain {id}")));
    };
    // What the engine calls its digest is not believed: the plan itself is signed for.
    let digest = plan.digest();
    if digest != choice.plan {
        return Err(Failure::other(format!(
            "the plan of {id} is {digest}, not {}: it changed meanwhile\n  look at it with codectl status {id}, then name it",
            choice.plan
        )));
    }
    let about = About {
        deployment: id.as_str(),
        target: &seen.summary.target,
        initiator: &seen.summary.initiator,
        modules: &seen.summary.modules,
        plan,
    };
    let lasts = signing.lasts.unwrap_or(standing.lasts);
    let (approver, nonce) = (name(global), hex::encode(rand::random::<[u8; 16]>()));
    let words = Words {
        decision: choice.decision,
        approver: &approver,
        reason: &choice.reason,
        nonce: &nonce,
        issued: output::now(),
        lasts,
    };
    let statement = Statement::new(&about, &standing.policy, &standing.requirement, &words);
    if !output::json() {
        shown(&about).lines().for_each(|line| output::exact(format!("  {}", printable(line))));
        output::note(format!("  asked for are {}", standing.requirement));
        let what = format!("{} {} this until {}", approver, choice.decision, words.issued.plus(lasts.0));
        output::note(paint::strong(what));
    }
    Ok(statement.text())
}

fn sign(
    global: &Global,
    standing: &Standing,
    signing: &Signing,
    statement: String,
) -> Result<Signed, Failure> {
    let file = match &signing.key {
        Some(key) => ssh::by_keygen(key, statement.as_bytes())?,
        None => {
            let signers = Signers::read(&standing.signers).map_err(|bad| {
                let first = bad.first().map(ToString::to_string).unwrap_or_default();
                Failure::other(format!("the engine's signers cannot be read: {first}"))
            })?;
            ssh::by_agent(&name(global), &signers, statement.as_bytes())?
        }
    };
    Ok(Signed { statement, signature: Signature::Sshsig(file) })
}

/// Shows who approved, by which key, and what is missing.
pub async fn show(global: &Global, which: Which) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let deployment = waiting(&client, which.deployment).await?;
    let seen = view(&client, &deployment).await?;
    if output::json() {
        output::document(&serde_json::json!({
            "deployment": deployment, "approvals": seen.approvals, "signing": seen.signing,
        }));
        return Ok(0);
    }
    output::line(format!("{} {deployment}", paint::strong("approvals of")));
    let Some(standing) = &seen.signing else {
        match seen.approvals.as_slice() {
            [] => output::line("  nobody approved; nobody has to sign"),
            some => some.iter().for_each(|by| output::line(format!("  approved by {by}: not signed"))),
        }
        return Ok(0);
    };
    output::line(format!("  asked for  {}", standing.requirement));
    for given in &standing.given {
        let until = until(given.until);
        output::line(format!("  {} {}  {}  {until}", paint::good("approved"), given.by, given.key));
    }
    standing
        .missing
        .iter()
        .for_each(|missing| output::line(format!("  {} {missing}", paint::warn("missing "))));
    if let Ok(signers) = Signers::read(&standing.signers) {
        signers
            .in_words()
            .iter()
            .for_each(|line| output::line(format!("  {} {line}", paint::faint("key     "))));
    }
    Ok(0)
}

/// What a spec's author wrote moves no cursor here.
fn printable(line: &str) -> String {
    line.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn until(at: Timestamp) -> String {
    let word = if at < output::now() { "expired at" } else { "counts until" };
    format!("{word} {at}")
}
