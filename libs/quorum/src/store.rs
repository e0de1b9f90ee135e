//! The folder of one member: who it is, its log and vote, its newest snapshot.
//!
//! ```text
//! member.json   whose folder this is; written last, so that a folder without it has promised nothing yet
//! log/          sled: entries, vote, marks of what is purged or cut off, tally of flushes
//! seal          what was acknowledged, so that a database that forgot something is found out
//! snapshot      the newest snapshot, replaced as a whole
//! damaged       why this member may never vote again; written once, when damage is found
//! ```

mod check;
mod disk;
mod flush;
mod log;
mod parts;
mod seal;

use std::{
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use ground::file::{self, Access};
use parking_lot::Mutex;
use rand::Rng;
use serde::{Deserialize, Serialize};

pub(crate) use disk::{Disk, system};
pub(crate) use log::Log;

use crate::{
    error::Error,
    types::{MAX_NAME, MemberId},
};

const MEMBER: &str = "member.json";
const DAMAGED: &str = "damaged";
const LOG: &str = "log";
const SNAPSHOT: &str = "snapshot";
const FORMAT: u32 = 1;
/// Memory that sled may keep pages in.
const CACHE: u64 = 16 << 20;

/// Why something could not be read or written, for where openraft wants an error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(String);

impl Failure {
    pub fn new(why: impl Into<String>) -> Failure {
        Failure(why.into())
    }
}

/// Whose folder it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    format: u32,
    pub cluster: String,
    pub id: MemberId,
}

/// How a folder is opened.
#[derive(Clone)]
pub(crate) struct Opening {
    pub folder: PathBuf,
    pub cluster: String,
    pub disk: Arc<dyn Disk>,
    #[cfg(test)]
    pub bug: Option<crate::tests::Bug>,
}

/// An open folder.
pub(crate) struct Store {
    pub member: Member,
    pub folder: PathBuf,
    pub log: Log,
}

impl Store {
    /// Opens the folder, or makes it, and examines all that is in it. It blocks; a damaged folder stays refused.
    pub fn open(opening: Opening) -> Result<Store, Error> {
        let folder = opening.folder.clone();
        if opening.cluster.is_empty() || opening.cluster.len() > MAX_NAME {
            return Err(Error::Setting {
                field: "cluster",
                value: opening.cluster,
                cure: "a name of 1 to 200 bytes that is the same for all members",
            });
        }
        fs::create_dir_all(&folder).map_err(Error::io("making", &folder))?;
        if let Some(why) =
            file::read(&folder.join(DAMAGED)).map_err(Error::io("reading", &folder.join(DAMAGED)))?
        {
            return Err(Error::Damaged { folder, why: String::from_utf8_lossy(&why).trim().to_owned() });
        }

        let path = folder.join(MEMBER);
        let Some(bytes) = file::read(&path).map_err(Error::io("reading", &path))? else {
            return Store::create(opening);
        };
        let read: Result<Member, _> = serde_json::from_slice(&bytes);
        let result = match read {
            Err(error) => Err(Error::Damaged { folder: folder.clone(), why: format!("{MEMBER}: {error}") }),
            Ok(member) if member.format != FORMAT => Err(Error::Format { folder, found: member.format }),
            Ok(member) if member.cluster != opening.cluster => {
                Err(Error::OtherCluster { folder, found: member.cluster, asked: opening.cluster })
            }
            Ok(member) => Store::reopen(opening, member),
        };
        if let Err(Error::Damaged { folder, why }) = &result {
            // From now on also when sled has mended the folder in its way.
            file::replace(&folder.join(DAMAGED), why.as_bytes(), Access::Owner)
                .map_err(Error::io("writing", folder))?;
        }
        result
    }

    /// Where the newest snapshot is.
    pub fn snapshot_path(&self) -> PathBuf {
        self.folder.join(SNAPSHOT)
    }

