//! Who does something. The bus says it with every message, from what the connection is; no request body does.
//!
//! A publisher is proven: the broker knows its key and lets it speak under no other name. So is a signer, and not by a
//! message: whoever decides has verified what was signed. That somebody is the engine or a person is proven as far as the
//! broker tells users apart; which copy of the engine or which person it is, they only say. Every kind of which the name is
//! only said says so in words. A kind that is proven is one more variant, its line in [`Principal::as_text`] and
//! [`Principal::from_str`], and its words.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ReplicaId, Token};

/// Longest name in bytes. With its kind before it, it is an actor of the audit log.
pub const NAME_BYTES: usize = 200;

/// What somebody calls themselves: 1 to 200 bytes without control characters, and without blanks around it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// The text is not the name of anybody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{shown} is not a name: it {why}; a name has 1 to {NAME_BYTES} bytes, no control characters and no blanks around it"
)]
pub struct BadName {
    shown: String,
    why: Cow<'static, str>,
}

impl Name {
    /// The text of the name. To show it, use the name itself: it is quoted where it could be taken for more than a name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Name, BadName> {
        let control = text.chars().position(char::is_control);
        let why = if text.is_empty() {
            Cow::Borrowed("is empty")
        } else if text.len() > NAME_BYTES {
            Cow::Owned(format!("has {} bytes", text.len()))
        } else if let Some(place) = control {
            Cow::Owned(format!("has a control character at place {}", place + 1))
        } else if text.trim() != text {
            Cow::Borrowed("has blanks around it")
        } else {
            return Ok(Name(text.to_owned()));
        };
        Err(BadName { shown: shown(text), why })
    }
}

/// The beginning of a text that may hold anything, on one line and in quotes.
fn shown(text: &str) -> String {
    const SHOWN: usize = 60;
    let more = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("{:?}{more}", text.chars().take(SHOWN).collect::<String>())
}

/// As it is where it can only be a name, else in quotes with everything escaped that does not print.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._@/+:-~%?=&#".contains(c) || is_letter(c);
        if self.0.chars().all(plain) { f.write_str(&self.0) } else { write!(f, "{:?}", self.0) }
    }
}

/// A letter that prints as itself wherever it stands.
fn is_letter(c: char) -> bool {
    c.is_alphabetic() && c.escape_debug().count() == 1
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Who does something. In JSON and in headers it is one text that begins with the kind, so that no name can be taken for
/// another kind; shown, it ends with the kind in words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Principal {
    /// A service of the engine, by what its connection says: `engine:orchestrator/rep-…`.
    Engine {
        /// Which service.
        service: Token,
        /// Which copy of it.
        replica: ReplicaId,
    },
    /// A person or a program of whom nothing is known but the name they say: `unauthenticated:ann`.
    Unauthenticated {
        /// What they call themselves.
        name: Name,
    },
    /// Whoever published a CloudEvent, by the source that the event states: `event-source:/ci/shop`. Nobody is this any more;
    /// it stands in journals of before publishers had keys.
    EventSource {
        /// The event's source, unauthenticated.
        source: Name,
    },
    /// A person known by a signature of theirs that was verified: `signer:ann`. No message states one.
    Signer {
        /// As the operator's file of signers names them.
        name: Name,
    },
    /// A program that publishes CloudEvents, by the name that its key stands for: `publisher:ci-1`.
    Publisher {
        /// Its name, as `codectl access publisher` gave it.
        name: Token,
    },
}

const ENGINE: &str = "engine";
const UNAUTHENTICATED: &str = "unauthenticated";
const EVENT_SOURCE: &str = "event-source";
const PUBLISHER: &str = "publisher";
const SIGNER: &str = "signer";

