//! What was accepted and is not in the tiles yet: one file, one frame per batch, one fsync per frame.
//!
//! A frame holds its entries and the writer's state after them, under one checksum: both are there or neither is. A
//! frame that was cut off by a crash is the last one and was never acknowledged; it is dropped. A broken frame before
//! the last one is an error: something else than a crash happened.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::{Error, disk};

const MAGIC: [u8; 4] = *b"jrn1";
/// Magic, length of the body, checksum of length and body.
const HEAD: usize = 4 + 4 + 4;
/// The longest body: a thousand of the longest entries and a state.
const MAX_BODY: u32 = 128 << 20;
const WHAT: &str = "journal";

/// One batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The index of its first entry in the log.
    pub start: u64,
    /// In order.
    pub entries: Vec<Vec<u8>>,
    /// The writer's state after them.
    pub state: Vec<u8>,
}

/// The journal of a log. Belongs to one writer.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    file: File,
    /// The segment's first index, which names its file.
    start: u64,
    /// How many bytes of the file are whole frames.
    length: u64,
    poisoned: Option<String>,
}

impl Journal {
    /// Opens or begins the journal in a folder. Gives the frames that stand there, in order.
    pub fn open(folder: impl Into<PathBuf>) -> Result<(Journal, Vec<Frame>), Error> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(Error::io("making the folder", &folder))?;
        let mut segments = segments(&folder)?;
        if segments.is_empty() {
            segments.push(0);
            disk::create(&segment(&folder, 0)).map_err(Error::io("making", segment(&folder, 0)))?;
            disk::sync_folder(&folder)?;
        }
        let mut frames: Vec<Frame> = Vec::new();
        let mut opened = None;
        for (at, start) in segments.iter().enumerate() {
            let path = segment(&folder, *start);
            let mut file =
                OpenOptions::new().read(true).write(true).open(&path).map_err(Error::io("opening", &path))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(Error::io("reading", &path))?;
            let (mut rest, mut length) = (bytes.as_slice(), 0);
            while let Some((frame, size)) = Frame::read(rest) {
                rest = &rest[size..];
                length += size as u64;
                frames.push(frame);
            }
            let last = at + 1 == segments.len();
            if !rest.is_empty() && (!last || holds_frame(&rest[1..])) {
                let why = format!("{} is broken at byte {length}, before its end", path.display());
                return Err(Error::format(WHAT, why));
            }
            if !rest.is_empty() {
                file.set_len(length).and_then(|()| file.sync_all()).map_err(Error::io("cutting", &path))?;
            }
            opened = Some((file, *start, length));
        }
        for pair in frames.windows(2) {
            let end = pair[0].start + pair[0].entries.len() as u64;
            if pair[1].start != end {
                let why = format!("entry {} follows entry {}", pair[1].start, end.saturating_sub(1));
                return Err(Error::format(WHAT, why));
            }
        }
        let (file, start, length) = opened.ok_or_else(|| Error::format(WHAT, "no segment"))?;
        Ok((Journal { folder, file, start, length, poisoned: None }, frames))
    }

    /// Appends a batch; durable when it returns. After a failed write the file is as before and a later append may
    /// succeed (the disk may have room again); after a failed sync nothing is known and the journal takes no more.
    pub fn append(&mut self, frame: &Frame) -> Result<(), Error> {
        if let Some(why) = &self.poisoned {
            return Err(Error::Poisoned(why.clone()));
        }
        let path = segment(&self.folder, self.start);
        let bytes = frame.bytes()?;
        let length = self.length;
        let written = self.file.seek(SeekFrom::Start(length)).and_then(|_| self.file.write_all(&bytes));
        if let Err(source) = written {
            if let Err(error) = self.file.set_len(length) {
                self.poisoned = Some(error.to_string());
            }
            return Err(Error::io("writing", path)(source));
        }
        if let Err(source) = self.file.sync_data() {
            self.poisoned = Some(source.to_string());
            return Err(Error::io("syncing", path)(source));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Begins a new segment at this index: what stands in the older ones can be dropped once it is in the tiles.
    pub fn rotate(&mut self, start: u64) -> Result<(), Error> {
        if start == self.start || self.length == 0 {
            return Ok(());
        }
        let path = segment(&self.folder, start);
        let made = disk::create(&path);
        self.file = made.map_err(Error::io("making", &path))?;
        disk::sync_folder(&self.folder)?;
        (self.start, self.length) = (start, 0);
        Ok(())
    }

    /// Drops the segments before the current one. Call it when their entries are in the tiles.
    pub fn drop_older(&self) -> Result<(), Error> {
        let mut dropped = false;
        for start in segments(&self.folder)?.into_iter().filter(|start| *start != self.start) {
            let path = segment(&self.folder, start);
            fs::remove_file(&path).map_err(Error::io("removing", &path))?;
            dropped = true;
        }
        if dropped { disk::sync_folder(&self.folder) } else { Ok(()) }
    }
}

impl Frame {
    fn bytes(&self) -> Result<Vec<u8>, Error> {
        let mut body =
            Vec::with_capacity(64 + self.entries.iter().map(|entry| entry.len() + 4).sum::<usize>());
        let mut part = |bytes: &[u8]| -> Result<(), Error> {
            let size = u32::try_from(bytes.len()).map_err(|_| Error::format(WHAT, "a part is too long"))?;
            body.extend(size.to_le_bytes());
            body.extend(bytes);
            Ok(())
        };
        part(&self.state)?;
        for entry in &self.entries {
            if entry.len() > crate::MAX_ENTRY {
                return Err(Error::TooLong { size: entry.len(), limit: crate::MAX_ENTRY });
            }
            part(entry)?;
        }
        body.extend(self.start.to_le_bytes());
        let size = u32::try_from(body.len()).ok().filter(|size| *size <= MAX_BODY);
        let size = size.ok_or_else(|| Error::format(WHAT, "a batch is longer than 128 MiB"))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(size.to_le_bytes());
        bytes.extend(checksum(size, &body).to_le_bytes());
        bytes.extend(body);
        Ok(bytes)
    }

    /// The frame at the beginning and its length; none when there is no whole one.
    fn read(bytes: &[u8]) -> Option<(Frame, usize)> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (size, rest) = rest.split_first_chunk::<4>()?;
        let (sum, rest) = rest.split_first_chunk::<4>()?;
        let size = u32::from_le_bytes(*size);
        let body = rest.get(..size as usize)?;
        if checksum(size, body) != u32::from_le_bytes(*sum) {
            return None;
        }
        let (mut parts, start) = body.split_last_chunk::<8>()?;
        let mut all = Vec::new();
        while !parts.is_empty() {
            let (size, rest) = parts.split_first_chunk::<4>()?;
            let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
            all.push(part.to_vec());
            parts = rest;
        }
        let mut all = all.into_iter();
        let state = all.next()?;
        Some((
            Frame { start: u64::from_le_bytes(*start), entries: all.collect(), state },
            HEAD + size as usize,
        ))
    }
}

fn checksum(size: u32, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&size.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// A whole frame stands somewhere in these bytes.
fn holds_frame(bytes: &[u8]) -> bool {
    (0..bytes.len().saturating_sub(HEAD))
        .any(|at| bytes[at..].starts_with(&MAGIC) && Frame::read(&bytes[at..]).is_some())
}

fn segment(folder: &Path, start: u64) -> PathBuf {
    folder.join(format!("{start:020}.journal"))
}

/// The first indices of the segments that are there, in order.
fn segments(folder: &Path) -> Result<Vec<u64>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("listing", folder))? {
        let name = entry.map_err(Error::io("listing", folder))?.file_name();
        let start = name.to_str().and_then(|name| name.strip_suffix(".journal")?.parse::<u64>().ok());
        found.extend(start);
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests;
