//! API keys: `code_<kind>_<8 that name it>_<30 by chance><6 that check the rest>`.

use std::{collections::BTreeSet, fmt, time::Duration};

use ground::Secret;
use model::Digest;
use serde::{Deserialize, Serialize};

use crate::{base62, random::NoChance};

/// Longest that a key is good for.
pub const KEY_AT_MOST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const ID: usize = 8;
const CHANCE: usize = 30;
const CHECK: usize = 6;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// Of a person: `pat`.
    Personal,
    /// Of a program: `svc`.
    Service,
    /// Of somebody who publishes events: `pub`.
    Publisher,
    /// Good for another token: `ref`.
    Refresh,
}

impl KeyKind {
    /// All of them.
    pub const ALL: [KeyKind; 4] = [KeyKind::Personal, KeyKind::Service, KeyKind::Publisher, KeyKind::Refresh];

    fn word(self) -> &'static str {
        match self {
            KeyKind::Personal => "pat",
            KeyKind::Service => "svc",
            KeyKind::Publisher => "pub",
            KeyKind::Refresh => "ref",
        }
    }
}

/// A whole key, which is shown to its owner once.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    kind: KeyKind,
    id: String,
    text: Secret,
}

/// The text is no key. It is not part of the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// It is not of the form.
    #[error("this is not a key of the engine: one begins with code_pat_, code_svc_, code_pub_ or code_ref_")]
    Form,
    /// The end does not fit the rest.
    #[error("the key is mistyped or cut off: its last six characters do not fit the rest")]
    Check,
}

impl ApiKey {
    /// A new one.
    pub fn new(kind: KeyKind) -> Result<ApiKey, NoChance> {
        Ok(ApiKey::of(kind, &base62::random(ID)?, &base62::random(CHANCE)?))
    }

    pub(crate) fn of(kind: KeyKind, id: &str, chance: &str) -> ApiKey {
        let body = format!("code_{}_{id}_{chance}", kind.word());
        let check = base62::six(crc32fast::hash(body.as_bytes()));
        ApiKey { kind, id: id.to_owned(), text: Secret::new(body + &check) }
    }

    /// Reads a key. What is mistyped is told from what is unknown without asking anybody.
    pub fn parse(text: &str) -> Result<ApiKey, BadKey> {
        let mut parts = text.split('_');
        let (code, kind, id, rest) = (parts.next(), parts.next(), parts.next(), parts.next());
        let kind = KeyKind::ALL.into_iter().find(|known| Some(known.word()) == kind).ok_or(BadKey::Form)?;
        let (Some("code"), Some(id), Some(rest), None) = (code, id, rest, parts.next()) else {
            return Err(BadKey::Form);
        };
        if id.len() != ID
            || rest.len() != CHANCE + CHECK
            || !base62::is_digits(id)
            || !base62::is_digits(rest)
        {
            return Err(BadKey::Form);
        }
        let key = ApiKey::of(kind, id, &rest[..CHANCE]);
        if key.text.reveal() == text { Ok(key) } else { Err(BadKey::Check) }
    }

    /// What it is for.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// What names it, which is no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole text.
    pub fn text(&self) -> &Secret {
        &self.text
    }

    /// What is kept of it. It has 178 bits of chance, so a plain digest gives nothing away.
    pub fn digest(&self) -> Digest {
        Digest::of_bytes(self.text.reveal().as_bytes())
    }

    /// What finds a key in a text, for those who look for secrets that were let out.
    pub fn pattern() -> &'static str {
        "code_(pat|svc|pub|ref)_[0-9A-Za-z]{8}_[0-9A-Za-z]{36}"
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code_{}_{}_***", self.kind.word(), self.id)
    }
}

/// What a key may be used for, at most: never more than its owner may at that moment. Actions by name, or all of a noun:
/// `deployment.view`, `target.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<String>);

impl Scopes {
    /// These; none of them: nothing.
    pub fn new<S: Into<String>>(scopes: impl IntoIterator<Item = S>) -> Scopes {
        Scopes(scopes.into_iter().map(Into::into).collect())
    }

    /// An action is within them. Whether the owner may do it is asked besides.
    pub fn cover(&self, action: &str) -> bool {
        let all_of = action.split_once('.').map(|(noun, _)| format!("{noun}.*"));
        self.0.contains(action) || all_of.is_some_and(|all_of| self.0.contains(&all_of))
    }

    /// Each of them is the name of an action, or of all of a noun, as far as its form goes.
    pub(crate) fn are_formed(&self) -> bool {
        let word = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        };
        let formed = |scope: &String| {
            scope.split_once('.').is_some_and(|(noun, verb)| word(noun) && (verb == "*" || word(verb)))
        };
        (1..=64).contains(&self.0.len()) && self.0.iter().all(formed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_written_and_shows_nothing_of_itself() {
        for kind in KeyKind::ALL {
            let key = ApiKey::new(kind).unwrap();
            let text = key.text().reveal().to_owned();

            assert_eq!(ApiKey::parse(&text).unwrap(), key);
            assert_eq!(text.len(), 4 + 1 + 3 + 1 + 8 + 1 + 36);
            assert!(!format!("{key:?}").contains(&text[18..]), "{key:?}");
            assert_ne!(ApiKey::new(kind).unwrap().digest(), key.digest());
        }
    }

    #[test]
    fn one_changed_letter_is_found_before_anybody_is_asked() {
        let text = ApiKey::new(KeyKind::Personal).unwrap().text().reveal().to_owned();
        for place in 9..text.len() {
            let mut bytes = text.clone().into_bytes();
            if bytes[place] == b'_' {
                continue;
            }
            bytes[place] = if bytes[place] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(bytes).unwrap();

            assert_eq!(ApiKey::parse(&changed), Err(BadKey::Check), "{place}");
        }
    }

    #[test]
    fn what_is_no_key_is_told_as_such() {
        let good = ApiKey::new(KeyKind::Service).unwrap().text().reveal().to_owned();
        for bad in [
            "",
            "null",
            "code",
            "code_svc",
            "code_svc__",
            "ghp_abc",
            "code_xyz_12345678_",
            &good[1..],
            &good[..40],
            &format!("{good}_"),
            &format!("{good} "),
            &format!(" {good}"),
            &good.replace('_', "-"),
            &good.replacen("svc", "SVC", 1),
            &format!("{good}é"),
            &"code_svc_".repeat(10_000),
        ] {
            assert!(ApiKey::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn scopes_cover_what_they_name_and_nothing_that_sounds_like_it() {
        let scopes = Scopes::new(["deployment.view", "target.*"]);

        assert!(scopes.cover("deployment.view") && scopes.cover("target.hold"));
        for not in ["deployment.submit", "deployment", "deployment.viewer", "targets.hold", "target", "", "*"]
        {
            assert!(!scopes.cover(not), "{not}");
        }
        assert!(!Scopes::default().cover("deployment.view"));
        for bad in ["*", "deployment", "*.view", "deployment.", "Deployment.view", "a.b.c"] {
            assert!(!Scopes::new([bad]).are_formed(), "{bad}");
        }
        assert!(scopes.are_formed() && !Scopes::default().are_formed());
    }
}
