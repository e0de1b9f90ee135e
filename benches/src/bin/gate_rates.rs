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
    LimitRules, Measure, MetricRules, Rules, limit,
    simulate::{Judge, Traffic, aa_false_alarm_rate, rates},
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
    false_alarms_about_errors(&options, seed, &mut figures)?;
    found_errors(&options, seed, &mut figures);
    latencies(&options, seed, &mut figures);
    fixed_limits(&options, seed, &mut figures)?;
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

const SEQUENTIAL: Judge = Judge::ErrorsAgainstBaseline { alpha: ALPHA };

/// Where looks are large enough for a rate of their own, the baseline is what simpler gates do: each look's error rate
/// against a threshold, here three times the usual rate.
fn false_alarms_about_errors(options: &Options, seed: u64, figures: &mut Vec<Figure>) -> Result<()> {
    let (runs, usual) = (options.size(2000, 400), Traffic::default());
    let single = Traffic { looks: 1000, canary_per_look: 1, baseline_per_look: 1, ..usual };
    let cases = [
        ("errors 2 %, 100 looks", usual, true),
        ("errors drift tenfold up and down", Traffic { drifting: true, ..usual }, true),
        ("errors 30 %, 100 looks", Traffic { error_rate: 0.3, ..usual }, false),
        ("errors 2 %, 1000 looks at single requests", single, false),
        (
            "errors 2 %, canary gets 10 %",
            Traffic { canary_per_look: 5, baseline_per_look: 45, ..usual },
            false,
        ),
    ];
    for (what, traffic, has_rates) in cases {
        let ours = aa_false_alarm_rate(&SEQUENTIAL, &traffic, runs, seed);
        let name = format!("false alarms: {what}");
        if has_rates {
            let success = format!("< {}", traffic.error_rate * 3.0).parse()?;
            let rules = MetricRules { success: Some(success), ..MetricRules::default() };
            let simple = aa_false_alarm_rate(&Judge::ErrorsByMetric(rules), &traffic, runs, seed);
            figures.push(false_alarms(name, ours, "a threshold of 3 × the usual rate", simple, runs));
        } else {
            figures.push(false_alarms(name, ours, "stated bound", ALPHA, runs));
        }
    }
    Ok(())
}

fn found_errors(options: &Options, seed: u64, figures: &mut Vec<Figure>) {
    let runs = options.size(1000, 200);
    for (factor, looks) in [(2.0, 120), (3.0, 60), (5.0, 24)] {
        let traffic = Traffic { looks, ..Traffic::default() };
        let found = rates(&SEQUENTIAL, &traffic, factor, runs, seed);
        let requests = u64::from(looks) * traffic.canary_per_look;
        let name = format!("found: errors 2 % → {} % within {requests} requests", 2.0 * factor);
        let mean = found.requests_to_alarm.unwrap_or(f64::NAN);
        figures.push(detection(name, found.alarm).note(format!("after {mean:.0} requests on average")));
    }
}

/// One comparison, one look: what the gate on latencies does at the end of an analysis.
fn latencies(options: &Options, seed: u64, figures: &mut Vec<Figure>) {
    let (judge, runs) = (Judge::Latencies(Rules::default()), options.size(500, 100));
    for sample in [100, 400] {
        let traffic =
            Traffic { looks: 1, canary_per_look: sample, baseline_per_look: sample, ..Traffic::default() };
        let ours = aa_false_alarm_rate(&judge, &traffic, runs, seed);
        let name = format!("false alarms: equal latencies, {sample} requests a side");
        figures.push(false_alarms(name, ours, "stated bound", ALPHA, runs));
    }
    for (factor, sample) in [(1.5, 400), (2.0, 200)] {
        let traffic =
            Traffic { looks: 1, canary_per_look: sample, baseline_per_look: sample, ..Traffic::default() };
        let found = rates(&judge, &traffic, factor, runs, seed).alarm;
        figures.push(detection(format!("found: latency × {factor}, {sample} requests a side"), found));
    }
}

/// A fixed limit, looked at after every ten requests, with as many requests as a plan says that it takes: a release at
/// half of it must not fail, one at twice of it must. The baseline is what was done before: each window of 31 requests
/// judged by its value.
fn fixed_limits(options: &Options, seed: u64, figures: &mut Vec<Figure>) -> Result<()> {
    let runs = options.size(1000, 200);
    let shares = |error_rate| Traffic { error_rate, ..Traffic::default() };
    let cases = [
        ("errorRate < 0.01", Measure::Share, "< 0.01", shares(0.01)),
        ("errorRate < 0.05", Measure::Share, "< 0.05", shares(0.05)),
        // Of latencies with a median of 10 ms and a sigma of 0.5, one in a hundred takes longer than 32 ms.
        ("p99 < 32 ms", Measure::Quantile(0.99), "< 32", Traffic::default()),
    ];
    for (what, measure, success, traffic) in cases {
        let rules = LimitRules {
            measure,
            success: Some(success.parse()?),
            failure: None,
            confidence: limit::CONFIDENCE,
            minimum_samples: 20,
        };
        let Some(needed) = rules.required() else { bail!("{what} needs no sample") };
        let looks = u32::try_from(needed.likely.div_ceil(10))?;
        let traffic = Traffic { looks, canary_per_look: 10, ..traffic };
        let judge = Judge::Limit(rules);
        let (half, twice) =
            (rates(&judge, &traffic, 0.5, runs, seed), rates(&judge, &traffic, 2.0, runs, seed));
        let windows = Traffic { looks: looks / 3, canary_per_look: 31, ..traffic };
        let before = MetricRules { success: Some(success.parse()?), ..MetricRules::default() };
        let before = match measure {
            Measure::Share => Some(rates(&Judge::ErrorsByMetric(before), &windows, 0.5, runs, seed).alarm),
            Measure::Quantile(_) => None,
        };
        let name = format!("false alarms: half of {what}, {} requests", needed.likely);
        figures.push(match before {
            Some(before) => false_alarms(name, half.alarm, "windows of 31 by their value", before, runs),
            None => false_alarms(name, half.alarm, "stated bound", ALPHA, runs),
        });
        let passed = format!("passed: half of {what} within {} requests", needed.likely);
        figures.push(detection(passed, half.pass));
        let found = format!("found: twice {what} within {} requests", needed.likely);
        let mean = twice.requests_to_alarm.unwrap_or(f64::NAN);
        figures.push(detection(found, twice.alarm).note(format!("after {mean:.0} requests on average")));
    }
    Ok(())
}

fn false_alarms(name: String, rate: f64, against: &str, baseline: f64, runs: u32) -> Figure {
    let figure = Figure::new(name, "%", Better::Less, rate * 100.0).against(against, baseline * 100.0);
    let mut figure = figure.aims(Aim::AtMost(ALPHA * 100.0));
    // With none at all, one alarm in the next run is the best that can be claimed.
    figure.ratio = Some(baseline / rate.max(1.0 / f64::from(runs)));
    figure
}

fn detection(name: String, rate: f64) -> Figure {
    let figure = Figure::new(name, "%", Better::More, rate * 100.0);
    figure.against("stated bound", FOUND * 100.0).aims(Aim::AtLeast(FOUND * 100.0))
}
