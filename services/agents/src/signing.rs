//! What it takes to sign certificates, and to have them in the audit log.

mod keys;
mod outbox;
mod unlogged;

use std::path::PathBuf;

use model::ReplicaId;

pub use keys::{Keys, Pair};
pub use outbox::{Outbox, TAKEN};
pub use unlogged::Unlogged;

use crate::config::{AgentsConfig, CertificateSettings};

/// What a certifier has beside the shared things.
pub struct Signing {
    /// With what it signs.
    pub keys: Keys,
    /// How it says something to the audit log.
    pub outbox: Outbox,
    /// What it signed and the audit log does not have.
    pub unlogged: Unlogged,
}

impl Signing {
    /// By the settings.
    pub fn new(config: &AgentsConfig, replica: &ReplicaId) -> Signing {
        let folder = config.certificates.keys.clone().unwrap_or_else(|| config.state_dir.join("keys"));
        Signing::with(config.certificates.clone(), folder, format!("certifier-{replica}"))
    }

    fn with(settings: CertificateSettings, folder: PathBuf, source: String) -> Signing {
        Signing {
            outbox: Outbox::new(source, settings.log_patience.0),
            keys: Keys::new(settings, folder),
            unlogged: Unlogged::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn in_folder(folder: &std::path::Path) -> Signing {
        Signing::with(CertificateSettings::default(), folder.to_owned(), "certifier-test".to_owned())
    }
}
