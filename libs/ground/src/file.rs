//! Small files that are either the old or the new content after a crash, never half of each.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// A file or folder that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{what} {path}")]
pub struct Failed {
    /// What was attempted.
    what: &'static str,
    /// With which.
    path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl Failed {
    /// What the system says about this attempt.
    pub fn new(what: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Failed {
        Failed { what, path: path.into(), source }
    }
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Its owner alone: mode 0600.
    Owner,
    /// Its owner, and its group unless the process's umask keeps it out: mode 0640 less the umask.
    Group,
    /// Everybody whom the process's umask does not keep out: mode 0666 less the umask.
    Everyone,
}

/// Replaces a file, or makes it, and gives it back open for writing. When it returns, the content and the folder's
/// entry are on disk. After an error, and after a crash, the old content is there as a whole; a crash may leave a draft
/// `.draft-…` beside it, which nothing reads.
pub fn replace(path: &Path, bytes: &[u8], access: Access) -> io::Result<File> {
    let file = replace_unlisted(path, bytes, access)?;
    sync_folder(folder_of(path))?;
    Ok(file)
}

/// The same without the fsync of the folder: after a crash the old file may be there again. For many files in one
/// folder, for which [`sync_folder`] is called once.
pub fn replace_unlisted(path: &Path, bytes: &[u8], access: Access) -> io::Result<File> {
    let mode = match access {
        Access::Owner => 0o600,
        Access::Group => 0o640,
        Access::Everyone => 0o666,
    };
    let mut draft = tempfile::Builder::new()
        .prefix(".draft-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder_of(path))?;
    draft.write_all(bytes)?;
    draft.as_file().sync_all()?;
    Ok(draft.persist(path)?)
}

/// What was made, renamed or removed in a folder stays so after a crash.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The content of a file; none when it is not there.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_reader_sees_the_old_or_the_new_content_whole_while_several_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let contents = [vec![b'a'; 70_000], vec![b'b'; 10]];
        replace(&path, &contents[0], Access::Owner).unwrap();
        let over = AtomicBool::new(false);

        std::thread::scope(|scope| {
            let writers: Vec<_> = contents
                .iter()
                .map(|bytes| {
                    let path = &path;
                    scope.spawn(move || {
                        for _ in 0..50 {
                            replace(path, bytes, Access::Owner).unwrap();
                        }
                    })
                })
                .collect();
            let reader = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let seen = read(&path).unwrap().unwrap();
                    assert!(contents.contains(&seen), "half of a file: {} bytes", seen.len());
                }
            });
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            over.store(true, Ordering::Relaxed);
            reader.join().unwrap();
        });

        assert_eq!(names(folder.path()), ["state.json"]);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_content_and_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("kept"), "old").unwrap();

        let onto_a_folder = replace(&taken, b"new", Access::Owner);
        let without_a_folder = replace(&folder.path().join("none/file"), b"new", Access::Owner);

        assert!(onto_a_folder.is_err() && without_a_folder.is_err());
        assert_eq!(fs::read(taken.join("kept")).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["taken"]);
    }

    #[test]
    fn a_file_may_have_the_longest_name_that_the_system_allows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n".repeat(255));

        replace(&path, b"new", Access::Owner).unwrap();

        assert_eq!(read(&path).unwrap().unwrap(), b"new");
    }

    #[test]
    fn what_its_owner_alone_may_read_stays_so_when_it_was_open_to_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();

        replace(&path, b"new", Access::Owner).unwrap();
        let private = mode(&path);
        replace(&path, b"newer", Access::Everyone).unwrap();
        let by_the_system = folder.path().join("plain");
        fs::write(&by_the_system, "").unwrap();

        assert_eq!(private, 0o600);
        assert_eq!(mode(&path), mode(&by_the_system));
    }

    #[test]
    fn what_is_written_to_the_file_that_comes_back_follows_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");

        let mut file = replace(&path, b"first\n", Access::Owner).unwrap();
        file.write_all(b"second\n").unwrap();

        assert_eq!(read(&path).unwrap().unwrap(), b"first\nsecond\n");
        assert_eq!(read(&folder.path().join("none")).unwrap(), None);
    }
}
