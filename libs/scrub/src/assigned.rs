//! Values behind telling names: `DB_PASS=…`, `"api_key": "…"`, `--password …`, `<secret>…</secret>`.

use std::sync::LazyLock;

use regex::Regex;

use crate::{
    blocks::floor,
    name::{Telling, telling},
    shapes::ascii,
    value::{self, MASK_BEGINS},
};

type Found = (usize, usize, &'static str);

const WHAT: &str = "value of a telling name";
const BEARER: &str = "bearer token";
/// Longest value that is looked at, in bytes.
const LONGEST: usize = 4096;

/// A pattern; a test sees that each is one.
fn pattern(pattern: &str) -> Option<Regex> {
    Regex::new(&ascii(pattern)).ok()
}

/// A name, perhaps with the quote that closes it, and what assigns.
static ASSIGNED: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r#"([A-Za-z_][A-Za-z0-9_.-]*)(\\*["'`]?)(\]?[ \t]*(?:=>|:=|==|=|:)[ \t]*)"#));
/// An option of a command; its value is the next word, or the next one of a list.
static OPTION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(r#"(?:^|[\s"'\[(])--?([A-Za-z][A-Za-z0-9_-]*)(?:\\*["']?[ \t]*,[ \t]*|[ \t]+)"#)
});
/// `name: DB_PASSWORD` and `value: …` beside each other, as containers get their environment.
static PAIRED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r#"(?i)\b(?:name|key)\\*["']?[ \t]*[:=][ \t]*\\*["']?([A-Za-z_][A-Za-z0-9_.-]*)\\*["']?[\s,]+\\*["']?value\\*["']?[ \t]*[:=][ \t]*"#,
    )
});
static ELEMENT: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"<([A-Za-z_][A-Za-z0-9_.:-]*)(?: [^<>]{0,200})?>([^<>]{4,4096})</"));
/// Words before a value whose place alone tells what it is.
static SAID: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r#"(?i)(?:\bidentified[ \t]+by|\bwith[ \t]+(?:encrypted[ \t]+)?password|\blogin[ \t]+\S+[ \t]+password|\bsshpass[ \t]+-p|\bredis-cli(?:[ \t]+-[hpn][ \t]+\S+)*[ \t]+-a|[ \t]-pass(?:in|out)?[ \t]+pass:|\bencrypted[ \t]+password)[ \t]*"#,
    )
});
/// `curl -u user:password`.
static USER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(r#"(?:^|\s)(?:-u|--user|--proxy-user)(?:[ \t]+|=)["']?([A-Za-z0-9_.@$%+-]+):([^\s"'\\:]{3,})"#)
});
static SCHEME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(r"(?i)(authorization\W{1,8})?\b(?:bearer|basic|token|apikey)[ \t]+([A-Za-z0-9._~+/=-]{8,})")
});
/// Signatures that open what a store keeps, in the query of an address.
static SIGNED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(r"(?i)[?&;](?:sig|x-(?:amz|goog)-signature|signature)=([A-Za-z0-9%+/=_-]{20,})")
});

/// Every value that stands where a secret does.
pub(crate) fn find(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    for (name, start, style) in places(text) {
        let Some(told) = telling(name) else { continue };
        let value = Value::read(text, start, style);
        if value.is_secret(told, style, name) {
            found.push((value.start, value.end, WHAT));
        }
    }
    for element in ELEMENT.iter().flat_map(|pattern| pattern.captures_iter(text)) {
        let (Some(name), Some(content)) = (element.get(1), element.get(2)) else { continue };
        let value = Value {
            text: content.as_str(),
            start: content.start(),
            end: content.end(),
            quoted: true,
            rest: "",
        };
        if telling(name.as_str()).is_some_and(|told| value.is_secret(told, Style::Field, name.as_str())) {
            found.push((value.start, value.end, WHAT));
        }
    }
    for said in SAID.iter().flat_map(|pattern| pattern.find_iter(text)) {
        let value = Value::read(text, said.end(), Style::Option);
        if value.text.len() >= 3 && !value.is_elsewhere() {
            found.push((value.start, value.end, "password"));
        }
    }
    for user in USER.iter().flat_map(|pattern| pattern.captures_iter(text)) {
        if let Some(password) =
            user.get(2).filter(|it| !value::is_reference(it.as_str()) && !is_port(it.as_str()))
        {
            found.push((password.start(), password.end(), "password"));
        }
    }
    found.extend(schemes(text));
    for signed in SIGNED.iter().flat_map(|pattern| pattern.captures_iter(text)).filter_map(|it| it.get(1)) {
        found.push((signed.start(), signed.end(), "signature of an address"));
    }
    found
}

