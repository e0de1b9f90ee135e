//! Limits by control groups, where this process may make them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Limit, Limits, Unenforced};

/// Why a limit that only a group holds is not held.
const NO_GROUP: &str = "no control group can be made for it here";

/// The control groups made for one instance, and what they hold it to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Their folders.
    pub folders: Vec<PathBuf>,
    /// They hold it to its memory.
    pub holds_memory: bool,
    /// They hold it to its share of the processors.
    pub holds_cpu: bool,
    /// They hold it to its number of processes.
    pub holds_processes: bool,
}

/// Makes groups named `name` that hold to the limits. What cannot be made is left out; [`crate::Launch::hold`] says so.
pub fn make(name: &str, limits: &Limits) -> Groups {
    let mut groups = Groups::default();
    let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut hold = |controller: &str, limit: Option<u64>, hold: fn(&Path, u64) -> bool| {
        let Some(limit) = limit else { return false };
        let Some(folder) = one(&memberships, &mounts, controller, name) else { return false };
        let holds = hold(&folder, limit);
        keep(&mut groups.folders, folder, holds);
        holds
    };
    let memory = hold("memory", limits.memory_bytes, hold_memory);
    let cpu = hold("cpu", limits.cpu_millis, hold_cpu);
    let processes = hold("pids", limits.processes, hold_processes);
    Groups { holds_memory: memory, holds_cpu: cpu, holds_processes: processes, ..groups }
}

/// What of these limits nothing here can hold, found by making a group and removing it.
pub fn missing(name: &str, limits: &Limits) -> Vec<Unenforced> {
    let groups = make(name, limits);
    remove(&groups.folders);
    groups.missing(limits)
}

impl Groups {
    /// What of these limits the groups do not hold and nothing else can: memory has a limit of its own for each process.
    pub fn missing(&self, limits: &Limits) -> Vec<Unenforced> {
        let lost = [
            (Limit::Cpu, limits.cpu_millis.is_some() && !self.holds_cpu),
            (Limit::Processes, limits.processes.is_some() && !self.holds_processes),
        ];
        let lost = lost.into_iter().filter(|(_, lost)| *lost);
        lost.map(|(limit, _)| Unenforced::new(limit, NO_GROUP)).collect()
    }
}

fn keep(folders: &mut Vec<PathBuf>, folder: PathBuf, holds: bool) {
    if holds && !folders.contains(&folder) {
        folders.push(folder);
    } else if !folders.contains(&folder) {
        let _ = fs::remove_dir(&folder);
    }
}

/// Puts a process into the groups; false when one of them does not take it.
pub fn enter(folders: &[PathBuf], pid: i32) -> bool {
    folders.iter().all(|folder| fs::write(folder.join("cgroup.procs"), pid.to_string()).is_ok())
}

/// Whether the kernel killed something in the groups for want of memory.
pub fn ran_out_of_memory(folders: &[PathBuf]) -> bool {
    let files = ["memory.oom_control", "memory.events"];
    let texts = folders
        .iter()
        .flat_map(|folder| files.map(|file| fs::read_to_string(folder.join(file)).unwrap_or_default()));
    let mut counts = texts.flat_map(|text| {
        let lines = text.lines().filter_map(|line| line.strip_prefix("oom_kill "));
        lines.filter_map(|count| count.trim().parse::<u64>().ok()).collect::<Vec<_>>()
    });
    counts.any(|count| count > 0)
}

/// Removes the groups; one that still holds a process stays and is removed by the next start of the instance.
pub fn remove(folders: &[PathBuf]) {
    for folder in folders {
        let _ = fs::remove_dir(folder);
    }
}

/// The most memory this process's own group allows; none without a bound.
pub fn own_memory_limit() -> Option<u64> {
    let memberships = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let folder = own(&memberships, &mounts, "memory")?.0;
    let text = ["memory.limit_in_bytes", "memory.max"]
        .iter()
        .find_map(|file| fs::read_to_string(folder.join(file)).ok())?;
    text.trim().parse().ok()
}

