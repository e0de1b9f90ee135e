//! `make report`: all figures as one table, as JSON and as a picture.

use anyhow::{Context, Result, bail};
use benches::{output, plot, suite};
use clap::Parser;

/// Runs all measuring programs; prints one table; writes report/report.json and report/report.svg.
#[derive(Parser)]
#[command(name = "report")]
struct Arguments {
    /// Fewer and smaller rounds.
    #[arg(long)]
    quick: bool,
    /// Run nothing: make the report of what the last runs left in report/figures.
    #[arg(long)]
    saved: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let programs = suite::named(&[])?;
    let report =
        if arguments.saved { suite::saved(&programs) } else { suite::run(&programs, arguments.quick)? };
    if report.measured.is_empty() {
        bail!("nothing was measured: run make report without --saved");
    }
    let folder = suite::folder();
    output::line(format!("\n{}, Linux {}", report.machine.kind, report.machine.kernel));
    output::table(&report.measured);
    output::save(&folder.join("report.json"), &report)?;
    let picture = folder.join("report.svg");
    std::fs::write(&picture, plot::svg(&report)).with_context(|| format!("writing {}", picture.display()))?;
    output::line(format!("written: {} and {}", folder.join("report.json").display(), picture.display()));
    if !report.failed.is_empty() {
        bail!("{}", report.failed.join("; "));
    }
    Ok(())
}
