//! The files of one instance: configuration, volumes, output.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::{MetadataExt as _, chown},
    path::{Component, Path, PathBuf},
};

use model::{
    TargetId,
    spec::{ConfigFile, Volume},
};

use sandbox::output::keeper::{LOG, LOG_BEFORE};

use crate::{Error, Result, durable, order};

use super::LOG_TAIL_BYTES;

/// How often output is read anew that has moved on meanwhile; beyond, a program writes faster than it can be read.
const TAIL_TRIES: u32 = 5;

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

/// The last lines of the output.
pub(super) fn tail(folder: &Path, lines: usize) -> Result<String> {
    let read = ends(folder).map_err(|error| Error::system("read the output in", folder, error))?;
    let text = String::from_utf8_lossy(&read);
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

/// The ends of both files, one behind the other; read again when the newer became the older meanwhile.
fn ends(folder: &Path) -> std::io::Result<Vec<u8>> {
    let number = || fs::metadata(folder.join(LOG)).map(|found| found.ino()).ok();
    let mut tries = 0;
    loop {
        let newer = number();
        let mut bytes = end_of(&folder.join(LOG_BEFORE))?;
        bytes.extend(end_of(&folder.join(LOG))?);
        tries += 1;
        if number() == newer || tries == TAIL_TRIES {
            return Ok(bytes);
        }
    }
}

/// Nothing of a file that is not there.
fn end_of(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use sandbox::output::keeper::Kept;

    use super::*;

    #[test]
    fn a_configuration_file_cannot_leave_the_instances_folder() {
        for bad in ["../x", "/etc/../../x", "a/../../b", "", "/", "a/"] {
            assert!(inside(bad).is_err(), "{bad:?} was taken");
        }
        assert_eq!(inside("/etc/./app.conf").unwrap(), Path::new("etc/app.conf"));
    }

    #[test]
    fn the_last_lines_are_found_across_both_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Kept::new(folder.path(), 64);
        for line in 0..100 {
            kept.take(format!("line \u{e9}{line}\n").as_bytes());
        }

        let last = tail(folder.path(), 9).unwrap();

        assert_eq!(last, (91..100).map(|line| format!("line \u{e9}{line}")).collect::<Vec<_>>().join("\n"));
    }
}
