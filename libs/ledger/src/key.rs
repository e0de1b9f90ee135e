//! Keys that sign checkpoints, spelled as C2SP verifier keys and as Go's note package spells signer keys.

use std::{fmt, str::FromStr};

use ed25519_dalek::Signer as _;
use sha2::{Digest as _, Sha256};

use crate::{Checkpoint, Error, NoteSignature, mldsa, text};

/// What a key signs, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// 0x01: Ed25519 over the note's text; for logs.
    Ed25519,
    /// 0x04: Ed25519 over the text and a time; for witnesses.
    Ed25519Cosigner,
    /// 0x06: ML-DSA-44 over name, time, origin, size and root; for logs and witnesses. Safe against quantum computers.
    MlDsa44,
}

impl KeyKind {
    /// The signature type identifier byte.
    pub const fn byte(self) -> u8 {
        match self {
            KeyKind::Ed25519 => 0x01,
            KeyKind::Ed25519Cosigner => 0x04,
            KeyKind::MlDsa44 => 0x06,
        }
    }

    fn of(byte: u8) -> Option<KeyKind> {
        [KeyKind::Ed25519, KeyKind::Ed25519Cosigner, KeyKind::MlDsa44]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }

    /// The signature carries the time at which it was made.
    pub const fn is_timestamped(self) -> bool {
        matches!(self, KeyKind::Ed25519Cosigner | KeyKind::MlDsa44)
    }

    /// The name on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyKind::Ed25519 => "Ed25519",
            KeyKind::Ed25519Cosigner => "Ed25519 cosignature",
            KeyKind::MlDsa44 => "ML-DSA-44",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone)]
enum Public {
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
    MlDsa44(mldsa::Public),
}

/// A public key with its name; its text is a C2SP vkey: `<name>+<hex key id>+<base64 of type and key>`.
#[derive(Clone)]
pub struct VerifyingKey {
    name: String,
    kind: KeyKind,
    bytes: Vec<u8>,
    id: [u8; 4],
    public: Public,
}

impl VerifyingKey {
    /// A key from its parts.
    pub fn new(name: &str, kind: KeyKind, bytes: &[u8]) -> Result<VerifyingKey, Error> {
        let bad = |why: &str| Error::format("public key", format!("{name}: {why}"));
        if !crate::note::is_key_name(name) {
            return Err(bad("a name is not empty and has no spaces and no +"));
        }
        let public = match kind {
            KeyKind::Ed25519 | KeyKind::Ed25519Cosigner => {
                let key: &[u8; 32] = bytes.try_into().map_err(|_| bad("an Ed25519 key has 32 bytes"))?;
                let key = ed25519_dalek::VerifyingKey::from_bytes(key)
                    .map_err(|_| bad("not a point of the curve"))?;
                if key.is_weak() {
                    return Err(bad("a weak Ed25519 key"));
                }
                Public::Ed25519(Box::new(key))
            }
            KeyKind::MlDsa44 => {
                let key =
                    mldsa::Public::from_bytes(bytes).ok_or_else(|| bad("an ML-DSA-44 key has 1312 bytes"))?;
                Public::MlDsa44(key)
            }
        };
        let id = key_id(name, kind, bytes);
        Ok(VerifyingKey { name: name.to_owned(), kind, bytes: bytes.to_owned(), id, public })
    }

    /// Its name: for a log's key, the origin of its checkpoints.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// What it is known by in a note, together with its name.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The key itself.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The signature line names this key.
    pub fn is_named_by(&self, signature: &NoteSignature) -> bool {
        signature.name == self.name && signature.id == self.id
    }

