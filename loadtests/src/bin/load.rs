//! Load on an engine: calls, and concurrent deployments that must end with the verdict they ask for.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use benches::{
    Options,
    engine::Engine,
    figure::{Aim, Better, Figure},
    output,
    rounds::{Times, closed_loop, timed},
    stage,
    watch::{Client, Release, Watch},
};
use bus::{Bus, subjects};
use clap::Parser;
use model::{Digest, Verdict, command::ListRequest};
use tokio::{sync::mpsc, task::JoinSet};

/// Calls and deployments side by side on a running engine, or on one that is started for it.
#[derive(Parser)]
#[command(name = "load")]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// A running engine's NATS, such as nats://127.0.0.1:4222. Default: an engine of its own whose agents obey at once.
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// With `--nats`: the file with the operator's key.
    #[arg(long, value_name = "FILE", requires = "nats")]
    key: Option<std::path::PathBuf>,
    /// The platform that a running engine deploys on.
    #[arg(long, default_value = "scripted")]
    platform: String,
    /// Deployments at a time.
    #[arg(long, default_value_t = 32)]
    lanes: usize,
    /// Rounds of every lane; a round is seven deployments with six ways to end.
    #[arg(long)]
    turns: Option<usize>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // Ids follow from the run's name, and a running engine remembers earlier runs.
    let run = model::DeploymentId::new().to_string();
    match &arguments.nats {
        None => {
            let engine = Engine::start(run).await?;
            let outcome = load(&arguments, &engine.client, true).await;
            engine.stop().await;
            outcome
        }
        Some(url) => {
            let key = arguments.key.as_ref().context("--nats needs --key")?;
            let (bus, mut following) = (stage::connect(url, key, "load").await?, JoinSet::new());
            let watch = Watch::start(&bus, &mut following).await?;
            load(&arguments, &Client { bus, watch, run }, false).await
        }
    }
}

async fn load(arguments: &Arguments, client: &Client, obedient: bool) -> Result<()> {
    let options = &arguments.options;
    let mut figures = calls(options, &client.bus).await?;
    let turns = arguments.turns.unwrap_or(options.size(10, 2));
    let (wrong, more) = deployments(arguments, client, turns, obedient).await?;
    figures.extend(more);
    output::finish("load", "make load", options, figures)?;
    for line in wrong.iter().take(20) {
        output::line(line);
    }
    if !wrong.is_empty() {
        bail!("{} deployments did not end as they should", wrong.len());
    }
    Ok(())
}

async fn calls(options: &Options, bus: &Bus) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for in_flight in [1, 64] {
        output::progress(format!("calls, {in_flight} in flight"));
        let total = options.size(2000, 400) * in_flight.min(8);
        let done = closed_loop(in_flight, total, |_, share| {
            let bus = bus.clone();
            async move {
                let (request, mut times) =
                    (ListRequest { limit: Some(1), ..ListRequest::default() }, Times::default());
                for _ in 0..share {
                    let list = bus.call(&subjects::orchestrator::LIST, &request, Duration::from_secs(10));
                    timed(&mut times, async { Ok(list.await?) }).await?;
                }
                Ok(times)
            }
        })
        .await?;
        let note = format!("p50 {:.2} ms, p99 {:.2} ms", done.times.millis(0.5), done.times.millis(0.99));
        let name = format!("calls to the orchestrator, {in_flight} in flight");
        figures.push(Figure::new(name, "1/s", Better::More, done.per_second()).note(note));
    }
    Ok(figures)
}

/// What a deployment asked for and what it got.
struct Ended {
    key: String,
    wanted: Verdict,
    got: Result<Verdict>,
}

