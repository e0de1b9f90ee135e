//! The effect ledger: what really happened, written outside the engine that caused it.
//!
//! Tests count duplicate starts in it. Many instances append to one file at once.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

pub struct EffectLedger {
    file: Option<PathBuf>,
    instance: String,
}

impl EffectLedger {
    /// Without a file, [`record`](Self::record) does nothing.
    pub fn new(file: Option<PathBuf>, instance: String) -> Self {
        Self { file, instance }
    }

    /// Appends `<what> <milliseconds since 1970> <instance> <pid>` as one line in one write, so that the
    /// lines of concurrent writers never mix.
    pub fn record(&self, what: &str) -> io::Result<()> {
        let Some(path) = &self.file else { return Ok(()) };
        let line = format!("{what} {} {} {}\n", unix_ms(), self.instance, std::process::id());
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        if file.write(line.as_bytes())? == line.len() {
            Ok(())
        } else {
            Err(io::Error::other(format!("effect ledger {} took only a part of a line", path.display())))
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a deployed workload has the machine's clock, not the chassis'")]
fn unix_ms() -> u128 {
    std::time::SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_event_the_instance_and_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("effects");
        let ledger = EffectLedger::new(Some(path.clone()), "shop-1".to_owned());

        ledger.record("start").unwrap();
        ledger.record("stop").unwrap();

        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0][0], lines[1][0]), ("start", "stop"));
        assert!(lines[0][1].parse::<u64>().unwrap() > 1_600_000_000_000);
        assert_eq!(lines[0][2], "shop-1");
        assert_eq!(lines[0][3], std::process::id().to_string());
    }

    #[test]
    fn without_a_file_nothing_is_recorded() {
        EffectLedger::new(None, "shop-1".to_owned()).record("start").unwrap();
    }
}