    /// The signature is this key's, over this checkpoint. Gives the time in the signature, seconds since 1970; none for
    /// kinds without.
    pub fn verify(&self, checkpoint: &Checkpoint, signature: &NoteSignature) -> Result<Option<u64>, Error> {
        let wrong = || Error::Signature { name: self.name.clone() };
        if !self.is_named_by(signature) {
            return Err(wrong());
        }
        let (time, bytes) = if self.kind.is_timestamped() {
            let (time, bytes) = signature.bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
            let time = u64::from_be_bytes(*time);
            if time > i64::MAX as u64 {
                return Err(wrong());
            }
            (Some(time), bytes)
        } else {
            (None, signature.bytes.as_slice())
        };
        let message = message(self.kind, &self.name, checkpoint, time.unwrap_or(0)).ok_or_else(wrong)?;
        let valid = match &self.public {
            Public::Ed25519(key) => ed25519_dalek::Signature::from_slice(bytes)
                .is_ok_and(|signature| key.verify_strict(&message, &signature).is_ok()),
            Public::MlDsa44(key) => bytes.len() == mldsa::SIGNATURE && key.verify(&message, bytes),
        };
        if valid { Ok(time) } else { Err(wrong()) }
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &VerifyingKey) -> bool {
        (&self.name, self.kind, &self.bytes) == (&other.name, other.kind, &other.bytes)
    }
}

impl Eq for VerifyingKey {}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.kind.byte()], self.bytes.as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), text::base64(&key))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.name, self.kind, hex::encode(self.id))
    }
}

impl FromStr for VerifyingKey {
    type Err = Error;
    fn from_str(vkey: &str) -> Result<VerifyingKey, Error> {
        const WHAT: &str = "public key";
        let (name, kind, bytes, id) = parts(WHAT, vkey)?;
        let key = VerifyingKey::new(name, kind, &bytes)?;
        if key.id == id {
            Ok(key)
        } else {
            Err(Error::format(WHAT, format!("{name}: the key id is not this key's")))
        }
    }
}

/// A private key with its name. Its text is a secret: `PRIVATE+KEY+<name>+<hex key id>+<base64 of type and seed>`.
pub struct SigningKey {
    seed: [u8; 32],
    secret: Secret,
    public: VerifyingKey,
}

enum Secret {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    MlDsa44(mldsa::Secret),
}

impl SigningKey {
    /// A new key from the system's randomness.
    pub fn generate(name: &str, kind: KeyKind) -> Result<SigningKey, Error> {
        use rand::TryRngCore as _;
        let mut seed = [0; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut seed).map_err(|error| {
            Error::format("private key", format!("the system gives no randomness: {error}"))
        })?;
        SigningKey::from_seed(name, kind, seed)
    }

    /// The key that follows from a seed.
    pub fn from_seed(name: &str, kind: KeyKind, seed: [u8; 32]) -> Result<SigningKey, Error> {
        let (secret, public) = match kind {
            KeyKind::Ed25519 | KeyKind::Ed25519Cosigner => {
                let key = ed25519_dalek::SigningKey::from_bytes(&seed);
                let public = key.verifying_key().to_bytes().to_vec();
                (Secret::Ed25519(Box::new(key)), public)
            }
            KeyKind::MlDsa44 => {
                let key = mldsa::Secret::from_seed(&seed);
                let public = key.public();
                (Secret::MlDsa44(key), public)
            }
        };
        Ok(SigningKey { seed, secret, public: VerifyingKey::new(name, kind, &public)? })
    }

    /// The public half.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// The private key as text, for a file that only its owner may read.
    pub fn to_secret_text(&self) -> String {
        let key = [&[self.public.kind.byte()], self.seed.as_slice()].concat();
        format!("PRIVATE+KEY+{}+{}+{}", self.public.name, hex::encode(self.public.id), text::base64(&key))
    }

