//! The whole story in one terminal, on real processes under constant load: a first release, a plan, a canary, a bad
//! release that is taken back, a risky one that experts hold back, an orchestrator that is killed in the middle,
//! what the certificates prove, and an approval that is signed. It asserts what it tells: the exit status is 0 only when every act ended as it should and
//! no request failed that should not have.

mod advice;
mod approval;
mod certificate;
mod closed;
mod keys;
mod load;
mod releases;
mod stage;

use std::{collections::BTreeMap, fs, time::Duration};

use client::Client;
use futures::StreamExt;
use model::{
    DeploymentId, Phase, Verdict,
    command::{ListRequest, Submit},
    deployment::Mode,
    view::{DeploymentView, StepStatus},
};

use crate::{
    cli::{Demo, Global},
    commands::{plan, show, watch},
    connect::connect,
    failure::Failure,
    output::{self, paint, steps},
};

use load::Load;
use releases::Release;
use stage::Stage;

/// What was promised and what was seen.
#[derive(Default)]
struct Ledger {
    lines: Vec<(bool, String)>,
}

impl Ledger {
    fn check(&mut self, held: bool, text: impl Into<String>) {
        let text = text.into();
        output::line(format!("  {} {text}", if held { paint::good("✓") } else { paint::bad("✗") }));
        self.lines.push((held, text));
    }
}

/// Tells it.
pub async fn run(global: &Global, demo: &Demo) -> Result<u8, Failure> {
    let began = tokio::time::Instant::now();
    let mut stage = Stage::set(demo.keep).await?;
    let (nats, home) = (Some(stage.nats.clone()), Some(stage.folder().to_owned()));
    let client = connect(&Global { nats, home, nats_key: None, ..global.clone() }).await?;
    let mut ledger = Ledger::default();
    let told = tell(&mut stage, &client, demo, &mut ledger).await;
    drop(client);
    output::line("");
    output::line(paint::faint("stopping everything"));
    let left = stage.strike().await;
    told?;
    ledger.check(left == 0, format!("nothing is left running ({left} processes)"));
    summary(&ledger, began.elapsed())
}

async fn tell(stage: &mut Stage, client: &Client, demo: &Demo, ledger: &mut Ledger) -> Result<(), Failure> {
    let load = Load::begin(stage.port, demo.rate)?;
    first_release(stage, client, &load, ledger).await?;
    canary(stage, client, &load, ledger).await?;
    bad_release(stage, client, &load, ledger).await?;
    advice::tell(4, stage, client, &load, ledger).await?;
    killed_orchestrator(stage, client, &load, ledger).await?;
    look_back(client).await?;
    certificate::tell(7, stage, client, ledger).await?;
    approval::tell(8, stage, client, ledger).await?;
    let counts = load.end().await;
    ledger.check(
        counts.requests > 0 && counts.lost == 0,
        format!(
            "{} requests in all, {} without an answer, {} errors: all from the bad release on trial",
            counts.requests, counts.lost, counts.errors
        ),
    );
    Ok(())
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::other(format!("{what}: {error}"))
}

fn act(number: u32, title: &str) {
    output::line("");
    output::line(paint::strong(format!("── {number} ── {title} ")));
}

async fn first_release(
    stage: &Stage,
    client: &Client,
    load: &Load,
    ledger: &mut Ledger,
) -> Result<(), Failure> {
    act(1, "a first release, then constant load");
    let view = deploy(stage, client, &Release::good("1.0.0"), None).await?;
    ledger.check(view.summary.verdict == Some(Verdict::Promoted), "1.0.0 promoted");
    load.open().await;
    load.wait_for(50).await?;
    let counts = load.counts();
    ledger.check(counts.failed() == 0, format!("{} requests, {} failed", counts.requests, counts.failed()));
    Ok(())
}

async fn canary(stage: &Stage, client: &Client, load: &Load, ledger: &mut Ledger) -> Result<(), Failure> {
    act(2, "plan 2.0.0, then apply exactly that plan as a canary");
    let release = Release::good("2.0.0");
    let document = stage.spec(&release);
    let reply = client.plan(document).await?;
    output::know(&reply.versions);
    plan::show(&reply);
    output::line("");
    let before = load.counts();
    let view = deploy(stage, client, &release, Some(reply.digest)).await?;
    let counts = load.counts().since(&before);
    ledger.check(view.summary.verdict == Some(Verdict::Promoted), "2.0.0 promoted as planned");
    ledger.check(
        counts.failed() == 0,
        format!("{} requests through the switch, {} failed", counts.requests, counts.failed()),
    );
    let shares: Vec<String> = view
        .steps
        .iter()
        .flat_map(|step| &step.gates)
        .filter(|gate| gate.gate == "traffic-share")
        .map(|gate| gate.text.clone())
        .collect();
    ledger.check(!shares.is_empty(), format!("measured: {}", shares.join("; ")));
    let advice = view.advice.as_ref().map(|advice| format!("{}, {}", advice.source, advice.action.as_str()));
    ledger.check(advice.is_some(), format!("experts advised: {}", advice.unwrap_or_default()));
    Ok(())
}

