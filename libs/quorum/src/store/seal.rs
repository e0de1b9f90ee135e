//! What the database must hold at least, kept beside it.
//!
//! sled mends a damaged log by cutting it off at the damage, silently. A node that forgot acknowledged entries or its
//! vote that way would break the promise it made to the others. So every flush counts up in the database, and the
//! count and the vote are written here after it and before anything is acknowledged: a database that is behind its seal
//! has lost something. Two slots are written in turn, so that a torn write leaves the other.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::Disk;
use crate::{record, types::Vote};

/// A slot is as large as what a disk writes at once at most.
const SLOT: usize = 4096;
const KEY: &[u8] = b"seal";

/// What was acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sealed {
    /// How many flushes there were.
    pub count: u64,
    /// The vote at that time.
    pub vote: Option<Vote>,
}

/// The seal of one database.
pub(crate) struct Seal {
    path: PathBuf,
    file: File,
    disk: Arc<dyn Disk>,
}

impl Seal {
    pub const NAME: &str = "seal";

    /// Makes the seal of a new database, durable with its name once the folder is synced.
    pub fn create(folder: &Path, disk: Arc<dyn Disk>) -> io::Result<Seal> {
        let path = folder.join(Seal::NAME);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        file.write_all_at(&[0; 2 * SLOT], 0)?;
        let seal = Seal { path, file, disk };
        seal.write(&Sealed::default())?;
        seal.file.sync_all()?;
        Ok(seal)
    }

    /// Opens it and reads the newer of the slots that are whole; none when neither is.
    pub fn open(folder: &Path, disk: Arc<dyn Disk>) -> io::Result<(Seal, Option<Sealed>)> {
        let path = folder.join(Seal::NAME);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let slots = [0, SLOT].map(|at| {
            let mut bytes = [0; SLOT];
            file.read_exact_at(&mut bytes, at as u64).ok()?;
            let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
            record::decode::<Sealed>(KEY, bytes.get(2..2 + length)?).ok()
        });
        let newest = slots.into_iter().flatten().max_by_key(|sealed| sealed.count);
        Ok((Seal { path, file, disk }, newest))
    }

    /// Writes over the older slot and returns when it is durable.
    pub fn write(&self, sealed: &Sealed) -> io::Result<()> {
        let body = record::encode(KEY, sealed)?;
        let length = u16::try_from(body.len()).map_err(io::Error::other)?;
        let mut slot = length.to_be_bytes().to_vec();
        slot.extend_from_slice(&body);
        slot.resize(SLOT, 0);
        self.file.write_all_at(&slot, (sealed.count % 2) * SLOT as u64)?;
        self.disk.sync(&self.path, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::system;

    #[test]
    fn a_torn_seal_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let seal = Seal::create(folder.path(), system()).unwrap();
        for count in 1..=3 {
            seal.write(&Sealed { count, vote: Some(Vote::new(count, 9)) }).unwrap();
        }

        seal.file.write_all_at(&[0xff; 20], SLOT as u64).unwrap();
        let torn = Seal::open(folder.path(), system()).unwrap().1;
        seal.file.write_all_at(&[0xff; 20], 0).unwrap();
        let gone = Seal::open(folder.path(), system()).unwrap().1;

        assert_eq!(torn, Some(Sealed { count: 2, vote: Some(Vote::new(2, 9)) }));
        assert_eq!(gone, None);
    }
}
