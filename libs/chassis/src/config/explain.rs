//! Says what is wrong with a setting, where it stands and how to cure it.

use std::{fmt, io, path::PathBuf};

use figment::error::Kind;

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file named by `--config` or `CODE_CONFIG` cannot be read.
    #[error("cannot read the configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Everything that is wrong, one problem per line with its cure below it.
    #[error("{}", Lines(.0))]
    Unusable(Vec<Problem>),
}

/// One setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `code.toml:3:1`, or the name of the environment variable, or `default`.
    pub place: String,
    /// The path of the field, such as `agents.retry.most`; empty for the file as a whole.
    pub field: String,
    /// What is wrong, with the value.
    pub message: String,
    /// How to cure it; may be empty.
    pub cure: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        if !self.cure.is_empty() {
            write!(f, "\n  {}", self.cure)?;
        }
        Ok(())
    }
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

/// What is wrong, and the cure.
pub(super) fn explain(error: &figment::Error) -> (String, String) {
    match &error.kind {
        Kind::UnknownField(field, known) => {
            ("unknown field".to_owned(), suggest(field, known.iter().copied()))
        }
        Kind::UnknownVariant(found, known) => {
            (format!("{found:?} is not known here"), suggest(found, known.iter().copied()))
        }
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            (format!("found {found}, expected {expected}"), String::new())
        }
        other => {
            let text = other.to_string();
            let (message, cure) = text.split_once(": write ").unwrap_or((&text, ""));
            let cure = if cure.is_empty() { String::new() } else { format!("write {cure}") };
            (message.to_owned(), cure)
        }
    }
}

/// The path of the field in `section` that an error is about.
pub(super) fn path(section: &str, error: &figment::Error) -> Vec<String> {
    let mut path = vec![section.to_owned()];
    path.extend(error.path.iter().cloned());
    if let Kind::UnknownField(field, _) = &error.kind
        && path.last() != Some(field)
    {
        path.push(field.clone());
    }
    path
}

/// The nearest of the known names, else all of them.
pub(super) fn suggest<'a>(found: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(found, known.clone()) {
        Some(name) => format!("did you mean {name}?"),
        None => {
            let mut known: Vec<&str> = known.collect();
            known.sort_unstable();
            format!("known here: {}", known.join(", "))
        }
    }
}

/// A known name within two slips of the pen (one for names under five letters).
pub(super) fn nearest<'a>(found: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let reach = if found.len() < 5 { 1 } else { 2 };
    known
        .map(|name| (distance(found, name), name))
        .filter(|(slips, _)| *slips <= reach)
        .min()
        .map(|(_, name)| name)
}

/// How many slips of the pen lie between two names: a letter too many, too few, another one, or two swapped
/// (optimal string alignment, in bytes).
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let substituted = rows[i][j] + usize::from(a != b);
            let mut least = substituted.min(row[j] + 1).min(rows[i][j + 1] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}
