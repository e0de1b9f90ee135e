//! Who asks, as it was proven, and whom roles are granted to.

use std::{collections::BTreeSet, fmt, str::FromStr};

use model::{
    Token,
    id::BadToken,
    principal::{BadName, Name},
};
use serde::{Deserialize, Serialize};

/// What kind of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A person.
    User,
    /// A program of an organisation, such as its CI.
    ServiceAccount,
    /// A program that publishes events.
    Publisher,
    /// A service of the engine, which belongs to no organisation.
    Service,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::User, Kind::ServiceAccount, Kind::Publisher, Kind::Service];

    /// The name of the kind in policies.
    pub fn entity(self) -> &'static str {
        match self {
            Kind::User => "User",
            Kind::ServiceAccount => "ServiceAccount",
            Kind::Publisher => "Publisher",
            Kind::Service => "Service",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::ServiceAccount => "service-account",
            Kind::Publisher => "publisher",
            Kind::Service => "service",
        }
    }
}

/// Somebody whose identity was proven: `user:acme/ann`, `service:orchestrator`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    kind: Kind,
    organisation: Option<Token>,
    name: Name,
    groups: BTreeSet<Token>,
}

/// The text does not name anybody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSubject {
    /// It does not begin with a kind that is known, or lacks the organisation.
    #[error(
        "{0:?} names nobody: write user:ORGANISATION/NAME, service-account:ORGANISATION/NAME, publisher:ORGANISATION/NAME, service:NAME, or for grants group:ORGANISATION/NAME"
    )]
    Form(String),
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The organisation or the group cannot be one.
    #[error(transparent)]
    Token(#[from] BadToken),
}

impl Subject {
    /// The same somebody as a member of these groups of their organisation.
    pub fn in_groups(mut self, groups: impl IntoIterator<Item = Token>) -> Subject {
        self.groups = groups.into_iter().collect();
        self
    }

    /// What kind of somebody.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whose they are; services of the engine are nobody's.
    pub fn organisation(&self) -> Option<&Token> {
        self.organisation.as_ref()
    }

    /// The groups they are in.
    pub fn groups(&self) -> &BTreeSet<Token> {
        &self.groups
    }

    /// What they are known by within their kind: `acme/ann`.
    pub(crate) fn key(&self) -> String {
        match &self.organisation {
            Some(organisation) => format!("{organisation}/{}", self.name.as_str()),
            None => self.name.as_str().to_owned(),
        }
    }
}

impl FromStr for Subject {
    type Err = BadSubject;

    fn from_str(text: &str) -> Result<Subject, BadSubject> {
        let bad = || BadSubject::Form(text.chars().take(80).collect());
        let (prefix, rest) = text.split_once(':').ok_or_else(bad)?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.prefix() == prefix).ok_or_else(bad)?;
        let (organisation, name) = if kind == Kind::Service {
            (None, rest)
        } else {
            let (organisation, name) = rest.split_once('/').ok_or_else(bad)?;
            (Some(organisation.parse()?), name)
        };
        Ok(Subject { kind, organisation, name: name.parse()?, groups: BTreeSet::new() })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.prefix(), self.key())
    }
}

/// Whom a role is granted to: one somebody, or all members of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Grantee {
    /// One somebody; their groups do not matter.
    One(Subject),
    /// All members of `group:ORGANISATION/NAME`.
    Group(Token, Token),
}

impl Grantee {
    /// The grant reaches this somebody.
    pub fn reaches(&self, subject: &Subject) -> bool {
        match self {
            Grantee::One(one) => {
                (one.kind, &one.organisation, &one.name)
                    == (subject.kind, &subject.organisation, &subject.name)
            }
            Grantee::Group(organisation, group) => {
                subject.organisation.as_ref() == Some(organisation) && subject.groups.contains(group)
            }
        }
    }

    /// Whose they are.
    pub fn organisation(&self) -> Option<&Token> {
        match self {
            Grantee::One(one) => one.organisation(),
            Grantee::Group(organisation, _) => Some(organisation),
        }
    }
}

impl FromStr for Grantee {
    type Err = BadSubject;

    fn from_str(text: &str) -> Result<Grantee, BadSubject> {
        let Some(rest) = text.strip_prefix("group:") else { return Ok(Grantee::One(text.parse()?)) };
        let bad = || BadSubject::Form(text.chars().take(80).collect());
        let (organisation, group) = rest.split_once('/').ok_or_else(bad)?;
        Ok(Grantee::Group(organisation.parse()?, group.parse()?))
    }
}

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grantee::One(one) => one.fmt(f),
            Grantee::Group(organisation, group) => write!(f, "group:{organisation}/{group}"),
        }
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(Subject, Grantee);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_is_read_as_written_and_nobody_else_is() {
        for text in [
            "user:acme/ann@example.com",
            "service-account:acme/ci",
            "publisher:acme/https://ci.example/shop",
            "service:orchestrator",
            "group:acme/sre",
        ] {
            assert_eq!(text.parse::<Grantee>().unwrap().to_string(), text);
        }
        for bad in
            ["", "ann", "user:ann", "user:/ann", "user:acme/", "root:acme/ann", "group:acme", "User:acme/ann"]
        {
            assert!(bad.parse::<Grantee>().is_err(), "{bad:?} was taken");
        }
        assert!("group:acme/sre".parse::<Subject>().is_err(), "a group does nothing itself");
    }

    #[test]
    fn a_grant_reaches_no_namesake() {
        let ann: Subject = "user:acme/ann".parse().unwrap();
        let ann = ann.in_groups(["sre".parse().unwrap()]);
        let grantee = |text: &str| text.parse::<Grantee>().unwrap();

        assert!(grantee("user:acme/ann").reaches(&ann) && grantee("group:acme/sre").reaches(&ann));
        for other in [
            "user:other/ann",
            "service-account:acme/ann",
            "group:other/sre",
            "group:acme/ann",
            "user:acme/an",
        ] {
            assert!(!grantee(other).reaches(&ann), "{other}");
        }
    }
}
