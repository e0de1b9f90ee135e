//! The keys that sign certificates, opened when they are needed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use certificate::{
    Algorithm, At, Signer, TrustedKey,
    keys::{
        file::{self, Keyring},
        vault::{self, VaultKey},
    },
};
use chassis::Secret;
use ground::blocking;
use model::Timestamp;
use tokio::sync::Mutex;

use crate::{
    Error,
    config::{CertificateSettings, VaultSettings},
    error::Result,
    store::SigningKeys,
};

/// The keys of a certifier. They are opened by one caller at a time.
pub struct Keys {
    settings: CertificateSettings,
    folder: PathBuf,
    opened: Mutex<Option<Opened>>,
    /// The keyring as it was published last.
    published: Mutex<Keyring>,
}

/// Keys that are open, and the keyring that they were opened by.
struct Opened {
    ring: Keyring,
    pair: Pair,
}

/// A key of each kind.
#[derive(Clone)]
pub struct Pair {
    /// ECDSA P-256.
    pub classic: Arc<dyn Signer>,
    /// ML-DSA-65.
    pub quantum: Arc<dyn Signer>,
    /// Both are in force from here on, by the clock of whoever made them.
    pub since: Timestamp,
}

impl Keys {
    /// Those of a folder.
    pub fn new(settings: CertificateSettings, folder: PathBuf) -> Keys {
        Keys { settings, folder, opened: Mutex::default(), published: Mutex::default() }
    }

    /// The keys in force, made when there are none. Their public halves are published before they sign, so that no
    /// certificate is older than its key's publication. A keyring that was changed meanwhile is read again.
    pub async fn open(&self, store: &dyn SigningKeys, now: Timestamp) -> Result<Pair> {
        let mut opened = self.opened.lock().await;
        let vault = match &self.settings.vault {
            Some(settings) => Some(Arc::new(VaultKey::open(reach(settings)?).await?)),
            None => None,
        };
        let (folder, overlap) = (self.folder.clone(), self.settings.overlap.0);
        let adopted = vault.as_ref().map(|key| TrustedKey::new(key.key(), At(now)));
        let settings = self.settings.clone();
        let known = opened.take();
        // Opening a key is made to be slow: not on a thread that others wait for.
        let (ring, files) = blocking(move || -> Result<_> {
            let passphrase = passphrase(&settings, &folder)?;
            if let Some(key) = adopted {
                file::adopt(&folder, key, overlap)?;
            }
            let kinds = if settings.vault.is_some() { &[Algorithm::MlDsa65] } else { file::BOTH };
            let ring = file::ensure(&folder, &passphrase, kinds, now)?;
            if let Some(known) = known.filter(|known| known.ring == ring) {
                return Ok((ring, Files::Known(known.pair)));
            }
            let open = |algorithm: Algorithm| -> Result<Arc<dyn Signer>> {
                let key = ring.current(&folder, algorithm, At(now));
                let key =
                    key.ok_or_else(|| certificate::Error::NoKey(algorithm.as_str(), At(now).to_string()))?;
                Ok(Arc::new(file::open(&folder, key, &passphrase)?))
            };
            let classic = if settings.vault.is_some() { None } else { Some(open(Algorithm::EcdsaP256)?) };
            let quantum = open(Algorithm::MlDsa65)?;
            Ok((ring, Files::Opened(classic, quantum)))
        })
        .await??;
        let (classic, quantum): (Arc<dyn Signer>, _) = match (files, vault) {
            (Files::Known(pair), None) => (pair.classic, pair.quantum),
            (Files::Known(pair), Some(vault)) => (vault, pair.quantum),
            (Files::Opened(_, quantum), Some(vault)) => (vault, quantum),
            (Files::Opened(Some(classic), quantum), None) => (classic, quantum),
            (Files::Opened(None, _), None) => return Err(Error::trouble("no key signs certificates")),
        };
        let of_these = ring
            .keys
            .iter()
            .filter(|key| [classic.key().id(), quantum.key().id()].contains(&key.id.as_str()));
        let since = of_these.map(|key| key.valid_from.0).max().unwrap_or(now);
        let pair = Pair { classic, quantum, since };
        self.publish(store, &ring).await?;
        *opened = Some(Opened { ring, pair: pair.clone() });
        Ok(pair)
    }

    /// Publishes what the keyring says now, if it says something new: a revocation reaches verifiers without waiting
    /// for the next certificate.
    pub async fn publish_news(&self, store: &dyn SigningKeys) -> Result<()> {
        let folder = self.folder.clone();
        let ring = blocking(move || Keyring::read(&folder)).await??;
        if *self.published.lock().await == ring {
            return Ok(());
        }
        self.publish(store, &ring).await
    }

    async fn publish(&self, store: &dyn SigningKeys, ring: &Keyring) -> Result<()> {
        for key in &ring.keys {
            store.publish_key(key).await?;
        }
        self.published.lock().await.clone_from(ring);
        Ok(())
    }
}

enum Files {
    Known(Pair),
    Opened(Option<Arc<dyn Signer>>, Arc<dyn Signer>),
}

fn passphrase(settings: &CertificateSettings, folder: &Path) -> Result<Secret> {
    if !settings.passphrase.is_empty() {
        return Ok(Secret::line(settings.passphrase.reveal()));
    }
    Ok(match &settings.passphrase_file {
        Some(path) => Secret::line(text(path)?),
        None => file::passphrase_file(&folder.join("passphrase"))?,
    })
}

fn reach(settings: &VaultSettings) -> Result<vault::Settings> {
    let token = match &settings.token_file {
        Some(path) => Secret::trimmed(text(path)?),
        None => settings.token.clone(),
    };
    let authority = settings.authority.as_ref().map(|path| text(path).map(String::into_bytes)).transpose()?;
    Ok(vault::Settings {
        address: settings.address.clone(),
        mount: settings.mount.clone(),
        name: settings.key.clone(),
        token,
        namespace: settings.namespace.clone(),
        authority,
    })
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|source| certificate::Error::File { what: "read", path: path.to_owned(), source }.into())
}
