//! Runs the measuring programs and collects what they measured.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{figure::Measured, machine::Machine, output};

/// A measuring program of this workspace.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// What it measures.
    pub about: &'static str,
}

/// All of them, in the order they are run.
pub const PROGRAMS: [Program; 10] = [
    Program { name: "bus", about: "calls, jobs and journal appends against the raw NATS client" },
    Program { name: "gate_rates", about: "false alarms and found regressions of the gates' judges" },
    Program {
        name: "corpora",
        about: "secrets that are masked, what the Compose import says in silence, contract breaks that are found",
    },
    Program {
        name: "opinions",
        about: "what an opinion costs, the kernels against the peak, the methods on votes with a known truth",
    },
    Program { name: "certificates", about: "certificates verified and made per second, and their size" },
    Program { name: "audit_load", about: "facts accepted and included per second, a million leaves checked" },
    Program { name: "deployments", about: "deployments per second, journal writes, memory" },
    Program { name: "start", about: "the whole engine's start against a bare nats-server's" },
    Program { name: "asking", about: "processor time and memory of asking an expert, against LiteLLM" },
    Program { name: "proxy_vs_nginx", about: "the data plane against nginx" },
];

/// What a report holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Where the figures come from.
    pub machine: Machine,
    /// What was measured.
    pub measured: Vec<Measured>,
    /// Programs that ended with an error, and which.
    pub failed: Vec<String>,
}

/// The programs with these names, all when none is named.
pub fn named(names: &[String]) -> Result<Vec<Program>> {
    if let Some(unknown) = names.iter().find(|name| PROGRAMS.iter().all(|program| program.name != **name)) {
        let known: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
        bail!("{unknown} is not a measuring program; they are {}", known.join(", "));
    }
    let all = PROGRAMS.into_iter();
    Ok(all.filter(|program| names.is_empty() || names.iter().any(|name| name == program.name)).collect())
}

/// Where each program's figures are kept until the next run.
pub fn folder() -> PathBuf {
    PathBuf::from("report")
}

fn file_of(program: &Program) -> PathBuf {
    folder().join("figures").join(format!("{}.json", program.name))
}

/// Builds the programs and runs them one after the other. One that fails does not keep the others from running.
pub fn run(programs: &[Program], quick: bool) -> Result<Report> {
    build(programs)?;
    let beside = env::current_exe().context("finding this program")?;
    let mut report = Report { machine: Machine::this(), measured: Vec::new(), failed: Vec::new() };
    for program in programs {
        output::line(format!("\n{}: {}", program.name, program.about));
        let file = file_of(program);
        let _ = fs::remove_file(&file);
        let mut command = Command::new(beside.with_file_name(program.name));
        command.arg("--json").arg(&file);
        if quick {
            command.arg("--quick");
        }
        let status = command.status().with_context(|| format!("running {}", program.name))?;
        if !status.success() {
            report.failed.push(format!("{} ended with {status}", program.name));
        }
        // Written before a broken bound makes it end with an error.
        if let Ok(measured) = read(&file) {
            report.measured.push(measured);
        }
    }
    Ok(report)
}

/// What the last runs left.
pub fn saved(programs: &[Program]) -> Report {
    let measured = programs.iter().filter_map(|program| read(&file_of(program)).ok()).collect();
    Report { machine: Machine::this(), measured, failed: Vec::new() }
}

fn read(file: &Path) -> Result<Measured> {
    let text = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("understanding {}", file.display()))
}

/// The same profile as ours, so that the programs lie beside us. All packages are looked at, so that the features of what
/// they depend on are those of every other build of the workspace, and little is compiled twice.
fn build(programs: &[Program]) -> Result<()> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--workspace"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    for program in programs {
        command.args(["--bin", program.name]);
        if program.name == "start" {
            command.args(["--bin", "codectl"]);
        }
    }
    output::line("building what is missing");
    let status = command.status().context("running cargo")?;
    if !status.success() {
        bail!("building the measuring programs ended with {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_refused_and_none_means_all() {
        assert_eq!(named(&[]).unwrap().len(), PROGRAMS.len());
        assert_eq!(named(&["bus".to_owned()]).unwrap().len(), 1);
        assert!(named(&["buss".to_owned()]).is_err());
    }
}