async fn bad_release(
    stage: &Stage,
    client: &Client,
    load: &Load,
    ledger: &mut Ledger,
) -> Result<(), Failure> {
    act(3, "3.0.0 answers three of ten requests with an error: the gate trips");
    let view = deploy(stage, client, &Release::bad("3.0.0"), None).await?;
    output::line("");
    output::line(paint::faint(format!("$ codectl explain {}", view.summary.deployment)));
    output::line(steps::head(&view));
    show::explanation(&view);
    ledger.check(view.summary.verdict == Some(Verdict::RolledBack), "3.0.0 rolled back without a human");
    let gate = view.cause.as_ref().and_then(|cause| cause.gate.as_ref());
    ledger.check(
        gate.is_some(),
        format!("the gate that tripped: {}", gate.map(ToString::to_string).unwrap_or_default()),
    );
    let records = client.history(&view.summary.deployment).await?;
    if let Some(millis) = releases::verdict_to_rollback(&records) {
        ledger.check(millis < 1000, format!("the way back began {millis} ms after the verdict"));
    }
    let before = load.counts();
    load.wait_for(before.requests + 100).await?;
    let counts = load.counts().since(&before);
    let versions: Vec<String> = counts.versions.keys().cloned().collect();
    ledger.check(
        versions == ["2.0.0"] && counts.failed() == 0,
        format!("all traffic is back on {}", versions.join(", ")),
    );
    Ok(())
}

async fn killed_orchestrator(
    stage: &mut Stage,
    client: &Client,
    load: &Load,
    ledger: &mut Ledger,
) -> Result<(), Failure> {
    act(5, "4.0.0 while the orchestrator is killed with -9 in the middle");
    two_orchestrators(stage, client).await?;
    let before = load.counts();
    let submit = submit(stage.spec(&Release::slow("4.0.0")), None);
    let deployment = client.submit(&submit).await?.deployment;
    let (owner, at) = in_the_middle(client, &deployment).await?;
    let killed = tokio::time::Instant::now();
    let pid = stage.kill(&owner)?;
    output::line(format!(
        "  {} orchestrator {} (process {pid}) while at {at}",
        paint::bad("kill -9"),
        steps::short(&owner)
    ));
    let step = taken_over(client, &deployment, &owner, killed, ledger).await?;
    ledger.check(step.as_ref() == Some(&at), format!("at the same step: {at}"));

    let view = watch::follow(client, &deployment).await?;
    ledger.check(view.summary.verdict == Some(Verdict::Promoted), "4.0.0 promoted");
    let counts = load.counts().since(&before);
    ledger.check(
        counts.failed() == 0,
        format!("{} requests meanwhile, {} failed", counts.requests, counts.failed()),
    );
    nothing_twice(stage, ledger)
}

/// One orchestrator of its own in place of the engine's, and another that stands by.
async fn two_orchestrators(stage: &mut Stage, client: &Client) -> Result<(), Failure> {
    let first = stage.orchestrator(client).await?;
    stage.hand_over(client).await?;
    output::line(format!(
        "  orchestrator {} (process {}) has taken over from the engine's own",
        steps::short(&first.replica),
        first.pid
    ));
    let second = stage.orchestrator(client).await?;
    output::line(format!(
        "  orchestrator {} (process {}) stands by",
        steps::short(&second.replica),
        second.pid
    ));
    Ok(())
}

