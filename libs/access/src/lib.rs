//! Who somebody is, and how that is shown: organisations with their people and programs, credentials, sessions and tokens.
//!
//! State is told by events, and events hold no secret: of keys, links and codes only digests, of passwords and second
//! factors only that they are there. What could be guessed from a digest is kept apart by whoever runs this, and handed in
//! when it is checked. Time is an argument.
//!
//! This crate does no I/O. It must never decide what somebody may do: that is `policy`. Nothing in the engine asks it yet.

#![warn(missing_docs)]

mod base62;
mod directory;
mod event;
mod jwt;
mod key;
mod link;
mod member;
mod method;
mod password;
mod random;
mod recovery;
mod refresh;
mod session;
mod totp;

pub use directory::{Credential, Directory, Refused};
pub use event::{Event, Factor};
pub use jwt::{
    actor::{ACTOR_AT_MOST, Actor, ActorKey, ActorKeys},
    foreign::{Foreign, Issuer, Key as ForeignKey},
    strict::BadToken,
};
pub use key::{ApiKey, BadKey, KEY_AT_MOST, KeyKind, Scopes};
pub use link::Link;
pub use member::{Kind, Member};
pub use method::{Authenticated, Keys, Method, NotAuthenticated, Passwords, Proof, Tokens};
pub use password::{BadPassword, Password, Stored};
pub use recovery::{CODES, RecoveryCodes};
pub use refresh::{Families, GRACE, REFRESH_AT_MOST, RefreshEvent, RefreshRefused, Refreshed, Rotation};
pub use session::{ABSOLUTE, FRESH, IDLE, Live, SessionEvent, SessionId, SessionRefused, Sessions};
pub use totp::TotpSecret;
