//! What the tests share.

use std::{path::Path, time::Duration};

use audit::AuditConfig;
use bus::{Bus, subjects::audit as speech};
use chassis::Service;
use ledger::{Policy, verify::Report};
use model::{
    Span, Timestamp,
    audit::{
        AuditAppend, AuditLevel, AuditOutcome, AuditReceipts, AuditRecord, AuditStatus, AuditStatusRequest,
    },
};
use testkit::TestNats;

pub const LONG: Duration = Duration::from_secs(60);

pub fn fact(source: &str, counter: u64) -> AuditRecord {
    AuditRecord {
        v: 1,
        source: source.to_owned(),
        counter,
        part: 1,
        parts: 1,
        at: Timestamp(1_750_000_000_000 + counter as i64),
        actor: format!("person-{}", counter % 7),
        action: "call.denied".to_owned(),
        subject: format!("dep-{}", counter % 100),
        outcome: AuditOutcome::Done,
        reason: counter.is_multiple_of(3).then(|| format!("because of {counter} 100%")),
        cause: Some(format!("{source}:{counter}")),
        trace: None,
        detail: serde_json::json!({ "number": counter }),
        payload: None,
    }
}

/// A broker and a folder; the service is started by the test.
pub struct Place {
    pub nats: TestNats,
    pub folder: tempfile::TempDir,
}

impl Place {
    pub async fn new() -> Place {
        Place { nats: testkit::nats().await, folder: tempfile::tempdir().unwrap() }
    }

    pub fn config(&self) -> AuditConfig {
        AuditConfig {
            state_dir: self.folder.path().to_owned(),
            checkpoint_every: Span::millis(100),
            hole_patience: Span::millis(500),
            ..AuditConfig::default()
        }
    }

    pub async fn start(&self, config: AuditConfig) -> Result<Service<AuditConfig>, audit::Error> {
        let service = Service::for_tests(config, self.nats.connect_service("audit").await);
        audit::start(service.clone()).await?;
        Ok(service)
    }

    pub async fn started(&self) -> Service<AuditConfig> {
        self.start(self.config()).await.unwrap()
    }
}

pub async fn append(
    bus: &Bus,
    records: Vec<AuditRecord>,
    level: AuditLevel,
) -> Result<AuditReceipts, bus::Error> {
    bus.call(&speech::APPEND, &AuditAppend { records, level }, LONG).await
}

pub async fn status(bus: &Bus, sign: bool) -> AuditStatus {
    bus.call(&speech::STATUS, &AuditStatusRequest { sign }, LONG).await.unwrap()
}

/// Waits until so many leaves are signed.
pub async fn included(bus: &Bus, least: u64) -> AuditStatus {
    testkit::eventually("the leaves are signed", LONG, || async {
        let request = AuditStatusRequest { sign: false };
        let status = bus.call(&speech::STATUS, &request, Duration::from_secs(5)).await;
        let status = status.map_err(|error| error.to_string())?;
        if status.included >= least { Ok(status) } else { Err(format!("{} of {least}", status.included)) }
    })
    .await
}

pub fn policy(folder: &Path) -> Policy {
    std::fs::read_to_string(folder.join("log.policy")).unwrap().parse().unwrap()
}

/// Checks the whole log, and that every count of every source stands there once.
pub fn checked(folder: &Path) -> (Report, Vec<AuditRecord>) {
    let mut records = Vec::new();
    let report = ledger::verify::verify(&folder.join("log"), &policy(folder), &[], |_, leaf| {
        records.push(serde_json::from_slice::<AuditRecord>(leaf).unwrap());
    })
    .unwrap();
    (report, records)
}
