//! Tokens of other issuers: an identity provider, GitHub, GitLab, a Kubernetes cluster. Whom we believe, by which keys and
//! which algorithm, is settled before a token is seen.

use std::collections::BTreeMap;

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{Jwk, PublicKeyUse},
};
use model::Timestamp;
use serde_json::{Map, Value};

use crate::jwt::strict::{self, BadToken};

/// Longest that a token of another issuer may be good for: a day.
const MOST: i64 = 24 * 60 * 60;

/// A key of an issuer, with the one algorithm that it is used with.
pub struct Key {
    algorithm: Algorithm,
    key: DecodingKey,
}

/// An issuer that is believed.
pub struct Issuer {
    name: String,
    audience: String,
    /// The types of token that are taken; none of them: a token that says none.
    kinds: Vec<String>,
    keys: BTreeMap<String, Key>,
}

/// Somebody whom an issuer vouches for. They are known by issuer and subject together, and by nothing else: names and
/// addresses in the claims may belong to somebody else tomorrow.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreign {
    /// The issuer.
    pub issuer: String,
    /// Who, in the words of the issuer.
    pub subject: String,
    /// All that the issuer says, for rules on it such as `repository` and `ref`.
    pub claims: Map<String, Value>,
}

impl Issuer {
    /// An issuer, by exactly this name, whose tokens are for us when they are for this audience. `kinds` are the types of
    /// token that are taken, such as `JWT` or `at+jwt`.
    pub fn new(
        name: impl Into<String>,
        audience: impl Into<String>,
        kinds: impl IntoIterator<Item = String>,
    ) -> Issuer {
        let kinds = kinds.into_iter().collect();
        Issuer { name: name.into(), audience: audience.into(), kinds, keys: BTreeMap::new() }
    }

    /// Takes a key of a JWK set, when it has a name, is for signatures and fits the algorithm. Shared keys never do.
    pub fn add_key(&mut self, jwk: &str, algorithm: &str) -> Result<(), BadToken> {
        let jwk: Jwk = serde_json::from_str(jwk).map_err(|_| BadToken::Key)?;
        let algorithm = match algorithm {
            "EdDSA" => Algorithm::EdDSA,
            "ES256" => Algorithm::ES256,
            "ES384" => Algorithm::ES384,
            "RS256" => Algorithm::RS256,
            "PS256" => Algorithm::PS256,
            _ => return Err(BadToken::Algorithm),
        };
        let signs =
            jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| BadToken::Key)?;
        if !signs || key.family() != algorithm.family() {
            return Err(BadToken::Key);
        }
        let name = jwk.common.key_id.filter(|name| !name.is_empty()).ok_or(BadToken::Key)?;
        self.keys.insert(name, Key { algorithm, key });
        Ok(())
    }

    /// A key that is used no more.
    pub fn remove_key(&mut self, name: &str) {
        self.keys.remove(name);
    }

    /// Whom this issuer vouches for with this token, at this moment.
    pub fn authenticate(&self, token: &str, now: Timestamp) -> Result<Foreign, BadToken> {
        let read = strict::read(token)?;
        let is_taken = match &read.kind {
            None => self.kinds.is_empty(),
            Some(kind) => self.kinds.contains(kind),
        };
        if !is_taken {
            return Err(BadToken::Type);
        }
        let Key { algorithm, key } = self.keys.get(&read.key).ok_or(BadToken::Key)?;
        let claims = read.verified(key, *algorithm)?;
        claims.good_at(now, MOST)?;
        if claims.text("iss")? != self.name {
            return Err(BadToken::Claim("iss"));
        }
        let for_us = match claims.get("aud") {
            Some(Value::String(audience)) => *audience == self.audience,
            // One of several would be a token that others can use on us.
            Some(Value::Array(all)) => {
                matches!(all.as_slice(), [Value::String(one)] if *one == self.audience)
            }
            _ => false,
        };
        if !for_us {
            return Err(BadToken::Claim("aud"));
        }
        let subject = claims.text("sub")?.to_owned();
        Ok(Foreign { issuer: self.name.clone(), subject, claims: claims.into_inner() })
    }
}
