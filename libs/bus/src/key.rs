//! The keys by which users show the broker who they are. The key never leaves its file: the broker asks for a signature.

use std::{
    fmt, fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ground::{
    Secret,
    file::{self, Access},
};
use nkeys::{KeyPair, KeyPairType};

use crate::Error;

/// A user's key: an Ed25519 seed as NATS writes it (`SU…`).
pub struct Key(KeyPair);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0.public_key())
    }
}

impl Key {
    /// A new one.
    pub fn generate() -> Key {
        Key(KeyPair::new_user())
    }

    /// The key in a file. A file that anybody but its owner may read is refused.
    pub fn read(path: &Path) -> Result<Key, Error> {
        let io = |source| Error::Io { what: format!("reading the key {}", path.display()), source };
        let refused = |why: String| Error::Key { path: path.to_owned(), why };
        let mode = fs::metadata(path).map_err(io)?.permissions().mode();
        if mode & 0o077 != 0 {
            let why = format!("others may read it (mode {:03o}): chmod 600 {}", mode & 0o777, path.display());
            return Err(refused(why));
        }
        let seed = Secret::trimmed(fs::read_to_string(path).map_err(io)?);
        let pair = KeyPair::from_seed(seed.reveal());
        let pair = pair.map_err(|error| refused(format!("it holds no NATS seed (SU…): {error}")))?;
        if pair.key_pair_type() != KeyPairType::User {
            return Err(refused("it holds the seed of something that is no user".to_owned()));
        }
        Ok(Key(pair))
    }

    /// Writes it to a file that only its owner may read.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let seed = self.seed().map(|seed| format!("{}\n", seed.reveal()));
        let written = file::replace(path, Secret::new(seed?).reveal().as_bytes(), Access::Owner);
        written
            .map(drop)
            .map_err(|source| Error::Io { what: format!("writing the key {}", path.display()), source })
    }

    /// What the broker knows the user by (`U…`).
    pub fn public(&self) -> String {
        self.0.public_key()
    }

    /// The signature that the broker asks for when somebody connects.
    pub fn sign(&self, nonce: &str) -> Result<String, Error> {
        let signed = self.0.sign(nonce.as_bytes());
        Ok(URL_SAFE_NO_PAD.encode(signed.map_err(|error| Error::broker("signing in", error))?))
    }

    pub(crate) fn seed(&self) -> Result<Secret, Error> {
        Ok(Secret::new(self.0.seed().map_err(|error| Error::broker("using a key", error))?))
    }
}

/// Where the key of a user lies in a folder of keys.
pub fn key_file(folder: &Path, user: &str) -> PathBuf {
    folder.join(format!("{user}.nk"))
}

/// A folder that only its owner may look into; made when it is missing.
pub(crate) fn private_folder(folder: &Path) -> Result<(), Error> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let closed = made.and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o700)));
    closed.map_err(|source| Error::Io { what: format!("making the folder {}", folder.display()), source })
}