/// The text does not say who.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPrincipal {
    /// It does not begin with a kind that is known.
    #[error(
        "{0} does not say who: expected engine:SERVICE/REPLICA, unauthenticated:NAME, event-source:SOURCE, publisher:NAME or \
         signer:NAME"
    )]
    Kind(String),
    /// What follows the kind is not a name.
    #[error(transparent)]
    Name(#[from] BadName),
    /// What follows the kind is not a copy of a service.
    #[error(transparent)]
    Engine(#[from] crate::id::BadToken),
}

impl Principal {
    /// Somebody of whom only the name is known.
    pub fn stated(name: &str) -> Result<Principal, BadName> {
        Ok(Principal::Unauthenticated { name: name.parse()? })
    }

    /// The text that stands in headers, journals and the audit log: the kind, a colon and what names them.
    pub fn as_text(&self) -> String {
        match self {
            Principal::Engine { service, replica } => format!("{ENGINE}:{service}/{replica}"),
            Principal::Unauthenticated { name } => format!("{UNAUTHENTICATED}:{}", name.as_str()),
            Principal::EventSource { source } => format!("{EVENT_SOURCE}:{}", source.as_str()),
            Principal::Signer { name } => format!("{SIGNER}:{}", name.as_str()),
            Principal::Publisher { name } => format!("{PUBLISHER}:{name}"),
        }
    }

    /// It is the engine itself, which alone may say certain things.
    pub fn is_engine(&self) -> bool {
        matches!(self, Principal::Engine { .. })
    }

    /// A person, or a program that acts for one. Only they approve: neither the engine nor an event does.
    pub fn is_person(&self) -> bool {
        match self {
            Principal::Unauthenticated { .. } | Principal::Signer { .. } => true,
            Principal::Engine { .. } | Principal::EventSource { .. } | Principal::Publisher { .. } => false,
        }
    }

    /// An entry of a list of people, such as `gates.approvals.from`, means this one: by the whole text, or by the bare name
    /// of a person.
    pub fn is_meant_by(&self, entry: &str) -> bool {
        match self {
            Principal::Unauthenticated { name } | Principal::Signer { name } if name.as_str() == entry => {
                true
            }
            _ => self.as_text() == entry,
        }
    }

    /// Both go by the same name, whatever is proven of it: what one asked for the other does not approve. An event goes by
    /// its source, a publisher by the name of its key.
    pub fn goes_by_the_name_of(&self, other: &Principal) -> bool {
        let name = |who: &Principal| match who {
            Principal::Unauthenticated { name } | Principal::Signer { name } => Some(name.clone()),
            Principal::EventSource { source } => Some(source.clone()),
            Principal::Publisher { name } => Some(Name(name.to_string())),
            Principal::Engine { .. } => None,
        };
        self == other || name(self).is_some_and(|own| name(other) == Some(own))
    }

    /// They signed what is said of them, and whoever reads the journal can verify it. A publisher was proven to the engine,
    /// by the broker; of that nothing is kept, so a reader takes the engine's word for it.
    pub fn is_signed(&self) -> bool {
        match self {
            Principal::Signer { .. } => true,
            Principal::Engine { .. }
            | Principal::Unauthenticated { .. }
            | Principal::EventSource { .. }
            | Principal::Publisher { .. } => false,
        }
    }
}

impl FromStr for Principal {
    type Err = BadPrincipal;

    fn from_str(text: &str) -> Result<Principal, BadPrincipal> {
        let unknown = || BadPrincipal::Kind(shown(text));
        match text.split_once(':').ok_or_else(unknown)? {
            (ENGINE, rest) => {
                let (service, replica) = rest.split_once('/').ok_or_else(unknown)?;
                Ok(Principal::Engine { service: service.parse()?, replica: replica.parse()? })
            }
            (UNAUTHENTICATED, name) => Ok(Principal::Unauthenticated { name: name.parse()? }),
            (EVENT_SOURCE, source) => Ok(Principal::EventSource { source: source.parse()? }),
            (SIGNER, name) => Ok(Principal::Signer { name: name.parse()? }),
            (PUBLISHER, name) => Ok(Principal::Publisher { name: name.parse()? }),
            _ => Err(unknown()),
        }
    }
}

/// For people: the name and the kind in words.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Engine { service, replica } => write!(f, "{service} {replica} (engine)"),
            Principal::Unauthenticated { name } => write!(f, "{name} (unauthenticated)"),
            Principal::EventSource { source } => write!(f, "{source} (event source, unauthenticated)"),
            Principal::Signer { name } => write!(f, "{name} (by signature)"),
            Principal::Publisher { name } => write!(f, "{name} (publisher)"),
        }
    }
}

impl Serialize for Principal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.as_text())
    }
}

