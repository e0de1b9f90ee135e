//! Leaves nothing behind.

use std::{fs, path::Path, time::Duration};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::{Pid, getpgid},
};

/// Kills every process group of which a process has the folder in its environment, until there is none. What is just
/// being started by work that cannot be stopped any more shows up a moment later: so it has to be quiet twice.
pub(crate) fn kill_whatever_mentions(folder: &Path) {
    let mut quiet = 0;
    for _ in 0..200 {
        let found = mentioning(&folder.display().to_string());
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        if quiet == 2 {
            return;
        }
        for pid in found {
            // Gone already is as good.
            let _ = match getpgid(Some(pid)) {
                Ok(group) if Ok(group) != getpgid(None) => killpg(group, Signal::SIGKILL),
                _ => kill(pid, Signal::SIGKILL),
            };
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    eprintln!("processes of {} are left", folder.display());
}

fn mentioning(folder: &str) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok())
        .map(Pid::from_raw);
    let names_it = |pid: &Pid| {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|bytes| memory_contains(&bytes, folder.as_bytes()))
    };
    pids.filter(|pid| *pid != Pid::this()).filter(names_it).collect()
}

fn memory_contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
