//! The bus against a real nats-server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod access;
mod aggregate;
mod buckets;
mod calls;
mod cluster;
mod damage;
mod events;
mod foreign;
mod inbox;
mod jobs;
mod logs;
mod outbox;
mod set_up;
mod tasks;
mod tracing_context;

use std::time::Duration;

use model::{DeploymentId, Fence, Record, Timestamp, deployment::StepReport, target::TargetEvent};

/// Longer than anything here may take on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// A connection that is not ours, by a key that may do everything.
async fn foreign(nats: &testkit::TestNats) -> async_nats::Client {
    as_user(&nats.server.url(), "tester", &nats.key()).await
}

/// A connection that is not ours, as a user by the key in a file.
async fn as_user(url: &str, user: &str, key: &std::path::Path) -> async_nats::Client {
    let seed = std::fs::read_to_string(key).unwrap().trim().to_owned();
    let options = async_nats::ConnectOptions::with_nkey(seed).custom_inbox_prefix(format!("_INBOX.{user}"));
    options.connect(url).await.unwrap()
}

/// A subscription of somebody who is not ours. The server knows of it: what was sent to oneself came back.
async fn subscribed(
    foreign: &async_nats::Client,
    subject: impl async_nats::ToSubject + Clone,
) -> async_nats::Subscriber {
    let mut heard = foreign.subscribe(subject.clone()).await.unwrap();
    foreign.publish(subject, "".into()).await.unwrap();
    futures::StreamExt::next(&mut heard).await.unwrap();
    heard
}

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
