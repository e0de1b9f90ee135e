//! Reads a token in the one way in which it can be read.

use std::{collections::BTreeSet, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use model::Timestamp;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Longest token in bytes.
const BYTES: usize = 8 * 1024;
/// Deepest that lists and objects lie in each other.
const DEPTH: usize = 8;
/// What may stand in a header. All else says where to find a key or how to read the rest, which is not for the token to say.
const HEADER: [&str; 5] = ["alg", "typ", "kid", "x5t", "x5t#S256"];
/// How far the clock of an issuer may be before ours.
const AHEAD: i64 = 30;

/// Why a token counts for nothing. For the log: whoever sent it is told only that it was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// It has not the form of one.
    #[error("the token is not three parts in base64url of at most {BYTES} bytes")]
    Form,
    /// A part is not an object, or can be read in two ways.
    #[error("the {0} cannot be read in one way only: {1}")]
    Json(&'static str, String),
    /// Something stands in the header that has no business there.
    #[error("the header holds {0:?}")]
    Header(String),
    /// Another algorithm than that of the key, or none.
    #[error("the algorithm is not the one of the key")]
    Algorithm,
    /// Another type of token.
    #[error("the type is not one that is taken here")]
    Type,
    /// No key of this name.
    #[error("there is no such key")]
    Key,
    /// The signature is not of the key.
    #[error("the signature does not fit")]
    Signature,
    /// A claim is missing, is not of its type, or says something else than it must.
    #[error("claim {0} is missing or wrong")]
    Claim(&'static str),
    /// Its time is over, or has not come.
    #[error("claim {0}: not good at this moment")]
    Time(&'static str),
}

/// A token whose form is right, and nothing more.
pub(crate) struct Read<'a> {
    token: &'a str,
    algorithm: String,
    pub(crate) kind: Option<String>,
    pub(crate) key: String,
    claims: Map<String, Value>,
}

pub(crate) fn read(token: &str) -> Result<Read<'_>, BadToken> {
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(BadToken::Form);
    };
    if token.len() > BYTES || [header, claims, signature].iter().any(|part| part.is_empty()) {
        return Err(BadToken::Form);
    }
    URL_SAFE_NO_PAD.decode(signature).map_err(|_| BadToken::Form)?;
    let (header, claims) = (object("header", header)?, object("claims", claims)?);
    if let Some(strange) = header.keys().find(|key| !HEADER.contains(&key.as_str())) {
        return Err(BadToken::Header(strange.chars().take(40).collect()));
    }
    let text = |key: &str| match header.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(BadToken::Header(key.to_owned())),
    };
    Ok(Read {
        token,
        algorithm: text("alg")?.ok_or(BadToken::Algorithm)?,
        kind: text("typ")?,
        key: text("kid")?.ok_or(BadToken::Key)?,
        claims,
    })
}

impl Read<'_> {
    /// The claims, once the signature is of this key by this algorithm. The token does not choose.
    pub(crate) fn verified(self, key: &DecodingKey, algorithm: Algorithm) -> Result<Claims, BadToken> {
        if self.algorithm != name(algorithm)? {
            return Err(BadToken::Algorithm);
        }
        let mut validation = Validation::new(algorithm);
        // Times and audience are looked at below, by our clock and without leniency.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        jsonwebtoken::decode::<de::IgnoredAny>(self.token, key, &validation)
            .map_err(|_| BadToken::Signature)?;
        Ok(Claims(self.claims))
    }
}

/// How a token writes an algorithm. All others are not taken, those with a shared key first of all.
fn name(algorithm: Algorithm) -> Result<&'static str, BadToken> {
    match algorithm {
        Algorithm::EdDSA => Ok("EdDSA"),
        Algorithm::ES256 => Ok("ES256"),
        Algorithm::ES384 => Ok("ES384"),
        Algorithm::RS256 => Ok("RS256"),
        Algorithm::PS256 => Ok("PS256"),
        _ => Err(BadToken::Algorithm),
    }
}

/// Claims that were signed.
pub(crate) struct Claims(Map<String, Value>);

impl Claims {
    pub(crate) fn text(&self, claim: &'static str) -> Result<&str, BadToken> {
        let text = self.0.get(claim).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).ok_or(BadToken::Claim(claim))
    }

    pub(crate) fn get(&self, claim: &str) -> Option<&Value> {
        self.0.get(claim)
    }

    pub(crate) fn into_inner(self) -> Map<String, Value> {
        self.0
    }

    fn second(&self, claim: &'static str) -> Result<Option<i64>, BadToken> {
        match self.0.get(claim) {
            None => Ok(None),
            Some(value) => {
                let second = value.as_i64().filter(|second| (0..=253_402_300_799).contains(second));
                second.map(Some).ok_or(BadToken::Claim(claim))
            }
        }
    }

    /// It is good at this moment, and for no longer than this many seconds from when it was made.
    pub(crate) fn good_at(&self, now: Timestamp, most: i64) -> Result<(), BadToken> {
        let now = now.0.div_euclid(1000);
        let ends = self.second("exp")?.ok_or(BadToken::Claim("exp"))?;
        let made = self.second("iat")?.ok_or(BadToken::Claim("iat"))?;
        if now >= ends {
            return Err(BadToken::Time("exp"));
        }
        if made > now + AHEAD {
            return Err(BadToken::Time("iat"));
        }
        if ends <= made || ends - made > most {
            return Err(BadToken::Claim("exp"));
        }
        match self.second("nbf")? {
            Some(begins) if begins > now + AHEAD => Err(BadToken::Time("nbf")),
            _ => Ok(()),
        }
    }
}

fn object(part: &'static str, encoded: &str) -> Result<Map<String, Value>, BadToken> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| BadToken::Form)?;
    let mut reader = serde_json::Deserializer::from_slice(&bytes);
    let value = Once(DEPTH).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    match value.map_err(|error| BadToken::Json(part, error.to_string()))? {
        Value::Object(object) => Ok(object),
        _ => Err(BadToken::Json(part, "it is not an object".to_owned())),
    }
}

/// A value in which no object says something twice, so many levels deep.
struct Once(usize);

impl Once {
    fn deeper<E: de::Error>(&self) -> Result<Once, E> {
        self.0.checked_sub(1).map(Once).ok_or_else(|| E::custom("it is nested too deeply"))
    }
}

impl<'de> DeserializeSeed<'de> for Once {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON that says each thing once")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(value) = seq.next_element_seed(self.deeper()?)? {
            all.push(value);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (mut all, mut seen) = (Map::new(), BTreeSet::new());
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(de::Error::custom(format!(
                    "{:?} stands in it twice",
                    key.chars().take(40).collect::<String>()
                )));
            }
            all.insert(key, map.next_value_seed(self.deeper()?)?);
        }
        Ok(all.into())
    }
}
