//! The kill matrix and the planted bugs, by the thousand: `matrix --help`.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use code_tests::sim::{
    Planted, Run, Scenario, Victim,
    matrix::{self, Case, Caught, Totals},
    scenario,
};
use owo_colors::OwoColorize;

/// Simulates the engine under faults and checks every promise after every step. Exit status 1 when one was broken, or
/// when a planted bug was not noticed.
#[derive(Parser)]
#[command(name = "matrix")]
struct Arguments {
    /// Mixtures of faults per story, by this many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// Only this seed, with its faults; needs --scenario.
    #[arg(long, requires = "scenario")]
    seed: Option<u64>,
    /// Only stories of this strategy: canary, blue-green, rolling, recreate.
    #[arg(long)]
    strategy: Option<String>,
    /// Only this story, such as `canary/bad`; `list` shows all.
    #[arg(long)]
    scenario: Option<String>,
    /// Kill `orchestrator@RECORD` or `runner@RECORD`; may be given twice. Needs --scenario.
    #[arg(long, requires = "scenario")]
    kill: Vec<String>,
    /// Leave a piece of safety out: one of them by name, or `all` for a table of which seed notices which.
    #[arg(long)]
    planted: Option<String>,
    /// Print what happens in the run, or every failing run.
    #[arg(long)]
    verbose: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people; coloured on a terminal.
    Text,
    /// For programs: one object.
    Json,
}

