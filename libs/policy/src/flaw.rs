//! What is wrong with a file of rights: where, what, and how it is put right.

use std::fmt;

/// What is wrong with a file of rights. None of its rights count while there is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    /// The file's name.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// How to put it right.
    pub cure: String,
}

impl Flaw {
    /// At this byte of the text.
    pub(crate) fn at(file: &str, text: &str, byte: usize, message: String, cure: &str) -> Flaw {
        let before = text.get(..byte).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Flaw { file: file.to_owned(), line, column, message, cure: cure.to_owned() }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}\n  {}", self.file, self.line, self.column, self.message, self.cure)
    }
}
