//! The bus against a real nats-server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod aggregate;
mod buckets;
mod calls;
mod cluster;
mod events;
mod foreign;
mod inbox;
mod jobs;
mod logs;
mod outbox;
mod set_up;
mod tracing_context;

use std::time::Duration;

use model::{DeploymentId, Fence, Record, Timestamp, deployment::StepReport, target::TargetEvent};

/// Longer than anything here may take on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// A job that can be told from others by its step.
fn report(step: &str) -> StepReport {
    StepReport {
        deployment: DeploymentId::derived("a"),
        step: step.parse().unwrap(),
        attempt: 1,
        fence: Fence::default(),
        runner: "test".into(),
        result: None,
    }
}

/// A journal entry that can be told from others by its writer.
fn record(id: &str, version: u64, writer: &str) -> Record<TargetEvent> {
    Record {
        id: id.into(),
        version,
        writer: writer.into(),
        at: Timestamp(1),
        trace: None,
        events: vec![TargetEvent::Left { deployment: DeploymentId::derived(writer) }],
    }
}
