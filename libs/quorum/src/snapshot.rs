//! A snapshot is one file: magic, the header as a record, the body, whose digest the header has. It is replaced as a
//! whole. It is no value of sled, because sled never frees values of 128 KiB and more.

use std::{
    fs::File,
    io::{Read, Seek},
    path::Path,
};

use ground::file::{self, Access};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{record, types::SnapshotMeta};

const MAGIC: &[u8; 8] = b"CODESNP1";
const KEY: &[u8] = b"snapshot";
/// Longest header: it names the members.
const MAX_HEADER: usize = 64 * 1024;
/// Longest body. The state is held in memory, and its text once more while a snapshot is made or read.
pub(crate) const MAX_BODY: usize = 256 << 20;
/// Longest file.
pub(crate) const MAX_FILE: u64 = (MAX_BODY + MAX_HEADER + 16) as u64;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub meta: SnapshotMeta,
    length: u64,
    sha256: [u8; 32],
}

/// Replaces the snapshot at `path`; when this returns it is on disk.
pub(crate) fn write(path: &Path, meta: SnapshotMeta, body: &[u8]) -> Result<(), String> {
    if body.len() > MAX_BODY {
        return Err(format!("a state of {} bytes, at most {MAX_BODY} are kept", body.len()));
    }
    let header = Header { meta, length: body.len() as u64, sha256: Sha256::digest(body).into() };
    let header = record::encode(KEY, &header).map_err(|error| error.to_string())?;
    let length = u32::try_from(header.len()).map_err(|error| error.to_string())?;
    let bytes = [MAGIC, length.to_be_bytes().as_slice(), &header, body].concat();
    file::replace(path, &bytes, Access::Owner)
        .map_err(|error| format!("writing {}: {error}", path.display()))?;
    Ok(())
}

/// The header; none when there is no snapshot.
pub(crate) fn read_header(path: &Path) -> Result<Option<Header>, String> {
    match open(path)? {
        Some(mut file) => header(&mut file).map(Some),
        None => Ok(None),
    }
}

/// The file, to be read from its beginning, and its header; none when there is no snapshot.
pub(crate) fn open_whole(path: &Path) -> Result<Option<(Header, File)>, String> {
    let Some(mut file) = open(path)? else { return Ok(None) };
    let header = header(&mut file)?;
    file.rewind().map_err(|error| format!("reading it: {error}"))?;
    Ok(Some((header, file)))
}

/// Header and body, each held against its checksum; none when there is no snapshot.
pub(crate) fn read(path: &Path) -> Result<Option<(Header, Vec<u8>)>, String> {
    open(path)?.map(read_file).transpose()
}

/// The same from an open file, from its beginning.
pub(crate) fn read_file(mut file: File) -> Result<(Header, Vec<u8>), String> {
    file.rewind().map_err(|error| format!("reading it: {error}"))?;
    let header = header(&mut file)?;
    let mut body = Vec::new();
    file.take(MAX_BODY as u64 + 1).read_to_end(&mut body).map_err(|error| format!("reading it: {error}"))?;
    if body.len() as u64 != header.length {
        return Err(format!("it has {} bytes, its header says {}", body.len(), header.length));
    }
    if <[u8; 32]>::from(Sha256::digest(&body)) != header.sha256 {
        return Err("its bytes do not have the digest in its header".to_owned());
    }
    Ok((header, body))
}

fn open(path: &Path) -> Result<Option<File>, String> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("opening {}: {error}", path.display())),
    }
}

fn header(file: &mut File) -> Result<Header, String> {
    let mut head = [0; 12];
    file.read_exact(&mut head).map_err(|error| format!("reading its head: {error}"))?;
    let (magic, length) = head.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err("it does not begin as a snapshot does".to_owned());
    }
    let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
    if length > MAX_HEADER {
        return Err(format!("a header of {length} bytes, at most {MAX_HEADER} are read"));
    }
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes).map_err(|error| format!("reading its header: {error}"))?;
    record::decode(KEY, &bytes).map_err(|error| format!("its header: {error}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_snapshot_with_any_byte_changed_or_its_end_missing_is_refused(
            body in proptest::collection::vec(any::<u8>(), 0..2000), at in any::<proptest::sample::Index>(), bit in 0u8..8,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("snapshot");
            write(&path, SnapshotMeta::default(), &body).unwrap();
            let whole = std::fs::read(&path).unwrap();
            prop_assert_eq!(read(&path).unwrap().unwrap().1, body);

            let mut changed = whole.clone();
            let at = at.index(whole.len());
            changed[at] ^= 1 << bit;
            std::fs::write(&path, changed).unwrap();
            prop_assert!(read(&path).is_err());
            std::fs::write(&path, &whole[..at]).unwrap();
            prop_assert!(read(&path).is_err());
        }
    }
}
