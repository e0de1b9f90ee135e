//! What a comparison finds.

use std::fmt;

/// How sure it is that clients break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// There is a request that was valid and no longer is, or an answer that may come now and was not allowed.
    Break,
    /// Nobody can say from the documents alone.
    Doubt,
    /// It breaks no client and is worth knowing.
    Note,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// How sure it is.
    pub kind: Kind,
    /// Of what sort, such as `request-type`: the same for every difference of the sort.
    pub id: String,
    /// The path, as the old document writes it.
    pub path: String,
    /// The method in upper case; empty when the whole path is meant.
    pub method: String,
    /// Where within the operation, in words: `response 200: items: []: price`. May be empty.
    pub part: String,
    /// JSON pointer of the place in the new document, or in the old one when the new one has no such place.
    pub pointer: String,
    /// What stood there.
    pub old: String,
    /// What stands there now.
    pub new: String,
    /// The difference, as a sentence's end after the place.
    pub what: String,
}

impl Finding {
    /// Where, such as `GET /orders/{id}: response 200: total`.
    pub fn place(&self) -> String {
        let parts = [format!("{} {}", self.method, self.path).trim().to_owned(), self.part.clone()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.what)
    }
}
