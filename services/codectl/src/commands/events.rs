//! Follows the journals.

use std::collections::BTreeSet;

use bus::Start;
use futures::StreamExt;

use crate::{
    cli::{Events, Global},
    commands::show,
    connect::connect,
    failure::Failure,
    output::{self, paint},
};

/// Deployments whose revisions are remembered by their versions; beyond that they are asked for again.
const MOST: usize = 1000;

/// Until interrupted.
pub async fn events(global: &Global, events: Events) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let start = if events.all { Start::All } else { Start::Now };
    let mut journal = client.events(start).await?;
    let mut known = BTreeSet::new();
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let entry = tokio::select! {
            entry = journal.next() => entry,
            _ = &mut interrupted => None,
        };
        let Some(entry) = entry else { break };
        let record = entry.record;
        if events.deployment.as_ref().is_some_and(|wanted| wanted.as_str() != record.id) {
            continue;
        }
        if output::json() {
            output::json_line(&record);
        } else {
            if let Ok(deployment) = record.id.parse()
                && known.insert(record.id.clone())
            {
                if known.len() > MOST {
                    known = BTreeSet::from([record.id.clone()]);
                }
                // Without it the revisions are shown as they were written.
                let _ = super::view(&client, &deployment).await;
            }
            output::line(paint::strong(&record.id));
            show::record(&record);
        }
    }
    Ok(0)
}
