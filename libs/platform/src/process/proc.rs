//! What the kernel says about processes, read from `/proc`.

use std::{collections::BTreeMap, fs::File, io::Read as _};

use nix::{
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::Pid,
};

/// What of `/proc/<pid>/stat` matters here; fields as proc(5) numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// Field 3: `Z` and `X` are ended.
    pub state: char,
    /// Field 5: process group.
    pub group: i32,
    /// Field 22: clock ticks from boot to start. With the pid and the boot it names a process for ever.
    pub start: u64,
    /// Field 52: status in the form of waitpid; shown to those who may trace the process, 0 to others.
    pub exit: i32,
}

impl Stat {
    pub fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

pub(super) fn stat(pid: i32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name in field 2 may hold blanks and brackets, so the fields are counted from its last bracket.
fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3);
    Some(Stat {
        state: field(3)?.chars().next()?,
        group: field(5)?.parse().ok()?,
        start: field(22)?.parse().ok()?,
        exit: field(52).and_then(|text| text.parse().ok()).unwrap_or(0),
    })
}

/// Names this boot of the machine; empty when the kernel does not say.
pub(super) fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Every process id there is now.
fn all() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Reads a file of `/proc` with large reads: a process may become another program between two reads, and std begins
/// with a small one, so that half of each would be taken for one.
fn read(pid: i32, file: &str) -> Option<Vec<u8>> {
    const AT_ONCE: usize = 64 * 1024;
    let mut open = File::open(format!("/proc/{pid}/{file}")).ok()?;
    let (mut bytes, mut length) = (Vec::new(), 0);
    loop {
        bytes.resize(length + AT_ONCE, 0);
        match open.read(&mut bytes[length..]).ok()? {
            0 => break,
            read => length += read,
        }
    }
    bytes.truncate(length);
    Some(bytes)
}

/// The environment a process was started with; none when it is gone or not ours to read.
pub(super) fn environment(pid: i32) -> Option<BTreeMap<String, String>> {
    let bytes = read(pid, "environ")?;
    let words = bytes.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok());
    Some(
        words
            .filter_map(|word| word.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    )
}

/// Words of the command line.
pub(super) fn command_line(pid: i32) -> Vec<String> {
    let bytes = read(pid, "cmdline").unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Living processes whose environment holds all these words, `NAME=value` each.
pub(super) fn with_environment(words: &[String]) -> Vec<(i32, Stat)> {
    let mut found = Vec::new();
    for pid in all() {
        let Some(bytes) = read(pid, "environ") else { continue };
        let has = |word: &String| bytes.split(|byte| *byte == 0).any(|other| other == word.as_bytes());
        if words.iter().all(has)
            && let Some(stat) = stat(pid)
            && !stat.has_ended()
        {
            found.push((pid, stat));
        }
    }
    found
}

/// Takes the status of an ended process if it is our child; none when it is another's or still runs.
pub(super) fn reap(pid: i32) -> Option<i64> {
    match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, code)) => Some(i64::from(code)),
        Ok(WaitStatus::Signaled(_, signal, _)) => Some(128 + i64::from(signal as i32)),
        Ok(_) | Err(_) => None,
    }
}

/// The status field 52 of an ended process shows.
pub(super) fn code_of(exit: i32) -> i64 {
    if exit & 0x7f == 0 { i64::from((exit >> 8) & 0xff) } else { i64::from(128 + (exit & 0x7f)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let mut fields = vec!["S", "1", "77"];
        fields.extend(["0"; 16]);
        fields.push("4242");
        let text = format!("9 (a) b (c) {}", fields.join(" "));

        assert_eq!(parse(&text), Some(Stat { state: 'S', group: 77, start: 4242, exit: 0 }));
    }

    #[test]
    fn this_process_is_found_by_its_environment() {
        let me = std::process::id() as i32;
        let (name, value) = environment(me).unwrap().into_iter().next().unwrap();

        let found = with_environment(&[format!("{name}={value}")]);

        assert!(found.iter().any(|(pid, _)| *pid == me));
    }
}