    fn create(opening: Opening) -> Result<Store, Error> {
        let folder = opening.folder.clone();
        // One flush is from the making itself.
        if let Ok((_, Some(sealed))) = seal::Seal::open(&folder, Arc::clone(&opening.disk))
            && sealed.count > 1
        {
            let why = format!("{MEMBER} is gone, and {} flushes were acknowledged", sealed.count);
            return Err(Error::Damaged { folder, why });
        }
        // What an earlier try left behind has promised nothing to anybody.
        for left in [LOG, seal::Seal::NAME, SNAPSHOT] {
            let path = folder.join(left);
            let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match gone {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("removing", &path)(error));
                }
                _ => {}
            }
        }
        let log = folder.join(LOG);
        fs::create_dir_all(&log).map_err(Error::io("making", &log))?;
        let database = open_sled(&folder)?;
        let file = database_file(&folder)?;
        // sled syncs neither all of its files nor their names.
        for entry in fs::read_dir(&log).map_err(Error::io("listing", &log))? {
            let path = entry.map_err(Error::io("listing", &log))?.path();
            if path.is_file() {
                File::open(&path).and_then(|file| file.sync_all()).map_err(Error::io("syncing", &path))?;
            }
        }
        let seal = seal::Seal::create(&folder, Arc::clone(&opening.disk))
            .map_err(Error::io("making the seal in", &folder))?;
        for each in [&log, &folder] {
            file::sync_folder(each).map_err(Error::io("syncing", each))?;
        }
        let member = Member {
            format: FORMAT,
            cluster: opening.cluster.clone(),
            // Zero means nobody.
            id: MemberId(rand::rng().random_range(1..=u64::MAX)),
        };
        let store = Store::assemble(opening, member, database, file, seal, check::Found::default())?;
        let text = serde_json::to_vec_pretty(&store.member)
            .map_err(|error| Error::io("writing", &folder)(error.into()))?;
        file::replace(&folder.join(MEMBER), &text, Access::Owner)
            .map_err(Error::io("writing", &folder.join(MEMBER)))?;
        if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
            file::sync_folder(above).map_err(Error::io("syncing", above))?;
        }
        Ok(store)
    }

    fn reopen(opening: Opening, member: Member) -> Result<Store, Error> {
        let folder = opening.folder.clone();
        let damaged = |why: String| Error::Damaged { folder: folder.clone(), why };
        if !folder.join(LOG).join("db").is_file() {
            return Err(damaged("the database log/db is gone".to_owned()));
        }
        let (seal, sealed) = match seal::Seal::open(&folder, Arc::clone(&opening.disk)) {
            Ok((seal, Some(sealed))) => (seal, sealed),
            Ok((_, None)) => return Err(damaged("neither slot of the file seal is whole".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged("the file seal is gone".to_owned()));
            }
            Err(error) => return Err(Error::io("opening the seal in", folder)(error)),
        };
        let database = open_sled(&folder)?;
        // sled panics on some damage; that is damage too.
        let examined = || check::examine(&database, &sealed, &folder.join(SNAPSHOT));
        let found = catch_unwind(AssertUnwindSafe(examined))
            .unwrap_or_else(|_| Err("sled panics when it reads log/db".to_owned()))
            .map_err(damaged)?;
        let file = database_file(&folder)?;
        file.sync_all().map_err(Error::io("syncing", folder.join(LOG)))?;
        // The database may be ahead of its seal by flushes that nobody was told of.
        Store::assemble(opening, member, database, file, seal, found)
    }

    fn assemble(
        opening: Opening,
        member: Member,
        db: sled::Db,
        file: File,
        seal: seal::Seal,
        found: check::Found,
    ) -> Result<Store, Error> {
        let path = opening.folder.join(LOG).join("db");
        let tree = |name: &str| db.open_tree(name).map_err(|error| sled_error(&opening.folder, error));
        let (entries, marks) = (tree("entries")?, tree("marks")?);
        let put = Arc::new(Mutex::new(flush::Put { vote: found.vote, last: found.last }));
        let alone = Arc::new(Mutex::new(()));
        let mut flusher = flush::Flusher {
            db: db.clone(),
            marks: marks.clone(),
            path: path.clone(),
            file,
            disk: opening.disk,
            seal,
            sealed: seal::Sealed { count: found.count, vote: found.vote },
            put: Arc::clone(&put),
            alone: Arc::clone(&alone),
            #[cfg(test)]
            bug: opening.bug,
        };
        // Brings database and seal to the same count, and shows that the disk takes something before anything depends on it.
        let unflushed = |why: String| -> Error { Error::io("flushing", &path)(io::Error::other(why)) };
        flusher.flush().map_err(unflushed)?;
        // What a crash left half removed.
        let cut = found.cut.map(|cut| parts::remove(&entries, cut, None));
        for batch in parts::remove(&entries, 0, Some(found.begin)).chain(cut.into_iter().flatten()) {
            let batch = batch.map_err(|failure| unflushed(failure.to_string()))?;
            entries.apply_batch(batch).map_err(|error| unflushed(error.to_string()))?;
            flusher.flush().map_err(unflushed)?;
        }
        if found.cut.is_some() {
            marks.remove(log::CUT).map_err(|error| unflushed(error.to_string()))?;
            flusher.flush().map_err(unflushed)?;
        }
        let (jobs, thread) = flusher.start().map_err(Error::io("beginning to flush", path.clone()))?;
        let log = Log::new(log::Inner {
            entries,
            marks,
            put,
            alone,
            appended: AtomicU64::new(found.bytes),
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
            db: Mutex::new(Some(db)),
            #[cfg(test)]
            bug: opening.bug,
        });
        Ok(Store { member, folder: opening.folder, log })
    }
}

fn database_file(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOG).join("db");
    File::options().read(true).write(true).open(&path).map_err(Error::io("opening", &path))
}

/// Opens the database; that sled panics is an error.
fn open_sled(folder: &Path) -> Result<sled::Db, Error> {
    let config = sled::Config::new()
        .path(folder.join(LOG))
        .mode(sled::Mode::HighThroughput)
        .cache_capacity(CACHE)
        // Its thread would write without our syncs in between: see `parts`.
        .flush_every_ms(None);
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(error)) => Err(sled_error(folder, error)),
        Err(_) => Err(Error::Damaged {
            folder: folder.to_owned(),
            why: "sled panics when it opens log/db".to_owned(),
        }),
    }
}

fn sled_error(folder: &Path, error: sled::Error) -> Error {
    let folder = folder.to_owned();
    match error {
        // The only sign of another process that sled gives.
        sled::Error::Io(source) if source.to_string().contains("could not acquire lock") => {
            Error::Held { folder }
        }
        sled::Error::Io(error) => Error::io("opening the database in", folder)(error),
        error @ sled::Error::Unsupported(_) => {
            Error::io("opening the database in", folder)(io::Error::other(error))
        }
        error @ (sled::Error::Corruption { .. }
        | sled::Error::CollectionNotFound(_)
        | sled::Error::ReportableBug(_)) => Error::Damaged { folder, why: format!("sled: {error}") },
    }
}
