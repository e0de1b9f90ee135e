//! Signed notes: a text, a blank line, and who signed it.

use std::{fmt, str::FromStr};

use crate::{Error, text};

/// The longest note that is read: 64 post-quantum signatures and some text.
const MAX_NOTE: usize = 256 * 1024;
const MAX_SIGNATURES: usize = 64;
const WHAT: &str = "signed note";

/// A text and the signatures under it. Nothing is checked yet: see [`crate::SignedCheckpoint::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// With its last line end.
    pub text: String,
    /// In their order.
    pub signatures: Vec<NoteSignature>,
}

/// One signature line: `— <name> <base64 of key id and signature>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The key's name.
    pub name: String,
    /// The key's id.
    pub id: [u8; 4],
    /// What the kind of key says it is.
    pub bytes: Vec<u8>,
}

/// What may name a key.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+' || c.is_control())
}

impl FromStr for NoteSignature {
    type Err = Error;

    /// Reads one line, without its line end.
    fn from_str(line: &str) -> Result<NoteSignature, Error> {
        let bad = || Error::format(WHAT, format!("{line:?} is not a signature line"));
        let (name, data) =
            line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' ')).ok_or_else(bad)?;
        let data = text::from_base64(WHAT, data)?;
        let (id, bytes) = data.split_first_chunk::<4>().ok_or_else(bad)?;
        if !is_key_name(name) || bytes.is_empty() {
            return Err(bad());
        }
        Ok(NoteSignature { name: name.to_owned(), id: *id, bytes: bytes.to_vec() })
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = [self.id.as_slice(), &self.bytes].concat();
        writeln!(f, "\u{2014} {} {}", self.name, text::base64(&data))
    }
}

impl FromStr for Note {
    type Err = Error;

    fn from_str(note: &str) -> Result<Note, Error> {
        let bad = |why: &str| Error::format(WHAT, why);
        if note.len() > MAX_NOTE {
            return Err(bad("it is longer than 256 KiB"));
        }
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(bad("it holds control characters"));
        }
        let end = note.rfind("\n\n").ok_or_else(|| bad("no blank line before the signatures"))?;
        let (text, lines) = (&note[..=end], &note[end + 2..]);
        let lines = lines.strip_suffix('\n').ok_or_else(|| bad("the last line has no end"))?;
        let signatures: Vec<NoteSignature> = lines.split('\n').map(str::parse).collect::<Result<_, _>>()?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(bad("it has more than 64 signatures"));
        }
        Ok(Note { text: text.to_owned(), signatures })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| write!(f, "{signature}"))
    }
}
