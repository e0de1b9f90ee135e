//! `make bench`: measures this machine.

use anyhow::{Result, bail};
use benches::suite;
use clap::Parser;

/// Runs the measuring programs and prints their figures, each against a baseline of the same run.
#[derive(Parser)]
#[command(name = "benches")]
struct Arguments {
    /// Which ones: bus, gate_rates, corpora, opinions, certificates, audit_load, deployments, start, asking, proxy_vs_nginx. Default
    /// all.
    programs: Vec<String>,
    /// Fewer and smaller rounds.
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let report = suite::run(&suite::named(&arguments.programs)?, arguments.quick)?;
    if !report.failed.is_empty() {
        bail!("{}", report.failed.join("; "));
    }
    Ok(())
}
