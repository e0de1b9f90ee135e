//! Checkpoints: the state of a log, as it is signed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, Hash, text};

mod signed;

pub use signed::{Signed, SignedCheckpoint};

const WHAT: &str = "checkpoint";

/// The state of a log. Its text is the note text of a C2SP checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}

impl FromStr for Checkpoint {
    type Err = Error;

    /// Extension lines are refused: an ML-DSA signature does not cover them.
    fn from_str(text: &str) -> Result<Checkpoint, Error> {
        let body = text.strip_suffix('\n').ok_or_else(|| Error::format(WHAT, "the last line has no end"))?;
        let lines: Vec<&str> = body.split('\n').collect();
        let [origin, size, root] = lines.as_slice() else {
            return Err(Error::format(
                WHAT,
                format!("it has {} lines, expected origin, size and root", lines.len()),
            ));
        };
        if origin.is_empty() {
            return Err(Error::format(WHAT, "the origin is empty"));
        }
        let (size, root) = (text::decimal(WHAT, size)?, text::hash(WHAT, root)?);
        if size == 0 && root != crate::tree::empty_root() {
            return Err(Error::format(WHAT, "an empty log has another root"));
        }
        Ok(Checkpoint { origin: (*origin).to_owned(), size, root })
    }
}
