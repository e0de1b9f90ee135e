//! Rounds of damage against real engines: `rounds --help`.

use std::{
    cell::{Cell, RefCell},
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use code_tests::rounds::{
    Host, Kind, Lie, Report,
    judge::Class,
    totals::{Row, Totals},
};
use owo_colors::OwoColorize;

/// Plays rounds: a real engine with real instances and a client that keeps asking, a deployment under way, and one or two
/// damages at a moment that the seed gives. Then everything has to be as promised. Exit status 1 when it was not.
///
/// A round begins on the home that the round before left, or on a new one; one that is played again by its seed begins
/// on a new one.
#[derive(Parser)]
#[command(name = "rounds")]
struct Arguments {
    /// How many.
    #[arg(long, default_value_t = Kind::ALL.len() as u64)]
    rounds: u64,
    /// The first round's seed; the others follow it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the round of this seed.
    #[arg(long, conflicts_with_all = ["rounds", "seed"])]
    only: Option<u64>,
    /// Only this kind of damage; see --list.
    #[arg(long)]
    kind: Option<Kind>,
    /// Name the kinds of damage.
    #[arg(long)]
    list: bool,
    /// How many at the same time.
    #[arg(long, default_value_t = 3)]
    side_by_side: usize,
    /// Keep the homes of rounds in which something was found below this folder.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Leave something out or do something behind everyone's back, which must be noticed: forget-continue, hook-twice,
    /// strange-instance, deaf or changed-certificate.
    #[arg(long)]
    lie: Option<Lie>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people; coloured on a terminal.
    Text,
    /// For programs: one object at the end.
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let screen = Screen { json: arguments.output == Output::Json, colour: std::io::stdout().is_terminal() };
    if arguments.list {
        Kind::ALL.iter().for_each(|kind| screen.kind(*kind));
        return ExitCode::SUCCESS;
    }
    let played = tokio::select! {
        played = Box::pin(play(&arguments, &screen)) => played,
        () = stopped() => Err(anyhow::anyhow!("stopped")),
    };
    match played {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "rounds: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Ctrl-C or SIGTERM: what was started is taken down on the way out.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = terminate.recv() => {} }
        }
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

async fn play(arguments: &Arguments, screen: &Screen) -> anyhow::Result<bool> {
    let (first, count) = match arguments.only {
        Some(seed) => (seed, 1),
        None => (arguments.seed, arguments.rounds),
    };
    if let Some(keep) = &arguments.keep {
        std::fs::create_dir_all(keep)?;
    }
    let (next, totals) = (Cell::new(0), RefCell::new(Totals::default()));
    screen.head(first, count);
    let worker = async || {
        let mut host = Host::new(arguments.keep.clone(), arguments.lie);
        loop {
            let number = next.get();
            if number >= count {
                host.end().await;
                return;
            }
            next.set(number + 1);
            let report = Box::pin(host.play(first + number, arguments.kind)).await;
            screen.round(number + 1, count, &report);
            totals.borrow_mut().add(report);
        }
    };
    let workers = (0..arguments.side_by_side.clamp(1, 32)).map(|_| Box::pin(worker()));
    futures::future::join_all(workers).await;
    let totals = totals.into_inner();
    screen.end(&totals);
    Ok(totals.is_clean())
}

/// Where results go.
struct Screen {
    json: bool,
    colour: bool,
}

#[allow(clippy::print_stdout, reason = "this is the program's output")]
impl Screen {
    fn kind(&self, kind: Kind) {
        println!("{:<24} {}", kind.name(), kind.says());
    }

    fn good(&self, text: &str, is_good: bool) -> String {
        match (self.colour, is_good) {
            (false, _) => text.to_owned(),
            (true, true) => text.green().to_string(),
            (true, false) => text.red().bold().to_string(),
        }
    }

    fn head(&self, first: u64, count: u64) {
        if !self.json {
            println!("seeds {first} to {}", first + count.saturating_sub(1));
        }
    }

    fn round(&self, number: u64, count: u64, report: &Report) {
        if self.json {
            return;
        }
        let clean = report.findings.is_empty();
        let word = self.good(if clean { "well" } else { "FOUND" }, clean);
        let missed = if report.damaged.is_empty() { ", nothing to damage" } else { "" };
        println!(
            "{number:>4}/{count} seed {:<5} {word}  {} → {}{missed}  {:.1} s",
            report.story.seed,
            report.story.told(),
            report.ended,
            report.took.as_secs_f32()
        );
        if !clean {
            println!("    {report}");
        }
    }

    fn row(&self, name: &str, row: &Row) {
        let bad = |count: usize, width: usize| self.good(&format!("{count:>width$}"), count == 0);
        println!(
            "{name:<24} {:>6} {:>8} {} {} {} {}",
            row.rounds,
            row.damaged,
            bad(row.wrong, 6),
            bad(row.stuck, 6),
            bad(row.silent, 7),
            self.good(&format!("{:>14}", row.started), row.started == row.rounds),
        );
    }

    fn end(&self, totals: &Totals) {
        if self.json {
            println!("{:#}", totals.json());
            return;
        }
        println!(
            "\n{:<24} {:>6} {:>8} {:>6} {:>6} {:>7} {:>14}",
            "kind", "rounds", "damaged", "wrong", "stuck", "silent", "started again"
        );
        totals.rows().for_each(|(name, row)| self.row(name, &row));
        for report in &totals.failed {
            println!("again: make rounds ARGS=\"--only {}\"", report.story.seed);
        }
        let down: usize = totals.failed.iter().map(|report| report.count(Class::Down)).sum();
        if down > 0 {
            println!("\nthe engine did not start after {down} rounds");
        }
    }
}
