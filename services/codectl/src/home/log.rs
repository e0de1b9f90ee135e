//! Logs of what runs in the background.

use std::{fs, path::Path};

/// A log is put aside when it is larger than this: one older log is kept.
const LOG_BYTES: u64 = 10 << 20;

/// The log to go on with and how much is in it. What an engine before wrote, perhaps why it crashed, stays.
pub fn go_on(place: &Path) -> std::io::Result<(fs::File, u64)> {
    if fs::metadata(place).is_ok_and(|log| log.len() > LOG_BYTES) {
        fs::rename(place, place.with_extension("log.1"))?;
    }
    let log = fs::OpenOptions::new().create(true).append(true).open(place)?;
    let before = log.metadata()?.len();
    Ok((log, before))
}

/// The last that was written to a log after a place, for an error.
pub fn said(place: &Path, before: u64) -> String {
    let text = fs::read(place).unwrap_or_default();
    let new = text.get(usize::try_from(before).unwrap_or(usize::MAX)..).unwrap_or_default();
    let new = String::from_utf8_lossy(new);
    let lines: Vec<&str> = new.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        let room = place.parent().and_then(|home| super::room(home).ok());
        let room = room.map_or_else(String::new, |room| format!("; its disk has {} MiB free", room >> 20));
        return format!("it wrote nothing to {}{room}", place.display());
    }
    let last = lines[lines.len().saturating_sub(10)..].join("\n  ");
    format!("the end of {}:\n  {last}", place.display())
}