impl<'de> Deserialize<'de> for Principal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Principal, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Principal {
    fn schema_name() -> Cow<'static, str> {
        "Principal".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^(engine|unauthenticated|event-source|publisher|signer):.+$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everyone() -> Vec<Principal> {
        let named = |text: &str| text.parse::<Name>().unwrap();
        vec![
            Principal::Engine { service: "orchestrator".parse().unwrap(), replica: ReplicaId::new() },
            Principal::Unauthenticated { name: named("ann") },
            Principal::Unauthenticated { name: named("engine:orchestrator/rep-1") },
            Principal::Unauthenticated { name: named("Ann \"the\" Müller") },
            Principal::EventSource { source: named("https://ci.example/shop?x=1") },
            Principal::Signer { name: named("ann") },
            Principal::Publisher { name: "ci-1".parse().unwrap() },
        ]
    }

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_is() {
        for one in everyone() {
            assert_eq!(one.as_text().parse::<Principal>().unwrap(), one);
            let json = serde_json::to_string(&one).unwrap();
            assert_eq!(serde_json::from_str::<Principal>(&json).unwrap(), one);
        }
        for bad in [
            "",
            "ann",
            "ann (unauthenticated)",
            "root:ann",
            "engine:orchestrator",
            "engine:a/b",
            "Engine:a/rep-1",
            "publisher:",
            "publisher:CI 1",
        ] {
            assert!(bad.parse::<Principal>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn no_name_makes_one_kind_look_like_another() {
        let claims = [
            "superseded-by:dep-1",
            "orchestrator rep-1 (engine)",
            "engine:orchestrator/rep-1",
            "x (unauthenticated)",
        ];
        for claim in claims {
            let one = Principal::stated(claim).unwrap();

            assert!(one.as_text().starts_with("unauthenticated:") && !one.is_engine(), "{one}");
            assert!(one.to_string().ends_with(" (unauthenticated)"), "{one}");
            assert!(!claim.contains('(') || one.to_string().starts_with('"'), "{one} is not in quotes");
        }
    }

    #[test]
    fn a_name_is_bounded_and_its_error_names_it() {
        for (bad, said) in [
            ("", "is empty"),
            ("ann\nengine:orchestrator", "has a control character at place 4"),
            ("\u{1b}[31mann", "has a control character at place 1"),
            (" ann", "has blanks around it"),
            (&"x".repeat(NAME_BYTES + 1), "has 201 bytes"),
        ] {
            let error = Principal::stated(bad).unwrap_err().to_string();

            assert!(error.contains(said), "{error}");
            assert!(!error.chars().any(char::is_control) && error.len() < 250, "{error:?}");
        }
        assert!(Principal::stated(&"x".repeat(NAME_BYTES)).is_ok());
        assert!(Principal::stated("ann\n").unwrap_err().to_string().starts_with("\"ann\\n\" is not a name"));
    }

    #[test]
    fn whoever_signs_goes_by_the_name_that_somebody_only_says() {
        let by = |text: &str| text.parse::<Principal>().unwrap();

        for (one, other, same) in [
            ("signer:ann", "unauthenticated:ann", true),
            ("signer:ann", "event-source:ann", true),
            ("signer:ann", "publisher:ann", true),
            ("signer:ann", "signer:bob", false),
            ("unauthenticated:Ann", "signer:ann", false),
        ] {
            assert_eq!(by(one).goes_by_the_name_of(&by(other)), same, "{one} and {other}");
        }
        assert!(by("signer:ann").is_signed() && !by("publisher:ann").is_signed());
        assert!(by("signer:ann").to_string() == "ann (by signature)");
    }

    #[test]
    fn what_does_not_print_is_escaped_where_a_name_is_shown() {
        let turned = Principal::stated("ann\u{202e}gnirts").unwrap();

        assert_eq!(turned.to_string(), "\"ann\\u{202e}gnirts\" (unauthenticated)");
        assert_eq!(Principal::stated("Änne").unwrap().to_string(), "Änne (unauthenticated)");
        assert_eq!(Principal::stated("ann lee").unwrap().to_string(), "\"ann lee\" (unauthenticated)");
    }

    #[test]
    fn a_list_of_people_means_a_bare_name_or_the_whole_text() {
        let ann = Principal::stated("ann").unwrap();
        let source = Principal::EventSource { source: "ann".parse().unwrap() };

        assert!(ann.is_meant_by("ann") && ann.is_meant_by("unauthenticated:ann"));
        assert!(!ann.is_meant_by("Ann") && !ann.is_meant_by("event-source:ann"));
        assert!(!source.is_meant_by("ann") && source.is_meant_by("event-source:ann"));
        assert_eq!(everyone().iter().filter(|one| one.is_person()).count(), 4);
    }
}
