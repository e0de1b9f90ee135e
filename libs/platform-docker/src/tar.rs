//! Configuration files as a tar archive (POSIX ustar), which is how the engine takes files.

use model::spec::ConfigFile;
use platform::{Error, Result};

const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;

/// The archive of all files, to be unpacked at `/`. Files belong to `user` and only they may read them; the engine
/// makes the folders above.
pub(crate) fn archive(files: &[ConfigFile], user: (u32, u32)) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for file in files {
        let (prefix, name) = split(clean(&file.path)?)
            .ok_or_else(|| Error::invalid(format!("configuration file {} has too long a path", file.path)))?;
        bytes.extend_from_slice(&header(prefix, name, file.content.len(), user));
        bytes.extend_from_slice(file.content.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    Ok(bytes)
}

/// The path without its leading `/`; only plain absolute paths pass.
fn clean(path: &str) -> Result<&str> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    match path.strip_prefix('/') {
        Some(rest) if !path.contains('\0') && rest.split('/').all(plain) => Ok(rest),
        Some(_) | None => Err(Error::Denied {
            what: format!("configuration file {path:?} is no plain absolute path of a file"),
        }),
    }
}

/// A path longer than a name may be is cut at a `/`.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= NAME {
        return Some(("", path));
    }
    let cuts = path.match_indices('/').map(|(at, _)| (&path[..at], &path[at + 1..]));
    cuts.rev().find(|(prefix, name)| prefix.len() <= PREFIX && name.len() <= NAME)
}

fn header(prefix: &str, name: &str, size: usize, (user, group): (u32, u32)) -> [u8; BLOCK] {
    let mut header = [0u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000400\0");
    put(108, format!("{user:07o}\0").as_bytes().get(..8).unwrap_or(b"0000000\0"));
    put(116, format!("{group:07o}\0").as_bytes().get(..8).unwrap_or(b"0000000\0"));
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(345, prefix.as_bytes());
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn file(path: &str, content: &str) -> ConfigFile {
        ConfigFile { path: path.to_owned(), content: content.to_owned() }
    }

    #[test]
    fn the_archive_is_one_that_tar_unpacks() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("/{}/{}/app.conf", "a".repeat(90), "b".repeat(60));
        let files =
            [file("/etc/app.conf", "colour = green\n"), file(&long, &"x".repeat(513)), file("/empty", "")];
        std::fs::write(folder.path().join("a.tar"), archive(&files, (10001, 10001)).unwrap()).unwrap();

        let unpack = Command::new("tar")
            .args(["-xf", "a.tar", "--no-same-owner"])
            .current_dir(folder.path())
            .stderr(Stdio::inherit())
            .status();

        assert!(unpack.unwrap().success());
        for file in &files {
            let path = folder.path().join(&file.path[1..]);
            assert_eq!(std::fs::read_to_string(path).unwrap(), file.content);
        }
    }

    #[test]
    fn a_path_that_is_not_plain_is_refused() {
        for bad in ["etc/x", "/etc/../x", "/", "/a//b", "/a/", "/./a", "/a\0b"] {
            assert!(archive(&[file(bad, "")], (0, 0)).is_err(), "{bad:?} was taken");
        }
        assert!(archive(&[file(&format!("/{}", "a".repeat(101)), "")], (0, 0)).is_err());
    }
}
