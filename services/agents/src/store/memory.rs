//! The shared things in memory, for tests.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use bus::Change;
use certificate::TrustedKey;
use model::{
    DeploymentId, Digest, Record,
    audit::{AuditAppend, AuditAwaited, AuditProof, AuditReceipts, AuditRecord},
    certificate::CertificateEntry,
    deployment::StepProgress,
    route::RouteTable,
};
use parking_lot::Mutex;
use serde_json::Value;

use super::{Certificates, Edit, Evidence, LogClient, Measurements, Reports, Routes, SigningKeys};
use crate::{Error, error::Result};

mod log;

pub(crate) use log::Log;

#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) routes: BTreeMap<String, RouteTable>,
    pub(crate) values: BTreeMap<String, Value>,
    pub(crate) evidence: BTreeMap<String, Vec<u8>>,
    /// Takes no evidence, and says this instead.
    pub(crate) full: Option<&'static str>,
    pub(crate) history: Vec<Record>,
    pub(crate) progress: Vec<StepProgress>,
    /// Every table that was ever written, in order.
    pub(crate) tables: Vec<RouteTable>,
    pub(crate) certificates: BTreeMap<String, (CertificateEntry, u64)>,
    pub(crate) keys: Vec<TrustedKey>,
    /// None: nobody keeps an audit log.
    pub(crate) log: Option<Log>,
    /// Facts for the audit log.
    pub(crate) noted: Vec<AuditRecord>,
    writes: u64,
}

/// Every call lets other tasks go first, so that a test can end a step at each of them.
#[derive(Default)]
pub(crate) struct MemoryStore(Mutex<Shared>);

impl MemoryStore {
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Shared) -> T) -> T {
        look(&mut self.0.lock())
    }

    pub(crate) fn table(&self, key: &str) -> Option<RouteTable> {
        self.with(|shared| shared.routes.get(key).cloned())
    }
}

#[async_trait]
impl Routes for MemoryStore {
    async fn routes(&self, key: &str) -> Result<Option<RouteTable>> {
        tokio::task::yield_now().await;
        Ok(self.table(key))
    }

    async fn tables(&self) -> Result<Vec<RouteTable>> {
        tokio::task::yield_now().await;
        Ok(self.with(|shared| shared.routes.values().cloned().collect()))
    }

    async fn change_routes(&self, key: &str, edit: &mut Edit<'_>) -> Result<Option<RouteTable>> {
        tokio::task::yield_now().await;
        self.with(|shared| {
            match edit(shared.routes.get(key))? {
                Change::Keep => {}
                Change::Put(table) => {
                    shared.tables.push(table.clone());
                    shared.routes.insert(key.to_owned(), table);
                }
                Change::Delete => {
                    shared.routes.remove(key);
                }
            }
            Ok::<_, Error>(())
        })?;
        tokio::task::yield_now().await;
        Ok(self.table(key))
    }
}

#[async_trait]
impl Evidence for MemoryStore {
    async fn keep(&self, evidence: &[u8]) -> Result<Digest> {
        let digest = Digest::of_bytes(evidence);
        if let Some(why) = self.with(|shared| shared.full) {
            return Err(Error::trouble(why));
        }
        self.with(|shared| shared.evidence.insert(digest.to_string(), evidence.to_vec()));
        Ok(digest)
    }

    async fn evidence(&self, digest: &Digest) -> Result<Vec<u8>> {
        let found = self.with(|shared| shared.evidence.get(&digest.to_string()).cloned());
        found.ok_or_else(|| Error::trouble(format!("there is no evidence {digest}")))
    }

    async fn history(&self, _: &DeploymentId) -> Result<Vec<Record>> {
        Ok(self.with(|shared| shared.history.clone()))
    }
}

#[async_trait]
impl Measurements for MemoryStore {
    async fn measurement(&self, key: &str) -> Result<Option<Value>> {
        Ok(self.with(|shared| shared.values.get(key).cloned()))
    }

    async fn remember(&self, key: &str, value: &Value) -> Result<()> {
        self.with(|shared| shared.values.insert(key.to_owned(), value.clone()));
        Ok(())
    }

    async fn claim(&self, key: &str, value: &Value) -> Result<bool> {
        tokio::task::yield_now().await;
        Ok(self.with(|shared| {
            let free = !shared.values.contains_key(key);
            shared.values.entry(key.to_owned()).or_insert_with(|| value.clone());
            free
        }))
    }
}

#[async_trait]
impl Certificates for MemoryStore {
    async fn certificate(&self, deployment: &DeploymentId) -> Result<Option<(CertificateEntry, u64)>> {
        tokio::task::yield_now().await;
        Ok(self.with(|shared| shared.certificates.get(deployment.as_str()).cloned()))
    }

    async fn set_certificate(&self, entry: &CertificateEntry, expected: Option<u64>) -> Result<bool> {
        tokio::task::yield_now().await;
        Ok(self.with(|shared| {
            let key = entry.deployment.to_string();
            if shared.certificates.get(&key).map(|(_, revision)| *revision) != expected {
                return false;
            }
            shared.writes += 1;
            shared.certificates.insert(key, (entry.clone(), shared.writes));
            true
        }))
    }

    async fn certificates(&self) -> Result<Vec<CertificateEntry>> {
        Ok(self.with(|shared| shared.certificates.values().map(|(entry, _)| entry.clone()).collect()))
    }
}

#[async_trait]
impl SigningKeys for MemoryStore {
    async fn publish_key(&self, key: &TrustedKey) -> Result<()> {
        self.with(|shared| match shared.keys.iter_mut().find(|known| known.id == key.id) {
            Some(known) => *known = key.joined(known),
            None => shared.keys.push(key.clone()),
        });
        Ok(())
    }
}

#[async_trait]
impl LogClient for MemoryStore {
    async fn log(&self, append: &AuditAppend, _: Duration) -> Result<AuditReceipts> {
        tokio::task::yield_now().await;
        self.with(|shared| shared.log.as_mut().map(|log| log.append(append)))
            .ok_or_else(|| Error::trouble("nobody keeps an audit log"))?
    }

    async fn prove(&self, index: u64) -> Result<AuditProof> {
        self.with(|shared| shared.log.as_ref().map(|log| log.prove(index)))
            .ok_or_else(|| Error::trouble("nobody keeps an audit log"))
    }

    async fn logged(&self, _: &DeploymentId, version: u64, _: Duration) -> Result<AuditAwaited> {
        self.with(|shared| {
            let Shared { log, history, .. } = shared;
            log.as_mut().map(|log| log.journal(history, version))
        })
        .ok_or_else(|| Error::trouble("nobody keeps an audit log"))
    }
}

#[async_trait]
impl Reports for MemoryStore {
    async fn progress(&self, progress: &StepProgress) -> Result<()> {
        self.with(|shared| shared.progress.push(progress.clone()));
        Ok(())
    }

    fn note(&self, fact: AuditRecord) -> Result<()> {
        self.with(|shared| shared.noted.push(fact));
        Ok(())
    }
}
