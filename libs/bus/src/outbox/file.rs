//! What waits in an outbox, on disk: a line with the source and how far it counted, then a line per fact.

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use ground::file::{self, Access};
use model::audit::AuditRecord;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::Error;

/// The file is written anew when nothing waits and it is longer than this; what stays in it is said again after a
/// restart, and kept once by the log.
const LONG: u64 = 64 * 1024;

/// What a file says.
#[derive(Debug)]
pub(super) struct Kept {
    pub source: String,
    /// The last count.
    pub counted: u64,
    pub waiting: Vec<AuditRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    source: String,
    counted: u64,
}

/// The file of one outbox. Keeps a second process out for as long as it lives.
#[derive(Debug)]
pub(super) struct File {
    folder: PathBuf,
    file: fs::File,
    /// How many bytes are whole lines.
    length: u64,
    _lock: Flock<fs::File>,
}

impl File {
    pub fn open(folder: &Path, source: &str) -> Result<(Kept, File), Error> {
        fs::create_dir_all(folder).map_err(failed("making", folder))?;
        let lock = fs::File::create(folder.join("lock")).map_err(failed("locking", folder))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, error)| failed("another process has", folder)(error.into()))?;
        let path = folder.join("outbox.jsonl");
        let kept = match file::read(&path).map_err(failed("reading", &path))? {
            Some(bytes) => read(&path, &bytes)?,
            None => Kept { source: source.to_owned(), counted: 0, waiting: Vec::new() },
        };
        let first = kept.waiting.first().map_or(kept.counted, |record| record.counter - 1);
        let (file, length) = write(folder, &kept.source, first, &kept.waiting)?;
        Ok((kept, File { folder: folder.to_owned(), file, length, _lock: lock }))
    }

    /// Adds a fact: on disk when it returns, and as before after an error.
    pub fn add(&mut self, fact: &AuditRecord) -> Result<(), Error> {
        let mut line = fact.to_leaf();
        line.push(b'\n');
        let written = self
            .file
            .seek(SeekFrom::Start(self.length))
            .and_then(|_| self.file.write_all(&line))
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Else the half of a line would stand before the next.
            let _ = self.file.set_len(self.length);
            return Err(failed("writing", &self.folder)(error));
        }
        self.length += line.len() as u64;
        Ok(())
    }

    /// Nothing waits any more.
    pub fn empty(&mut self, source: &str, counted: u64) -> Result<(), Error> {
        if self.length > LONG {
            (self.file, self.length) = write(&self.folder, source, counted, &[])?;
        }
        Ok(())
    }
}

/// Replaces the file as a whole.
fn write(
    folder: &Path,
    source: &str,
    counted: u64,
    waiting: &[AuditRecord],
) -> Result<(fs::File, u64), Error> {
    let mut bytes = model::digest::canonical_json(&Head { source: source.to_owned(), counted });
    bytes.push(b'\n');
    for record in waiting {
        bytes.extend(record.to_leaf());
        bytes.push(b'\n');
    }
    let path = folder.join("outbox.jsonl");
    let file = file::replace(&path, &bytes, Access::Owner).map_err(failed("replacing", &path))?;
    Ok((file, bytes.len() as u64))
}

/// A line that a kill cut off is the last one; nobody was told that it was taken.
fn read(path: &Path, bytes: &[u8]) -> Result<Kept, Error> {
    let broken = |line: usize, why: String| Error::Io {
        what: format!("line {line} of the outbox {} is broken; restore it or move it away", path.display()),
        source: std::io::Error::other(why),
    };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(&b""[..], |end| &bytes[..end]);
    let mut lines = whole.split(|byte| *byte == b'\n');
    let head: Head = serde_json::from_slice(lines.next().unwrap_or_default())
        .map_err(|error| broken(1, error.to_string()))?;
    let mut kept = Kept { source: head.source, counted: head.counted, waiting: Vec::new() };
    for (number, line) in (2..).zip(lines) {
        let record: AuditRecord =
            serde_json::from_slice(line).map_err(|error| broken(number, error.to_string()))?;
        if record.source != kept.source || record.counter != kept.counted + 1 {
            return Err(broken(number, format!("count {} of {}", record.counter, record.source)));
        }
        kept.counted = record.counter;
        kept.waiting.push(record);
    }
    Ok(kept)
}

fn failed(what: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::Io { what: format!("{what} {path} of an outbox"), source }
}