    /// Reads [`SigningKey::to_secret_text`] back.
    pub fn from_secret_text(text: &str) -> Result<SigningKey, Error> {
        const WHAT: &str = "private key";
        let rest = text
            .trim()
            .strip_prefix("PRIVATE+KEY+")
            .ok_or_else(|| Error::format(WHAT, "it does not begin with PRIVATE+KEY+"))?;
        let (name, kind, bytes, id) = parts(WHAT, rest)?;
        let seed: [u8; 32] = bytes.try_into().map_err(|_| Error::format(WHAT, "a seed has 32 bytes"))?;
        let key = SigningKey::from_seed(name, kind, seed)?;
        if key.public.id == id {
            Ok(key)
        } else {
            Err(Error::format(WHAT, format!("{name}: the key id is not this key's")))
        }
    }

    /// Signs a checkpoint at a time, seconds since 1970; kinds without a time leave it out.
    pub fn sign(&self, checkpoint: &Checkpoint, time: u64) -> Result<NoteSignature, Error> {
        let (name, kind) = (&self.public.name, self.public.kind);
        let time = time.min(i64::MAX as u64);
        let unfit =
            || Error::format("checkpoint", format!("{name} cannot sign it: a name or origin is too long"));
        let message = message(kind, name, checkpoint, time).ok_or_else(unfit)?;
        let signature = match &self.secret {
            Secret::Ed25519(key) => key.sign(&message).to_bytes().to_vec(),
            Secret::MlDsa44(key) => key.sign(&message).ok_or_else(unfit)?,
        };
        let time = if kind.is_timestamped() { time.to_be_bytes().to_vec() } else { Vec::new() };
        Ok(NoteSignature { name: name.clone(), id: self.public.id, bytes: [time, signature].concat() })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "private key of {:?}", self.public)
    }
}

fn key_id(name: &str, kind: KeyKind, bytes: &[u8]) -> [u8; 4] {
    let hash =
        Sha256::new().chain_update(name).chain_update([b'\n', kind.byte()]).chain_update(bytes).finalize();
    [hash[0], hash[1], hash[2], hash[3]]
}

/// Name, kind, key bytes and key id.
type Parts<'k> = (&'k str, KeyKind, Vec<u8>, [u8; 4]);

/// The parts of `<name>+<hex id>+<base64>`. Base64 may hold a +.
fn parts<'k>(what: &'static str, key: &'k str) -> Result<Parts<'k>, Error> {
    let mut parts = key.splitn(3, '+');
    let (Some(name), Some(id), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Error::format(what, "expected name+id+key"));
    };
    let id = hex::decode(id).ok().and_then(|id| <[u8; 4]>::try_from(id).ok());
    let id = id.ok_or_else(|| Error::format(what, format!("{name}: a key id has 8 hex digits")))?;
    let data = text::from_base64(what, data)?;
    let Some((kind, bytes)) = data.split_first() else {
        return Err(Error::format(what, format!("{name}: the key is empty")));
    };
    let kind = KeyKind::of(*kind)
        .ok_or_else(|| Error::format(what, format!("{name}: signature type {kind:#04x} is not known")))?;
    Ok((name, kind, bytes.to_vec(), id))
}

/// The bytes that are signed.
fn message(kind: KeyKind, name: &str, checkpoint: &Checkpoint, time: u64) -> Option<Vec<u8>> {
    let text = checkpoint.to_string();
    Some(match kind {
        KeyKind::Ed25519 => text.into_bytes(),
        KeyKind::Ed25519Cosigner => format!("cosignature/v1\ntime {time}\n{text}").into_bytes(),
        KeyKind::MlDsa44 => {
            let mut bytes = b"subtree/v1\n\0".to_vec();
            bytes.push(u8::try_from(name.len()).ok()?);
            bytes.extend(name.as_bytes());
            bytes.extend(time.to_be_bytes());
            bytes.push(u8::try_from(checkpoint.origin.len()).ok()?);
            bytes.extend(checkpoint.origin.as_bytes());
            bytes.extend(0u64.to_be_bytes());
            bytes.extend(checkpoint.size.to_be_bytes());
            bytes.extend(checkpoint.root.0);
            bytes
        }
    })
}

#[cfg(test)]
mod tests;
