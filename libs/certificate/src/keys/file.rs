//! Keys in a folder: private keys as encrypted PKCS#8 (PBES2: scrypt and AES-256-CBC), and `keyring.json`, which lists
//! the public halves and when each is in force. `openssl pkey -in FILE` reads the keys.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, ML_DSA_65_SIGNING, PqdsaKeyPair},
};
use ground::{
    Secret,
    file::{self, Access},
};
use model::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use pkcs8::{
    EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef,
    der::{Decode, pem},
    pkcs5::pbes2,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Signer;
use crate::{Algorithm, At, Error, PublicKey, TrustedKey};

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
const RING: &str = "keyring.json";
/// scrypt with 32 MiB and 8 blocks: a guess costs about a tenth of a second.
const SCRYPT_LOG_N: u8 = 15;

/// A private key in this process.
pub struct FileKey {
    public: PublicKey,
    pair: Pair,
}

enum Pair {
    EcdsaP256(EcdsaKeyPair, SystemRandom),
    MlDsa65(PqdsaKeyPair),
}

impl FileKey {
    /// A new key. Its private half is given back once, to be stored.
    fn generate(algorithm: Algorithm) -> Result<(FileKey, Zeroizing<Vec<u8>>), Error> {
        let failed = |_| Error::Key { key: algorithm.to_string(), why: "cannot be made".to_owned() };
        let der = match algorithm {
            Algorithm::EcdsaP256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
                .map_err(failed)?
                .to_pkcs8v1()
                .map_err(failed)?,
            Algorithm::MlDsa65 => {
                PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).map_err(failed)?.to_pkcs8v1().map_err(failed)?
            }
        };
        let der = Zeroizing::new(der.as_ref().to_vec());
        Ok((FileKey::from_pkcs8(algorithm, &der)?, der))
    }

    /// From a private key in PKCS#8.
    pub fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Result<FileKey, Error> {
        let refused = || Error::Key { key: algorithm.to_string(), why: "is no such key".to_owned() };
        let (pair, public) = match algorithm {
            Algorithm::EcdsaP256 => {
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der).map_err(|_| refused())?;
                let public = pair.public_key().as_der().map_err(|_| refused())?;
                let public = PublicKey::from_der(algorithm, public.as_ref())?;
                (Pair::EcdsaP256(pair, SystemRandom::new()), public)
            }
            Algorithm::MlDsa65 => {
                let pair = PqdsaKeyPair::from_pkcs8(&ML_DSA_65_SIGNING, der).map_err(|_| refused())?;
                let public = pair.public_key().as_der().map_err(|_| refused())?;
                let public = PublicKey::from_der(algorithm, public.as_ref())?;
                (Pair::MlDsa65(pair), public)
            }
        };
        Ok(FileKey { public, pair })
    }
}

#[async_trait]
impl Signer for FileKey {
    fn key(&self) -> &PublicKey {
        &self.public
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = |_| Error::Key { key: self.public.id().to_owned(), why: "did not sign".to_owned() };
        match &self.pair {
            Pair::EcdsaP256(pair, random) => {
                Ok(pair.sign(random, message).map_err(failed)?.as_ref().to_vec())
            }
            Pair::MlDsa65(pair) => {
                let mut signature = vec![0; ML_DSA_65_SIGNING.signature_len()];
                let length = pair.sign(message, &mut signature).map_err(failed)?;
                signature.truncate(length);
                Ok(signature)
            }
        }
    }
}

/// What `keyring.json` says. Public, and in the form that a trust file has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyring {
    /// Every key that was ever used, the newest last.
    pub keys: Vec<TrustedKey>,
}

