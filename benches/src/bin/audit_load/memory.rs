//! Many facts through the whole log on a real broker, and what the process holds in memory meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use benches::{
    figure::{Aim, Better, Figure},
    output,
    rounds::closed_loop,
    stage,
};
use bus::{Bus, subjects::audit as speech};
use ledger::verify;
use model::audit::{AuditAppend, AuditLevel};
use tokio::time::Instant;

use crate::{
    BATCH, fact,
    process::{DEADLINE, Process, connect, status},
};

/// Clients that hand facts over by requests, and clients that say them on the trail.
const ASKING: usize = 8;
const SAYING: usize = 4;
/// One fact in so many is said on the trail: each of them is a durable publish of its own.
const ON_TRAIL: u64 = 25;
/// One request in so many is sent twice.
const TWICE: u64 = 10;
/// Shares of the whole at which memory is looked at.
const MARKS: [u64; 4] = [10, 5, 2, 1];
const MIB: f64 = 1_048_576.0;

/// What the process held when it had accepted so many.
struct Mark {
    accepted: u64,
    resident: u64,
    searchable: u64,
    seconds: f64,
}

/// Puts `total` facts through the log.
pub async fn memory(total: u64) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let place = folder.path().join("nats");
    let server = stage::start(&place).await?;
    let (url, key) = (server.url(), stage::key(&place));
    let bus = connect(&url, &key, "set-up").await?;
    bus.ensure().await.context("making the streams")?;
    let kept = folder.path().join("audit");
    let process = Process::start(&bus, &url, &key, &kept).await?;

    let on_trail = total / ON_TRAIL / SAYING as u64;
    let handed = (total - on_trail * SAYING as u64) / ASKING as u64 / BATCH * BATCH;
    let all = on_trail * SAYING as u64 + handed * ASKING as u64;
    let (asking, saying) = (connect(&url, &key, "asking").await?, connect(&url, &key, "saying").await?);
    let accepted = Arc::new(AtomicU64::new(0));
    let (asked, said) = (Arc::clone(&accepted), Arc::clone(&accepted));
    let asking = closed_loop(ASKING, ASKING, move |number, _| {
        let (bus, accepted) = (asking.clone(), Arc::clone(&asked));
        async move {
            hand_over(&bus, &format!("asked-{number}"), handed, &accepted).await?;
            Ok(Default::default())
        }
    });
    let saying = closed_loop(SAYING, SAYING, move |number, _| {
        let (bus, accepted) = (saying.clone(), Arc::clone(&said));
        async move {
            say(&bus, &format!("said-{number}"), on_trail, &accepted).await?;
            Ok(Default::default())
        }
    });
    let watched = watch(&bus, &process, &accepted, total, all);
    let (asked, said, marks) = tokio::join!(asking, saying, watched);
    asked?;
    said?;
    let marks = marks?;
    let after = searchable(&bus, &process, all).await?;
    process.stop()?;
    drop(server);
    check(&kept, all)?;
    figures(&marks, &after)
}

async fn hand_over(bus: &Bus, source: &str, total: u64, accepted: &AtomicU64) -> Result<()> {
    for first in (1..=total).step_by(BATCH as usize) {
        let records = (first..first + BATCH).map(|counter| fact(source.to_owned(), counter)).collect();
        let request = AuditAppend { records, level: AuditLevel::Accepted };
        let times = if (first / BATCH).is_multiple_of(TWICE) { 2 } else { 1 };
        for time in 0..times {
            let receipts =
                bus.call(&speech::APPEND, &request, DEADLINE).await.context("handing facts over")?;
            ensure!(
                receipts.receipts.iter().all(|receipt| receipt.repeated == (time == 1)),
                "facts from {first} of {source} were taken for others"
            );
        }
        accepted.fetch_add(BATCH, Ordering::Relaxed);
    }
    Ok(())
}

async fn say(bus: &Bus, source: &str, total: u64, accepted: &AtomicU64) -> Result<()> {
    for counter in 1..=total {
        let record = fact(source.to_owned(), counter);
        bus.trail(&speech::TRAIL, source, &format!("{source}:{counter}"), &record).await?;
        accepted.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn watch(
    bus: &Bus,
    process: &Process,
    accepted: &AtomicU64,
    total: u64,
    all: u64,
) -> Result<Vec<Mark>> {
    let began = Instant::now();
    let mut marks = Vec::new();
    for at in MARKS.map(|share| (total / share).min(all)) {
        while accepted.load(Ordering::Relaxed) < at {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mark = mark(bus, process, began).await?;
        output::line(format!(
            "{:>10} accepted after {:>5.0} s: {:>6.1} MiB, {} searchable",
            mark.accepted,
            mark.seconds,
            mark.resident as f64 / MIB,
            mark.searchable
        ));
        marks.push(mark);
    }
    Ok(marks)
}

async fn mark(bus: &Bus, process: &Process, began: Instant) -> Result<Mark> {
    let resident = process.resident()?;
    let status = status(bus).await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Mark { accepted: status.accepted, resident, searchable: status.searchable, seconds })
}

/// Waits until everything is signed and can be searched.
async fn searchable(bus: &Bus, process: &Process, all: u64) -> Result<Mark> {
    let began = Instant::now();
    loop {
        let mark = mark(bus, process, began).await?;
        if mark.searchable >= all {
            return Ok(mark);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn check(place: &std::path::Path, all: u64) -> Result<()> {
    let policy = std::fs::read_to_string(place.join("log.policy"))?.parse()?;
    let report = verify::verify(&place.join("log"), &policy, &[], |_, _| {})?;
    ensure!(report.is_clean() && report.size == all, "the log does not hold: {report:?}, not {all} leaves");
    output::line(format!("the whole log was checked: {} leaves, each once", report.size));
    Ok(())
}

fn figures(marks: &[Mark], after: &Mark) -> Result<Vec<Figure>> {
    let (first, last) = marks.first().zip(marks.last()).context("nothing was measured")?;
    let mib = |mark: &Mark| mark.resident as f64 / MIB;
    let mut figures: Vec<Figure> = marks
        .iter()
        .map(|mark| {
            let name = format!("memory at {} facts", mark.accepted);
            let lag = mark.accepted.saturating_sub(mark.searchable);
            Figure::new(name, "MiB", Better::Less, mib(mark))
                .note(format!("after {:.0} s, {lag} of them not searchable yet", mark.seconds))
        })
        .collect();
    figures.push(
        Figure::new("memory when all are searchable", "MiB", Better::Less, mib(after))
            .note(format!("{:.0} s after the last was accepted", after.seconds)),
    );
    figures.push(
        Figure::new(
            "memory at the end against the first tenth",
            "times",
            Better::Less,
            mib(last) / mib(first),
        )
        .aims(Aim::AtMost(1.1)),
    );
    figures.push(
        Figure::new("facts accepted meanwhile", "facts/s", Better::More, last.accepted as f64 / last.seconds)
            .note(format!(
                "{ASKING} clients by requests of {BATCH}, one in {TWICE} sent twice; one fact in {ON_TRAIL} on the trail"
            )),
    );
    Ok(figures)
}
