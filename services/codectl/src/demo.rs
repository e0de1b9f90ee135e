//! The whole story in one terminal, on real processes under constant load: a first release, a plan, a canary, a bad
//! release that is taken back, a risky one that experts hold back, an orchestrator that is killed in the middle, and
//! what the certificates prove. It asserts what it tells: the exit status is 0 only when every act ended as it should and
//! no request failed that should not have.

mod advice;
mod certificate;
mod load;
mod releases;
mod stage;

use std::{collections::BTreeMap, fs, time::Duration};

use bus::subjects;
use futures::StreamExt;
use model::{
    Phase, Verdict,
    command::{HistoryRequest, ListRequest, PlanRequest, Submit},
    deployment::Mode,
    view::{DeploymentView, StepStatus},
};

use crate::{
    cli::{Demo, Global},
    client::Client,
    commands::{plan, show, watch},
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
    let client = Client::connect(&Global { nats: Some(stage.nats.clone()), ..global.clone() }).await?;
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
    let reply = client.ask(&subjects::orchestrator::PLAN, &PlanRequest { document }).await?;
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
    let history = HistoryRequest { deployment: view.summary.deployment.clone() };
    let history = client.ask(&subjects::orchestrator::HISTORY, &history).await?;
    if let Some(millis) = releases::verdict_to_rollback(&history.records) {
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

    let before = load.counts();
    let submit = submit(client, stage.spec(&Release::slow("4.0.0")), None);
    let deployment = client.ask(&subjects::orchestrator::SUBMIT, &submit).await?.deployment;
    let (owner, at) = loop {
        let view = client.view(&deployment).await?;
        if let (Some(pause), Some((owner, _))) = (pausing(&view), &view.owner) {
            break (owner.clone(), pause);
        }
        if view.summary.phase == Phase::Closed {
            return Err(Failure::other(format!(
                "{deployment} ended too early: {}",
                view.explanation.headline
            )));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let killed = tokio::time::Instant::now();
    let pid = stage.kill(&owner)?;
    output::line(format!(
        "  {} orchestrator {} (process {pid}) while at {at}",
        paint::bad("kill -9"),
        steps::short(&owner)
    ));
    let mut took = None;
    let mut events = client.bus.listen(&subjects::orchestrator::BEAT, None).await?;
    while took.is_none() && killed.elapsed() < Duration::from_secs(30) {
        if let Ok(view) = client.view(&deployment).await
            && let Some((new, _)) = view.owner.as_ref().filter(|(new, _)| *new != owner)
        {
            took = Some((new.clone(), killed.elapsed(), pausing(&view)));
            break;
        }
        let _ = tokio::time::timeout(Duration::from_millis(100), events.next()).await;
    }
    let Some((new, after, step)) = took else {
        return Err(Failure::other("nobody took over within 30 s"));
    };
    output::line(format!(
        "  {} orchestrator {} takes over after {:.1} s",
        paint::warn("→"),
        steps::short(&new),
        after.as_secs_f64()
    ));
    ledger.check(after < Duration::from_secs(5), format!("taken over after {:.1} s", after.as_secs_f64()));
    ledger.check(step.as_ref() == Some(&at), format!("at the same step: {at}"));

    let view = watch::follow(client, &deployment).await?;
    ledger.check(view.summary.verdict == Some(Verdict::Promoted), "4.0.0 promoted");
    let counts = load.counts().since(&before);
    ledger.check(
        counts.failed() == 0,
        format!("{} requests meanwhile, {} failed", counts.requests, counts.failed()),
    );
    let starts = effect_ledger(stage)?;
    let twice: Vec<&String> =
        starts.iter().filter(|(_, times)| **times > 1).map(|(instance, _)| instance).collect();
    ledger.check(
        twice.is_empty(),
        format!("{} instances were started in all, {} of them twice", starts.len(), twice.len()),
    );
    Ok(())
}

async fn look_back(client: &Client) -> Result<(), Failure> {
    act(6, "looking back");
    let request = ListRequest { target: None, active: false, limit: Some(10) };
    let list = client.ask(&subjects::orchestrator::LIST, &request).await?;
    output::line(paint::faint("$ codectl list"));
    for summary in &list.deployments {
        let verdict = summary.verdict.map(paint::verdict).unwrap_or_else(|| summary.phase.to_string());
        output::line(format!(
            "  {}  {verdict}  {}  {}",
            summary.modules.join(", "),
            summary.received,
            paint::faint(&summary.deployment)
        ));
    }
    let Some(last) = list.deployments.first() else { return Ok(()) };
    let history = HistoryRequest { deployment: last.deployment.clone() };
    let history = client.ask(&subjects::orchestrator::HISTORY, &history).await?;
    output::line(paint::faint(format!(
        "$ codectl history {}   (the last of {} records)",
        last.deployment,
        history.records.len()
    )));
    history.records.iter().rev().take(4).rev().for_each(show::record);
    Ok(())
}

fn submit(client: &Client, document: String, plan: Option<model::Digest>) -> Submit {
    Submit { document, initiator: client.who.clone(), request_id: None, plan, force: None, mode: Mode::Apply }
}

async fn deploy(
    stage: &Stage,
    client: &Client,
    release: &Release,
    plan: Option<model::Digest>,
) -> Result<DeploymentView, Failure> {
    let submit = submit(client, stage.spec(release), plan);
    let submitted = client.ask(&subjects::orchestrator::SUBMIT, &submit).await?;
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
