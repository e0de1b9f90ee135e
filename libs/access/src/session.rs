//! Sessions of one person: a secret in a cookie, of which only a digest is kept.

use std::{collections::BTreeMap, fmt, time::Duration};

use ground::Secret;
use model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{base62, random::NoChance};

/// A session that is not used for so long is over.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// A session is over after so long, however much it is used.
pub const ABSOLUTE: Duration = Duration::from_secs(12 * 60 * 60);
/// A second factor counts as fresh for so long.
pub const FRESH: Duration = Duration::from_secs(5 * 60);
/// That a session is used is noted so often at most: less than it takes to be idle, more than each click.
const NOTED: Duration = Duration::from_secs(60);
/// Most sessions that one person has at once; the one that was used least lately ends for a new one.
const SESSIONS: usize = 32;
/// Longest name of a device in bytes.
const DEVICE: usize = 200;

/// What a browser holds: 256 bits of chance.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId(Secret);

impl SessionId {
    /// A new one.
    pub fn new() -> Result<SessionId, NoChance> {
        Ok(SessionId(Secret::new(base62::random(43)?)))
    }

    /// What a browser sent.
    pub fn typed(text: &str) -> SessionId {
        SessionId(Secret::new(text))
    }

    /// What the browser is to hold.
    pub fn text(&self) -> &Secret {
        &self.0
    }

    /// What is kept of it.
    pub fn digest(&self) -> Digest {
        Digest::of_bytes(format!("session {}", self.0.reveal()).as_bytes())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("session ***")
    }
}

/// What happened to a session. None of it is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum SessionEvent {
    /// Somebody logged in.
    Begun {
        /// Of its id.
        session: Digest,
        /// A second factor was shown.
        mfa: bool,
        /// What the person calls the browser or the machine.
        device: String,
        /// When.
        at: Timestamp,
    },
    /// It was used.
    Used {
        /// Of its id.
        session: Digest,
        /// When.
        at: Timestamp,
    },
    /// A second factor was shown; the session goes on under another id.
    SteppedUp {
        /// Of the id until now.
        from: Digest,
        /// Of the id from now on.
        to: Digest,
        /// When.
        at: Timestamp,
    },
    /// It was ended.
    Ended {
        /// Of its id.
        session: Digest,
        /// When.
        at: Timestamp,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct One {
    begun: Timestamp,
    used: Timestamp,
    factor: Option<Timestamp>,
    device: String,
}

/// What is true of a session that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// A second factor was shown in it.
    pub mfa: bool,
    /// How long ago somebody logged in.
    pub login_age: Duration,
    /// How long ago a second factor was shown.
    pub factor_age: Option<Duration>,
    /// When it began: what was made void later, is.
    pub begun: Timestamp,
}

impl Live {
    /// A second factor was shown within the last five minutes.
    pub fn is_fresh(&self) -> bool {
        self.factor_age.is_some_and(|age| age <= FRESH)
    }
}

/// Why a session does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionRefused {
    /// There is none of this id, or none any more.
    #[error("you are not signed in")]
    Unknown,
    /// Not used for too long.
    #[error("the session was not used for 30 minutes: sign in again")]
    Idle,
    /// Too old.
    #[error("the session is 12 hours old: sign in again")]
    Old,
    /// The device has no name, or too long a one.
    #[error("device: write 1 to {DEVICE} bytes without control characters")]
    Device,
}

/// The sessions of one person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions(BTreeMap<Digest, One>);

impl Sessions {
    /// As these events tell it.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a SessionEvent>) -> Sessions {
        let mut sessions = Sessions::default();
        for event in events {
            sessions.apply(event);
        }
        sessions
    }

    /// One event more.
    pub fn apply(&mut self, event: &SessionEvent) {
        match event {
            SessionEvent::Begun { session, mfa, device, at } => {
                let factor = mfa.then_some(*at);
                let one = One { begun: *at, used: *at, factor, device: device.clone() };
                self.0.insert(session.clone(), one);
            }
            SessionEvent::Used { session, at } => {
                if let Some(one) = self.0.get_mut(session) {
                    one.used = one.used.max(*at);
                }
            }
            SessionEvent::SteppedUp { from, to, at } => {
                if let Some(one) = self.0.remove(from) {
                    let used = one.used.max(*at);
                    self.0.insert(to.clone(), One { used, factor: Some(*at), ..one });
                }
            }
            SessionEvent::Ended { session, .. } => {
                self.0.remove(session);
            }
        }
    }

    /// Somebody logs in, always under a new id: one that was there before the login is never taken over.
    pub fn begin(
        &self,
        id: &SessionId,
        mfa: bool,
        device: &str,
        now: Timestamp,
    ) -> Result<Vec<SessionEvent>, SessionRefused> {
        let named = (1..=DEVICE).contains(&device.len()) && !device.chars().any(char::is_control);
        if !named {
            return Err(SessionRefused::Device);
        }
        let begun = SessionEvent::Begun { session: id.digest(), mfa, device: device.to_owned(), at: now };
        let oldest = self.0.iter().min_by_key(|(_, one)| one.used).filter(|_| self.0.len() >= SESSIONS);
        let ended = oldest.map(|(session, _)| SessionEvent::Ended { session: session.clone(), at: now });
        Ok(ended.into_iter().chain([begun]).collect())
    }

    /// What is true of a session that counts, and what to note of its use.
    pub fn check(
        &self,
        id: &SessionId,
        now: Timestamp,
    ) -> Result<(Live, Option<SessionEvent>), SessionRefused> {
        let session = id.digest();
        let one = self.0.get(&session).ok_or(SessionRefused::Unknown)?;
        if now.since(one.begun) >= ABSOLUTE {
            return Err(SessionRefused::Old);
        }
        if now.since(one.used) >= IDLE {
            return Err(SessionRefused::Idle);
        }
        let live = Live {
            mfa: one.factor.is_some(),
            login_age: now.since(one.begun),
            factor_age: one.factor.map(|factor| now.since(factor)),
            begun: one.begun,
        };
        let noted = now.since(one.used) >= NOTED;
        Ok((live, noted.then_some(SessionEvent::Used { session, at: now })))
    }

    /// A second factor was shown: the session goes on under a new id, and is as old as before.
    pub fn step_up(
        &self,
        from: &SessionId,
        to: &SessionId,
        now: Timestamp,
    ) -> Result<SessionEvent, SessionRefused> {
        self.check(from, now)?;
        Ok(SessionEvent::SteppedUp { from: from.digest(), to: to.digest(), at: now })
    }

    /// Ends a session, by what is kept of its id.
    pub fn end(&self, session: &Digest, now: Timestamp) -> Result<SessionEvent, SessionRefused> {
        if !self.0.contains_key(session) {
            return Err(SessionRefused::Unknown);
        }
        Ok(SessionEvent::Ended { session: session.clone(), at: now })
    }

    /// All of them, for the person to look at: what ends one, the device, and when it was used last.
    pub fn list(&self) -> impl Iterator<Item = (&Digest, &str, Timestamp)> {
        self.0.iter().map(|(session, one)| (session, one.device.as_str(), one.used))
    }
}
