//! How often the judges behind the gates are wrong: false alarms between equal releases, and found regressions.
//! Seeded: the same figures on every machine. Ends with an error when a stated bound is broken.

use anyhow::{Result, bail};
use benches::{
    Options,
    figure::{Aim, Better, Figure},
    output,
};
use clap::Parser;
use stats::{
    Rules,
    simulate::{ErrorRates, latency_alarm_rate, sequential_alarm_rate},
};

/// Simulates releases and counts the judges' errors.
#[derive(Parser)]
#[command(name = "gate_rates")]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Another seed gives other, equally valid figures.
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// The chance of ever calling an equal release harmful that the sequential test is run with.
const ALPHA: f64 = 0.01;
const FOUND: f64 = 0.95;

fn main() -> Result<()> {
    let Arguments { options, seed } = Arguments::parse();
    let mut figures = Vec::new();
    error_rates(&options, seed, &mut figures);
    latencies(&options, seed, &mut figures);
    let broken: Vec<String> = figures
        .iter()
        .filter(|figure| figure.is_met() == Some(false))
        .map(|figure| figure.name.clone())
        .collect();
    output::finish("gate_rates", "make bench ARGS=gate_rates", &options, figures)?;
    if !broken.is_empty() {
        bail!("a stated bound is broken: {}", broken.join("; "));
    }
    Ok(())
}

/// Looked at after every batch, 100 times: what ruins an ordinary test.
fn error_rates(options: &Options, seed: u64, figures: &mut Vec<Figure>) {
    for (rate, runs) in
        [(0.001, options.size(2000, 400)), (0.02, options.size(2000, 400)), (0.2, options.size(2000, 400))]
    {
        let case = ErrorRates { old: rate, new: rate, looks: 100, per_look: 50 };
        let name = format!("false alarms, errors {} % on both sides, 100 looks", rate * 100.0);
        figures.push(false_alarms(name, sequential_alarm_rate(case, ALPHA, runs, seed), runs));
    }
    for factor in [2.0, 3.0, 5.0] {
        let runs = options.size(1000, 200);
        let case = ErrorRates { old: 0.02, new: 0.02 * factor, looks: 100, per_look: 50 };
        let name = format!("found: errors 2 % → {} %, 5000 requests a side", 2.0 * factor);
        figures.push(found(name, sequential_alarm_rate(case, ALPHA, runs, seed)));
    }
}

fn latencies(options: &Options, seed: u64, figures: &mut Vec<Figure>) {
    let (rules, runs) = (Rules::default(), options.size(500, 100));
    for sample in [100, 200] {
        let name = format!("false alarms, equal latencies, {sample} requests a side");
        figures.push(false_alarms(name, latency_alarm_rate(1.0, sample, &rules, runs, seed), runs));
    }
    for factor in [1.5, 2.0] {
        let name = format!("found: latency × {factor}, 200 requests a side");
        figures.push(found(name, latency_alarm_rate(factor, 200, &rules, runs, seed)));
    }
}

fn false_alarms(name: String, rate: f64, runs: u32) -> Figure {
    let stated = "stated bound";
    let mut figure =
        Figure::new(name, "of 1", Better::Less, rate).against(stated, ALPHA).aims(Aim::AtMost(ALPHA));
    // With none at all, one alarm in the next run is the best that can be claimed.
    figure.ratio = Some(ALPHA / rate.max(1.0 / f64::from(runs)));
    figure
}

fn found(name: String, rate: f64) -> Figure {
    Figure::new(name, "of 1", Better::More, rate).against("stated bound", FOUND).aims(Aim::AtLeast(FOUND))
}
