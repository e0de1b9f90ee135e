//! What asking an expert costs us, against LiteLLM in front of the same emulated vendor: as a proxy and as a library.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use benches::{
    Options,
    figure::{Aim, Better, Figure},
    machine, output,
};
use clap::Parser;
use emulators::{Emulator, Scenario, Vendor};
use ground::Secret;
use nix::sys::resource::{UsageWho, getrusage};
use providers::{Ask, Catalogue, Circle};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::Instant,
};

/// Asks an emulated vendor with our client, with LiteLLM's library, and through LiteLLM's proxy.
#[derive(Parser)]
#[command(name = "asking")]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Only asks the emulator at this address, and prints what that cost. The other programs are measured in
    /// processes of their own; so are we.
    #[arg(long, hide = true, num_args = 2, value_names = ["BASE", "REQUESTS"])]
    client: Option<Vec<String>>,
}

const SCRIPT: &str = "benches/peers/litellm.py";
const PYTHON: &str = ".tools/litellm/bin/python";
const NONCE: &str = "n0nce-77";
const WARM_UP: usize = 20;
const PATIENCE: Duration = Duration::from_secs(120);

/// What asking cost a process.
#[derive(Debug, Serialize, Deserialize)]
struct Cost {
    cpu_seconds: f64,
    resident: u64,
    answers: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Arguments { options, client } = Arguments::parse();
    if let Some([base, requests]) = client.as_deref() {
        let cost = ask(base, requests.parse()?).await?;
        output::line(serde_json::to_string(&cost)?);
        return Ok(());
    }
    let emulator = Emulator::start(Scenario::default()).await?;
    let base = format!("http://{}", emulator.address());
    let (many, few) = options.size((4000, 400), (1000, 100));

    output::progress("our client");
    let ours = measure(
        command(std::env::current_exe()?, &["--client", &emulator.base_url(Vendor::Openai)], many),
        many,
    );
    let ours = ours.await.context("measuring our client")?;
    if !Path::new(PYTHON).exists() {
        let note =
            format!("LiteLLM is not there to compare: run python3 {SCRIPT} setup from the repository's root");
        let alone = vec![
            Figure::new("processor time of a question", "µs", Better::Less, micros(&ours, many)).note(note),
            Figure::new("memory", "MiB", Better::Less, mib(&ours)),
        ];
        return output::finish("asking", "make bench ARGS=asking", &options, alone);
    }
    output::progress("LiteLLM's library");
    let library = measure(command(PYTHON, &[SCRIPT, "library", &base], few), few)
        .await
        .context("measuring the library")?;
    output::progress("LiteLLM's proxy");
    let proxy = through_proxy(&base, few).await.context("measuring the proxy")?;

    let note = "8 KiB question in the closed schema, one at a time; ours has no server side, which the proxy has and \
                the library has not";
    let cpu = |name: &str, theirs: &Cost, few: usize| {
        Figure::new(
            format!("processor time of a question, against {name}"),
            "µs",
            Better::Less,
            micros(&ours, many),
        )
        .against(name, micros(theirs, few))
        .note(note)
    };
    let memory = |name: &str, theirs: &Cost| {
        Figure::new(format!("memory, against {name}"), "MiB", Better::Less, mib(&ours))
            .against(name, mib(theirs))
    };
    let figures = vec![
        cpu("LiteLLM's proxy", &proxy, few).aims(Aim::Ratio(100.0)),
        memory("LiteLLM's proxy", &proxy).aims(Aim::Ratio(10.0)),
        cpu("LiteLLM's library", &library, few),
        memory("LiteLLM's library", &library),
    ];
    output::finish("asking", "make bench ARGS=asking", &options, figures)
}

fn micros(cost: &Cost, requests: usize) -> f64 {
    cost.cpu_seconds * 1e6 / requests as f64
}

fn mib(cost: &Cost) -> f64 {
    cost.resident as f64 / f64::from(1 << 20)
}

fn question() -> Ask {
    let evidence = "p99 of shop was 181 ms over 5 min; errors 0.02 %. ".repeat(160);
    Ask::new(
        "You judge deployments. Answer in the schema.",
        format!("May shop go on? Echo the nonce: {NONCE}\n{evidence}"),
        PATIENCE,
    )
    .in_schema("answer", schema())
}

