//! Fills in `${VARIABLE}` as Compose does: a value, else its default, else nothing. A `$` that begins no variable is
//! refused: some versions of Compose refuse it too, others let it stand.

use std::collections::BTreeMap;

use super::Import;
use crate::document::{Kind, Node, Path, shown_word};

/// Deepest nesting of a default within a default.
const NESTED: usize = 8;

/// Fills in all values; keys stay as they are. Notes name every variable that got no value from outside.
pub(super) fn fill(root: &mut Node, values: &BTreeMap<String, String>, import: &mut Import) {
    fill_node(root, values, &Path::default(), import);
}

fn fill_node(node: &mut Node, values: &BTreeMap<String, String>, path: &Path, import: &mut Import) {
    match &mut node.kind {
        Kind::Text(text) if text.contains('$') => match filled(text, values, import, NESTED) {
            Ok(value) => *text = value,
            Err(Wrong { message, cure }) => {
                import.object_with::<()>(path, message, cure);
            }
        },
        Kind::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                fill_node(item, values, &path.index(index), import);
            }
        }
        Kind::Map(entries) => {
            for entry in entries {
                fill_node(&mut entry.value, values, &path.field(&entry.key), import);
            }
        }
        _ => {}
    }
}

/// Why a text cannot be filled in.
struct Wrong {
    message: String,
    cure: &'static str,
}

fn no_variable(message: String) -> Wrong {
    Wrong { message, cure: "write `$$` for a dollar sign that stands for itself" }
}

fn filled(
    text: &str,
    values: &BTreeMap<String, String>,
    import: &mut Import,
    nested: usize,
) -> Result<String, Wrong> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out += before;
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let end = closing(after)
                .ok_or_else(|| no_variable(format!("`${{` is not closed in \"{}\"", shown_word(text))))?;
            out += &braced(&after[..end], values, import, nested)?;
            rest = &after[end + 1..];
        } else {
            let length = name_length(after);
            if length == 0 {
                let begun: String = after.chars().take(1).collect();
                let (begun, text) = (shown_word(&begun), shown_word(text));
                return Err(no_variable(format!("`${begun}` begins no variable in \"{text}\"")));
            }
            out += &value(&after[..length], values, import);
            rest = &after[length..];
        }
    }
    Ok(out + rest)
}

/// Where the brace closes, counting those within.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' if open == 0 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// `NAME`, `NAME:-default`, `NAME-default`, `NAME:+other`, `NAME+other`, `NAME:?message` or `NAME?message`.
fn braced(
    inner: &str,
    values: &BTreeMap<String, String>,
    import: &mut Import,
    nested: usize,
) -> Result<String, Wrong> {
    if nested == 0 {
        return Err(no_variable("variables are nested too deep".to_owned()));
    }
    let (name, rule) = inner.split_at(name_length(inner));
    if name.is_empty() {
        return Err(no_variable(format!("\"{}\" is not a variable", shown_word(inner))));
    }
    let (unless_empty, rule) = match rule.strip_prefix(':') {
        Some(rule) => (true, rule),
        None => (false, rule),
    };
    let given = values.get(name).filter(|value| !(unless_empty && value.is_empty()));
    let (sign, other) = rule.split_at(rule.chars().next().map_or(0, char::len_utf8));
    match sign {
        "" if !unless_empty => Ok(value(name, values, import)),
        "-" => match given {
            Some(value) => Ok(value.clone()),
            None => {
                import.note(format!("variable {name} has its default"));
                filled(other, values, import, nested - 1)
            }
        },
        "+" => given.map_or(Ok(String::new()), |_| filled(other, values, import, nested - 1)),
        "?" => given.cloned().ok_or_else(|| Wrong {
            message: format!("variable {name} needs a value: {}", shown_word(other)),
            cure: "set it in the environment or in `.env` beside the file",
        }),
        _ => Err(no_variable(format!("\"{}\" is not a variable", shown_word(inner)))),
    }
}

/// How long the variable's name is that the text begins with; 0 for none.
fn name_length(text: &str) -> usize {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if first { text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count() } else { 0 }
}

fn value(name: &str, values: &BTreeMap<String, String>, import: &mut Import) -> String {
    values.get(name).cloned().unwrap_or_else(|| {
        import.note(format!("variable {name} has no value and became empty"));
        String::new()
    })
}
