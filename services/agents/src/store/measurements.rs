//! Measurements that outlive a deployment: what the next one is compared with.

use async_trait::async_trait;
use bus::{Attempt, Change, subjects::buckets::MEASUREMENTS};
use serde_json::Value;

use super::BusStore;
use crate::{Error, error::Result};

/// Measurements by key.
#[async_trait]
pub trait Measurements: Send + Sync {
    /// A stored measurement.
    async fn measurement(&self, key: &str) -> Result<Option<Value>>;
    /// Stores a measurement over whatever stands there.
    async fn remember(&self, key: &str, value: &Value) -> Result<()>;
    /// Stores a value where none stands; false when one does.
    async fn claim(&self, key: &str, value: &Value) -> Result<bool>;
}

#[async_trait]
impl Measurements for BusStore {
    async fn measurement(&self, key: &str) -> Result<Option<Value>> {
        let found = self.runner.bucket(&MEASUREMENTS).get(key).await;
        Ok(found.attempt(format!("read the measurement {key}"))?.map(|(value, _)| value))
    }

    async fn remember(&self, key: &str, value: &Value) -> Result<()> {
        let put = |_: Option<&Value>| Ok::<_, Error>(Change::Put(value.clone()));
        self.runner.bucket(&MEASUREMENTS).change(key, put).await.map(|_| ())
    }

    async fn claim(&self, key: &str, value: &Value) -> Result<bool> {
        let first = |found: Option<&Value>| {
            Ok::<_, Error>(if found.is_some() { Change::Keep } else { Change::Put(value.clone()) })
        };
        Ok(self.runner.bucket(&MEASUREMENTS).change(key, first).await?.is_new)
    }
}