impl Keyring {
    /// Reads the public part of a folder of keys; empty where there is none yet.
    pub fn read(folder: &Path) -> Result<Keyring, Error> {
        let path = folder.join(RING);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| Error::Unreadable { path, why: error.to_string() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Keyring::default()),
            Err(source) => Err(Error::File { what: "read", path, source }),
        }
    }

    /// The key in this folder that signs at this instant: of those that are not over the newest whose private half is
    /// here. One that begins later by our clock counts: another host whose clock is ahead has made it.
    pub fn current(&self, folder: &Path, algorithm: Algorithm, now: At) -> Option<&TrustedKey> {
        let in_force = |key: &&TrustedKey| {
            key.algorithm == algorithm
                && key.revoked.is_none()
                && key.valid_until.is_none_or(|until| now < until)
                && place(folder, &key.id).exists()
        };
        self.keys.iter().filter(in_force).max_by_key(|key| key.valid_from)
    }

    fn write(&self, folder: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        put(&folder.join(RING), &text, Access::Everyone)
    }
}

/// Keeps others from changing the folder meanwhile.
fn lock(folder: &Path) -> Result<Flock<File>, Error> {
    let failed = |source| Error::File { what: "make", path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let file = File::create(folder.join("keyring.lock")).map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| failed(error.into()))
}

/// Both kinds of keys.
pub const BOTH: &[Algorithm] = &[Algorithm::EcdsaP256, Algorithm::MlDsa65];

/// Makes sure that a key of each of these kinds is in force here, and gives back the public part.
pub fn ensure(
    folder: &Path,
    passphrase: &Secret,
    kinds: &[Algorithm],
    now: Timestamp,
) -> Result<Keyring, Error> {
    let _lock = lock(folder)?;
    let mut ring = Keyring::read(folder)?;
    let mut changed = false;
    for algorithm in kinds {
        if ring.current(folder, *algorithm, At(now)).is_none() {
            ring.keys.push(add(folder, passphrase, *algorithm, At(now))?);
            changed = true;
        }
    }
    if changed {
        ring.write(folder)?;
    }
    Ok(ring)
}

/// New keys of both kinds from now on. The old ones stay valid for `overlap`, so that what was signed by a process that
/// has not seen the new ones yet is still believed.
pub fn rotate(
    folder: &Path,
    passphrase: &Secret,
    now: Timestamp,
    overlap: Duration,
) -> Result<Keyring, Error> {
    let _lock = lock(folder)?;
    let mut ring = Keyring::read(folder)?;
    for algorithm in BOTH.iter().copied() {
        // Whoever cannot open the old keys must not be the one to replace them.
        if let Some(old) = ring.current(folder, algorithm, At(now)) {
            open(folder, old, passphrase)?;
        }
        let new = add(folder, passphrase, algorithm, At(now))?;
        for old in ring.keys.iter_mut().filter(|old| old.algorithm == algorithm) {
            old.valid_until.get_or_insert(At(now.plus(overlap)));
        }
        ring.keys.push(new);
    }
    ring.write(folder)?;
    Ok(ring)
}

/// Takes a key of a service into the keyring as the one in force; older ones of its kind stay valid for `overlap`.
/// Nothing changes when it is known already.
pub fn adopt(folder: &Path, key: TrustedKey, overlap: Duration) -> Result<(), Error> {
    let _lock = lock(folder)?;
    let mut ring = Keyring::read(folder)?;
    if ring.keys.iter().any(|known| known.id == key.id) {
        return Ok(());
    }
    for old in ring.keys.iter_mut().filter(|old| old.algorithm == key.algorithm) {
        old.valid_until.get_or_insert(At(key.valid_from.0.plus(overlap)));
    }
    ring.keys.push(key);
    ring.write(folder)
}

/// Says that a key is no longer only ours.
pub fn revoke(folder: &Path, id: &str, now: Timestamp) -> Result<Keyring, Error> {
    let _lock = lock(folder)?;
    let mut ring = Keyring::read(folder)?;
    let mut named = ring.keys.iter_mut().filter(|key| !id.is_empty() && key.id.starts_with(id));
    let (Some(key), None) = (named.next(), named.next()) else {
        return Err(Error::Key {
            key: id.to_owned(),
            why: "names no key of the keyring, or several".to_owned(),
        });
    };
    key.revoked.get_or_insert(At(now));
    ring.write(folder)?;
    Ok(ring)
}