/// `-u 1000:1000` names a user and a group.
fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn schemes(text: &str) -> impl Iterator<Item = Found> {
    SCHEME.iter().flat_map(|pattern| pattern.captures_iter(text)).filter_map(|scheme| {
        let value = scheme.get(2)?;
        let word = value.as_str().trim_end_matches('.');
        let told = scheme.get(1).is_some();
        let secret = if told {
            !value::is_wordy(word) || (word.len() >= 16 && !word.contains('-'))
        } else {
            word.len() >= 16 && value::is_random(word)
        };
        (secret && !value::is_placeholder(word)).then_some((
            value.start(),
            value.start() + word.len(),
            BEARER,
        ))
    })
}

/// How a name and its value are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// `NAME=value`: up to the next space.
    Variable,
    /// `name=value`, `name := value`.
    Equals,
    /// `"name": "value"`, or `name: value` at the beginning of a line.
    Field,
    /// `name: value` after other words.
    Prose,
    /// `--name value`.
    Option,
}

/// Names, where their values begin, and how they are joined.
fn places(text: &str) -> impl Iterator<Item = (&str, usize, Style)> {
    let assigned =
        ASSIGNED.iter().flat_map(move |pattern| pattern.captures_iter(text)).filter_map(move |it| {
            let (whole, name, quote, mark) =
                (it.get(0)?, it.get(1)?.as_str(), it.get(2)?, it.get(3)?.as_str());
            let quoted = !quote.is_empty();
            let option = text[..whole.start()].ends_with('-');
            let capitals = !name.bytes().any(|byte| byte.is_ascii_lowercase());
            let style = match mark.trim_start_matches(']').trim() {
                "=" if capitals && !quoted && !mark.contains(' ') => Style::Variable,
                "=" if option => Style::Option,
                "=" | ":=" | "=>" | "==" => Style::Equals,
                _ if quoted || begins_line(&text[..whole.start()]) => Style::Field,
                _ => Style::Prose,
            };
            Some((name, whole.end(), style))
        });
    let option = OPTION.iter().flat_map(move |pattern| pattern.captures_iter(text));
    let option = option.filter_map(|it| Some((it.get(1)?.as_str(), it.get(0)?.end(), Style::Option)));
    let paired = PAIRED.iter().flat_map(move |pattern| pattern.captures_iter(text));
    let paired = paired.filter_map(|it| Some((it.get(1)?.as_str(), it.get(0)?.end(), Style::Field)));
    assigned.chain(option).chain(paired)
}

/// Whether nothing but spaces and marks of a list or a document stands before it in its line.
fn begins_line(before: &str) -> bool {
    let marks = before.trim_end_matches([' ', '\t', '-', '"', '\'', '+', '>', '*', '#', '/', '\r']);
    marks.is_empty()
        || marks.ends_with(['\n', '{', ',', ';', '['])
        || (marks.len() < before.len() && marks.ends_with("\\n"))
}

/// A value where it stands.
struct Value<'a> {
    text: &'a str,
    start: usize,
    end: usize,
    quoted: bool,
    /// What follows it in its line.
    rest: &'a str,
}