async fn deployments(
    arguments: &Arguments,
    client: &Client,
    turns: usize,
    obedient: bool,
) -> Result<(Vec<String>, Vec<Figure>)> {
    let lanes = arguments.lanes.max(1);
    output::progress(format!("{lanes} lanes of {turns} rounds of seven deployments"));
    let (ended, mut all) = mpsc::unbounded_channel();
    let done = closed_loop(lanes, lanes * turns, |number, share| {
        let lane = Lane {
            client: client.clone(),
            platform: arguments.platform.clone(),
            name: format!("load-{number}-{}", &client.run[client.run.len() - 6..]),
            obedient,
            next: 0,
            ended: ended.clone(),
        };
        lane.run(share)
    })
    .await?;
    drop(ended);
    let (mut wrong, mut verdicts) = (Vec::new(), BTreeMap::<String, u64>::new());
    while let Some(Ended { key, wanted, got }) = all.recv().await {
        match got {
            Ok(got) if got == wanted => *verdicts.entry(got.to_string()).or_default() += 1,
            Ok(got) => wrong.push(format!("{key} should end as {wanted} and ended as {got}")),
            Err(error) => wrong.push(format!("{key} should end as {wanted}: {error:#}")),
        }
    }
    let right: u64 = verdicts.values().sum();
    let seconds = done.took.as_secs_f64();
    let said: Vec<String> = verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    let rate = (right + wrong.len() as u64) as f64 / seconds;
    let times = format!(
        "a round of seven: p50 {:.0} ms, p99 {:.0} ms",
        done.times.millis(0.5),
        done.times.millis(0.99)
    );
    let figures = vec![
        Figure::new(format!("deployments with mixed verdicts, {lanes} lanes"), "1/s", Better::More, rate)
            .note(times),
        Figure::new("deployments with a wrong verdict", "of all", Better::Less, wrong.len() as f64)
            .aims(Aim::AtMost(0.0))
            .note(said.join(", ")),
    ];
    Ok((wrong, figures))
}

/// One target, and what happens to it.
struct Lane {
    client: Client,
    platform: String,
    name: String,
    /// Our own agents fail a step when a label says so; others do not.
    obedient: bool,
    next: usize,
    ended: mpsc::UnboundedSender<Ended>,
}

impl Lane {
    async fn run(mut self, share: usize) -> Result<Times> {
        let mut times = Times::default();
        self.goes_through().await?;
        for _ in 0..share {
            timed(&mut times, self.round()).await?;
        }
        Ok(times)
    }

    async fn round(&mut self) -> Result<()> {
        self.goes_through().await?;
        self.is_withdrawn().await?;
        self.is_superseded().await?;
        self.is_another_plan().await?;
        if self.obedient {
            self.fails_and_is_quarantined().await
        } else {
            self.goes_through().await?;
            self.goes_through().await
        }
    }

    /// Names are copied, so that the lane can be asked for the next one meanwhile.
    fn release<R>(&mut self, make: impl FnOnce(Release<'_>) -> R) -> (String, R) {
        self.next += 1;
        let release = Release {
            platform: &self.platform,
            routed: self.obedient,
            ..Release::new(&self.name, self.next)
        };
        (format!("{}-{}", self.name, self.next), make(release))
    }

    fn end(&self, key: String, wanted: Verdict, got: Result<Verdict>) -> Result<()> {
        self.ended.send(Ended { key, wanted, got }).ok().context("nobody counts")
    }

    async fn goes_through(&mut self) -> Result<()> {
        let (key, document) = self.release(|release| release.document());
        let got = self.client.deploy(&key, document).await;
        self.end(key, Verdict::Promoted, got)
    }

    async fn is_withdrawn(&mut self) -> Result<()> {
        let (key, document) = self.release(|release| Release { pauses: true, ..release }.document());
        let got = async {
            let mut under = self.client.submit(&key, document, None).await?;
            under.pause().await?;
            under.abort().await?;
            under.verdict().await
        };
        let got = got.await;
        self.end(key, Verdict::RolledBack, got)
    }

    async fn is_superseded(&mut self) -> Result<()> {
        let (key, document) = self.release(|release| Release { pauses: true, ..release }.document());
        let mut under = self.client.submit(&key, document, None).await?;
        under.pause().await?;
        let (newer, document) = self.release(|release| Release { supersedes: true, ..release }.document());
        let (old, new) = tokio::join!(under.verdict(), self.client.deploy(&newer, document));
        self.end(key, Verdict::Superseded, old)?;
        self.end(newer, Verdict::Promoted, new)
    }

    async fn is_another_plan(&mut self) -> Result<()> {
        let (key, document) = self.release(|release| release.document());
        let other = Digest::of_bytes(b"a plan that was never made");
        let got = async { self.client.submit(&key, document, Some(other)).await?.verdict().await };
        let got = got.await;
        self.end(key, Verdict::Rejected, got)
    }

    async fn fails_and_is_quarantined(&mut self) -> Result<()> {
        let (key, document) =
            self.release(|release| Release { fails: Some("weight-50"), ..release }.document());
        let got = self.client.deploy(&key, document.clone()).await;
        self.end(key.clone(), Verdict::RolledBack, got)?;
        let again = format!("{key}-again");
        let got = self.client.deploy(&again, document).await;
        self.end(again, Verdict::Rejected, got)
    }
}