/// The private half of a key.
pub fn open(folder: &Path, trusted: &TrustedKey, passphrase: &Secret) -> Result<FileKey, Error> {
    let path = place(folder, &trusted.id);
    let text = fs::read(&path).map(Zeroizing::new).map_err(|source| Error::File {
        what: "read",
        path: path.clone(),
        source,
    })?;
    let unreadable = |why: &str| Error::Unreadable { path: path.clone(), why: why.to_owned() };
    let (label, der) = pem::decode_vec(&text).map_err(|_| unreadable("is no PEM"))?;
    if label != ENCRYPTED {
        return Err(unreadable("is not an encrypted private key"));
    }
    let info =
        EncryptedPrivateKeyInfoRef::from_der(&der).map_err(|_| unreadable("is no encrypted PKCS#8"))?;
    let der = info
        .decrypt(passphrase.reveal().as_bytes())
        .map_err(|_| unreadable("does not open with this passphrase"))?;
    let key = FileKey::from_pkcs8(trusted.algorithm, der.as_bytes())?;
    if key.public.id() != trusted.id {
        return Err(unreadable("holds another key than its name says"));
    }
    Ok(key)
}

fn add(folder: &Path, passphrase: &Secret, algorithm: Algorithm, now: At) -> Result<TrustedKey, Error> {
    let failed = |why: String| Error::Key { key: algorithm.to_string(), why };
    if passphrase.is_empty() {
        return Err(failed("is not stored without a passphrase".to_owned()));
    }
    let (key, der) = FileKey::generate(algorithm)?;
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    for bytes in [&mut salt, &mut iv] {
        aws_lc_rs::rand::fill(bytes).map_err(|_| failed("has no randomness".to_owned()))?;
    }
    let scrypt =
        pkcs8::pkcs5::scrypt::Params::new(SCRYPT_LOG_N, 8, 1).map_err(|error| failed(error.to_string()))?;
    let parameters = pbes2::Parameters::generate_scrypt_aes256cbc(scrypt, &salt, iv)
        .map_err(|error| failed(error.to_string()))?;
    let encrypted = PrivateKeyInfoRef::try_from(der.as_slice())
        .and_then(|info| info.encrypt_with_params(parameters, passphrase.reveal().as_bytes()))
        .map_err(|error| failed(error.to_string()))?;
    let text = encrypted.to_pem(ENCRYPTED, pem::LineEnding::LF).map_err(|error| failed(error.to_string()))?;
    put(&place(folder, key.public.id()), text.as_bytes(), Access::Owner)?;
    Ok(TrustedKey::new(&key.public, now))
}

fn place(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{}.key.pem", crate::verify::short(id)))
}

fn put(path: &Path, bytes: &[u8], access: Access) -> Result<(), Error> {
    let written = file::replace(path, bytes, access);
    written.map(drop).map_err(|source| Error::File { what: "write", path: path.to_owned(), source })
}

/// The passphrase of a laptop: a random one in a file that only its owner reads, made when it is not there. It keeps
/// the keys from whoever gets hold of them alone, such as in a backup, not from whoever reads the whole folder.
pub fn passphrase_file(path: &Path) -> Result<Secret, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Secret::line(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let failed = |source| Error::File { what: "write", path: path.to_owned(), source };
            if let Some(folder) = path.parent() {
                let _lock = lock(folder)?;
                if !path.exists() {
                    let mut bytes = [0; 32];
                    aws_lc_rs::rand::fill(&mut bytes)
                        .map_err(|_| failed(io::Error::other("no randomness")))?;
                    put(path, hex::encode(bytes).as_bytes(), Access::Owner)?;
                }
            }
            fs::read_to_string(path).map(Secret::line).map_err(|source| Error::File {
                what: "read",
                path: path.to_owned(),
                source,
            })
        }
        Err(source) => Err(Error::File { what: "read", path: path.to_owned(), source }),
    }
}
