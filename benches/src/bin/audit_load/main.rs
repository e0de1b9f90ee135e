//! The audit log under load, beside what a durable publish costs and beside bare SHA-256.

mod memory;
mod process;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use benches::{
    Options,
    figure::{Aim, Better, Figure},
    output,
    raw::Raw,
    rounds::{Times, closed_loop, timed},
    stage,
};
use bus::{Bus, subjects::audit as speech};
use clap::Parser;
use ledger::{Frontier, KeyKind, Policy, SigningKey, Store, leaf_hash, verify};
use model::{
    Timestamp,
    audit::{AuditAppend, AuditLevel, AuditOutcome, AuditRecord},
};
use tokio::time::Instant;

use crate::process::{DEADLINE, Process, connect};

/// Measures the audit log.
#[derive(Parser)]
#[command(name = "audit_load")]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Leaves of the log that is checked as a whole.
    #[arg(long, default_value_t = 1_000_000)]
    leaves: u64,
    /// Only what it holds in memory while so many facts go through it: ten million need 10 GB of disk and ten minutes.
    #[arg(long, value_name = "FACTS")]
    memory: Option<u64>,
    /// Be the audit log on this broker; for this program itself.
    #[arg(long, value_name = "URL", hide = true, requires = "folder")]
    serve: Option<String>,
    /// With `--serve`: the key.
    #[arg(long, hide = true)]
    key: Option<std::path::PathBuf>,
    /// Where the audit log is.
    #[arg(long, hide = true)]
    folder: Option<PathBuf>,
}

/// Facts per request.
const BATCH: u64 = 100;
/// Requests at once that want `accepted`, and that want `included`.
const ACCEPTING: usize = 8;
const INCLUDING: usize = 8;

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { options, leaves, memory, serve, key, folder } = Arguments::parse();
    if let Some(((url, key), folder)) = serve.zip(key).zip(folder) {
        return process::serve(&url, &key, &folder).await;
    }
    if let Some(facts) = memory {
        let command = format!("cargo run --release -p benches --bin audit_load -- --memory {facts}");
        return output::finish("audit_load", &command, &options, memory::memory(facts).await?);
    }
    let mut figures = load(&options).await?;
    figures.extend(whole(leaves)?);
    output::finish("audit_load", "make bench ARGS=audit_load", &options, figures)
}

fn fact(source: String, counter: u64) -> AuditRecord {
    AuditRecord {
        v: 1,
        source,
        counter,
        part: 1,
        parts: 1,
        at: Timestamp(1_750_000_000_000),
        actor: "ada".to_owned(),
        action: "tool.called".to_owned(),
        subject: "dep-01jd8zq0c5f4s7".to_owned(),
        outcome: AuditOutcome::Done,
        reason: None,
        cause: None,
        trace: None,
        detail: serde_json::json!({ "tool": "deploy", "milliseconds": counter % 977 }),
        payload: None,
    }
}

/// Hands over `total` facts as one source, by requests of [`BATCH`].
async fn hand_over(bus: Bus, source: String, total: u64, level: AuditLevel) -> Result<Times> {
    let mut times = Times::default();
    let mut counter = 0;
    while counter < total {
        let records = (counter + 1..=counter + BATCH).map(|counter| fact(source.clone(), counter)).collect();
        counter += BATCH;
        let request = AuditAppend { records, level };
        timed(&mut times, async {
            bus.call(&speech::APPEND, &request, DEADLINE).await.context("handing facts over")
        })
        .await?;
    }
    Ok(times)
}

