//! The path of a field, as it stands in a complaint: `modules[1].replicas`.

use std::fmt;

use super::shown_word;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Field(String),
    Index(usize),
}

/// Empty for the document as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(Vec<Segment>);

impl Path {
    pub fn field(&self, name: &str) -> Path {
        self.with(Segment::Field(name.to_owned()))
    }

    pub fn index(&self, index: usize) -> Path {
        self.with(Segment::Index(index))
    }

    /// Several fields at once, joined by dots; only for our own names, which hold none.
    pub fn to(&self, names: &str) -> Path {
        names.split('.').fold(self.clone(), |path, name| path.field(name))
    }

    pub fn with(&self, segment: Segment) -> Path {
        let mut segments = self.0.clone();
        segments.push(segment);
        Path(segments)
    }

    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The last field's name.
    pub fn last(&self) -> Option<&str> {
        match self.0.last()? {
            Segment::Field(name) => Some(name),
            Segment::Index(_) => None,
        }
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `other` is this field or lies in it.
    pub fn holds(&self, other: &Path) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Field(name) if is_plain(name) => {
                    f.write_str(if position > 0 { "." } else { "" })?;
                    f.write_str(name)?;
                }
                Segment::Field(name) => write!(f, "[\"{}\"]", shown_word(name))?,
            }
        }
        Ok(())
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 60
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-/".contains(&b))
}
