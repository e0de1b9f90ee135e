//! Whom a verifier believes: keys with the time in which each may sign, and the audit log's policy.
//!
//! It is the only thing a verifier needs beside the certificate, and it must reach the verifier by another way.

use ledger::Policy;
use serde::{Deserialize, Serialize};

use crate::{Algorithm, At, Error, PublicKey, at::required};

/// What a trust file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trust {
    /// Keys that may sign certificates.
    pub keys: Vec<TrustedKey>,
    /// The policy that the audit log's proofs must meet, in C2SP tlog-policy form. With `null` no log is asked, and the
    /// verifier says so.
    #[serde(deserialize_with = "required")]
    pub log: Option<String>,
}

/// A key and the time in which it may sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustedKey {
    /// The SHA-256 of its SubjectPublicKeyInfo, 64 hex digits.
    pub id: String,
    /// Its kind.
    pub algorithm: Algorithm,
    /// The key, in PEM.
    pub public_key: String,
    /// Certificates issued before are not its own.
    pub valid_from: At,
    /// Certificates issued at this instant or later are not its own. `null`: it is the one in use.
    #[serde(deserialize_with = "required")]
    pub valid_until: Option<At>,
    /// From here on somebody else may have it: only what the audit log held before still counts.
    #[serde(deserialize_with = "required")]
    pub revoked: Option<At>,
}

impl TrustedKey {
    /// A key that is in use from now on.
    pub fn new(key: &PublicKey, from: At) -> TrustedKey {
        TrustedKey {
            id: key.id().to_owned(),
            algorithm: key.algorithm(),
            public_key: key.pem(),
            valid_from: from,
            valid_until: None,
            revoked: None,
        }
    }

    /// What two who tell of the same key say together: the earlier end and the earlier revocation stand, so that nobody who
    /// has not heard of one takes it back.
    pub fn joined(&self, other: &TrustedKey) -> TrustedKey {
        let earlier = |one: Option<At>, two: Option<At>| one.into_iter().chain(two).min();
        TrustedKey {
            valid_from: self.valid_from.min(other.valid_from),
            valid_until: earlier(self.valid_until, other.valid_until),
            revoked: earlier(self.revoked, other.revoked),
            ..self.clone()
        }
    }

    /// The key itself. Its id must be its own.
    pub fn key(&self) -> Result<PublicKey, Error> {
        let key = PublicKey::from_pem(self.algorithm, &self.public_key)?;
        if key.id() != self.id {
            return Err(Error::Key { key: self.id.clone(), why: format!("its digest is {}", key.id()) });
        }
        Ok(key)
    }

    /// Whether it may sign at this instant; the reason when not.
    pub fn may_sign(&self, at: At) -> Result<(), String> {
        if at < self.valid_from {
            return Err(format!("is valid from {}, the certificate is of {at}", self.valid_from));
        }
        match self.valid_until {
            Some(until) if at >= until => Err(format!("was valid until {until}, the certificate is of {at}")),
            _ => Ok(()),
        }
    }
}

impl Trust {
    /// Reads a trust file.
    pub fn read(text: &str) -> Result<Trust, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Parses every key once, for verifying many certificates. A key that is listed twice is refused: one of the two might
    /// say that it is revoked.
    pub fn ready(&self) -> Result<Ready, Error> {
        let mut keys: Vec<(TrustedKey, PublicKey)> = Vec::new();
        for trusted in &self.keys {
            if keys.iter().any(|(known, _)| known.id == trusted.id) {
                let why = "is listed twice; keep the line that is right".to_owned();
                return Err(Error::Key { key: trusted.id.clone(), why });
            }
            keys.push((trusted.clone(), trusted.key()?));
        }
        let policy =
            |text: &String| text.parse::<Policy>().map_err(|error| Error::Policy { why: error.to_string() });
        Ok(Ready { keys, log: self.log.as_ref().map(policy).transpose()? })
    }
}

/// Trust with its keys parsed.
#[derive(Clone, Debug)]
pub struct Ready {
    keys: Vec<(TrustedKey, PublicKey)>,
    log: Option<Policy>,
}

impl Ready {
    /// The key of this id.
    pub fn key(&self, id: &str) -> Option<(&TrustedKey, &PublicKey)> {
        self.keys.iter().find(|(trusted, _)| trusted.id == id).map(|(trusted, key)| (trusted, key))
    }

    /// The audit log's policy.
    pub fn log(&self) -> Option<&Policy> {
        self.log.as_ref()
    }
}
