//! The files in which nats-server keeps streams, as far as damaging them takes: blocks of records, each
//! `length u32 · sequence u64 · time u64 · length of the subject u16 · subject · …`, little-endian, where the highest bit
//! of the length says that there are headers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

/// One record in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it begins.
    pub at: usize,
    /// Its length.
    pub length: usize,
    /// Its place in the stream.
    pub sequence: u64,
}

/// The folder of a stream.
pub fn folder(home: &Path, stream: &str) -> PathBuf {
    home.join("nats/data/jetstream/CODE/streams").join(stream)
}

/// The newest block of a stream.
pub fn newest_block(home: &Path, stream: &str) -> Result<PathBuf> {
    let folder = folder(home, stream).join("msgs");
    let entries = fs::read_dir(&folder).with_context(|| format!("looking into {}", folder.display()))?;
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let blocks = entries.flatten().map(|entry| entry.path());
    let blocks = blocks.filter(|path| path.extension().is_some_and(|end| end == "blk"));
    blocks.max_by_key(number).with_context(|| format!("{} has no block", folder.display()))
}

/// The whole records of a block.
pub fn records(bytes: &[u8]) -> Vec<Record> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 12) {
        let (length, sequence) = head.split_at(4);
        let length = u32::from_le_bytes(length.try_into().unwrap()) & 0x7fff_ffff;
        let sequence = u64::from_le_bytes(sequence.try_into().unwrap());
        let length = length as usize;
        if length < 30 || at + length > bytes.len() {
            break;
        }
        found.push(Record { at, length, sequence });
        at += length;
    }
    found
}

/// Tears the last `records` off a block, and so many bytes of the one before as `cut` says (0: none). Gives the last
/// sequence that is whole.
pub fn tear(block: &Path, count: usize, cut: usize) -> Result<u64> {
    let bytes = fs::read(block)?;
    let all = records(&bytes);
    ensure!(all.len() > count, "{} has only {} records", block.display(), all.len());
    let torn = all[all.len() - count];
    let keep = torn.at + cut.min(torn.length - 1);
    let file = fs::OpenOptions::new().write(true).open(block)?;
    file.set_len(keep as u64)?;
    file.sync_all()?;
    Ok(all[all.len() - count - 1].sequence)
}

/// Flips one bit at a place; gives the sequence of the record that it is in, and the last word of its subject.
pub fn flip(file: &Path, place: usize, bit: u32) -> Result<Option<(u64, String)>> {
    let mut bytes = fs::read(file)?;
    ensure!(place < bytes.len(), "{} has only {} bytes", file.display(), bytes.len());
    let all = records(&bytes);
    let hit = all.iter().find(|record| (record.at..record.at + record.length).contains(&place));
    let hit = hit.map(|record| (record.sequence, owner(&bytes, record)));
    bytes[place] ^= 1 << (bit % 8);
    fs::write(file, &bytes)?;
    Ok(hit)
}

/// The last word of a record's subject: whose journal it is in.
fn owner(bytes: &[u8], record: &Record) -> String {
    let length = u16::from_le_bytes([bytes[record.at + 20], bytes[record.at + 21]]);
    let begin = record.at + 22;
    let subject = bytes.get(begin..begin + usize::from(length)).unwrap_or_default();
    String::from_utf8_lossy(subject).rsplit('.').next().unwrap_or_default().to_owned()
}

/// Copies a folder with everything below it.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)?.flatten() {
        let (path, place) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &place)?;
        } else {
            fs::copy(&path, &place).with_context(|| format!("copying {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(lengths: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, length) in lengths.iter().enumerate() {
            let begin = bytes.len();
            bytes.extend((length | 0x8000_0000).to_le_bytes());
            bytes.extend((number as u64 + 1).to_le_bytes());
            bytes.extend(0_u64.to_le_bytes());
            bytes.extend(3_u16.to_le_bytes());
            bytes.extend(b"a.b");
            bytes.resize(begin + *length as usize, 7);
        }
        bytes
    }

    #[test]
    fn a_torn_block_ends_within_the_record_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("1.blk");
        fs::write(&file, block(&[40, 50, 60])).unwrap();

        assert_eq!(tear(&file, 1, 25).unwrap(), 2);

        assert_eq!(fs::metadata(&file).unwrap().len(), 40 + 50 + 25);
        assert_eq!(records(&fs::read(&file).unwrap()).last().unwrap().sequence, 2);
        assert!(tear(&file, 3, 0).is_err());
    }

    #[test]
    fn a_flipped_bit_is_in_the_record_that_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("1.blk");
        fs::write(&file, block(&[40, 50, 60])).unwrap();

        assert_eq!(flip(&file, 75, 3).unwrap(), Some((2, "b".to_owned())));

        assert_eq!(fs::read(&file).unwrap()[75] ^ block(&[40, 50, 60])[75], 8);
    }
}
