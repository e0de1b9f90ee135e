//! The files of a log: written so that a crash at any instruction leaves a log that goes on.
//!
//! Order of one [`Store::integrate`]: bundles and tiles (a crash leaves files beyond the state, which the same entries
//! fill again with the same bytes), then `state.json` by rename. Order of one [`Store::publish`]: `signed.json`, what
//! the signer said last, then the checkpoint. Everything is synced before the next begins.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Checkpoint, ConsistencyProof, Error, Frontier, Hash, InclusionProof, SignedCheckpoint, SigningKey,
    VerifyingKey, disk, leaf_hash,
    tile::{self, Tile, WIDTH},
    tree::Node,
};

mod reader;

pub use reader::Reader;

/// The files of a log, for its one writer.
///
/// `<folder>/log/` is what a web server may show; `state.json` and `signed.json` beside it belong to the writer.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    frontier: Frontier,
    /// The entries after the last full bundle.
    open_entries: Vec<Vec<u8>>,
    /// By level, the hashes after the last full tile.
    open_hashes: Vec<Vec<Hash>>,
}

#[derive(Serialize, Deserialize)]
struct StateFile<S> {
    frontier: Frontier,
    state: S,
}

impl Store {
    /// Opens or begins the log in a folder. Gives the writer's own state as of the last [`Store::integrate`].
    pub fn open<S: DeserializeOwned + Default>(folder: impl Into<PathBuf>) -> Result<(Store, S), Error> {
        let folder = folder.into();
        let path = folder.join("state.json");
        let StateFile { frontier, state } = match disk::read_if_there(&path)? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| broken(&path, &error))?,
            None => StateFile { frontier: Frontier::default(), state: S::default() },
        };
        if !frontier.is_whole() {
            return Err(Error::format(
                "state of the log",
                format!("{} holds no whole frontier", path.display()),
            ));
        }
        let mut store = Store { folder, frontier, open_entries: Vec::new(), open_hashes: Vec::new() };
        store.read_open()?;
        Ok((store, state))
    }

    /// Reads what stands in the partial tiles, and checks it against the frontier: a log that was changed while nobody
    /// wrote is not continued.
    fn read_open(&mut self) -> Result<(), Error> {
        let reader = self.reader();
        let size = self.frontier.size();
        let mut hashes = Vec::new();
        for level in 0.. {
            let count = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
            if count == 0 {
                break;
            }
            hashes.push(match Tile::at_size(Some(level), count / WIDTH, size) {
                Some(tile) => reader.hashes(&tile)?,
                None => Vec::new(),
            });
        }
        if let Some(tile) = Tile::at_size(None, size / WIDTH, size) {
            self.open_entries = reader.bundle(&tile)?;
            let found: Vec<Hash> = self.open_entries.iter().map(|entry| leaf_hash(entry)).collect();
            let known = hashes.first().map(Vec::as_slice).unwrap_or_default();
            if let Some(at) = found.iter().zip(known).position(|(found, known)| found != known) {
                let index = size / WIDTH * WIDTH + at as u64;
                return Err(Error::Inconsistent(format!(
                    "entry {index} was changed: expected {}, found {}",
                    known[at], found[at]
                )));
            }
        }
        self.open_hashes = hashes;
        let root = reader.root()?;
        if root != self.frontier.root() {
            return Err(Error::Inconsistent(format!(
                "the tiles were changed: expected root {} at size {size}, found {root}",
                self.frontier.root()
            )));
        }
        Ok(())
    }

    /// The folder with the log's public files.
    pub fn public_folder(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// How many entries are integrated.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root over them.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Reads the integrated entries and hashes.
    pub fn reader(&self) -> Reader {
        Reader::new(self.public_folder(), self.frontier.size())
    }

    /// Appends entries and swaps the writer's state with them: durable together. After an error nothing of it counts;
    /// open the store anew before going on.
    pub fn integrate<E: AsRef<[u8]>, S: Serialize>(&mut self, entries: &[E], state: &S) -> Result<(), Error> {
        let mut frontier = self.frontier.clone();
        let mut tiles = Tiles::in_folder(self.public_folder());
        for entry in entries.iter().map(AsRef::as_ref) {
            if entry.len() > crate::MAX_ENTRY {
                return Err(Error::TooLong { size: entry.len(), limit: crate::MAX_ENTRY });
            }
            let mut full = Vec::new();
            frontier.push_with(leaf_hash(entry), |node, hash| {
                if node.level % 8 == 0 {
                    full.push((node.level / 8, hash));
                }
            });
            for (level, hash) in full {
                while self.open_hashes.len() <= usize::from(level) {
                    self.open_hashes.push(Vec::new());
                }
                let open = &mut self.open_hashes[usize::from(level)];
                open.push(hash);
                if open.len() as u64 == WIDTH {
                    let number = (frontier.size() >> (8 * u32::from(level))) / WIDTH - 1;
                    tiles.write(Tile { level: Some(level), number, width: 256 }, tile::join_hashes(open))?;
                    open.clear();
                }
            }
            self.open_entries.push(entry.to_vec());
            if self.open_entries.len() as u64 == WIDTH {
                let number = frontier.size() / WIDTH - 1;
                tiles.write(Tile { level: None, number, width: 256 }, bundle(&self.open_entries)?)?;
                self.open_entries.clear();
            }
        }
        self.write_open(&frontier, &mut tiles)?;
        tiles.sync()?;
        let path = self.folder.join("state.json");
        let bytes = serde_json::to_vec(&StateFile { frontier: frontier.clone(), state })
            .map_err(|error| Error::format("state of the log", error.to_string()))?;
        disk::write_durably(&path, &bytes)?;
        self.frontier = frontier;
        Ok(())
    }

    fn write_open(&self, frontier: &Frontier, tiles: &mut Tiles) -> Result<(), Error> {
        let size = frontier.size();
        if let Some(tile) = Tile::at_size(None, size / WIDTH, size) {
            tiles.write(tile, bundle(&self.open_entries)?)?;
        }
        for (level, open) in (0u8..).zip(&self.open_hashes) {
            let number = (size >> (8 * u32::from(level))) / WIDTH;
            if let Some(tile) = Tile::at_size(Some(level), number, size) {
                tiles.write(tile, tile::join_hashes(open))?;
            }
        }
        Ok(())
    }

    /// Signs the integrated state and shows it. Refuses when it does not extend what was signed last: a signer that
    /// was put on an older copy of its log stays silent. Signing the same state again gives a new time.
    pub fn publish(&self, origin: &str, keys: &[SigningKey], time: u64) -> Result<SignedCheckpoint, Error> {
        let checkpoint = Checkpoint { origin: origin.to_owned(), size: self.size(), root: self.root() };
        let path = self.folder.join("signed.json");
        if let Some(last) = self.last_signed()? {
            if last.origin != checkpoint.origin {
                return Err(Error::Inconsistent(format!(
                    "{} signed as {}, not as {origin}",
                    self.folder.display(),
                    last.origin
                )));
            }
            if last.size > checkpoint.size {
                return Err(Error::Inconsistent(format!(
                    "size {} was signed and the log has {}: entry {} is gone",
                    last.size, checkpoint.size, checkpoint.size
                )));
            }
            let proof = self.reader().consistency(last.size)?;
            proof.verify(&last.root, &checkpoint.root)?;
        }
        let bytes = serde_json::to_vec(&checkpoint)
            .map_err(|error| Error::format("checkpoint", error.to_string()))?;
        disk::write_durably(&path, &bytes)?;
        let signed = SignedCheckpoint::sign(checkpoint, keys, time)?;
        self.show(&signed)?;
        Ok(signed)
    }

    /// What was signed last, shown or not.
    pub fn last_signed(&self) -> Result<Option<Checkpoint>, Error> {
        let path = self.folder.join("signed.json");
        let Some(bytes) = disk::read_if_there(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| broken(&path, &error))
    }

    /// Shows a checkpoint, such as the last one with the witnesses' cosignatures. Older ones than the one that is
    /// shown are refused.
    pub fn show(&self, signed: &SignedCheckpoint) -> Result<(), Error> {
        show(&self.public_folder(), signed)
    }

    /// The checkpoint that is shown.
    pub fn shown(&self) -> Result<Option<SignedCheckpoint>, Error> {
        self.reader().checkpoint()
    }

    /// The checkpoint is one of this log's keys' and of this log's past or present.
    pub fn is_own(&self, signed: &SignedCheckpoint, keys: &[VerifyingKey]) -> Result<(), Error> {
        let (checkpoint, _) = signed.verify_log(keys)?;
        self.reader().consistency(checkpoint.size)?.verify(&checkpoint.root, &self.root())
    }

    /// That an integrated entry is among them.
    pub fn inclusion(&self, index: u64) -> Result<InclusionProof, Error> {
        self.reader().inclusion(index)
    }

    /// That an older state is the beginning of the integrated one.
    pub fn consistency(&self, old: u64) -> Result<ConsistencyProof, Error> {
        self.reader().consistency(old)
    }
}

