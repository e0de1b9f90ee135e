//! Where the keys of providers come from: the environment or a file, by the name that the catalogue gives. A key is held
//! in a type that cannot be shown, and a reason why there is none never holds one.

use ground::Secret;
use providers::KeySource;

/// The key, or why there is none.
pub fn resolve(source: &KeySource) -> Result<Secret, String> {
    match source {
        KeySource::Env(name) => match std::env::var(name) {
            Ok(key) => Ok(Secret::trimmed(key)),
            Err(_) => Err(format!("{name} is not set")),
        },
        KeySource::File(path) => match std::fs::read_to_string(path) {
            Ok(key) => Ok(Secret::trimmed(key)),
            Err(error) => Err(format!("{}: {}", path.display(), error.kind())),
        },
    }
}
