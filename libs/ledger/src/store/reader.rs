//! Reading a log's files, whoever copied them here.

use std::{
    cell::RefCell,
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{over, place};
use crate::{
    ConsistencyProof, Error, Hash, InclusionProof, SignedCheckpoint, disk, node_hash,
    tile::{self, Tile, WIDTH},
    tree::{Node, empty_root, peaks},
};

/// Tiles that are kept in memory.
const KEPT: usize = 256;

/// A log's public files as they are at a size. What they say is only worth what a checked checkpoint says of it.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    size: u64,
    kept: RefCell<HashMap<Tile, Vec<Hash>>>,
}

/// The highest number of a tile below this folder, whose path stands for `above`: `x001/234` is 1234, and so is
/// `x001/234.p/7`.
fn last_number(folder: &Path, above: u64) -> Result<Option<u64>, Error> {
    let listed = match std::fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("reading the folder", folder)(error)),
    };
    let mut last = None;
    for entry in listed.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let digits = name.strip_prefix('x').unwrap_or(name);
        let digits = digits.strip_suffix(".p").unwrap_or(digits);
        let Some(part) = digits.parse::<u64>().ok().filter(|_| digits.len() == 3) else { continue };
        // More parts than a number of 64 bits has are no tile.
        let Some(number) = above.checked_mul(1000).and_then(|above| above.checked_add(part)) else {
            continue;
        };
        let found = if name.starts_with('x') { last_number(&entry.path(), number)? } else { Some(number) };
        last = last.max(found);
    }
    Ok(last)
}

impl Reader {
    /// The files in this folder, at this size.
    pub fn new(folder: impl Into<PathBuf>, size: u64) -> Reader {
        Reader { folder: folder.into(), size, kept: RefCell::default() }
    }

    /// How many entries are read.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The checkpoint that is shown, unchecked; none when there is none yet.
    pub fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, Error> {
        let Some(bytes) = disk::read_if_there(&self.folder.join("checkpoint"))? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|_| Error::format("checkpoint", "it is not UTF-8"))?;
        text.parse().map(Some)
    }

    /// The bytes of a tile; a partial one may have been replaced by the full one.
    fn file(&self, tile: &Tile) -> Result<(Tile, Vec<u8>), Error> {
        for tile in [*tile, tile.full()] {
            if let Some(bytes) = disk::read_if_there(&self.folder.join(tile.path()))? {
                return Ok((tile, bytes));
            }
        }
        let first = (tile.number * WIDTH) << (8 * u32::from(tile.level.unwrap_or(0)));
        Err(Error::Missing(format!("{} is not there: it begins with entry {first}", tile.path())))
    }

    /// How many bundles of entries lie here, counted to the last one; some before it may be missing.
    pub(crate) fn bundles(&self) -> Result<u64, Error> {
        last_number(&self.folder.join("tile/entries"), 0)
            .map(|last| last.map_or(0, |last| last.saturating_add(1)))
    }

    /// The narrower forms of a tile that lie beside it: those of smaller sizes.
    pub(crate) fn narrower(&self, tile: &Tile) -> Result<Vec<Tile>, Error> {
        let folder = self.folder.join(format!("{}.p", tile.full().path()));
        let listed = match std::fs::read_dir(&folder) {
            Ok(listed) => listed,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("reading the folder", folder)(error)),
        };
        let widths = listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u16>().ok());
        let mut narrower: Vec<Tile> =
            widths.filter(|width| *width < tile.width).map(|width| Tile { width, ..*tile }).collect();
        narrower.sort_unstable();
        Ok(narrower)
    }

    /// The hashes of a tile.
    pub fn hashes(&self, tile: &Tile) -> Result<Vec<Hash>, Error> {
        if let Some(hashes) = self.kept.borrow().get(tile) {
            return Ok(hashes.clone());
        }
        let (found, bytes) = self.file(tile)?;
        let mut hashes = tile::split_hashes(&found, &bytes)?;
        hashes.truncate(tile.width.into());
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(*tile, hashes.clone());
        Ok(hashes)
    }

    /// The entries of a bundle.
    pub fn bundle(&self, tile: &Tile) -> Result<Vec<Vec<u8>>, Error> {
        let (found, bytes) = self.file(tile)?;
        let mut entries: Vec<Vec<u8>> =
            tile::split_entries(&found, &bytes)?.into_iter().map(<[u8]>::to_vec).collect();
        entries.truncate(tile.width.into());
        Ok(entries)
    }

    /// One entry.
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, Error> {
        let missing = || Error::Missing(format!("entry {index} is not among the first {}", self.size));
        if index >= self.size {
            return Err(missing());
        }
        let tile = Tile::at_size(None, index / WIDTH, self.size).ok_or_else(missing)?;
        self.bundle(&tile)?.into_iter().nth((index % WIDTH) as usize).ok_or_else(missing)
    }

    /// The entries from an index on, at most one bundle's; empty at the end.
    pub fn entries_from(&self, index: u64) -> Result<Vec<Vec<u8>>, Error> {
        let Some(tile) = Tile::at_size(None, index / WIDTH, self.size) else { return Ok(Vec::new()) };
        let mut entries = self.bundle(&tile)?;
        Ok(entries.split_off(((index % WIDTH) as usize).min(entries.len())))
    }

    /// The hash of a perfect subtree.
    pub fn node(&self, node: Node) -> Result<Hash, Error> {
        let (tile, range) = place(node, self.size)
            .ok_or_else(|| Error::Missing(format!("{node:?} is not in a log of {}", self.size)))?;
        Ok(over(&self.hashes(&tile)?[range]))
    }

    /// The root, from the tiles.
    pub fn root(&self) -> Result<Hash, Error> {
        let mut root = None;
        for node in peaks(self.size).rev() {
            let left = self.node(node)?;
            root = Some(root.map_or(left, |right| node_hash(&left, &right)));
        }
        Ok(root.unwrap_or_else(empty_root))
    }

    /// That an entry is in the log.
    pub fn inclusion(&self, index: u64) -> Result<InclusionProof, Error> {
        InclusionProof::make(index, self.size, |node| self.node(node))
    }

    /// That an older state is the beginning of this one.
    pub fn consistency(&self, old: u64) -> Result<ConsistencyProof, Error> {
        ConsistencyProof::make(old, self.size, |node| self.node(node))
    }
}
