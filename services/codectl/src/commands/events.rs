//! Follows the journals.

use bus::{Start, subjects};
use futures::StreamExt;

use crate::{
    cli::{Events, Global},
    client::Client,
    commands::show,
    failure::Failure,
    output::{self, paint},
};

/// Until interrupted.
pub async fn events(global: &Global, events: Events) -> Result<u8, Failure> {
    let client = Client::connect(global).await?;
    let start = if events.all { Start::All } else { Start::Now };
    let mut journal = client.bus.follow(&subjects::deployment::JOURNAL, start).await?;
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
            output::line(paint::strong(&record.id));
            show::record(&record);
        }
    }
    Ok(0)
}
