//! Whether a database holds all that it promised.

use std::path::Path;

use super::{
    flush::{TALLY, Tally},
    log::{CUT, PURGED, VOTE},
    parts,
    seal::Sealed,
};
use crate::{
    record, snapshot,
    types::{Entry, LogId, Vote},
};

/// What a sound database holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub count: u64,
    pub vote: Option<Vote>,
    /// The last entry.
    pub last: Option<u64>,
    pub bytes: u64,
    /// What is before was purged, and may be there still.
    pub begin: u64,
    /// What is from here on was cut off, and may be there still.
    pub cut: Option<u64>,
}

/// Reads every record. The error says what is wrong.
pub(crate) fn examine(database: &sled::Db, sealed: &Sealed, snapshot: &Path) -> Result<Found, String> {
    let tree = |name: &str| database.open_tree(name).map_err(|error| format!("the tree {name}: {error}"));
    let (entries, marks) = (tree("entries")?, tree("marks")?);

    let Tally { count, last } = mark(&marks, TALLY)?.unwrap_or_default();
    if count < sealed.count {
        return Err(format!(
            "the database is at flush {count}, but flush {} was acknowledged: it lost what was written since",
            sealed.count
        ));
    }
    let vote: Option<Vote> = mark(&marks, VOTE)?;
    if vote < sealed.vote {
        let text = |vote: &Option<Vote>| vote.as_ref().map_or("none".to_owned(), ToString::to_string);
        return Err(format!("the vote is {}, but {} was promised", text(&vote), text(&sealed.vote)));
    }

    let purged: Option<LogId> = mark(&marks, PURGED)?;
    let cut: Option<u64> = mark(&marks, CUT)?;
    let begin = purged.map_or(0, |purged| purged.index + 1);
    let (mut next, mut bytes) = (begin, 0);
    for record in parts::from(&entries, begin, cut) {
        let (index, record) = record.map_err(|error| format!("reading the log: {error}"))?;
        if index != next {
            return Err(format!("the log lacks entry {next}: the next one is {index}"));
        }
        let entry: Entry = record::decode(&index.to_be_bytes(), &record)
            .map_err(|error| format!("the log's entry {index}: {error}"))?;
        if entry.log_id.index != index {
            return Err(format!("the log's entry {index} says that it is entry {}", entry.log_id.index));
        }
        next = index + 1;
        bytes += record.len() as u64;
    }
    // What was put since may make the log longer, but shorter only with a mark.
    let promised = last.map_or(0, |last| last + 1).min(cut.unwrap_or(u64::MAX));
    if next < promised {
        return Err(format!(
            "the log ends before entry {next}, but the database says that it had {promised}"
        ));
    }

    let snapshot = snapshot::read_header(snapshot).map_err(|why| format!("the snapshot: {why}"))?;
    let covered = snapshot.and_then(|header| header.meta.last_log_id);
    if covered < purged {
        let at = |id: Option<LogId>| id.map_or("none".to_owned(), |id| id.index.to_string());
        return Err(format!(
            "the log is purged up to {}, but the newest snapshot ends at {}",
            at(purged),
            at(covered)
        ));
    }
    Ok(Found { count, vote, last: next.checked_sub(1), bytes, begin, cut })
}

fn mark<T: serde::de::DeserializeOwned>(marks: &sled::Tree, key: &[u8]) -> Result<Option<T>, String> {
    let name = String::from_utf8_lossy(key);
    match marks.get(key).map_err(|error| format!("reading the mark {name}: {error}"))? {
        Some(bytes) => {
            record::decode(key, &bytes).map(Some).map_err(|error| format!("the mark {name}: {error}"))
        }
        None => Ok(None),
    }
}