/// A new group for this instance below the group this process is in.
fn one(memberships: &str, mounts: &str, controller: &str, name: &str) -> Option<PathBuf> {
    let (own, unified) = own(memberships, mounts, controller)?;
    if unified && fs::write(own.join("cgroup.subtree_control"), format!("+{controller}")).is_err() {
        return None;
    }
    let folder = own.join(name);
    match fs::create_dir(&folder) {
        Ok(()) => Some(folder),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Some(folder),
        Err(_) => None,
    }
}

/// The folder of this process's group for a controller, and whether it is of version 2.
fn own(memberships: &str, mounts: &str, controller: &str) -> Option<(PathBuf, bool)> {
    for line in memberships.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        if controllers.split(',').any(|one| one == controller) {
            let mount = mount_point(mounts, "cgroup", Some(controller))?;
            return Some((below(&mount, path), false));
        }
    }
    let path = memberships.lines().find_map(|line| line.strip_prefix("0::"))?;
    let folder = below(&mount_point(mounts, "cgroup2", None)?, path);
    let offered = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    offered.split_whitespace().any(|one| one == controller).then_some((folder, true))
}

/// Inside a container the path may be one of the host that is not visible; then the mount itself is our group.
fn below(mount: &Path, path: &str) -> PathBuf {
    let folder = mount.join(path.trim_start_matches('/'));
    if folder.is_dir() { folder } else { mount.to_owned() }
}

fn mount_point(mounts: &str, kind: &str, option: Option<&str>) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, point, of_kind, options, ..] = fields[..] else { return None };
        let fits = of_kind == kind && option.is_none_or(|option| options.split(',').any(|one| one == option));
        fits.then(|| PathBuf::from(point))
    })
}

fn hold_memory(folder: &Path, bytes: u64) -> bool {
    let put = |file: &str, value: &str| fs::write(folder.join(file), value).is_ok();
    if folder.join("memory.limit_in_bytes").exists() {
        let held = put("memory.limit_in_bytes", &bytes.to_string());
        put("memory.memsw.limit_in_bytes", &bytes.to_string());
        return held;
    }
    let held = put("memory.max", &bytes.to_string());
    put("memory.swap.max", "0");
    held
}

fn hold_processes(folder: &Path, most: u64) -> bool {
    fs::write(folder.join("pids.max"), most.to_string()).is_ok()
}

fn hold_cpu(folder: &Path, millis: u64) -> bool {
    const PERIOD_MICROS: u64 = 100_000;
    let quota = (millis.saturating_mul(PERIOD_MICROS) / 1000).max(1000);
    let put = |file: &str, value: String| fs::write(folder.join(file), value).is_ok();
    if folder.join("cpu.cfs_quota_us").exists() {
        return put("cpu.cfs_period_us", PERIOD_MICROS.to_string())
            && put("cpu.cfs_quota_us", quota.to_string());
    }
    put("cpu.max", format!("{quota} {PERIOD_MICROS}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_a_controller_is_found_among_others() {
        let mounts = "cgroup /c/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\ncgroup /c/memory cgroup rw,memory 0 0\n\
                      none /c/two cgroup2 rw 0 0\n";

        assert_eq!(mount_point(mounts, "cgroup", Some("memory")), Some(PathBuf::from("/c/memory")));
        assert_eq!(mount_point(mounts, "cgroup2", None), Some(PathBuf::from("/c/two")));
        assert_eq!(mount_point(mounts, "cgroup", Some("pids")), None);
    }

    #[test]
    fn a_kill_for_want_of_memory_is_read_from_either_version() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = [one.path().to_owned(), two.path().to_owned()];
        let put = |folder: &Path, file: &str, text: &str| fs::write(folder.join(file), text).unwrap();

        assert!(!ran_out_of_memory(&folders));
        put(one.path(), "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n");
        put(two.path(), "memory.events", "low 0\noom 4\noom_kill 0\noom_group_kill 0\n");
        assert!(!ran_out_of_memory(&folders));
        put(two.path(), "memory.events", "low 0\noom 4\noom_kill 1\noom_group_kill 0\n");
        assert!(ran_out_of_memory(&folders));
        put(one.path(), "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
        assert!(ran_out_of_memory(&folders[..1]));
    }
}
