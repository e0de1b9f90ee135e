//! The files of one instance: configuration, volumes, output.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::{OpenOptionsExt as _, chown},
    path::{Component, Path, PathBuf},
};

use model::{
    TargetId,
    spec::{ConfigFile, Volume},
};

use nix::fcntl::{Flock, FlockArg};

use crate::{Error, Result, durable, order};

use super::LOG_TAIL_BYTES;

const LOG: &str = "output.log";
const LOG_BEFORE: &str = "output.log.1";
const LOG_LOCK: &str = "output.lock";

/// Gives a file or folder to the user the instance runs as.
pub(super) fn give(path: &Path, user: Option<(u32, u32)>) -> Result<()> {
    let Some((user, group)) = user else { return Ok(()) };
    chown(path, Some(user), Some(group)).map_err(|error| Error::system("give away", path, error))
}

/// Writes the configuration files below `folder`, which is emptied first.
pub(super) fn write_config(folder: &Path, files: &[ConfigFile], user: Option<(u32, u32)>) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::system("empty", folder, error)),
    }
    durable::folder(folder)?;
    give(folder, user)?;
    for file in files {
        let path = folder.join(inside(&file.path)?);
        if let Some(parent) = path.parent() {
            durable::folder(parent)?;
            for made in parent.ancestors().take_while(|made| made.starts_with(folder)) {
                give(made, user)?;
            }
        }
        durable::write(&path, file.content.as_bytes())?;
        give(&path, user)?;
    }
    Ok(())
}

/// The path as one that cannot leave the folder it is joined to.
fn inside(path: &str) -> Result<PathBuf> {
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(part) => clean.push(part),
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Error::Denied {
                    what: format!("configuration file {path} would leave the instance's folder"),
                });
            }
        }
    }
    if clean.as_os_str().is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err(Error::invalid(format!("configuration file {path:?} has no name")));
    }
    Ok(clean)
}

/// Makes named volumes, checks host folders, and gives `CODE_VOLUME_<NAME>` (host folders by their place in the list).
pub(super) fn volumes(
    root: &Path,
    host_root: Option<&Path>,
    target: &TargetId,
    volumes: &[Volume],
    user: Option<(u32, u32)>,
) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for (index, volume) in volumes.iter().enumerate() {
        let (name, folder) = match (&volume.name, &volume.host) {
            (Some(name), None) => {
                let folder = root.join(target.token()).join(name.as_str());
                if !folder.is_dir() {
                    durable::folder(&folder)?;
                    give(&folder, user)?;
                }
                (order::variable_part(name.as_str()), folder)
            }
            (None, Some(host)) => (index.to_string(), order::contained(host_root, host)?),
            (Some(_), Some(_)) | (None, None) => {
                return Err(Error::invalid(format!(
                    "volume {} has not exactly one of name and host",
                    volume.path
                )));
            }
        };
        variables.insert(format!("CODE_VOLUME_{name}"), folder.display().to_string());
    }
    Ok(variables)
}

/// The file the instance writes to; it appends, so that cutting the file back does not leave a hole.
pub(super) fn open_log(folder: &Path) -> Result<File> {
    let path = folder.join(LOG);
    let open = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    open.map_err(|error| Error::system("open", &path, error))
}

/// Keeps the output within bounds: beyond `most` bytes it becomes the previous output and begins anew. What is
/// written between copy and cut is lost.
pub(super) fn cut_log(folder: &Path, most: u64) -> Result<()> {
    let path = folder.join(LOG);
    let too_long = || fs::metadata(&path).ok().filter(|metadata| metadata.len() > most);
    if too_long().is_none() {
        return Ok(());
    }
    let cut = (|| {
        // Who looks at a target and who bounds all output may come at the same moment; the second would keep nothing.
        let lock = File::create(folder.join(LOG_LOCK))?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
        let Some(metadata) = too_long() else { return Ok(()) };
        let mut from = File::open(&path)?;
        from.seek(SeekFrom::Start(metadata.len().saturating_sub(most)))?;
        let mut to = File::create(folder.join(LOG_BEFORE))?;
        std::io::copy(&mut from.take(most), &mut to)?;
        OpenOptions::new().write(true).open(&path)?.set_len(0)
    })();
    cut.map_err(|error| Error::system("cut", &path, error))
}

/// The last lines of the output.
pub(super) fn tail(folder: &Path, lines: usize) -> Result<String> {
    let mut text = String::new();
    for file in [LOG_BEFORE, LOG] {
        let path = folder.join(file);
        match end_of(&path) {
            Ok(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::system("read", &path, error)),
        }
    }
    let all: Vec<&str> = text.lines().collect();
    let mut kept: Vec<&str> = Vec::new();
    let mut bytes = 0;
    for line in all.iter().rev().take(lines) {
        bytes += line.len() + 1;
        if bytes > LOG_TAIL_BYTES as usize {
            break;
        }
        kept.push(line);
    }
    kept.reverse();
    Ok(kept.join("\n"))
}

fn end_of(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_configuration_file_cannot_leave_the_instances_folder() {
        for bad in ["../x", "/etc/../../x", "a/../../b", "", "/", "a/"] {
            assert!(inside(bad).is_err(), "{bad:?} was taken");
        }
        assert_eq!(inside("/etc/./app.conf").unwrap(), Path::new("etc/app.conf"));
    }

    #[test]
    fn output_is_bounded_and_its_end_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = open_log(folder.path()).unwrap();
        for line in 0..100 {
            writeln!(log, "line {line}").unwrap();
            cut_log(folder.path(), 64).unwrap();
        }

        let kept = tail(folder.path(), 3).unwrap();

        assert_eq!(kept, "line 97\nline 98\nline 99");
        let size = |file| fs::metadata(folder.path().join(file)).unwrap().len();
        assert!(size(LOG) <= 64 && size(LOG_BEFORE) <= 64);
    }
}
