//! The log's keys, in files that only their owner may read, and the policy that says whose are believed.

use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use ledger::{KeyKind, Policy, SigningKey};

use crate::Error;

/// The trust policy in a file.
pub(crate) fn read_policy(path: &Path) -> Result<Policy, Error> {
    let text = fs::read_to_string(path)
        .map_err(|source| Error::File { what: format!("reading {}", path.display()), source })?;
    Ok(text.parse()?)
}

/// The key in a file; it is made when the file is not there.
pub fn load_or_make(path: &Path, name: &str, kind: KeyKind) -> Result<SigningKey, Error> {
    let failed = |what: &str, source| Error::File { what: format!("{what} {}", path.display()), source };
    match fs::read_to_string(path) {
        Ok(text) => {
            let mode = fs::metadata(path).map_err(|source| failed("reading", source))?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(Error::Invalid(format!(
                    "others may read the private key {}: chmod 600 {}",
                    path.display(),
                    path.display()
                )));
            }
            let key = SigningKey::from_secret_text(&text)?;
            let public = key.verifying_key();
            if public.name() != name || public.kind() != kind {
                return Err(Error::Invalid(format!(
                    "{} holds the {} key of {}, expected the {kind} key of {name}",
                    path.display(),
                    public.kind(),
                    public.name()
                )));
            }
            Ok(key)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = SigningKey::generate(name, kind)?;
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(|source| failed("making the folder of", source))?;
            }
            let write = || -> std::io::Result<()> {
                let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
                writeln!(file, "{}", key.to_secret_text())?;
                file.sync_all()?;
                path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
            };
            write().map_err(|source| failed("writing", source))?;
            Ok(key)
        }
        Err(source) => Err(failed("reading", source)),
    }
}

/// The two keys of a log below a folder: classical and post-quantum, both of which sign every checkpoint.
pub fn of_log(folder: &Path, origin: &str) -> Result<Vec<SigningKey>, Error> {
    let keys = [("ed25519.key", KeyKind::Ed25519), ("ml-dsa-44.key", KeyKind::MlDsa44)];
    keys.into_iter().map(|(file, kind)| load_or_make(&folder.join(file), origin, kind)).collect()
}
