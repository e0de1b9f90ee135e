//! Versions where the engine speaks of revisions: the one place where one becomes the other.

use std::borrow::Cow;

use model::plan::Versions;
use parking_lot::RwLock;

static KNOWN: RwLock<Option<Versions>> = RwLock::new(None);

/// From now on these revisions are shown by their names.
pub fn know(versions: &Versions) {
    KNOWN.write().get_or_insert_default().add(versions);
}

/// A text for people: revisions that are known by a name are shown by it.
pub fn named(text: &str) -> Cow<'_, str> {
    match KNOWN.read().as_ref() {
        Some(versions) => versions.shown_in(text),
        None => Cow::Borrowed(text),
    }
}
