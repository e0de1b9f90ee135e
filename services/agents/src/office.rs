//! Where certificates are signed: the keys, opened when they are needed, and what was told to the audit log.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
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
use model::{
    Code, ReplicaId, Timestamp, Token,
    audit::{AuditAppend, AuditLevel, AuditOutcome, AuditReceipt, AuditRecord},
};
use serde_json::json;
use tokio::sync::Mutex;
use tracing::error;

use crate::{
    Error,
    config::{AgentsConfig, CertificateSettings, VaultSettings},
    error::Result,
    store::Store,
};

/// The action of the record that tells that the certifier's name was taken.
pub const TAKEN: &str = "certifier.name-taken";

/// Signs certificates and brings them to the audit log. One at a time does either.
pub struct Office {
    settings: CertificateSettings,
    folder: PathBuf,
    opened: Mutex<Option<Opened>>,
    /// The keyring as everybody was told last.
    told: Mutex<Keyring>,
    /// What this process is called in the audit log, unless somebody else takes the name.
    source: String,
    outbox: Mutex<Outbox>,
    /// Deployments whose certificate is not in the log; none before the first look.
    unlogged: Mutex<Option<Vec<model::DeploymentId>>>,
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

/// Names under which a record is tried in one go: whoever takes each of them reads our messages.
const NAMES: usize = 4;

/// Counts what this process tells the audit log. A record whose fate is unknown keeps its count and goes first.
struct Outbox {
    source: String,
    next: u64,
    pending: Option<AuditRecord>,
    /// That the name before was taken, to be told under this one.
    alarm: Option<AuditRecord>,
}

impl Outbox {
    /// The record under the next count.
    fn count(&mut self, record: AuditRecord) -> AuditRecord {
        let record = AuditRecord { source: self.source.clone(), counter: self.next, ..record };
        self.pending.insert(record).clone()
    }

    /// Another fact stands under our count: somebody else says things under our name. What we say from now on goes under a
    /// name that nobody can guess, and the first of it is an alarm.
    fn rename(&mut self, base: &str, refused: &AuditRecord, why: &Error) {
        let taken = std::mem::replace(&mut self.source, format!("{base}-{:016x}", rand::random::<u64>()));
        let why = chassis::chain(why);
        error!(
            source = taken,
            counter = refused.counter,
            cause = why,
            now = self.source,
            "somebody else writes to the audit log under this certifier's name: it goes on under a new one"
        );
        (self.next, self.pending) = (1, None);
        self.alarm = Some(AuditRecord {
            action: TAKEN.to_owned(),
            subject: taken,
            outcome: AuditOutcome::Failed,
            reason: Some("somebody else wrote to the audit log under this name".to_owned()),
            cause: None,
            detail: json!({"counter": refused.counter}),
            ..refused.clone()
        });
    }
}

impl Office {
    /// By the settings.
    pub fn new(config: &AgentsConfig, replica: &ReplicaId) -> Office {
        let folder = config.certificates.keys.clone().unwrap_or_else(|| config.state_dir.join("keys"));
        Office::with(config.certificates.clone(), folder, format!("certifier-{replica}"))
    }

    fn with(settings: CertificateSettings, folder: PathBuf, source: String) -> Office {
        let source = if source.parse::<Token>().is_ok() { source } else { "certifier".to_owned() };
        Office {
            settings,
            folder,
            opened: Mutex::new(None),
            told: Mutex::default(),
            outbox: Mutex::new(Outbox { source: source.clone(), next: 1, pending: None, alarm: None }),
            source,
            unlogged: Mutex::new(None),
        }
    }

    #[cfg(test)]
    pub(crate) fn in_folder(folder: &Path) -> Office {
        Office::with(CertificateSettings::default(), folder.to_owned(), "certifier-test".to_owned())
    }

    /// How long the audit log may take.
    pub fn patience(&self) -> Duration {
        self.settings.log_patience.0
    }

    /// The keys in force, made when there are none. Their public halves are told to everybody before they sign, so that
    /// no certificate is older than its key's publication. A keyring that was changed meanwhile is read again.
    pub async fn keys(&self, store: &dyn Store, now: Timestamp) -> Result<Pair> {
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

    /// Tells everybody what the keyring says now, if it says something new: a revocation reaches verifiers without waiting
    /// for the next certificate.
    pub async fn tell_keys(&self, store: &dyn Store) -> Result<()> {
        let folder = self.folder.clone();
        let ring = blocking(move || Keyring::read(&folder)).await??;
        if *self.told.lock().await == ring {
            return Ok(());
        }
        self.publish(store, &ring).await
    }

    async fn publish(&self, store: &dyn Store, ring: &Keyring) -> Result<()> {
        for key in &ring.keys {
            store.publish_key(key).await?;
        }
        self.told.lock().await.clone_from(ring);
        Ok(())
    }

    /// Hands a record to the audit log under the next count, and waits until a signed checkpoint covers it. What was
    /// begun before and may or may not be there goes first, so that no count is left out or used twice. When another fact
    /// stands under our count, it goes on under a new name, after an alarm.
    pub async fn log(&self, store: &dyn Store, record: AuditRecord) -> Result<(AuditReceipt, AuditRecord)> {
        let mut outbox = self.outbox.lock().await;
        let mut names = 0;
        loop {
            let next = match outbox.pending.clone() {
                Some(pending) => pending,
                None => {
                    let next = outbox.alarm.take().unwrap_or_else(|| record.clone());
                    outbox.count(next)
                }
            };
            match self.hand_over(store, next.clone()).await {
                Ok(receipt) => {
                    (outbox.pending, outbox.next) = (None, outbox.next + 1);
                    if (&next.subject, &next.detail) == (&record.subject, &record.detail) {
                        return Ok((receipt, next));
                    }
                }
                Err(error) if error.code() == Code::Conflict && names < NAMES => {
                    names += 1;
                    outbox.rename(&self.source, &next, &error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn hand_over(&self, store: &dyn Store, record: AuditRecord) -> Result<AuditReceipt> {
        let append = AuditAppend { records: vec![record], level: AuditLevel::Included };
        let receipts = store.log(&append, self.patience()).await?.receipts;
        receipts.into_iter().next().ok_or_else(|| Error::trouble("the audit log gave no receipt"))
    }

    /// Remembers that the log has not answered for a certificate.
    pub async fn owes(&self, deployment: &model::DeploymentId) {
        if let Some(unlogged) = self.unlogged.lock().await.as_mut() {
            unlogged.push(deployment.clone());
        }
    }

    /// Deployments whose certificates are to be brought to the log. The first time all are looked at: the process
    /// before may have died.
    pub async fn debts(&self, store: &dyn Store) -> Result<Vec<model::DeploymentId>> {
        let mut unlogged = self.unlogged.lock().await;
        if unlogged.is_none() {
            let all = store.certificates().await?.into_iter();
            let open = all.filter(|entry| entry.index.is_none()).map(|entry| entry.deployment);
            *unlogged = Some(open.collect());
        }
        Ok(unlogged.as_mut().map(std::mem::take).unwrap_or_default())
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
