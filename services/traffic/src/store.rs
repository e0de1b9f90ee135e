//! The copy of the tables in force on disk: what is served when the plane restarts and NATS does not answer.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
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
        match tokio::fs::read(&self.path).await {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| Error::Unreadable { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(Error::Copy { what: "read", path, source }),
        }
    }

    /// Replaces the copy. After a crash either the old or the new one is there.
    pub async fn save(&self, tables: &[InForce]) -> Result<(), Error> {
        let failed = |source| Error::Copy { what: "write", path: self.path.clone(), source };
        let text = serde_json::to_vec_pretty(tables).map_err(|error| failed(error.into()))?;
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || replace(&path, &text)).await;
        written.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)
    }
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let next = path.with_extension("json.next");
    let mut file = fs::File::create(&next)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    fs::File::open(folder)?.sync_all()
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