async fn load(options: &Options) -> Result<Vec<Figure>> {
    // Streams of the usual sizes: the log's own files are what grows here.
    let folder = tempfile::tempdir()?;
    let place = folder.path().join("nats");
    let server = stage::start(&place).await?;
    let (url, key) = (server.url(), stage::key(&place));
    let bus = connect(&url, &key, "set-up").await?;
    bus.ensure().await.context("making the streams")?;
    let process = Process::start(&bus, &url, &key, &folder.path().join("audit")).await?;
    let total: u64 = options.size(400_000, 80_000);

    let (accepting, including) =
        (connect(&url, &key, "accepting").await?, connect(&url, &key, "including").await?);
    let included = closed_loop(INCLUDING, INCLUDING, move |number, _| {
        hand_over(including.clone(), format!("included-{number}"), total / 40, AuditLevel::Included)
    });
    let accepted = closed_loop(ACCEPTING, ACCEPTING, move |number, _| {
        hand_over(
            accepting.clone(),
            format!("accepted-{number}"),
            total / ACCEPTING as u64,
            AuditLevel::Accepted,
        )
    });
    let (accepted, included) = tokio::join!(accepted, included);
    let (accepted, included) = (accepted?, included?);
    let rate = (accepted.times.count() as u64 * BATCH) as f64 / accepted.took.as_secs_f64();
    let resident = process.resident()?;

    let bare = hashes_per_second(200_000);
    process.stop()?;
    drop(server);

    // A server of its own: both together would ask for more room than a small disk has.
    let place = folder.path().join("raw");
    let server = stage::start(&place).await?;
    let raw = Raw::connect(&server.url(), &stage::key(&place)).await?;
    raw.streams().await?;
    let published = raw.publishes_per_second(16, options.size(3000, 800), 400).await?;

    Ok(vec![
        Figure::new("facts accepted", "facts/s", Better::More, rate)
            .against("durable publishes of the raw client, 16 at once", published)
            .aims(Aim::AtLeast(10_000.0))
            .note(format!("{ACCEPTING} clients, {BATCH} facts a request; one fsync per batch")),
        Figure::new("facts accepted, beside bare hashing", "facts/s", Better::More, rate)
            .against("SHA-256 leaf and tree hashing alone, one core", bare),
        Figure::new("facts accepted, p99 of a request", "ms", Better::Less, accepted.times.millis(0.99))
            .aims(Aim::AtMost(100.0)),
        Figure::new("facts included, p99 of a request", "ms", Better::Less, included.times.millis(0.99))
            .aims(Aim::AtMost(1500.0))
            .note("signed with Ed25519 and ML-DSA-44 every second, under the load above"),
        Figure::new("memory after the load", "MiB", Better::Less, resident as f64 / 1_048_576.0)
            .note(format!("{} facts; the log's process alone", total + total / 40 * INCLUDING as u64)),
    ])
}

fn hashes_per_second(count: u64) -> f64 {
    let leaves: Vec<Vec<u8>> = (1..=1000).map(|counter| fact("a".to_owned(), counter).to_leaf()).collect();
    let began = Instant::now();
    let mut tree = Frontier::default();
    for number in 0..count {
        tree.push(leaf_hash(&leaves[(number % 1000) as usize]));
    }
    std::hint::black_box(tree.root());
    count as f64 / began.elapsed().as_secs_f64()
}

/// A whole log, made and then checked.
fn whole(count: u64) -> Result<Vec<Figure>> {
    const ORIGIN: &str = "example.com/bench";
    let folder = tempfile::tempdir()?;
    let keys = [KeyKind::Ed25519, KeyKind::MlDsa44].map(|kind| SigningKey::generate(ORIGIN, kind));
    let keys = keys.into_iter().collect::<Result<Vec<_>, _>>()?;
    let policy = Policy::of_log(&keys.iter().map(|key| key.verifying_key().clone()).collect::<Vec<_>>());
    let (mut store, ()) = Store::open(folder.path())?;
    let began = Instant::now();
    let mut counter = 0;
    while counter < count {
        let next = (counter + 20_000).min(count);
        let leaves: Vec<Vec<u8>> =
            (counter + 1..=next).map(|counter| fact("a".to_owned(), counter).to_leaf()).collect();
        store.integrate(&leaves, &())?;
        counter = next;
    }
    store.publish(ORIGIN, &keys, 1)?;
    let made = count as f64 / began.elapsed().as_secs_f64();
    let (checked, proven) = (check(folder.path(), &policy, count)?, prove(&store, count)?);
    let scaled = checked * 1_000_000.0 / count as f64;
    Ok(vec![
        Figure::new("leaves put into tiles, synced", "leaves/s", Better::More, made),
        Figure::new("a million leaves checked as a whole", "s", Better::Less, scaled)
            .aims(Aim::AtMost(5.0))
            .note(format!("measured over {count} leaves")),
        Figure::new("an inclusion proof made", "ms", Better::Less, proven).aims(Aim::AtMost(5.0)),
    ])
}

fn check(folder: &Path, policy: &Policy, count: u64) -> Result<f64> {
    let began = Instant::now();
    let report = verify::verify(&folder.join("log"), policy, &[], |_, _| {})?;
    ensure!(report.is_clean() && report.size == count, "the log does not hold: {report:?}");
    Ok(began.elapsed().as_secs_f64())
}

fn prove(store: &Store, count: u64) -> Result<f64> {
    let began = Instant::now();
    for number in 0..100 {
        store.inclusion(number * (count / 100))?;
    }
    Ok(began.elapsed().as_secs_f64() * 10.0)
}