/// Waits for a pause, and gives who owns the deployment then, and the pause.
async fn in_the_middle(client: &Client, deployment: &DeploymentId) -> Result<(String, String), Failure> {
    loop {
        let view = client.status(deployment).await?;
        if let (Some(pause), Some((owner, _))) = (pausing(&view), &view.owner) {
            return Ok((owner.clone(), pause));
        }
        if view.summary.phase == Phase::Closed {
            return Err(Failure::other(format!(
                "{deployment} ended too early: {}",
                view.explanation.headline
            )));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits for another owner, at most 30 s, and gives the pause at which it found the deployment.
async fn taken_over(
    client: &Client,
    deployment: &DeploymentId,
    owner: &str,
    killed: tokio::time::Instant,
    ledger: &mut Ledger,
) -> Result<Option<String>, Failure> {
    let mut beats = client.beats(None).await?;
    while killed.elapsed() < Duration::from_secs(30) {
        if let Ok(view) = client.status(deployment).await
            && let Some((new, _)) = view.owner.as_ref().filter(|(new, _)| new != owner)
        {
            let after = killed.elapsed();
            output::line(format!(
                "  {} orchestrator {} takes over after {:.1} s",
                paint::warn("→"),
                steps::short(new),
                after.as_secs_f64()
            ));
            let soon = after < Duration::from_secs(5);
            ledger.check(soon, format!("taken over after {:.1} s", after.as_secs_f64()));
            return Ok(pausing(&view));
        }
        let _ = tokio::time::timeout(Duration::from_millis(100), beats.next()).await;
    }
    Err(Failure::other("nobody took over within 30 s"))
}

fn nothing_twice(stage: &Stage, ledger: &mut Ledger) -> Result<(), Failure> {
    let starts = effect_ledger(stage)?;
    let twice = starts.values().filter(|times| **times > 1).count();
    ledger
        .check(twice == 0, format!("{} instances were started in all, {twice} of them twice", starts.len()));
    Ok(())
}

async fn look_back(client: &Client) -> Result<(), Failure> {
    act(6, "looking back");
    let request = ListRequest { target: None, active: false, limit: Some(10) };
    let list = client.list(&request).await?;
    output::line(paint::faint("$ codectl list"));
    for summary in &list {
        let verdict = summary.verdict.map(paint::verdict).unwrap_or_else(|| summary.phase.to_string());
        output::line(format!(
            "  {}  {verdict}  {}  {}",
            summary.modules.join(", "),
            summary.received,
            paint::faint(&summary.deployment)
        ));
    }
    let Some(last) = list.first() else { return Ok(()) };
    let records = client.history(&last.deployment).await?;
    output::line(paint::faint(format!(
        "$ codectl history {}   (the last of {} records)",
        last.deployment,
        records.len()
    )));
    records.iter().rev().take(4).rev().for_each(show::record);
    Ok(())
}

fn submit(document: String, plan: Option<model::Digest>) -> Submit {
    Submit { document, request_id: None, plan, force: None, mode: Mode::Apply }
}

async fn deploy(
    stage: &Stage,
    client: &Client,
    release: &Release,
    plan: Option<model::Digest>,
) -> Result<DeploymentView, Failure> {
    let submit = submit(stage.spec(release), plan);
    let submitted = client.submit(&submit).await?;
    output::line(paint::faint(format!("$ codectl apply greeter-{}.yaml --watch", release.version)));
    watch::follow(client, &submitted.deployment).await
}

fn pausing(view: &DeploymentView) -> Option<String> {
    view.steps
        .iter()
        .find(|step| {
            step.text.starts_with("pause")
                && matches!(step.status, StepStatus::Scheduled | StepStatus::Running)
        })
        .map(|step| step.id.to_string())
}

/// How often each instance was started, as the instances themselves wrote it down.
fn effect_ledger(stage: &Stage) -> Result<BTreeMap<String, u32>, Failure> {
    let text = fs::read_to_string(&stage.ledger)
        .map_err(|error| Failure::other(format!("reading {}: {error}", stage.ledger.display())))?;
    let mut starts = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some("start"), Some(_), Some(instance)) = (words.next(), words.next(), words.next()) {
            *starts.entry(instance.to_owned()).or_insert(0) += 1;
        }
    }
    Ok(starts)
}

fn summary(ledger: &Ledger, took: Duration) -> Result<u8, Failure> {
    let broken = ledger.lines.iter().filter(|(held, _)| !held).count();
    output::line("");
    output::line(paint::strong(format!(
        "{} of {} promises held in {:.0} s",
        ledger.lines.len() - broken,
        ledger.lines.len(),
        took.as_secs_f64()
    )));
    for (_, text) in ledger.lines.iter().filter(|(held, _)| !held) {
        output::line(format!("  {} {text}", paint::bad("✗")));
    }
    if output::json() {
        output::document(&ledger.lines);
    }
    if broken == 0 {
        output::line(paint::faint(
            "now yours: `make up`, then `codectl apply examples/specs/greeter.yaml --watch`",
        ));
    }
    Ok(u8::from(broken > 0))
}