impl<'a> Value<'a> {
    fn read(text: &'a str, start: usize, style: Style) -> Value<'a> {
        let window = &text[start..floor(text, start + LONGEST)];
        let line = window.split(['\n', '\r']).next().unwrap_or_default();
        let slashes = line.bytes().take_while(|byte| *byte == b'\\').count();
        let quote = line[slashes..].chars().next().filter(|letter| matches!(letter, '"' | '\'' | '`'));
        let (from, to, quoted) = match quote {
            Some(quote) => {
                let from = slashes + 1;
                (from, from + closing(&line[from..], quote, slashes), true)
            }
            None => (0, line.find(|letter| ends(letter, style)).unwrap_or(line.len()), false),
        };
        let (start, end) = (start + from, start + to);
        Value { text: &text[start..end], start, end, quoted, rest: &line[to..] }
    }

    /// The value is taken from elsewhere, or stands for one.
    fn is_elsewhere(&self) -> bool {
        let value = self.text.trim();
        value::is_reference(value) || value::is_placeholder(value)
    }

    /// A call, a field or an index of a program.
    fn is_code(&self) -> bool {
        let chain = self.text.contains("::") || self.text.contains("->") || self.text.contains('.');
        let call = self.rest.starts_with(['(', '[']) || self.text.contains('(');
        !self.quoted && (call || (chain && value::is_wordy(self.text)) || self.text.starts_with('&'))
    }

    fn is_secret(&self, told: Telling, style: Style, name: &str) -> bool {
        let value = self.text.trim();
        let words = value.split_whitespace().count();
        if value.len() < 4 || self.is_elsewhere() {
            return false;
        }
        if value::is_number(value) {
            // Dates and versions have marks in them, codes have not.
            return told == Telling::Password
                && style != Style::Prose
                && value.bytes().all(|byte| byte.is_ascii_digit());
        }
        let wordy = value::is_wordy(value);
        match told {
            _ if self.is_code() && style != Style::Variable => false,
            Telling::Password => match style {
                Style::Variable | Style::Option => true,
                Style::Prose => !wordy && words == 1,
                Style::Equals => self.quoted || !wordy || !follows(self.rest),
                Style::Field => self.quoted || !wordy || !follows(self.rest),
            },
            // A sentence in quotes is a text about a token; a phrase may well be a secret.
            Telling::Key if words > 1 => {
                self.quoted
                    && words >= 3
                    && name.to_ascii_lowercase().contains("secret")
                    && !value.ends_with(['.', '!', '?', ':'])
            }
            Telling::Key if style == Style::Variable => {
                value.len() >= 6 && !(wordy && value.contains(['-', '.', '/']))
            }
            Telling::Key => value.len() >= 6 && !wordy,
            Telling::Perhaps if name.eq_ignore_ascii_case("pass") => {
                !wordy && matches!(style, Style::Equals | Style::Variable | Style::Option)
            }
            Telling::Perhaps if matches!(name, "auth" | "_auth" | "Auth" | "authorization") => {
                words == 1 && value.len() >= 8 && !wordy && self.quoted | name.starts_with('_')
            }
            Telling::Perhaps => words == 1 && value.len() >= 16 && value::is_random(value),
        }
    }
}

/// Whether a sentence goes on after the value. A mask stands for the word that it replaced.
fn follows(rest: &str) -> bool {
    let next = rest.trim_start_matches([' ', '\t']);
    next.starts_with(|letter: char| letter.is_alphanumeric()) || next.starts_with(MASK_BEGINS)
}

/// Where a quoted text ends: at the same quote behind as many backslashes, or with the line.
fn closing(line: &str, quote: char, slashes: usize) -> usize {
    let mut before = 0;
    for (at, letter) in line.char_indices() {
        match letter {
            '\\' => before += 1,
            _ if letter == quote && before <= slashes => return at - before,
            _ => before = 0,
        }
    }
    line.len()
}

fn ends(letter: char, style: Style) -> bool {
    let always = letter.is_whitespace() || matches!(letter, '"' | '\'' | '`' | '\\');
    always
        || (!matches!(style, Style::Variable)
            && matches!(letter, ',' | ';' | '&' | '<' | '>' | '(' | ')' | '[' | ']' | '{' | '}' | '|'))
}

#[cfg(test)]
pub(crate) fn patterns() -> bool {
    [&ASSIGNED, &OPTION, &PAIRED, &ELEMENT, &SAID, &USER, &SCHEME, &SIGNED]
        .iter()
        .all(|pattern| pattern.is_some())
}
