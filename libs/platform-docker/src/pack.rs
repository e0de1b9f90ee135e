//! Configuration files as a tar archive (POSIX ustar), which is how the engine takes files.

use model::spec::ConfigFile;
use platform::{Error, Result};
use tar::{Builder, EntryType, Header};

/// The archive of all files, to be unpacked at `/`. Files belong to `user` and only they may read them; the engine
/// makes the folders above.
pub(crate) fn archive(files: &[ConfigFile], (user, group): (u32, u32)) -> Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    for file in files {
        let bad =
            |error| Error::invalid(format!("configuration file {} cannot be packed: {error}", file.path));
        let mut header = Header::new_ustar();
        header.set_path(clean(&file.path)?).map_err(bad)?;
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o400);
        header.set_uid(user.into());
        header.set_gid(group.into());
        header.set_size(file.content.len() as u64);
        header.set_cksum();
        archive.append(&header, file.content.as_bytes()).map_err(bad)?;
    }
    archive
        .into_inner()
        .map_err(|error| Error::invalid(format!("configuration files cannot be packed: {error}")))
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
    fn a_file_belongs_to_its_user_however_high_the_number() {
        let bytes = archive(&[file("/etc/app.conf", "x")], (4_000_000_000, 3_000_000)).unwrap();

        let mut unpacked = tar::Archive::new(&bytes[..]);
        let entry = unpacked.entries().unwrap().next().unwrap().unwrap();
        let owner = (entry.header().uid().unwrap(), entry.header().gid().unwrap());

        assert_eq!(owner, (4_000_000_000, 3_000_000));
    }

    #[test]
    fn a_path_that_is_not_plain_is_refused() {
        for bad in ["etc/x", "/etc/../x", "/", "/a//b", "/a/", "/./a", "/a\0b"] {
            assert!(archive(&[file(bad, "")], (0, 0)).is_err(), "{bad:?} was taken");
        }
        assert!(archive(&[file(&format!("/{}", "a".repeat(101)), "")], (0, 0)).is_err());
    }
}
