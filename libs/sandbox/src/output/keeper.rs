//! Keeps the end of what a program writes: reads it from a pipe and writes it to two files of the folder it stands in.
//! When the newer is full it becomes the older, and what that held is given up.
//!
//! What cannot be written, on a full disk say, is dropped and counted, and the count is written once there is room again:
//! the program that writes never waits for a disk and never ends for want of one.
//!
//! One file and nothing but std: tests compile it on its own.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// What was written last.
pub const LOG: &str = "output.log";
/// What was written before that.
pub const LOG_BEFORE: &str = "output.log.1";

/// What is read at once; as much as a pipe holds.
const AT_ONCE: usize = 64 * 1024;

/// Reads standard input until nobody can write to it any more. Each of the two files holds `most` bytes at most.
pub fn keep(most: u64) -> io::Result<()> {
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut kept = Kept::new(Path::new(""), most);
    let mut buffer = vec![0; AT_ONCE];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => kept.take(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The two files.
pub struct Kept {
    folder: PathBuf,
    most: u64,
    newer: Option<(File, u64)>,
    /// Bytes dropped that no file tells of yet, and why.
    lost: Option<(u64, io::Error)>,
}

impl Kept {
    /// Goes on where files in this folder end.
    pub fn new(folder: &Path, most: u64) -> Kept {
        Kept { folder: folder.to_owned(), most, newer: None, lost: None }
    }

    /// Writes what fits on the disk, and counts the rest.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.tell_lost().and_then(|()| self.write(bytes)) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) => {
                    // Opened anew the next time: it may have been the file and not the disk.
                    self.newer = None;
                    let before = self.lost.take().map_or(0, |(before, _)| before);
                    self.lost = Some((before + bytes.len() as u64, error));
                    return;
                }
            }
        }
    }

    fn tell_lost(&mut self) -> io::Result<()> {
        let Some((bytes, why)) = &self.lost else { return Ok(()) };
        let text = format!("\n[{bytes} bytes of output are lost here: {why}]\n");
        let written = self.write(text.as_bytes())?;
        if written < text.len() && self.newer.as_ref().is_some_and(|(_, length)| *length < self.most) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.lost = None;
        Ok(())
    }

    /// Writes as much as one of the files has room for; gives how much that was.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.newer.as_ref().is_some_and(|(_, length)| *length >= self.most) {
            self.newer = None;
        }
        let (file, length) = match &mut self.newer {
            Some(newer) => newer,
            none => none.insert(newer(&self.folder, self.most)?),
        };
        let room = usize::try_from(self.most - *length).unwrap_or(usize::MAX);
        let written = file.write(&bytes[..bytes.len().min(room)])?;
        *length += written as u64;
        if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
    }
}

/// The newer file and its length, with room in it.
fn newer(folder: &Path, most: u64) -> io::Result<(File, u64)> {
    let path = folder.join(LOG);
    let open = || OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let file = open()?;
    let length = file.metadata()?.len();
    if length < most {
        return Ok((file, length));
    }
    fs::rename(&path, folder.join(LOG_BEFORE))?;
    Ok((open()?, 0))
}
