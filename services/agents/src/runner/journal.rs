//! What this runner began and ended, on disk: one small file per step, replaced whole and synced.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ground::{
    blocking,
    file::{self, Access},
};
use model::{Digest, Fence, TargetId, Timestamp, deployment::StepJob, step::StepResult};
use platform::FenceStore;
use serde::{Deserialize, Serialize};

use crate::{Error, error::Result};

/// One attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When it was begun.
    pub started: Timestamp,
    /// How it ended; none while it runs, or when the runner died meanwhile.
    pub result: Option<StepResult>,
}

/// All attempts of one step, by attempt and fence: after a retried way back the first attempt comes again under a
/// higher fence and is another one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Entries(BTreeMap<String, Entry>);

impl Entries {
    /// The result of this attempt under this fence, if it ended.
    pub fn result(&self, attempt: u32, fence: Fence) -> Option<&StepResult> {
        self.0.get(&name(attempt, fence))?.result.as_ref()
    }

    /// How any attempt ended: what only a planted bug asks for.
    pub(super) fn any_end(&self) -> Option<&StepResult> {
        self.0.values().find_map(|entry| entry.result.as_ref())
    }

    /// Notes an attempt over whatever was noted of it.
    pub fn note(&mut self, attempt: u32, fence: Fence, entry: Entry) {
        self.0.insert(name(attempt, fence), entry);
    }

    /// Some attempt was begun and has no end: the runner died over it, or was stopped.
    pub fn is_open(&self) -> bool {
        self.0.values().any(|entry| entry.result.is_none())
    }

    fn newest(&self) -> Timestamp {
        self.0.values().map(|entry| entry.started).max().unwrap_or_default()
    }
}

fn name(attempt: u32, fence: Fence) -> String {
    format!("{attempt}@{fence}")
}

/// The journal's folder, and below it the highest fence per target.
#[derive(Clone, Debug)]
pub struct Journal {
    folder: PathBuf,
    fences: Arc<FenceStore>,
}

impl Journal {
    /// Opens a folder, making it when it is not there.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Journal> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder).map_err(|source| failed("make", &folder, source))?;
        let fences = Arc::new(FenceStore::open(folder.join("fences"))?);
        Ok(Journal { folder, fences })
    }

    /// Raises the target's fence to the job's, durably, also when the job will find nothing to write: from then on a
    /// late job of an earlier wave is refused, whatever it finds. False: a higher fence was seen already.
    pub async fn enter(&self, job: &StepJob) -> Result<bool> {
        match self.fences.check(&job.spec.target_id(), job.fence).await {
            Ok(()) => Ok(true),
            Err(error) if error.code() == model::Code::Conflict => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The highest fence that a step of this target was begun with here.
    pub async fn highest(&self, target: &TargetId) -> Result<Fence> {
        Ok(self.fences.enter(target).await?.highest()?)
    }

    /// What is known of a step.
    pub async fn read(&self, idem_key: &str) -> Result<Entries> {
        let path = self.path(idem_key);
        blocking(move || read(&path)).await?
    }

    /// Notes that an attempt begins; durable when it returns.
    pub async fn begin(&self, job: &StepJob, now: Timestamp) -> Result<()> {
        self.note(job, Entry { started: now, result: None }).await
    }

    /// Notes how an attempt ended; durable when it returns.
    pub async fn end(&self, job: &StepJob, started: Timestamp, result: &StepResult) -> Result<()> {
        self.note(job, Entry { started, result: Some(result.clone()) }).await
    }

    /// Goes on to its end even when the caller is dropped.
    async fn note(&self, job: &StepJob, entry: Entry) -> Result<()> {
        let (path, attempt, fence) = (self.path(&job.idem_key), job.attempt, job.fence);
        blocking(move || -> Result<()> {
            let mut entries = read(&path)?;
            entries.note(attempt, fence, entry);
            write(&path, &entries)
        })
        .await?
    }

    /// Drops steps whose newest attempt began longer than `age` ago; gives how many.
    pub async fn forget(&self, now: Timestamp, age: Duration) -> Result<usize> {
        let folder = self.folder.clone();
        blocking(move || {
            let mut dropped = 0;
            for file in
                std::fs::read_dir(&folder).map_err(|source| failed("list", &folder, source))?.flatten()
            {
                let path = file.path();
                if path.extension().is_some_and(|ending| ending == "json")
                    && now.since(read(&path)?.newest()) > age
                {
                    std::fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
                    dropped += 1;
                }
            }
            Ok(dropped)
        })
        .await?
    }

    /// The key comes from outside: whatever it is, its digest is a file's name.
    fn path(&self, idem_key: &str) -> PathBuf {
        let digest = Digest::of_bytes(idem_key.as_bytes()).to_string();
        self.folder.join(format!("{}.json", digest.trim_start_matches("sha256:")))
    }
}

fn read(path: &Path) -> Result<Entries> {
    // A file that cannot be read is an error, not an empty journal: forgetting would repeat an effect.
    match file::read(path).map_err(|source| failed("read", path, source))? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed("read", path, error.into())),
        None => Ok(Entries::default()),
    }
}

fn write(path: &Path, entries: &Entries) -> Result<()> {
    let bytes = serde_json::to_vec(entries).map_err(|error| failed("write", path, error.into()))?;
    let written = file::replace(path, &bytes, Access::Owner).map(drop);
    written.map_err(|source| failed("write", path, source))
}

fn failed(what: &str, path: &Path, source: std::io::Error) -> Error {
    Error::Journal { what: format!("{what} {} of the runner's journal", path.display()), source }
}
