//! A YAML or JSON document as a tree that knows where everything stands.

mod events;
mod load;
mod path;
mod scalar;
mod surrogates;
mod text;

pub use load::Bounds;
pub(crate) use load::{load, load_compose, load_within};
pub(crate) use path::{Path, Segment};
pub(crate) use scalar::{as_compose, is_ambiguous};
pub(crate) use text::{shown, shown_text, shown_word};

use model::fault::Complaint;
use serde_json::Number;

/// A 1-based position in the source text; columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub line: u32,
    pub column: u32,
}

/// A value and where it stands. A value that came by an alias stands at its anchor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub place: Place,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    /// Without a number when no JSON number can hold it: `.nan`, `.inf`, or too large.
    Number {
        number: Option<Number>,
        written: String,
    },
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key and its value. Keys are unique in a map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub key: String,
    pub place: Place,
    pub value: Node,
}

impl Node {
    /// The entries of a map; empty for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key, when this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The text of a scalar as it was written; none for lists, maps and nothing.
    pub fn scalar(&self) -> Option<String> {
        match &self.kind {
            Kind::Text(text) => Some(text.clone()),
            Kind::Number { written, .. } => Some(written.clone()),
            Kind::Bool(value) => Some(value.to_string()),
            Kind::Null | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    fn is_scalar(&self) -> bool {
        matches!(self.kind, Kind::Bool(_) | Kind::Number { .. } | Kind::Text(_))
    }

    /// Where to point for a complaint about a path: at a scalar itself, at the key of a list or map, and for what
    /// is not there at the nearest thing around it.
    pub fn locate(&self, path: &Path, key: bool) -> Place {
        let mut node = self;
        let mut key_place = None;
        for segment in path.segments() {
            let next = match (segment, &node.kind) {
                (Segment::Field(name), Kind::Map(entries)) => {
                    entries.iter().find(|entry| entry.key == *name).map(|e| (&e.value, Some(e.place)))
                }
                (Segment::Index(index), Kind::List(items)) => items.get(*index).map(|item| (item, None)),
                _ => None,
            };
            match next {
                Some((value, place)) => (node, key_place) = (value, place),
                None if node.is_scalar() => return node.place,
                None => return key_place.unwrap_or(node.place),
            }
        }
        if node.is_scalar() && !key { node.place } else { key_place.unwrap_or(node.place) }
    }
}

/// A complaint that does not yet know where its path stands.
#[derive(Clone, Debug)]
pub(crate) struct Objection {
    pub path: Path,
    /// Whether it is about the key rather than the value.
    pub key: bool,
    pub message: String,
    pub cure: String,
}

impl Objection {
    /// As a complaint without a place.
    pub fn unplaced(self) -> Complaint {
        self.at(Place::default())
    }

    /// As a complaint, placed in the document.
    pub fn placed(self, root: &Node) -> Complaint {
        let place = root.locate(&self.path, self.key);
        self.at(place)
    }

    fn at(self, place: Place) -> Complaint {
        Complaint {
            field: self.path.to_string(),
            line: place.line,
            column: place.column,
            message: self.message,
            cure: self.cure,
        }
    }
}