/// Shows a checkpoint in a log's public folder. Older ones than the one that is shown are refused. One at a time.
pub fn show(folder: &Path, signed: &SignedCheckpoint) -> Result<(), Error> {
    if let Some(shown) = Reader::new(folder, 0).checkpoint()?
        && shown.unverified().size > signed.unverified().size
    {
        return Err(Error::Inconsistent(format!(
            "a checkpoint of size {} is shown already",
            shown.unverified().size
        )));
    }
    disk::write_durably(&folder.join("checkpoint"), signed.to_string().as_bytes())
}

/// Tiles that are written together, and the folders that are synced at the end.
struct Tiles {
    folder: PathBuf,
    waiting: Vec<(PathBuf, Vec<u8>)>,
    /// Partial tiles that the waiting full ones replace.
    replaced: Vec<PathBuf>,
    changed: BTreeSet<PathBuf>,
}

/// Tiles held before they are written, 256 entries each.
const TILES_HELD: usize = 64;

impl Tiles {
    fn in_folder(folder: PathBuf) -> Tiles {
        Tiles { folder, waiting: Vec::new(), replaced: Vec::new(), changed: BTreeSet::new() }
    }

    fn write(&mut self, tile: Tile, bytes: Vec<u8>) -> Result<(), Error> {
        let path = self.folder.join(tile.path());
        if u64::from(tile.width) == WIDTH {
            let mut partial = path.clone().into_os_string();
            partial.push(".p");
            self.replaced.push(partial.into());
        }
        let above = path.ancestors().skip(1).take_while(|above| above.starts_with(&self.folder));
        self.changed.extend(above.map(Path::to_owned));
        self.waiting.push((path, bytes));
        if self.waiting.len() < TILES_HELD { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), Error> {
        disk::write_all(&self.waiting)?;
        self.waiting.clear();
        // Nobody needs the partial ones any more; that some are left does no harm.
        self.replaced.drain(..).for_each(|partial| drop(std::fs::remove_dir_all(partial)));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.changed.iter().try_for_each(|folder| disk::sync_folder(folder))
    }
}

fn bundle(entries: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(entries.iter().map(|entry| entry.len() + 2).sum());
    entries.iter().try_for_each(|entry| tile::push_entry(&mut bytes, entry))?;
    Ok(bytes)
}

fn broken(path: &Path, error: &serde_json::Error) -> Error {
    Error::format("state of the log", format!("{}: {error}", path.display()))
}

/// The hash over the perfect subtree of these hashes; their number is a power of two.
pub(crate) fn over(hashes: &[Hash]) -> Hash {
    crate::root_of(hashes.iter().copied())
}

/// The tile with the hashes below a node, at a log's size, and which of its hashes they are.
fn place(node: Node, size: u64) -> Option<(Tile, std::ops::Range<usize>)> {
    let (level, height) = (node.level / 8, node.level % 8);
    let first = node.index << height;
    let tile = Tile::at_size(Some(level), first / WIDTH, size)?;
    let at = (first % WIDTH) as usize;
    let range = at..at + (1usize << height);
    (range.end <= usize::from(tile.width)).then_some((tile, range))
}

#[cfg(test)]
mod tests;
