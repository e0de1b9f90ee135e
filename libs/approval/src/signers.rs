//! The file of signers: `allowed_signers` of OpenSSH (ssh-keygen(1), ALLOWED SIGNERS), which says who signs with which key.
//!
//! `ssh-keygen -Y verify` reads the same file. Of its format is refused, each by name, what would make one person two or two
//! people one: patterns and lists of principals, authorities, and a key that stands on two lines.

use std::collections::BTreeMap;

use model::{Principal, Timestamp, principal::Name};

use crate::{key::Key, names::NAMESPACE, refusal::Refusal};

/// Longest file in bytes: what is in force goes into the journal.
pub const MOST: usize = 256 * 1024;

/// A line of the file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {value}: {why}")]
pub struct BadLine {
    /// Which, from 1.
    pub line: usize,
    /// What stands there.
    pub value: String,
    /// What is wrong with it, and the cure.
    pub why: String,
}

/// One key and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Who.
    pub name: Name,
    /// The key.
    pub key: Key,
    namespaces: Option<Vec<String>>,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
    line: String,
}

/// Who signs with which keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signers(Vec<Signer>);

impl Signers {
    /// Reads the file. Every line that cannot be used is named.
    ///
    /// # Errors
    /// All bad lines; a file that is too long is one of them.
    pub fn read(text: &str) -> Result<Signers, Vec<BadLine>> {
        if text.len() > MOST {
            let why = format!("at most {MOST} are read: keep only those who may approve");
            return Err(vec![BadLine { line: 1, value: format!("{} bytes", text.len()), why }]);
        }
        let (mut signers, mut bad) = (Vec::<Signer>::new(), Vec::new());
        let mut seen = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match read_line(line) {
                Ok(signer) => match seen.insert(signer.key.blob().to_vec(), at + 1) {
                    None => signers.push(signer),
                    Some(before) => bad.push(BadLine {
                        line: at + 1,
                        value: signer.key.fingerprint(),
                        why: format!("stands on line {before} already: a key belongs to one person, once"),
                    }),
                },
                Err((value, why)) => bad.push(BadLine { line: at + 1, value: brief(&value), why }),
            }
        }
        if bad.is_empty() { Ok(Signers(signers)) } else { Err(bad) }
    }

    /// Everybody who has a key, each once, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.iter().map(|signer| signer.name.as_str().to_owned()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The lines of those whom `may` takes, as one text that reads the same.
    pub(crate) fn lines_of(&self, may: impl Fn(&str) -> bool) -> String {
        let lines = self.0.iter().filter(|signer| may(signer.name.as_str()));
        lines.map(|signer| format!("{}\n", signer.line)).collect()
    }

    /// What each key is good for, in words.
    pub fn in_words(&self) -> Vec<String> {
        let words = |signer: &Signer| {
            let mut text = format!("{} {} {}", signer.name, signer.key.kind(), signer.key.fingerprint());
            if let Some(after) = signer.after {
                text += &format!(", from {after}");
            }
            if let Some(before) = signer.before {
                text += &format!(", until {before}");
            }
            text
        };
        self.0.iter().map(words).collect()
    }

    /// The keys of this person.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Signer> {
        self.0.iter().filter(move |signer| signer.name.as_str() == name)
    }

    /// The key is this person's, for approvals, at this time.
    pub(crate) fn allow(&self, who: &str, key: &Key, at: Timestamp) -> Result<(), Refusal> {
        let (who, fingerprint) = (who.to_owned(), key.fingerprint());
        let Some(signer) = self.of(&who).find(|signer| signer.key == *key) else {
            let theirs: Vec<String> = self.of(&who).map(|signer| signer.key.fingerprint()).collect();
            let theirs = if theirs.is_empty() { "none".to_owned() } else { theirs.join(", ") };
            return Err(Refusal::Key { who: who.clone(), key: fingerprint, theirs });
        };
        let why = if let Some(after) = signer.after.filter(|after| at < *after) {
            format!("counts from {after}, and it is {at}")
        } else if let Some(before) = signer.before.filter(|before| at > *before) {
            format!("counted until {before}, and it is {at}: use a newer key")
        } else if let Some(namespaces) =
            signer.namespaces.as_ref().filter(|all| !all.iter().any(|one| one == NAMESPACE))
        {
            format!(
                "is for {} and not for {NAMESPACE}: the operator adds it to the key's namespaces",
                namespaces.join(", ")
            )
        } else {
            return Ok(());
        };
        Err(Refusal::KeyOver { who: who.clone(), key: fingerprint, why })
    }
}

impl Signer {
    /// As a principal.
    pub fn principal(&self) -> Principal {
        Principal::Signer { name: self.name.clone() }
    }
}

