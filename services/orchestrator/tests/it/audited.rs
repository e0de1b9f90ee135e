//! Nothing is begun before the audit log has it, and the way back waits for nobody.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bus::{Bus, Serving, subjects};
use model::{
    Code, Fault, Outcome, Verdict,
    audit::{AuditAwait, AuditAwaited},
};
use orchestrator::Config;
use testkit::{nats, never};

use crate::world::*;

/// An audit log that takes everything, or nothing while it is told to.
async fn log(bus: &Bus, refuses: &Arc<AtomicBool>) -> Serving {
    let refuses = Arc::clone(refuses);
    let answer = move |_: AuditAwait, _| {
        let refused = refuses.load(Ordering::Relaxed);
        let full = Fault::new(Code::Unavailable, "the audit log takes nothing: the disk is full");
        std::future::ready(if refused { Err(full) } else { Ok(AuditAwaited { index: 1, leaves: 1 }) })
    };
    bus.answer(&subjects::audit::AWAIT, 8, answer).await.unwrap()
}

fn audited() -> Config {
    Config { audited: true, ..Config::default() }
}

#[tokio::test]
async fn no_step_begins_while_the_audit_log_takes_nothing() {
    let nats = nats().await;
    let refuses = Arc::new(AtomicBool::new(true));
    let agents = agents(&nats.bus, None).await;
    let _one = orchestrator_with(&nats, audited()).await;

    // Neither while there is no log, nor while its disk is full.
    let id = ask(&nats.bus, &submit(small("unrecorded"))).await;
    let seen = || async { agents.seen.lock().unwrap().keys().next().cloned() };
    never("a step begins", Duration::from_secs(1), seen).await;
    let _log = log(&nats.bus, &refuses).await;
    never("a step begins", Duration::from_secs(1), seen).await;

    refuses.store(false, Ordering::Relaxed);
    assert_eq!(verdict(&nats.bus, &id).await, Verdict::Promoted);
}

#[tokio::test]
async fn the_way_back_does_not_wait_for_the_audit_log() {
    let nats = nats().await;
    let refuses = Arc::new(AtomicBool::new(false));
    let _log = log(&nats.bus, &refuses).await;
    let full = Arc::clone(&refuses);
    let _agents = agents_that(&nats.bus, move |job, _| {
        if job.step.id.as_str().contains("weight-50") {
            full.store(true, Ordering::Relaxed);
            return Does::Ends(Outcome::Failed);
        }
        Does::Ends(Outcome::Succeeded)
    })
    .await;
    let _one = orchestrator_with(&nats, audited()).await;
    let first = ask(&nats.bus, &submit(small("shop"))).await;
    assert_eq!(verdict(&nats.bus, &first).await, Verdict::Promoted);

    let second = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    until(&nats.bus, &second, "the canary pauses", waits_in_pause).await;
    command(&nats.bus, &second, model::command::Action::Promote { full: false }).await.unwrap();
    let back = until(&nats.bus, &second, "it is back", |view| view.summary.verdict.is_some()).await;

    assert_eq!(back.summary.verdict, Some(Verdict::RolledBack));
}
