//! Writes the spec as a person would: short lists of texts on one line, long texts as blocks, quotes only where needed.

use crate::document::is_ambiguous;

/// Longest list that stands on one line, in characters.
const LINE: usize = 100;

pub(super) enum Out {
    Text(String),
    /// A number or a truth value.
    Word(String),
    List(Vec<Out>),
    Map(Vec<(String, Out)>),
}

pub(super) fn text(text: &str) -> Out {
    Out::Text(text.to_owned())
}

pub(super) fn word(word: impl ToString) -> Out {
    Out::Word(word.to_string())
}

pub(super) fn texts(texts: impl IntoIterator<Item = String>) -> Out {
    Out::List(texts.into_iter().map(Out::Text).collect())
}

pub(super) fn map<const N: usize>(fields: [(&str, Out); N]) -> Out {
    Out::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

pub(super) fn write(out: &Out) -> String {
    let mut written = String::new();
    block(out, 0, &mut written);
    written
}

/// Writes lists and maps as lines of their own, beginning at `indent`.
fn block(out: &Out, indent: usize, written: &mut String) {
    let space = "  ".repeat(indent);
    match out {
        Out::Map(fields) => {
            for (name, value) in fields {
                *written += &format!("{space}{}:", scalar(name, false));
                match inline(value) {
                    Some(text) => *written += &format!(" {text}\n"),
                    None => after(value, indent, written),
                }
            }
        }
        Out::List(items) => {
            for item in items {
                match (inline(item), item) {
                    (Some(text), _) => *written += &format!("{space}- {text}\n"),
                    (None, _) => {
                        let mut inner = String::new();
                        block(item, indent + 1, &mut inner);
                        *written += &format!("{space}- {}", inner.trim_start());
                    }
                }
            }
        }
        Out::Text(text) => literal(text, indent, written),
        Out::Word(word) => *written += &format!("{space}{word}\n"),
    }
}

/// Writes what does not fit behind its key.
fn after(value: &Out, indent: usize, written: &mut String) {
    match value {
        Out::Text(text) => literal(text, indent + 1, written),
        value => {
            *written += "\n";
            block(value, indent + 1, written);
        }
    }
}

fn literal(text: &str, indent: usize, written: &mut String) {
    let space = "  ".repeat(indent);
    *written += if text.ends_with('\n') { " |\n" } else { " |-\n" };
    for line in text.lines() {
        *written += &if line.is_empty() { "\n".to_owned() } else { format!("{space}{line}\n") };
    }
}

/// On one line, when it is short and plain enough.
fn inline(out: &Out) -> Option<String> {
    match out {
        Out::Word(word) => Some(word.clone()),
        Out::Text(text) if is_literal(text) => None,
        Out::Text(text) => Some(scalar(text, false)),
        Out::Map(fields) => fields.is_empty().then(|| "{}".to_owned()),
        Out::List(items) => {
            let words: Option<Vec<String>> = items
                .iter()
                .map(|item| match item {
                    Out::Text(text) => Some(scalar(text, true)),
                    _ => None,
                })
                .collect();
            let line = format!("[{}]", words?.join(", "));
            (line.len() <= LINE).then_some(line)
        }
    }
}

/// Whether a text reads well, and reads back the same, as a block of lines.
fn is_literal(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\n'])
        && body.chars().all(|c| c == '\n' || c == '\t' || !needs_escape(c))
        && body.lines().all(|line| line.trim_end() == line && !line.starts_with('\t'))
        && !body.contains("\n---")
        && !body.contains("\n...")
}

fn scalar(text: &str, in_list: bool) -> String {
    if is_plain(text, in_list) { text.to_owned() } else { quoted(text) }
}

fn is_plain(text: &str, in_list: bool) -> bool {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || "/_.".contains(c));
    let inner = |c: char| c.is_ascii_alphanumeric() || " /_.-:@+=<>;%$&*!?()|^~'".contains(c);
    let flow = |c: char| !in_list || c != ' ' && c != ':';
    first
        && text.chars().all(|c| inner(c) && flow(c))
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !text.starts_with("...")
        && !is_ambiguous(text)
}

fn needs_escape(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// In double quotes, with the escapes of YAML.
fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '\n' => quoted += "\\n",
            '\t' => quoted += "\\t",
            c if needs_escape(c) => quoted += &format!("\\u{:04x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
