//! What a disk does to a stream while the server is down. A stream lies in blocks of records, each
//! `length u32 · sequence u64 · time u64 · length of the subject u16 · subject · …`, little-endian, where the highest bit
//! of the length says that there are headers; its last 8 bytes are a checksum.

use std::{fs, path::Path};

/// Flips a bit in each of the newest `count` records on a subject, in the first block of a stream below the folder of a
/// server that does not run. Gives their sequences, in order.
pub fn spoil(folder: &Path, stream: &str, subject: &str, count: usize) -> Vec<u64> {
    let block = folder.join("data/jetstream/CODE/streams").join(stream).join("msgs/1.blk");
    let mut bytes = match fs::read(&block) {
        Ok(bytes) => bytes,
        Err(error) => panic!("reading {}: {error}", block.display()),
    };
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 22) {
        let number = |range: std::ops::Range<usize>| {
            head[range].iter().rev().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))
        };
        let length = (number(0..4) & 0x7fff_ffff) as usize;
        let (sequence, named) = (number(4..12), number(20..22) as usize);
        if length < 30 || at + length > bytes.len() {
            break;
        }
        if bytes.get(at + 22..at + 22 + named) == Some(subject.as_bytes()) {
            found.push((sequence, at + length - 9));
        }
        at += length;
    }
    let newest = found.split_off(found.len().saturating_sub(count));
    assert_eq!(newest.len(), count, "{subject} has fewer records in {}", block.display());
    newest.iter().for_each(|(_, place)| bytes[*place] ^= 1);
    if let Err(error) = fs::write(&block, bytes) {
        panic!("writing {}: {error}", block.display());
    }
    newest.into_iter().map(|(sequence, _)| sequence).collect()
}

/// Takes away what the server noted of a stream when it was stopped in order, as if it had been killed: it reads all records
/// when it starts.
pub fn forget_index(folder: &Path, stream: &str) {
    let index = folder.join("data/jetstream/CODE/streams").join(stream).join("msgs/index.db");
    if let Err(error) = fs::remove_file(&index) {
        panic!("removing {}: {error}", index.display());
    }
}
