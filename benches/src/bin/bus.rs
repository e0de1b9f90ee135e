//! What our bus costs on top of the raw NATS client: calls, jobs and journal appends, each with the same guarantee.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use benches::{
    Options,
    figure::{Aim, Better, Figure},
    output,
    raw::Raw,
    rounds::{Pair, Times, closed_loop, timed},
    stage::Stage,
};
use bus::{Bus, Call, Job, WorkRules, subjects};
use bytes::Bytes;
use clap::Parser;
use model::{Event, Record, Timestamp};
use parking_lot::Mutex;
use tokio::{sync::oneshot, task::JoinSet};
use wire::Message;

/// Measures the bus against the raw NATS client, in turns.
#[derive(Parser)]
#[command(name = "bus")]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

const AIM: Aim = Aim::Ratio(0.9);
const IN_FLIGHT: [usize; 2] = [1, 16];
const DEADLINE: Duration = Duration::from_secs(10);
const ECHO: Call<serde_json::Value, serde_json::Value> = Call::new("bench", "echo");
const WORK: Job<serde_json::Value> = Job::new("bench", "work");

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { options } = Arguments::parse();
    let mut figures = calls(&options).await?;
    figures.extend(jobs(&options).await?);
    figures.extend(appends(&options).await?);
    output::finish("bus", "make bench ARGS=bus", &options, figures)
}

/// About 250 bytes on the wire, as most of our messages.
fn payload(number: u64) -> serde_json::Value {
    serde_json::json!({ "number": number, "text": "x".repeat(160) })
}

async fn calls(options: &Options) -> Result<Vec<Figure>> {
    let stage = Stage::start().await?;
    let (asker, answerer) = (stage.connect("asker").await?, stage.connect("answerer").await?);
    let _serving = answerer.answer(&ECHO, 64, |asked, _| async move { Ok(asked) }).await?;
    let (raw_asker, raw_answerer) =
        (Raw::connect(&stage.url(), &stage.key()).await?, Raw::connect(&stage.url(), &stage.key()).await?);
    let mut tasks = JoinSet::new();
    // Whoever asks raw encodes and decodes too; what is measured is the rest.
    let echo = |payload: &[u8]| serde_json::Value::decode(payload).unwrap_or_default().encode();
    raw_answerer.answer("raw.echo", echo, &mut tasks).await?;

    let mut figures = Vec::new();
    for in_flight in IN_FLIGHT {
        output::progress(format!("calls, {in_flight} in flight"));
        let total = options.size(4000, 800) * if in_flight == 1 { 1 } else { 8 };
        let ours = async || {
            let done = closed_loop(in_flight, total, |_, share| call_loop(asker.clone(), share));
            Ok(done.await?.per_second())
        };
        let baseline = async || {
            let done = closed_loop(in_flight, total, |_, share| raw_call_loop(raw_asker.clone(), share));
            Ok(done.await?.per_second())
        };
        let pair = Pair::run(options.size(9, 3), ours, baseline).await?;
        let name = format!("typed call, {in_flight} in flight");
        figures.push(pair.figure(name, "calls/s", Better::More, "raw request, same codec").aims(AIM));
    }
    Ok(figures)
}

async fn call_loop(bus: Bus, share: usize) -> Result<Times> {
    let (asked, mut times) = (payload(0), Times::default());
    for _ in 0..share {
        timed(&mut times, async { Ok(bus.call(&ECHO, &asked, DEADLINE).await?) }).await?;
    }
    Ok(times)
}

async fn raw_call_loop(raw: Raw, share: usize) -> Result<Times> {
    let (asked, mut times) = (payload(0), Times::default());
    for _ in 0..share {
        let call = async {
            let answer = raw.ask("raw.echo", Bytes::from(asked.encode())).await?;
            Ok(serde_json::Value::decode(&answer)?)
        };
        timed(&mut times, call).await?;
    }
    Ok(times)
}

/// Who waits for which job.
#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<HashMap<u64, oneshot::Sender<()>>>>);

impl Waiting {
    fn on(&self, number: u64) -> oneshot::Receiver<()> {
        let (done, waits) = oneshot::channel();
        self.0.lock().insert(number, done);
        waits
    }

    fn done(&self, job: &serde_json::Value) {
        let number = job["number"].as_u64().unwrap_or(u64::MAX);
        if let Some(done) = self.0.lock().remove(&number) {
            let _ = done.send(());
        }
    }
}