fn main() -> ExitCode {
    match work(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "matrix: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn work(arguments: &Arguments) -> anyhow::Result<bool> {
    let mut out = Screen { json: arguments.output == Output::Json, colour: std::io::stdout().is_terminal() };
    if arguments.scenario.as_deref() == Some("list") {
        scenario::all().iter().for_each(|scenario| out.line(&scenario.name));
        return Ok(true);
    }
    if arguments.planted.as_deref() == Some("all") {
        return Ok(hunt(&mut out, &Planted::ALL));
    }
    let planted = arguments.planted.as_deref().map(str::parse).transpose().map_err(anyhow::Error::msg)?;
    let Some(name) = &arguments.scenario else {
        return match planted {
            Some(planted) => Ok(hunt(&mut out, &[planted])),
            None => Ok(whole(&mut out, arguments)),
        };
    };
    let scenario = scenario::named(name)
        .ok_or_else(|| anyhow::anyhow!("there is no story {name:?}; see --scenario list"))?;
    if arguments.seed.is_none() && arguments.kill.is_empty() && planted.is_none() && !arguments.verbose {
        return Ok(table(&mut out, vec![scenario], arguments));
    }
    Ok(single(&mut out, &case(&scenario, arguments, planted)?))
}

/// The one run that the arguments name.
fn case(scenario: &Scenario, arguments: &Arguments, planted: Option<Planted>) -> anyhow::Result<Case> {
    let mut case = match (arguments.seed, planted) {
        (seed, Some(planted)) => matrix::planted_case(scenario, seed.unwrap_or(0), planted),
        (Some(seed), None) => matrix::mixture(scenario, seed),
        (None, None) => matrix::undisturbed(scenario),
    };
    for (place, text) in arguments.kill.iter().enumerate() {
        let wrong = || anyhow::anyhow!("--kill {text}: write orchestrator@12 or runner@12");
        let (who, record) = text.split_once('@').ok_or_else(wrong)?;
        let record: usize = record.parse().map_err(|_| wrong())?;
        let victim = match who {
            "orchestrator" => Victim::Writer,
            "runner" => Victim::Runner,
            _ => return Err(wrong()),
        };
        let mut kill = matrix::kill(scenario, record, victim).chaos.kills;
        if arguments.kill.len() > 1 {
            kill.iter_mut().for_each(|kill| kill.back = Some(if place == 0 { 8_000 } else { 3_000 }));
        }
        case.chaos.kills.extend(kill);
    }
    case.chaos.log = arguments.verbose;
    Ok(case)
}

fn single(out: &mut Screen, case: &Case) -> bool {
    let run = case.run();
    if !out.json {
        run.log.iter().for_each(|line| out.line(line));
    }
    let mut totals = Totals::default();
    totals.add(case, run.clone());
    out.story(&case.scenario.name, &totals);
    out.end(
        &totals,
        &[
            ("verdicts", serde_json::json!(run.verdicts)),
            ("trace", serde_json::json!(format!("{:016x}", run.trace))),
        ],
    );
    totals.is_clean()
}

/// Every story: undisturbed, and under mixtures; every kill and double kill where it matters most.
fn whole(out: &mut Screen, arguments: &Arguments) -> bool {
    let wanted = |scenario: &Scenario| {
        arguments.strategy.as_ref().is_none_or(|strategy| scenario.name.split('/').next() == Some(strategy))
    };
    let stories: Vec<Scenario> = scenario::all().into_iter().filter(wanted).collect();
    table(out, stories, arguments)
}

fn table(out: &mut Screen, stories: Vec<Scenario>, arguments: &Arguments) -> bool {
    let mut all = Totals::default();
    out.head();
    for story in &stories {
        let mut cases = vec![matrix::undisturbed(story)];
        cases.extend(matrix::every_kill(story));
        cases.extend(matrix::double_kills(story));
        cases.extend((0..arguments.seeds).map(|seed| matrix::mixture(story, seed)));
        let totals = matrix::run_all(cases);
        out.story(&story.name, &totals);
        all.absorb(&totals);
    }
    out.end(&all, &[]);
    all.is_clean()
}

fn hunt(out: &mut Screen, planted: &[Planted]) -> bool {
    let caught: Vec<Caught> = planted.iter().map(|planted| matrix::hunt(*planted, 100)).collect();
    out.caught(&caught);
    caught.iter().all(|caught| caught.by.is_some())
}

/// Where results go.
struct Screen {
    json: bool,
    colour: bool,
}

#[allow(clippy::print_stdout, reason = "this is the program's output")]
impl Screen {
    fn line(&mut self, text: &str) {
        println!("{text}");
    }

    fn good(&self, text: &str, is_good: bool) -> String {
        match (self.colour, is_good) {
            (false, _) => text.to_owned(),
            (true, true) => text.green().to_string(),
            (true, false) => text.red().bold().to_string(),
        }
    }

    fn head(&mut self) {
        if !self.json {
            println!(
                "{:<34} {:>5} {:>6} {:>8} {:>6} {:>6} {:>10} {:>9}",
                "story", "runs", "faults", "records", "wrong", "stuck", "duplicate", "longest"
            );
        }
    }

    fn story(&mut self, name: &str, totals: &Totals) {
        if self.json {
            return;
        }
        let count = |count: usize, width: usize| self.good(&format!("{count:>width$}"), count == 0);
        println!(
            "{name:<34} {:>5} {:>6} {:>8} {} {} {} {:>7} s",
            totals.runs,
            totals.faults,
            totals.records,
            count(totals.wrong, 6),
            count(totals.stuck, 6),
            count(totals.duplicate, 10),
            totals.longest / 1000,
        );
    }

    fn end(&mut self, totals: &Totals, more: &[(&str, serde_json::Value)]) {
        if self.json {
            let failures: Vec<serde_json::Value> =
                totals.failures.iter().map(|(case, run)| failure(case, run)).collect();
            let mut value = serde_json::json!({
                "runs": totals.runs, "wrong": totals.wrong, "stuck": totals.stuck, "duplicate": totals.duplicate,
                "faults": totals.faults, "records": totals.records, "failures": failures,
            });
            more.iter().for_each(|(key, part)| value[*key] = part.clone());
            println!("{value:#}");
            return;
        }
        if !totals.failures.is_empty() {
            println!("\n{}", totals.told());
        }
        more.iter().for_each(|(key, part)| println!("{key} {part}"));
        println!("{}", self.good(&totals.line(), totals.is_clean()));
    }

    fn caught(&mut self, all: &[Caught]) {
        if self.json {
            let lines: Vec<serde_json::Value> = all
                .iter()
                .map(|caught| {
                    let by = caught.by.as_ref().map(|(case, run)| failure(case, run));
                    serde_json::json!({"planted": caught.planted.as_str(), "runs": caught.tried, "caught": by})
                })
                .collect();
            println!("{:#}", serde_json::json!({"planted": lines}));
            return;
        }
        println!("{:<20} {:<9} {:>5} {:>5}  first noticed", "planted", "caught", "runs", "seed");
        for caught in all {
            match &caught.by {
                Some((case, run)) => {
                    let first = run.violations.first().map(ToString::to_string).unwrap_or_default();
                    let word = self.good(&format!("{:<9}", "yes"), true);
                    println!(
                        "{:<20} {word} {:>5} {:>5}  {} {}",
                        caught.planted.as_str(),
                        caught.tried,
                        case.seed,
                        case.scenario.name,
                        first.trim()
                    );
                }
                None => {
                    let word = self.good(&format!("{:<9}", "NO"), false);
                    println!("{:<20} {word} {:>5}", caught.planted.as_str(), caught.tried);
                }
            }
        }
    }
}

fn failure(case: &Case, run: &Run) -> serde_json::Value {
    let violations: Vec<String> = run.violations.iter().map(ToString::to_string).collect();
    serde_json::json!({
        "scenario": case.scenario.name, "seed": case.seed, "violations": violations,
        "reproduce": format!("cargo run -p code-tests --bin matrix -- {}", case.arguments),
    })
}
