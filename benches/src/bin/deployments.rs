//! How many deployments the engine carries through, and what its journals cost against raw durable writes.
//!
//! The orchestrator runs as a process of its own on a real nats-server that syncs every write to disk. The agents
//! obey at once, so the time is the engine's. Ends with an error when memory grows with every finished deployment.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use benches::{
    Options,
    agents::Obedient,
    figure::{Aim, Better, Figure},
    machine, output,
    raw::Raw,
    rounds::{Done, Times, closed_loop, median, timed},
    stage::{self, Stage},
    watch::{Client, Release, Watch},
};
use bus::subjects;
use chassis::Service;
use clap::Parser;
use model::{Span, Verdict, command::ListRequest};
use tokio::{
    process::{Child, Command},
    task::JoinSet,
};

/// Measures deployments per second, journal writes per second, the time to the first step, and memory.
#[derive(Parser)]
#[command(name = "deployments")]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Be the orchestrator on this nats-server until the standard input ends. The program calls itself so.
    #[arg(long, value_name = "URL", hide = true)]
    orchestrator: Option<String>,
    /// With `--orchestrator`: the key.
    #[arg(long, hide = true)]
    key: Option<std::path::PathBuf>,
    /// Ended deployments that it keeps for lists.
    #[arg(long, hide = true, default_value_t = REMEMBERED)]
    remembered: usize,
    /// Seconds between the orchestrator's sweeps; to tell what a sweep costs. Default: the orchestrator's.
    #[arg(long)]
    sweep: Option<u64>,
    /// Only the memory figure.
    #[arg(long)]
    memory_only: bool,
    /// Finished deployments of the memory figure. Default 10000, quick 600.
    #[arg(long)]
    finished: Option<usize>,
}

/// Memory at half time against memory at the end: lower, and finished deployments stay in memory.
const FLAT: f64 = 0.95;
/// Below so many the allocator is still settling: in two runs of 640 the slope was +5000 and -185 bytes.
const ENOUGH: usize = 2000;
const LANES: [usize; 3] = [1, 64, 256];
/// The orchestrator's default.
const REMEMBERED: usize = 1000;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(url) = &arguments.orchestrator {
        return be_the_orchestrator(url, &arguments).await;
    }
    let options = arguments.options.clone();
    let mut figures = if arguments.memory_only { Vec::new() } else { rates(&options).await? };
    let finished = arguments.finished.unwrap_or(options.size(10_000, 600));
    let memory = memory(finished, arguments.sweep).await?;
    let grows = memory.is_met() == Some(false);
    figures.push(memory);
    output::finish("deployments", "make bench ARGS=deployments", &options, figures)?;
    if grows {
        bail!("the orchestrator's memory grows with finished deployments");
    }
    Ok(())
}

async fn be_the_orchestrator(url: &str, arguments: &Arguments) -> Result<()> {
    let key = arguments.key.clone().context("--orchestrator needs --key")?;
    let bus = stage::connect(url, &key, "orchestrator").await?;
    let mut config =
        orchestrator::Config { remembered: arguments.remembered, ..orchestrator::Config::default() };
    if let Some(seconds) = arguments.sweep {
        config.sweep = Span::seconds(seconds);
    }
    let service = Service::for_tests(config, bus);
    orchestrator::start(service.clone()).await.context("starting the orchestrator")?;
    let (mut end, mut nothing) = (tokio::io::stdin(), [0_u8; 1]);
    let _ = tokio::io::AsyncReadExt::read(&mut end, &mut nothing).await;
    service.stop(Duration::from_secs(5)).await;
    Ok(())
}

/// The whole engine, and someone who deploys on it.
struct Engine {
    client: Client,
    raw: Raw,
    orchestrator: Child,
    _agents: Obedient,
    _following: JoinSet<()>,
    _stage: Stage,
}

impl Engine {
    async fn start(remembered: usize, sweep: Option<u64>) -> Result<Engine> {
        let stage = Stage::start().await?;
        let (bus, mut following) = (stage.connect("client").await?, JoinSet::new());
        let watch = Watch::start(&bus, &mut following).await?;
        let agents = Obedient::start(&stage.connect("agents").await?, &watch).await?;
        let mut orchestrator = Command::new(std::env::current_exe()?);
        if let Some(seconds) = sweep {
            orchestrator.args(["--sweep", &seconds.to_string()]);
        }
        let orchestrator = orchestrator
            .arg("--key")
            .arg(stage.key())
            .args(["--orchestrator", &stage.url(), "--remembered", &remembered.min(REMEMBERED).to_string()])
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the orchestrator's process")?;
        let ready = async {
            while bus
                .call(&subjects::orchestrator::LIST, &ListRequest::default(), Duration::from_secs(1))
                .await
                .is_err()
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ready)
            .await
            .context("the orchestrator did not answer")?;
        let raw = Raw::connect(&stage.url(), &stage.key()).await?;
        raw.streams().await?;
        let client = Client { bus, watch, run: "run".to_owned() };
        Ok(Engine { client, raw, orchestrator, _agents: agents, _following: following, _stage: stage })
    }

    /// Deploys `total` times, so many side by side, each on a target of its own.
    async fn deploy(&self, lanes: usize, total: usize, round: &str) -> Result<Done> {
        closed_loop(lanes, total, |lane, share| {
            deploy_loop(self.client.clone(), round.to_owned(), lane, share)
        })
        .await
    }

    fn resident(&self) -> Result<f64> {
        let pid = self.orchestrator.id().context("the orchestrator has ended")?;
        Ok(machine::resident(pid)? as f64)
    }
}