fn brief(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

/// What is wrong: the value, and why with the cure.
type Wrong = (String, String);

fn read_line(line: &str) -> Result<Signer, Wrong> {
    let wrong = |value: &str, why: &str| Err((value.to_owned(), why.to_owned()));
    let (who, rest) = word(line);
    if who.contains([',', '*', '?', '!', '"']) {
        return wrong(who, "a line names one person, without patterns and lists: write a line for each");
    }
    // A kind before the name would read like another principal; `group:` begins the name of a group.
    if who.contains(':') {
        return wrong(who, "the name of a person has no colon: use a plain name or an address");
    }
    let name: Name =
        who.parse().map_err(|error: model::principal::BadName| (who.to_owned(), error.to_string()))?;
    let (first, after_first) = word(rest);
    let (options, kind, rest) = if is_kind(first) {
        ("", first, after_first)
    } else {
        let (options, rest) = options(rest);
        let (kind, rest) = word(rest);
        (options, kind, rest)
    };
    if kind.is_empty() {
        return wrong(
            line,
            "is no line of an allowed_signers file: NAME [OPTIONS] KIND KEY, such as ann ssh-ed25519 AAAA…",
        );
    }
    let (mut namespaces, mut after, mut before) = (None, None, None);
    for option in split(options) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = value.trim_matches('"');
        match name.to_ascii_lowercase().as_str() {
            "namespaces" => namespaces = Some(value.split(',').map(str::to_owned).collect::<Vec<_>>()),
            "valid-after" => after = Some(instant(value)?),
            "valid-before" => before = Some(instant(value)?),
            "cert-authority" => {
                return wrong(
                    "cert-authority",
                    "certificates of SSH are not taken: list the key of the person itself",
                );
            }
            _ => return wrong(option, "is no option that is known: namespaces, valid-after or valid-before"),
        }
    }
    if let Some(pattern) = namespaces.iter().flatten().find(|one| one.contains(['*', '?', '!'])) {
        return wrong(
            pattern,
            "namespaces are named without patterns: write each, such as code-approval@code.example",
        );
    }
    let (base64, _) = word(rest);
    let key = Key::from_base64(base64).map_err(|error| (format!("{kind} {base64}"), error.to_string()))?;
    if key.kind() != kind {
        return wrong(
            kind,
            &format!("the key after it is of kind {}: copy the line of the .pub file whole", key.kind()),
        );
    }
    let mut rules = Vec::new();
    if let Some(all) = &namespaces {
        rules.push(format!("namespaces=\"{}\"", all.join(",")));
    }
    for (name, at) in [("valid-after", after), ("valid-before", before)] {
        rules.extend(at.map(|at| format!("{name}=\"{}\"", written(at))));
    }
    let rules = if rules.is_empty() { String::new() } else { format!("{} ", rules.join(",")) };
    let line = format!("{} {rules}{kind} {}", name.as_str(), key.base64());
    Ok(Signer { name, key, namespaces, after, before, line })
}

fn is_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|begin| word.starts_with(begin))
}

fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once([' ', '\t']).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

/// Up to the first blank outside of quotes.
fn options(text: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, char) in text.char_indices() {
        match char {
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return (&text[..at], text[at..].trim_start()),
            _ => {}
        }
    }
    (text, "")
}

/// At commas outside of quotes.
fn split(text: &str) -> Vec<&str> {
    let (mut found, mut from, mut quoted) = (Vec::new(), 0, false);
    for (at, char) in text.char_indices() {
        match char {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                found.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    if from < text.len() {
        found.push(&text[from..]);
    }
    found
}

/// `YYYYMMDDZ`, `YYYYMMDDHHMMZ` or `YYYYMMDDHHMMSSZ`. OpenSSH takes it without a Z too, and then by the zone of whoever
/// reads it: two verifiers would come to two verdicts.
fn instant(text: &str) -> Result<Timestamp, Wrong> {
    let wrong = || {
        let why = "is no time in UTC: expected YYYYMMDDZ, YYYYMMDDHHMMZ or YYYYMMDDHHMMSSZ, with the Z";
        (text.to_owned(), why.to_owned())
    };
    let digits = text.strip_suffix('Z').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let digits = digits.ok_or_else(wrong)?;
    let padded = match digits.len() {
        8 => format!("{digits}000000"),
        12 => format!("{digits}00"),
        14 => digits.to_owned(),
        _ => return Err(wrong()),
    };
    let at = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", padded).map_err(|_| wrong())?;
    let at = at.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
    Ok(Timestamp(at.timestamp().as_millisecond()))
}

fn written(at: Timestamp) -> String {
    let text = at.to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).take(14).collect();
    format!("{digits}Z")
}