/// A part of the closed schema's size and shape in a form that every vendor takes.
fn schema() -> Value {
    let text = json!({"type": "string"});
    let finding = json!({
        "type": "object", "additionalProperties": false, "required": ["category", "severity", "statement"],
        "properties": {"category": text, "severity": text, "statement": text},
    });
    json!({
        "type": "object", "additionalProperties": false,
        "required": ["nonce", "verdict", "confidence_pct", "findings", "rationale"],
        "properties": {
            "nonce": text, "verdict": {"type": "string", "enum": ["approve", "reject", "needs_change", "abstain"]},
            "confidence_pct": {"type": "integer"}, "findings": {"type": "array", "items": finding}, "rationale": text,
        },
    })
}

/// An expert behind Chat Completions at this address.
fn circle(base: &str) -> Result<Circle> {
    let catalogue: Catalogue = serde_json::from_value(json!({
        "providers": {"played": {"dialect": "openai-compatible", "base_url": format!("{base}/v1"), "key": {"env": "KEY"}}},
        "experts": {"played": {"provider": "played", "model": "played-1", "family": "played",
            "context_tokens": 100_000, "max_output_tokens": 4096, "retries": 0}},
    }))?;
    Ok(Circle::open(&catalogue, |_| Ok(Secret::new("sk-test-0123456789")))?)
}

/// Asks so often after a few questions to warm up, and counts the right answers.
async fn asked(base: &str, requests: usize) -> Result<usize> {
    let circle = circle(base)?;
    let expert = circle.experts().values().next().context("no expert")?;
    let once = async || -> Result<bool> {
        let reply = expert.ask(&question()).await?;
        let answer: Value = serde_json::from_str(&reply.text)?;
        Ok(answer["nonce"] == NONCE)
    };
    let mut answers = 0;
    for _ in 0..requests {
        answers += usize::from(once().await?);
    }
    Ok(answers)
}

async fn ask(base: &str, requests: usize) -> Result<Cost> {
    asked(base, WARM_UP).await?;
    let before = cpu()?;
    let answers = asked(base, requests).await?;
    Ok(Cost { cpu_seconds: cpu()? - before, resident: machine::resident(std::process::id())?, answers })
}

fn cpu() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

fn command(program: impl Into<PathBuf>, arguments: &[&str], requests: usize) -> Command {
    let mut command = Command::new(program.into());
    command.args(arguments).arg(requests.to_string()).kill_on_drop(true);
    command
}

/// Runs a program that asks and tells what it cost. The question stands on its input, for those who need it.
async fn measure(mut command: Command, requests: usize) -> Result<Cost> {
    let ask = question();
    let told = json!({"system": ask.system, "user": ask.user, "schema": schema(), "nonce": NONCE});
    let mut input = tempfile::tempfile()?;
    input.write_all(told.to_string().as_bytes())?;
    std::io::Seek::rewind(&mut input)?;
    let output = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).output().await?;
    if !output.status.success() {
        bail!("it ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let cost: Cost = serde_json::from_str(text.lines().last().unwrap_or_default()).context("its output")?;
    if cost.answers != requests {
        bail!("only {} of {requests} answers were right", cost.answers);
    }
    Ok(cost)
}

async fn through_proxy(base: &str, requests: usize) -> Result<Cost> {
    let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
    let mut command = Command::new(PYTHON);
    command.args([SCRIPT, "proxy", base, &port.to_string()]).kill_on_drop(true);
    let mut proxy = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    ready(&mut proxy, port).await?;

    let pid = proxy.id().context("the proxy has ended")?;
    let address = format!("http://127.0.0.1:{port}");
    asked(&address, WARM_UP).await?;
    let before = machine::cpu_seconds(pid)?;
    let answers = asked(&address, requests).await?;
    let cost =
        Cost { cpu_seconds: machine::cpu_seconds(pid)? - before, resident: machine::resident(pid)?, answers };
    proxy.kill().await?;
    Ok(cost)
}

async fn ready(proxy: &mut Child, port: u16) -> Result<()> {
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if let Some(status) = proxy.try_wait()? {
            bail!("the proxy ended with {status}");
        }
        if began.elapsed() > PATIENCE {
            bail!("the proxy was not ready within {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
