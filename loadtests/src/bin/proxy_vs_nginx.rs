//! The data plane against nginx: same backend, same generator, in turns.
//!
//! Generator, proxy and backend share this machine's cores, so requests per second are bounded by all three together;
//! CPU time per request is the proxy's alone.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::{Context, Result};
use benches::{
    Options,
    figure::{Aim, Better, Figure},
    machine, output,
    rounds::Pair,
};
use clap::Parser;
use loadtests::{
    backend,
    generator::{Load, generate},
    nginx::Nginx,
};
use model::{
    Fence, Span,
    plan::Revision,
    route::{Endpoint, RouteTable, Weights},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};
use traffic::proxy::{Plane, Settings};

/// Measures the data plane against nginx as a plain reverse proxy.
#[derive(Parser)]
#[command(name = "proxy_vs_nginx")]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Connections that the generator holds.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Threads and workers of the proxies; several by several uses.
    #[arg(long, default_values_t = [1, 2])]
    workers: Vec<usize>,
    /// Be the backend, or the data plane in front of this address. The program calls itself so.
    #[arg(long, hide = true)]
    part: Option<String>,
    #[arg(long, hide = true)]
    upstream: Option<SocketAddr>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match (arguments.part.as_deref(), arguments.upstream) {
        (None, _) => tokio::runtime::Runtime::new()?.block_on(measure(arguments)),
        (Some("backend"), _) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(until_left_alone(backend::serve(|address| output::line(address.to_string()))))
        }
        (Some("plane"), Some(upstream)) => {
            let threads = arguments.workers.first().copied().unwrap_or(1);
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
            runtime.block_on(until_left_alone(carry(upstream)))
        }
        (Some(part), _) => anyhow::bail!("{part} is no part of this program"),
    }
}

/// Ends when the standard input does, so that nothing outlives the program that began it.
async fn until_left_alone(work: impl Future<Output = Result<()>>) -> Result<()> {
    let (mut end, mut nothing) = (tokio::io::stdin(), [0_u8; 1]);
    tokio::select! {
        ended = work => ended,
        _ = tokio::io::AsyncReadExt::read(&mut end, &mut nothing) => Ok(()),
    }
}

/// Two revisions at 90 and 10 percent, because that is what a data plane is for.
async fn carry(upstream: SocketAddr) -> Result<()> {
    let (old, new): (Revision, Revision) = ("old".parse()?, "new".parse()?);
    let endpoint = |name: &str| {
        vec![Endpoint { instance: name.to_owned(), address: upstream.to_string(), ports: Default::default() }]
    };
    let table = RouteTable {
        target: "bench.process.shop".parse()?,
        module: "web".parse()?,
        listen: 0,
        internal: false,
        peers: Default::default(),
        version: 1,
        fence: Fence::default(),
        weights: Weights::split(new.clone(), 10, old.clone()),
        endpoints: [(old, endpoint("one")), (new, endpoint("two"))].into(),
        pins: Vec::new(),
        sticky_cookie: None,
        request_timeout: Span::seconds(30),
    };
    let key = RouteTable::key(&table.target, &table.module);
    let plane = Plane::new(Settings::default());
    plane.apply(table).context("applying the table")?;
    output::line(plane.listening(&key).await.to_string());
    std::future::pending().await
}

/// A part of this program as a process of its own, and where it listens.
struct Part {
    address: SocketAddr,
    child: Child,
}

impl Part {
    async fn start(arguments: &[&str]) -> Result<Part> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting a part of this program")?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let address = lines.next_line().await?.context("a part ended before it listened")?;
        Ok(Part { address: address.parse()?, child })
    }

    fn pid(&self) -> Result<u32> {
        self.child.id().context("a part has ended")
    }
}

/// One round of one proxy.
#[derive(Clone, Copy, Default)]
struct Round {
    per_second: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
}

async fn measure(arguments: Arguments) -> Result<()> {
    let options = &arguments.options;
    let (rounds, span) = (options.size(7, 3), options.size(Duration::from_secs(4), Duration::from_secs(1)));
    let backend = Part::start(&["--part", "backend"]).await?;
    let upstream = backend.address;
    let straight = generate(upstream, arguments.connections, span, backend::BODY).await?;
    let mut figures = vec![
        Figure::new("the generator straight to the backend", "requests/s", Better::More, straight.per_second)
            .note("the ceiling of what follows: generator, proxy and backend share the cores"),
    ];
    for workers in &arguments.workers {
        output::progress(format!("{workers} workers, {rounds} rounds of {span:?} each"));
        let plane =
            ["--part", "plane", "--workers", &workers.to_string(), "--upstream", &upstream.to_string()];
        let plane = Part::start(&plane).await?;
        let nginx = Nginx::start(*workers, upstream).await?;
        let (mut of_ours, mut of_nginx) = (Vec::new(), Vec::new());
        let ours =
            async || round(plane.address, plane.pid()?, arguments.connections, span, &mut of_ours).await;
        let theirs =
            async || round(nginx.address, nginx.pid()?, arguments.connections, span, &mut of_nginx).await;
        Pair::run(rounds, ours, theirs).await?;
        nginx.stop().await?;
        // The first of each was to warm up.
        figures.extend(compare(*workers, &of_ours[1..], &of_nginx[1..]));
    }
    output::finish("proxy_vs_nginx", "make bench ARGS=proxy_vs_nginx", options, figures)
}

async fn round(
    address: SocketAddr,
    pid: u32,
    connections: usize,
    span: Duration,
    all: &mut Vec<Round>,
) -> Result<f64> {
    let before = machine::cpu_seconds(pid)?;
    let Load { per_second, answers, times } = generate(address, connections, span, backend::BODY).await?;
    let cpu = (machine::cpu_seconds(pid)? - before) / answers as f64 * 1000.0 * 1000.0;
    all.push(Round { per_second, p50: times.millis(0.5), p99: times.millis(0.99), cpu });
    Ok(per_second)
}

fn compare(workers: usize, ours: &[Round], nginx: &[Round]) -> Vec<Figure> {
    let pair = |of: fn(&Round) -> f64| Pair {
        ours: ours.iter().map(of).collect(),
        baseline: nginx.iter().map(of).collect(),
    };
    let who = format!("{workers} {}", if workers == 1 { "worker" } else { "workers" });
    let figure = |what: &str, unit: &str, better: Better, of: fn(&Round) -> f64| {
        pair(of).figure(format!("proxy, {who}: {what}"), unit, better, "nginx")
    };
    vec![
        figure("requests per second", "1/s", Better::More, |round| round.per_second).aims(Aim::Ratio(0.5)),
        figure("CPU per 1000 requests", "ms", Better::Less, |round| round.cpu).aims(Aim::Ratio(0.5)),
        figure("latency p50", "ms", Better::Less, |round| round.p50),
        figure("latency p99", "ms", Better::Less, |round| round.p99),
    ]
}
