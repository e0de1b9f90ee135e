//! People and programs of an organisation.

use std::{fmt, str::FromStr};

use model::principal::{BadName, Name};
use serde::{Deserialize, Serialize};

/// What kind of member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A person.
    User,
    /// A program, such as a CI.
    ServiceAccount,
    /// A program that publishes events.
    Publisher,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::User, Kind::ServiceAccount, Kind::Publisher];

    fn word(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::ServiceAccount => "service-account",
            Kind::Publisher => "publisher",
        }
    }
}

/// A member of an organisation, by kind and name: `user:ann`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    /// What kind.
    pub kind: Kind,
    /// What they are called. A name is never given to a second one, not even after the first is gone.
    pub name: Name,
}

/// The text names no member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMember {
    /// It does not begin with a kind.
    #[error("{0:?} is no member: write user:NAME, service-account:NAME or publisher:NAME")]
    Kind(String),
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] BadName),
}

impl FromStr for Member {
    type Err = BadMember;

    fn from_str(text: &str) -> Result<Member, BadMember> {
        let bad = || BadMember::Kind(text.chars().take(60).collect());
        let (word, name) = text.split_once(':').ok_or_else(bad)?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(bad)?;
        Ok(Member { kind, name: name.parse()? })
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.word(), self.name.as_str())
    }
}

impl Serialize for Member {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Member, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
