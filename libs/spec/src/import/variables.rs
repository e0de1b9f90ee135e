//! Fills in `${VARIABLE}` as Compose does: a value, else its default, else nothing.

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
            Err(message) => {
                import.object_to::<()>(path, message);
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

fn filled(
    text: &str,
    values: &BTreeMap<String, String>,
    import: &mut Import,
    nested: usize,
) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out += before;
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let end =
                closing(after).ok_or_else(|| format!("`${{` is not closed in \"{}\"", shown_word(text)))?;
            out += &braced(&after[..end], values, import, nested)?;
            rest = &after[end + 1..];
        } else {
            let length = after.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
            if length == 0 {
                out.push('$');
            } else {
                out += &value(&after[..length], values, import);
            }
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
) -> Result<String, String> {
    if nested == 0 {
        return Err("variables are nested too deep".to_owned());
    }
    let length = inner.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    let (name, rule) = inner.split_at(length);
    if name.is_empty() {
        return Err(format!("\"{}\" is not a variable", shown_word(inner)));
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
        "?" => given.cloned().ok_or_else(|| format!("variable {name} needs a value: {}", shown_word(other))),
        _ => Err(format!("\"{}\" is not a variable", shown_word(inner))),
    }
}

fn value(name: &str, values: &BTreeMap<String, String>, import: &mut Import) -> String {
    values.get(name).cloned().unwrap_or_else(|| {
        import.note(format!("variable {name} has no value and became empty"));
        String::new()
    })
}
