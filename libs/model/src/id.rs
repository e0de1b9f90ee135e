//! Typed ids. Whatever passes here fits a NATS subject token, a KV key and a container label.

use std::{
    borrow::{Borrow, Cow},
    fmt,
    str::FromStr,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The text is not a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a name: expected a-z, 0-9 and -, beginning with a letter or digit, at most 63 characters"
)]
pub struct BadToken(pub String);

/// A name that matches `[a-z0-9][a-z0-9-]{0,62}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(String);

impl Token {
    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names are ordered as their texts are, so a map is asked with a text too.
impl Borrow<str> for Token {
    fn borrow(&self) -> &str {
        &self.0
    }
}

fn is_token(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(allowed) && !text.starts_with('-')
}

impl FromStr for Token {
    type Err = BadToken;
    fn from_str(text: &str) -> Result<Self, BadToken> {
        if is_token(text) { Ok(Token(text.to_owned())) } else { Err(BadToken(text.to_owned())) }
    }
}

macro_rules! text_type {
    ($name:ident, $pattern:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "pattern": $pattern})
            }
        }
    };
}

text_type!(Token, "^[a-z0-9][a-z0-9-]{0,62}$");

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// A new id; ids made later sort later (UUID version 7).
            pub fn new() -> $name {
                $name(format!(concat!($prefix, "-{}"), uuid::Uuid::now_v7().simple()))
            }

            /// The id a given text always maps to: for requests that carry an idempotency key.
            pub fn derived(from: &str) -> $name {
                $name(format!(concat!($prefix, "-{}"), &crate::Digest::of_bytes(from.as_bytes()).to_string()[7..39]))
            }

            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl FromStr for $name {
            type Err = BadToken;
            fn from_str(text: &str) -> Result<Self, BadToken> {
                if is_token(text) && text.starts_with(concat!($prefix, "-")) {
                    Ok($name(text.to_owned()))
                } else {
                    Err(BadToken(text.to_owned()))
                }
            }
        }

        text_type!($name, "^[a-z]+-[a-z0-9-]{1,58}$");
    };
}

id!(
    /// One deployment: `dep-…`.
    DeploymentId, "dep"
);
id!(
    /// One running copy of a service: `rep-…`. A restarted process is a new copy.
    ReplicaId, "rep"
);

/// An application in an environment on a platform: what is locked, routed and rolled back as one.
/// Written `<environment>.<platform>.<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct TargetId {
    /// The environment, such as `prod`.
    pub environment: Token,
    /// The platform driver, such as `docker`.
    pub platform: Token,
    /// The application.
    pub name: Token,
}

impl TargetId {
    /// The target as ONE token, for subjects, keys and labels: parts joined by `--`, or a digest when too long.
    pub fn token(&self) -> String {
        let joined = format!("{}--{}--{}", self.environment, self.platform, self.name);
        if is_token(&joined) {
            joined
        } else {
            format!("t-{}", &crate::Digest::of_bytes(joined.as_bytes()).short())
        }
    }

    /// The target of this token; none when its names cannot be told from the token, because they are too long or hold
    /// `--` themselves.
    pub fn of_token(token: &str) -> Option<TargetId> {
        let parts: Vec<&str> = token.split("--").collect();
        let [environment, platform, name] = parts[..] else { return None };
        let (environment, platform) = (environment.parse().ok()?, platform.parse().ok()?);
        Some(TargetId { environment, platform, name: name.parse().ok()? })
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.environment, self.platform, self.name)
    }
}

impl FromStr for TargetId {
    type Err = BadToken;
    fn from_str(text: &str) -> Result<Self, BadToken> {
        let parts: Vec<&str> = text.split('.').collect();
        let [environment, platform, name] = parts[..] else { return Err(BadToken(text.to_owned())) };
        Ok(TargetId { environment: environment.parse()?, platform: platform.parse()?, name: name.parse()? })
    }
}

/// What tells two builds of a module apart: 12 hex digits over everything an instance is made of (artefact, command,
/// environment, configuration, secret versions, ports, health, resources, volumes), not over how many or how it moves.
pub type Revision = Token;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_and_dots_never_enter_a_token() {
        for bad in ["", "-a", "a.b", "a*", "a>", "A", "ä", "a b", &"a".repeat(64)] {
            assert!(bad.parse::<Token>().is_err(), "{bad:?} was taken");
        }
        assert!("web-1".parse::<Token>().is_ok());
    }

    #[test]
    fn an_id_of_one_kind_is_not_an_id_of_another() {
        let id = DeploymentId::new();
        assert!(id.as_str().parse::<ReplicaId>().is_err());
        assert_eq!(id.as_str().parse::<DeploymentId>().unwrap(), id);
    }

    #[test]
    fn the_same_key_derives_the_same_id() {
        assert_eq!(DeploymentId::derived("k"), DeploymentId::derived("k"));
        assert_ne!(DeploymentId::derived("k"), DeploymentId::derived("l"));
        assert!(DeploymentId::derived("k").as_str().parse::<DeploymentId>().is_ok());
    }
}
