//! The machine, and what a process costs it.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Where the figures come from. No names: kinds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// As in "2 cores, virtual machine, AMD EPYC, 24 GiB".
    pub kind: String,
    /// The operating system's kernel.
    pub kernel: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Machine {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let processor = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line = processor.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let kind = if field("flags").split(' ').any(|flag| flag == "hypervisor") {
            "virtual machine"
        } else {
            "machine"
        };
        let memory = read("/proc/meminfo")
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
            .unwrap_or_default();
        let gib = (memory as f64 / (1024.0 * 1024.0)).round();
        let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
        Machine { kind: format!("{cores} cores, {kind}, {}, {gib} GiB", field("model name")), kernel }
    }
}

/// Processes that wanted a core during the last minute.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

/// Memory of a process that is in RAM, in bytes.
pub fn resident(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("reading process {pid}"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(line.with_context(|| format!("process {pid} has no memory"))? * 1024)
}

/// CPU time that a process and its children that still run have used, in seconds. Linux counts in hundredths.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut seconds = 0.0;
    for pid in family(pid) {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("reading process {pid}"))?;
        // The name in parentheses may hold anything; utime and stime are the 12th and 13th field after it.
        let (_, fields) = text.rsplit_once(')').context("a stat without a name")?;
        let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
        seconds += ticks.sum::<f64>() / 100.0;
    }
    Ok(seconds)
}

fn family(pid: u32) -> BTreeSet<u32> {
    let mut all = BTreeSet::new();
    let mut next = vec![pid];
    while let Some(pid) = next.pop() {
        if !all.insert(pid) {
            continue;
        }
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            next.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_the_machine_a_kind() {
        assert!(resident(std::process::id()).unwrap() > 100_000);
        assert!(cpu_seconds(std::process::id()).unwrap() >= 0.0);
        assert!(Machine::this().kind.contains("cores"));
    }
}
