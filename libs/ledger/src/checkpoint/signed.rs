//! A checkpoint with the signatures under it.

use std::{fmt, str::FromStr};

use serde::Serialize;

use super::{Checkpoint, WHAT};
use crate::{Error, KeyKind, Note, SigningKey, VerifyingKey};

/// A checkpoint with the signatures under it. They are only believed after [`SignedCheckpoint::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

/// A signature that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signed {
    /// The key's name.
    pub name: String,
    /// The key's kind, by name.
    pub kind: &'static str,
    /// When it was signed, seconds since 1970; none for kinds without a time.
    pub time: Option<u64>,
}

impl SignedCheckpoint {
    /// Signs with every key. The caller has made sure that the checkpoint extends all that these keys signed before.
    pub fn sign(checkpoint: Checkpoint, keys: &[SigningKey], time: u64) -> Result<SignedCheckpoint, Error> {
        let signatures = keys.iter().map(|key| key.sign(&checkpoint, time)).collect::<Result<_, _>>()?;
        let note = Note { text: checkpoint.to_string(), signatures };
        Ok(SignedCheckpoint { checkpoint, note })
    }

    /// What the note says, whoever signed it.
    pub fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Adds signatures, such as a witness's answer. One of the same key replaces the older.
    pub fn add(&mut self, signatures: impl IntoIterator<Item = crate::NoteSignature>) {
        for signature in signatures {
            let old = &mut self.note.signatures;
            old.retain(|known| (&known.name, known.id) != (&signature.name, signature.id));
            old.push(signature);
        }
    }

    /// Checks the signatures of all keys that are known here. One that is wrong spoils the note; signatures of unknown
    /// keys are ignored. Gives the keys that signed, each once, with the time in the signature.
    pub fn verify<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k VerifyingKey>,
    ) -> Result<Vec<(&'k VerifyingKey, Option<u64>)>, Error> {
        let mut signed = Vec::new();
        for key in keys {
            let mut lines = self.note.signatures.iter().filter(|signature| key.is_named_by(signature));
            let Some(first) = lines.next() else { continue };
            if lines.next().is_some() {
                return Err(Error::format(WHAT, format!("two signatures of {}", key.name())));
            }
            signed.push((key, key.verify(&self.checkpoint, first)?));
        }
        Ok(signed)
    }

    /// The checkpoint, if every kind of key that the log has here signed it: with an Ed25519 and an ML-DSA key, both
    /// must have. Of several keys of one kind (an old and a new one) one is enough.
    pub fn verify_log(&self, keys: &[VerifyingKey]) -> Result<(&Checkpoint, Vec<Signed>), Error> {
        let own: Vec<&VerifyingKey> =
            keys.iter().filter(|key| key.name() == self.checkpoint.origin).collect();
        if own.is_empty() {
            return Err(Error::Untrusted(format!("the log {} is not trusted", self.checkpoint.origin)));
        }
        let signed = self.verify(own.iter().copied())?;
        for kind in own.iter().map(|key| key.kind()) {
            if !signed.iter().any(|(key, _)| key.kind() == kind) {
                return Err(missing(&self.checkpoint.origin, kind));
            }
        }
        let signed = signed
            .into_iter()
            .map(|(key, time)| Signed { name: key.name().to_owned(), kind: key.kind().as_str(), time })
            .collect();
        Ok((&self.checkpoint, signed))
    }
}

fn missing(origin: &str, kind: KeyKind) -> Error {
    Error::Untrusted(format!("the checkpoint lacks the {kind} signature of {origin}"))
}

impl FromStr for SignedCheckpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<SignedCheckpoint, Error> {
        let note: Note = text.parse()?;
        Ok(SignedCheckpoint { checkpoint: note.text.parse()?, note })
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.note, f)
    }
}
