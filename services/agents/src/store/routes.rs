//! The tables of routes, which the data planes follow.

use async_trait::async_trait;
use bus::{Attempt, Change, subjects::buckets::ROUTES};
use model::{Fence, route::RouteTable};

use super::BusStore;
use crate::{Error, error::Result};

/// What a change makes of a table, or of none. It is asked again when another writer was first.
pub type Edit<'a> = dyn FnMut(Option<&RouteTable>) -> Result<Change<RouteTable>> + Send + 'a;

/// Tables of routes by key.
#[async_trait]
pub trait Routes: Send + Sync {
    /// A table; none when there is none.
    async fn routes(&self, key: &str) -> Result<Option<RouteTable>>;
    /// Every table of every target.
    async fn tables(&self) -> Result<Vec<RouteTable>>;
    /// Changes a table by compare-and-set and gives what then stands there.
    async fn change_routes(&self, key: &str, edit: &mut Edit<'_>) -> Result<Option<RouteTable>>;
}

#[async_trait]
impl Routes for BusStore {
    async fn routes(&self, key: &str) -> Result<Option<RouteTable>> {
        let found = self.runner.bucket(&ROUTES).get(key).await.attempt(format!("read the routes {key}"))?;
        Ok(found.map(|(table, _)| table))
    }

    async fn tables(&self) -> Result<Vec<RouteTable>> {
        let all = self.runner.bucket(&ROUTES).all().await.attempt("list the routes")?;
        Ok(all.into_iter().filter_map(|entry| entry.value).collect())
    }

    async fn change_routes(&self, key: &str, edit: &mut Edit<'_>) -> Result<Option<RouteTable>> {
        Ok(self.runner.bucket(&ROUTES).change(key, edit).await?.value)
    }
}

/// Changes a table and gives back what then stands there. `change` gets the stored table, or none, and returns the one
/// that is wanted; none leaves things as they are. Version and fence are set here. A table with a higher fence is never
/// touched; one with a lower fence is always written, so that its older owner is kept out.
pub async fn edit_routes(
    store: &dyn Routes,
    key: &str,
    fence: Fence,
    mut change: impl FnMut(Option<&RouteTable>) -> Result<Option<RouteTable>> + Send,
) -> Result<Option<RouteTable>> {
    let mut edit = |stored: Option<&RouteTable>| {
        if let Some(table) = stored.filter(|table| table.fence > fence) {
            return Err(Error::Stale { key: key.to_owned(), stored: table.fence, ours: fence });
        }
        let Some(mut wanted) = change(stored)? else { return Ok(Change::Keep) };
        wanted.fence = fence;
        wanted.version = stored.map_or(wanted.version, |table| table.version);
        if stored == Some(&wanted) {
            return Ok(Change::Keep);
        }
        wanted.version += 1;
        Ok(Change::Put(wanted))
    };
    store.change_routes(key, &mut edit).await
}

/// Deletes a table in which nothing is left, so that its port is free again. One in which something is left, or which
/// a later owner wrote, stays.
pub async fn close_routes(store: &dyn Routes, key: &str, fence: Fence) -> Result<()> {
    let is_over =
        |table: &RouteTable| table.weights.0.is_empty() && table.endpoints.is_empty() && table.fence <= fence;
    let mut close = |stored: Option<&RouteTable>| {
        Ok(if stored.is_some_and(is_over) { Change::Delete } else { Change::Keep })
    };
    store.change_routes(key, &mut close).await.map(|_| ())
}
