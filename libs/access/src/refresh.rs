//! Refresh tokens: changed at each use, so that a stolen one is found.
//!
//! The next token follows from the one that is shown and a key that only the engine has. So two replicas that are asked at
//! once give the same answer, and whoever did not hear it asks again and hears the same. After [`GRACE`] a token that was
//! used is taken for stolen, and the whole family is void.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_lc_rs::hmac;
use model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{ApiKey, KeyKind, base62};

/// How long a token that was used still gives the same answer.
pub const GRACE: Duration = Duration::from_secs(45);
/// How long a family is good, however much it is used.
pub const REFRESH_AT_MOST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Most tokens of one family, which are remembered for as long as it is good.
const TOKENS: usize = 10_000;
/// Most families of one member that are good at once; the oldest ends for a new one.
const FAMILIES: usize = 32;

/// What happened to a family of tokens. None of it is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RefreshEvent {
    /// The first token of a family was given out.
    Begun {
        /// What names the family.
        family: String,
        /// Of the token.
        token: Digest,
        /// When.
        at: Timestamp,
    },
    /// A token was changed for the next one.
    Rotated {
        /// What names the family.
        family: String,
        /// Of the token that was shown.
        from: Digest,
        /// Of the next one.
        to: Digest,
        /// When.
        at: Timestamp,
    },
    /// No token of the family is good any more.
    Revoked {
        /// What names the family.
        family: String,
        /// Because a token that had been used was shown again.
        reused: bool,
        /// When.
        at: Timestamp,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Family {
    begun: Timestamp,
    current: Digest,
    /// The one before, and when it was changed.
    before: Option<(Digest, Timestamp)>,
    used: BTreeSet<Digest>,
}

/// Makes the next token out of one that is shown.
pub struct Rotation(hmac::Key);

impl Rotation {
    /// With a key that all replicas have and nobody else.
    pub fn new(key: &[u8; 32]) -> Rotation {
        Rotation(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    fn next(&self, shown: &ApiKey) -> ApiKey {
        let mut chance = String::with_capacity(30);
        let mut round: u8 = 0;
        while chance.len() < 30 {
            let mut context = hmac::Context::with_key(&self.0);
            context.update(b"refresh token that follows\0");
            context.update(&[round]);
            context.update(shown.text().reveal().as_bytes());
            chance.extend(base62::digits(context.sign().as_ref()).take(30 - chance.len()));
            round = round.wrapping_add(1);
        }
        ApiKey::of(KeyKind::Refresh, shown.id(), &chance)
    }
}

/// The answer to a token that is good.
#[derive(Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// The next token.
    pub token: ApiKey,
    /// What is to be journalled before it is given out; none when it was before.
    pub event: Option<RefreshEvent>,
    /// When the family began: what was made void later, is.
    pub begun: Timestamp,
}

/// Why a token is not changed for the next one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshRefused {
    /// It never was a token of this member, or it is not one any more.
    #[error("sign in again")]
    Unknown,
    /// It was used before: it is taken for stolen. This is to be journalled.
    #[error(
        "this token was used before: somebody may have a copy, so all that came of it is void; sign in again"
    )]
    Reused(RefreshEvent),
    /// It was too long ago that somebody signed in.
    #[error("the last sign-in was 30 days ago: sign in again")]
    Old,
}

/// The families of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Families(BTreeMap<String, Family>);

impl Families {
    /// As these events tell it.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a RefreshEvent>) -> Families {
        let mut families = Families::default();
        for event in events {
            families.apply(event);
        }
        families
    }

    /// One event more.
    pub fn apply(&mut self, event: &RefreshEvent) {
        match event {
            RefreshEvent::Begun { family, token, at } => {
                let begun =
                    Family { begun: *at, current: token.clone(), before: None, used: BTreeSet::new() };
                self.0.insert(family.clone(), begun);
            }
            RefreshEvent::Rotated { family, from, to, at } => {
                if let Some(family) = self.0.get_mut(family) {
                    family.used.insert(from.clone());
                    family.before = Some((from.clone(), *at));
                    family.current = to.clone();
                }
            }
            RefreshEvent::Revoked { family, .. } => {
                self.0.remove(family);
            }
        }
    }

    /// Somebody signed in: the first token of a family.
    pub fn begin(&self, token: &ApiKey, now: Timestamp) -> Vec<RefreshEvent> {
        let oldest =
            self.0.iter().min_by_key(|(_, family)| family.begun).filter(|_| self.0.len() >= FAMILIES);
        let ended =
            oldest.map(|(name, _)| RefreshEvent::Revoked { family: name.clone(), reused: false, at: now });
        let begun = RefreshEvent::Begun { family: token.id().to_owned(), token: token.digest(), at: now };
        ended.into_iter().chain([begun]).collect()
    }

    /// Changes a token for the next one.
    pub fn refresh(
        &self,
        shown: &ApiKey,
        rotation: &Rotation,
        now: Timestamp,
    ) -> Result<Refreshed, RefreshRefused> {
        let family = self.0.get(shown.id()).filter(|_| shown.kind() == KeyKind::Refresh);
        let family = family.ok_or(RefreshRefused::Unknown)?;
        let (name, digest) = (shown.id().to_owned(), shown.digest());
        let is_current = digest == family.current;
        if !is_current && !family.used.contains(&digest) {
            // Made up: whoever guesses the name of a family ends nobody's.
            return Err(RefreshRefused::Unknown);
        }
        if now.since(family.begun) >= REFRESH_AT_MOST || family.used.len() >= TOKENS {
            return Err(RefreshRefused::Old);
        }

        let token = rotation.next(shown);
        if is_current {
            let event = RefreshEvent::Rotated { family: name, from: digest, to: token.digest(), at: now };
            return Ok(Refreshed { token, event: Some(event), begun: family.begun });
        }
        let is_again = family.before.as_ref().is_some_and(|(before, at)| {
            *before == digest && now.since(*at) <= GRACE && token.digest() == family.current
        });
        if is_again {
            return Ok(Refreshed { token, event: None, begun: family.begun });
        }
        Err(RefreshRefused::Reused(RefreshEvent::Revoked { family: name, reused: true, at: now }))
    }

    /// Ends a family, because somebody signs out.
    pub fn revoke(&self, family: &str, now: Timestamp) -> Result<RefreshEvent, RefreshRefused> {
        if !self.0.contains_key(family) {
            return Err(RefreshRefused::Unknown);
        }
        Ok(RefreshEvent::Revoked { family: family.to_owned(), reused: false, at: now })
    }
}