async fn deploy_loop(client: Client, round: String, lane: usize, share: usize) -> Result<Times> {
    let mut times = Times::default();
    let name = format!("shop-{round}-{lane}");
    for number in 0..share {
        let document = Release::new(&name, number).document();
        let key = format!("{name}-{number}");
        let verdict = timed(&mut times, client.deploy(&key, document)).await?;
        if verdict != Verdict::Promoted {
            bail!("{key} ended as {verdict}");
        }
    }
    Ok(times)
}

async fn rates(options: &Options) -> Result<Vec<Figure>> {
    let engine = Engine::start(REMEMBERED, None).await?;
    let mut figures = Vec::new();
    for lanes in LANES {
        let total = match lanes {
            1 => options.size(60, 20),
            lanes => options.size(lanes * 12, lanes * 3),
        };
        output::progress(format!("{total} deployments, {lanes} at a time"));
        // The first release of a target has fewer steps; it is made before anything is measured.
        let round = format!("{lanes}");
        engine.deploy(lanes, lanes, &format!("{round}-warm")).await?;
        engine.client.watch.take_first_steps();

        let publishes = options.size(4000, 1000);
        let raw = &engine.raw;
        let before = raw.publishes_per_second(lanes, publishes, 1024).await?;
        let (at_first, writes_at_first) = (engine.client.watch.totals(), raw.writes().await?);
        let done = engine.deploy(lanes, total, &round).await?;
        let (at_last, writes_at_last) = (engine.client.watch.totals(), raw.writes().await?);
        let after = raw.publishes_per_second(lanes, publishes, 1024).await?;

        let first_steps = engine.client.watch.take_first_steps();
        let baseline = median(&[before, after]);
        let seconds = done.took.as_secs_f64();
        let rate = |count: u64| count as f64 / seconds;
        let side = format!("{lanes} at a time");
        let publishes = format!("raw durable publishes, {lanes} in flight");
        let times =
            format!("p50 {:.0} ms, p99 {:.0} ms each", done.times.millis(0.5), done.times.millis(0.99));
        let more =
            |what: &str, value: f64| Figure::new(format!("{what}, {side}"), "1/s", Better::More, value);
        figures.push(more("deployments", done.per_second()).note(times));
        let steps = rate(at_last.steps - at_first.steps);
        figures.push(more("steps ended", steps).against(publishes.clone(), baseline));
        let records = rate(at_last.records - at_first.records);
        figures.push(more("journal records", records).against(publishes.clone(), baseline));
        let writes = rate(writes_at_last - writes_at_first);
        figures.push(
            more("all durable writes", writes)
                .against(publishes, baseline)
                .note("journals, events and buckets of the deployments together"),
        );
        let each = (writes_at_last - writes_at_first) as f64 / (at_last.steps - at_first.steps).max(1) as f64;
        let name = format!("durable writes per step, {side}");
        figures.push(Figure::new(name, "", Better::Less, each));
        let first = Figure::new(
            format!("request to first step, p99, {side}"),
            "ms",
            Better::Less,
            first_steps.millis(0.99),
        );
        figures.push(first.note(format!("p50 {:.1} ms", first_steps.millis(0.5))));
    }
    Ok(figures)
}

/// Memory at the end against memory at half time, both from a line fitted to the second half: by then the lists that
/// are bounded are full.
async fn memory(finished: usize, sweep: Option<u64>) -> Result<Figure> {
    const LANES: usize = 32;
    const SAMPLES: usize = 20;
    let engine = Engine::start(finished / 4, sweep).await?;
    let share = (finished / SAMPLES).max(LANES);
    let mut samples: Vec<(f64, f64)> = Vec::new();
    for sample in 0..SAMPLES {
        // Targets are the same ones all the time: a target that exists is not a finished deployment.
        let client = engine.client.clone();
        let done = closed_loop(LANES, share, |lane, share| {
            let client = Client { run: format!("memory-{sample}"), ..client.clone() };
            again_loop(client, lane, share, sample)
        });
        let ended = done.await?.times.count();
        let so_far = samples.last().map_or(0.0, |(count, _)| *count) + ended as f64;
        let resident = engine.resident()? / MIB;
        output::progress(format!("{so_far} deployments finished, {resident:.1} MiB"));
        samples.push((so_far, resident));
    }
    let half = &samples[samples.len() / 2 - 1..];
    let (slope, middle) = slope(half);
    let (first, last) = (half[0].0, half[half.len() - 1].0);
    let at = |count: f64| middle.1 + slope * (count - middle.0);
    let name = format!("orchestrator's memory after {last} finished deployments");
    let note = format!("{:+.0} bytes per finished deployment in the second half", slope * MIB);
    let figure =
        Figure::new(name, "MiB", Better::Less, at(last)).against(format!("after {first}"), at(first));
    if finished < ENOUGH {
        return Ok(figure.note(format!("{note}; fewer than {ENOUGH} are too few to judge")));
    }
    Ok(figure.aims(Aim::Ratio(FLAT)).note(note))
}

const MIB: f64 = 1024.0 * 1024.0;

async fn again_loop(client: Client, lane: usize, share: usize, sample: usize) -> Result<Times> {
    let mut times = Times::default();
    let name = format!("shop-{lane}");
    for number in 0..share {
        let document = Release::new(&name, sample * 10_000 + number).document();
        timed(&mut times, client.deploy(&format!("{name}-{number}"), document)).await?;
    }
    Ok(times)
}

/// Least squares: the slope, and the point in the middle.
fn slope(points: &[(f64, f64)]) -> (f64, (f64, f64)) {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    (above / below, (x, y))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_line_is_its_slope() {
        assert_eq!(slope(&[(1.0, 3.0), (2.0, 5.0), (3.0, 7.0)]), (2.0, (2.0, 5.0)));
        assert_eq!(slope(&[(1.0, 3.0), (2.0, 3.0), (3.0, 3.0)]).0, 0.0);
    }
}