/// From sending to being handled; confirming the job to the broker is part of the load on both sides.
async fn jobs(options: &Options) -> Result<Vec<Figure>> {
    let stage = Stage::start().await?;
    let (sender, worker) = (stage.connect("sender").await?, stage.connect("worker").await?);
    let waiting = Waiting::default();
    let handled = waiting.clone();
    let rules = WorkRules { concurrency: 64, ..WorkRules::default() };
    worker.ensure_job(&WORK, rules.ack_wait).await?;
    let _serving = worker
        .work(&WORK, None, rules, move |job, _| {
            handled.done(&job);
            async { Ok(()) }
        })
        .await?;
    let (raw_sender, raw_worker) =
        (Raw::connect(&stage.url(), &stage.key()).await?, Raw::connect(&stage.url(), &stage.key()).await?);
    raw_worker.queue("RAW_JOBS", "raw.job").await?;
    let (raw_waiting, mut tasks) = (Waiting::default(), JoinSet::new());
    let handled = raw_waiting.clone();
    let read = move |payload: &[u8]| handled.done(&serde_json::Value::decode(payload).unwrap_or_default());
    raw_worker.work("RAW_JOBS", read, &mut tasks).await?;

    let mut figures = Vec::new();
    for in_flight in IN_FLIGHT {
        output::progress(format!("jobs, {in_flight} in flight"));
        let total = options.size(1000, 200) * if in_flight == 1 { 1 } else { 2 };
        let mut round = 0_u64;
        let ours = async || {
            round += 1;
            let base = round * 1_000_000 + in_flight as u64 * 1_000_000_000;
            let done = closed_loop(in_flight, total, |number, share| {
                job_loop(sender.clone(), waiting.clone(), base + number as u64 * 10_000, share)
            });
            Ok(done.await?.per_second())
        };
        let mut raw_round = 0_u64;
        let baseline = async || {
            raw_round += 1;
            let base = raw_round * 1_000_000 + in_flight as u64 * 1_000_000_000;
            let done = closed_loop(in_flight, total, |number, share| {
                raw_job_loop(raw_sender.clone(), raw_waiting.clone(), base + number as u64 * 10_000, share)
            });
            Ok(done.await?.per_second())
        };
        let pair = Pair::run(options.size(9, 3), ours, baseline).await?;
        let name = format!("job sent and worked on, {in_flight} in flight");
        figures.push(pair.figure(name, "jobs/s", Better::More, "raw publish and pull").aims(AIM));
    }
    Ok(figures)
}

async fn job_loop(bus: Bus, waiting: Waiting, first: u64, share: usize) -> Result<Times> {
    let mut times = Times::default();
    for number in first..first + share as u64 {
        let work = async {
            let done = waiting.on(number);
            bus.send(&WORK, None, &payload(number), &format!("job-{number}")).await?;
            done.await.context("a job was lost")
        };
        timed(&mut times, work).await?;
    }
    Ok(times)
}

async fn raw_job_loop(raw: Raw, waiting: Waiting, first: u64, share: usize) -> Result<Times> {
    let mut times = Times::default();
    for number in first..first + share as u64 {
        let work = async {
            let done = waiting.on(number);
            let job = Bytes::from(payload(number).encode());
            raw.publish("raw.job".to_owned(), job, &format!("job-{number}")).await?;
            done.await.context("a job was lost")
        };
        timed(&mut times, work).await?;
    }
    Ok(times)
}

/// Both sides write to the streams of our journals with the same headers for compare-and-set and deduplication.
async fn appends(options: &Options) -> Result<Vec<Figure>> {
    let stage = Stage::start().await?;
    let (ours_bus, raw) = (stage.connect("writer").await?, Raw::connect(&stage.url(), &stage.key()).await?);
    let mut figures = Vec::new();
    for in_flight in IN_FLIGHT {
        output::progress(format!("appends, {in_flight} in flight"));
        let total = options.size(1000, 200) * if in_flight == 1 { 1 } else { 2 };
        let mut round = 0;
        let ours = async || {
            round += 1;
            let done = closed_loop(in_flight, total, |number, share| {
                append_loop(ours_bus.clone(), format!("ours-{in_flight}-{round}-{number}"), share)
            });
            Ok(done.await?.per_second())
        };
        let mut raw_round = 0;
        let baseline = async || {
            raw_round += 1;
            let done = closed_loop(in_flight, total, |number, share| {
                raw_append_loop(raw.clone(), format!("raw-{in_flight}-{raw_round}-{number}"), share)
            });
            Ok(done.await?.per_second())
        };
        let pair = Pair::run(options.size(9, 3), ours, baseline).await?;
        let name = format!("journal append, {in_flight} writers");
        figures.push(pair.figure(name, "records/s", Better::More, "raw publish, same headers").aims(AIM));
    }
    Ok(figures)
}

fn record(id: &str, version: u64) -> Record {
    let writer = "rep-bench".to_owned();
    Record {
        id: id.to_owned(),
        version,
        writer,
        at: Timestamp(0),
        trace: None,
        events: vec![Event::Validated {}],
    }
}

async fn append_loop(bus: Bus, id: String, share: usize) -> Result<Times> {
    let (mut times, mut seq) = (Times::default(), 0);
    for version in 1..=share as u64 {
        let record = record(&id, version);
        let append = async { Ok(bus.append(&subjects::deployment::JOURNAL, &id, &record, seq).await?) };
        seq = timed(&mut times, append).await?;
    }
    Ok(times)
}

async fn raw_append_loop(raw: Raw, id: String, share: usize) -> Result<Times> {
    let subject = format!("code.v1.log.deployment.{}.{id}", bus::shard_of(&id));
    let (mut times, mut seq) = (Times::default(), 0);
    for version in 1..=share as u64 {
        let payload = Bytes::from(record(&id, version).encode());
        let message_id = format!("{id}:{version}");
        seq = timed(&mut times, raw.publish_on_top(subject.clone(), payload, &message_id, seq)).await?;
    }
    Ok(times)
}
