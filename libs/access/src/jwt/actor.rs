//! Tokens for one act: who asked, through which service, for exactly this message, decided by which rights.

use std::{collections::BTreeMap, time::Duration};

use aws_lc_rs::{
    encoding::{AsBigEndian as _, Curve25519SeedBin},
    signature::{Ed25519KeyPair, KeyPair},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use model::{Digest, Timestamp};
use serde_json::{Value, json};

use crate::{
    jwt::strict::{self, BadToken},
    random::NoChance,
};

/// Longest that a token is good for: as long as a message may be on its way.
pub const ACTOR_AT_MOST: Duration = Duration::from_secs(60);
const MOST: i64 = 60;
const ISSUER: &str = "code";
const TYPE: &str = "actor+jwt";

/// Who asked for what, through whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Who asked: `user:acme/ann`.
    pub subject: String,
    /// The service that they asked: `api`.
    pub service: String,
    /// The subject of the message: `code.v1.rpc.orchestrator.submit`.
    pub audience: String,
    /// Of the message's body.
    pub body: Digest,
    /// Of the rights by which it was decided.
    pub rights: Digest,
}

/// A key that tokens are signed with.
pub struct ActorKey {
    name: String,
    signs: EncodingKey,
    public: [u8; 32],
}

/// The keys that a token may be signed with, by name: those that are in use, and the last ones until their tokens are over.
#[derive(Default)]
pub struct ActorKeys(BTreeMap<String, DecodingKey>);

impl ActorKey {
    /// From its 32 bytes. The name is made of the public part.
    pub fn from_seed(seed: &[u8; 32]) -> Result<ActorKey, NoChance> {
        ActorKey::of(Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoChance)?)
    }

    /// A new one, with its 32 bytes, to be kept where they cannot be read.
    pub fn new() -> Result<(ActorKey, Curve25519SeedBin<'static>), NoChance> {
        let pair = Ed25519KeyPair::generate().map_err(|_| NoChance)?;
        let seed = pair.seed().and_then(|seed| seed.as_be_bytes()).map_err(|_| NoChance)?;
        Ok((ActorKey::of(pair)?, seed))
    }

    fn of(pair: Ed25519KeyPair) -> Result<ActorKey, NoChance> {
        let public: [u8; 32] = pair.public_key().as_ref().try_into().map_err(|_| NoChance)?;
        let document = pair.to_pkcs8().map_err(|_| NoChance)?;
        let name = Digest::of_bytes(&public).to_string()[7..23].to_owned();
        Ok(ActorKey { name, signs: EncodingKey::from_ed_der(document.as_ref()), public })
    }

    /// What names it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part that others check with.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// A token, good for a minute from now.
    pub fn sign(&self, actor: &Actor, now: Timestamp) -> Result<String, BadToken> {
        let seconds = now.0.div_euclid(1000);
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(self.name.clone());
        let claims = json!({
            "iss": ISSUER,
            "sub": actor.subject,
            "act": {"sub": actor.service},
            "aud": actor.audience,
            "bd": actor.body,
            "pol": actor.rights,
            "iat": seconds,
            "exp": seconds + MOST,
        });
        jsonwebtoken::encode(&header, &claims, &self.signs).map_err(|_| BadToken::Signature)
    }
}

impl ActorKeys {
    /// One more.
    pub fn add(&mut self, public: &[u8; 32], name: impl Into<String>) {
        self.0.insert(name.into(), DecodingKey::from_ed_der(public));
    }

    /// One less: its tokens are good no more.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Who asked, when the token is good at this moment, for a message on this subject with this body.
    pub fn verify(
        &self,
        token: &str,
        audience: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Actor, BadToken> {
        let read = strict::read(token)?;
        if read.kind.as_deref() != Some(TYPE) {
            return Err(BadToken::Type);
        }
        let key = self.0.get(&read.key).ok_or(BadToken::Key)?;
        let claims = read.verified(key, Algorithm::EdDSA)?;
        claims.good_at(now, MOST)?;
        if claims.text("iss")? != ISSUER {
            return Err(BadToken::Claim("iss"));
        }
        if claims.text("aud")? != audience {
            return Err(BadToken::Claim("aud"));
        }
        let digest = |claim| claims.text(claim)?.parse::<Digest>().map_err(|_| BadToken::Claim(claim));
        let (said, rights) = (digest("bd")?, digest("pol")?);
        if said != Digest::of_bytes(body) {
            return Err(BadToken::Claim("bd"));
        }
        let service = claims.get("act").and_then(|act| act.get("sub")).and_then(Value::as_str);
        Ok(Actor {
            subject: claims.text("sub")?.to_owned(),
            service: service.filter(|service| !service.is_empty()).ok_or(BadToken::Claim("act"))?.to_owned(),
            audience: audience.to_owned(),
            body: said,
            rights,
        })
    }
}
