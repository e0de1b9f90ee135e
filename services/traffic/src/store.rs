//! The copy of the tables in force on disk: what is served when the plane restarts and NATS does not answer.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ground::{
    blocking,
    file::{self, Access},
};

use crate::{error::Error, proxy::InForce};

/// One file, replaced as a whole.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// The copy below this folder, which is made when it is first written.
    pub fn new(state_dir: &Path) -> Store {
        Store { path: state_dir.join("routes.json") }
    }

    /// The copy; nothing when there is none.
    pub async fn load(&self) -> Result<Vec<InForce>, Error> {
        let path = self.path.clone();
        let read = blocking(move || file::read(&path)).await.map_err(io::Error::other);
        match read.flatten().map_err(|source| self.failed("read", source))? {
            None => Ok(Vec::new()),
            Some(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| Error::Unreadable { path: self.path.clone(), source }),
        }
    }

    /// Replaces the copy. After a crash either the old or the new one is there.
    pub async fn save(&self, tables: &[InForce]) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(tables).map_err(|error| self.failed("write", error.into()))?;
        let path = self.path.clone();
        let write = move || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            file::replace(&path, &text, Access::Everyone).map(drop)
        };
        let written = blocking(write).await.map_err(io::Error::other);
        written.flatten().map_err(|source| self.failed("write", source))
    }

    fn failed(&self, what: &'static str, source: io::Error) -> Error {
        Error::Copy { what, path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_copy_is_no_tables_and_a_broken_copy_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(&folder.path().join("deeper"));

        let none = store.load().await;
        store.save(&[]).await.unwrap();
        let empty = store.load().await;
        fs::write(folder.path().join("deeper/routes.json"), "[{").unwrap();
        let broken = store.load().await;

        assert!(none.unwrap().is_empty() && empty.unwrap().is_empty());
        assert!(matches!(broken, Err(Error::Unreadable { .. })));
    }
}
