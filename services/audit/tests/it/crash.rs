//! Kills at every point of the pipeline: what was acknowledged is there, once, and the root is the undisturbed one.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use audit::{
    Error,
    heart::admit::{Admission, Content},
    keys,
    log::{self, Opened, Points},
};
use ledger::{Frame, Hash};
use model::{Timestamp, audit::AuditRecord};
use proptest::prelude::*;

use crate::support::{checked, fact};

const ORIGIN: &str = "code.internal/audit";
const STREAM: &str = "LOG_deployment_0";

/// A stream with facts of its own (two leaves each) and every fifth a fact that a service counted.
fn message(seq: u64) -> Content {
    if seq.is_multiple_of(5) {
        return Content::Told(Box::new(fact("gateway", seq / 5)));
    }
    let part = |part| AuditRecord { part, parts: 2, ..fact(STREAM, seq) };
    Content::Facts(vec![part(1), part(2)])
}

/// Fails at the given calls, as a kill would end there.
fn killed_at(calls: Vec<u64>) -> (Points, Arc<AtomicU64>, Arc<Mutex<Vec<&'static str>>>) {
    let (count, names) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (counted, named) = (Arc::clone(&count), Arc::clone(&names));
    let points = move |name| {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        if calls.contains(&call) {
            named.lock().unwrap().push(name);
            return Err(Error::Refusing(format!("killed {name}")));
        }
        Ok(())
    };
    (Arc::new(points), count, names)
}

/// One life of the service: from opening to the end of the stream, or to the kill. Gives how far it acknowledged.
fn live(folder: &Path, messages: u64, points: &Points, acknowledged: &mut u64) -> Result<Hash, Error> {
    let keys = keys::of_log(&folder.join("keys"), ORIGIN)?;
    let Opened { mut writer, mut integrator, mut admission, mut pending } = log::open(folder, ORIGIN, keys)?;
    assert!(admission.counted_of(STREAM) >= *acknowledged, "what was acknowledged is gone");
    let mut batch = Vec::new();
    // The broker delivers again what was not counted, and some of what was.
    let from = admission.counted_of(STREAM).saturating_sub(2) + 1;
    for seq in from..=messages {
        batch.extend(admission.heard(STREAM, seq, message(seq), Timestamp(1)));
        if batch.len() < 7 && seq < messages {
            continue;
        }
        let frame = take(&mut batch, &mut admission, &writer);
        writer.accept(&frame, points)?;
        pending.push(frame);
        *acknowledged = admission.counted_of(STREAM);
        if pending.len() == 3 || seq == messages {
            writer.rotate()?;
            integrator.integrate(&std::mem::take(&mut pending), points)?;
            integrator.publish(1_750_000_000, points)?;
            writer.forget(points)?;
        }
    }
    integrator.integrate(&pending, points)?;
    integrator.publish(1_750_000_000, points)?;
    Ok(integrator.store().root())
}

fn take(batch: &mut Vec<AuditRecord>, admission: &mut Admission, writer: &log::Writer) -> Frame {
    let leaves = batch.drain(..).map(|record| record.to_leaf()).collect();
    writer.frame(leaves, &admission.delta())
}

/// Lives until it gets to the end; gives the root and how many kills there were.
fn lives(folder: &Path, messages: u64, points: &Points) -> (Hash, u32) {
    let (mut kills, mut acknowledged) = (0, 0);
    loop {
        match live(folder, messages, points, &mut acknowledged) {
            Ok(root) => return (root, kills),
            Err(Error::Refusing(_)) => kills += 1,
            Err(error) => panic!("after {kills} kills: {error}"),
        }
    }
}

#[test]
fn a_kill_at_any_point_changes_nothing() {
    const MESSAGES: u64 = 40;
    let undisturbed = tempfile::tempdir().unwrap();
    let (none, calls, _) = killed_at(Vec::new());
    let (root, _) = lives(undisturbed.path(), MESSAGES, &none);
    let calls = calls.load(Ordering::Relaxed);
    let mut points = std::collections::BTreeSet::new();

    for call in 0..calls {
        let folder = tempfile::tempdir().unwrap();
        let (killed, _, names) = killed_at(vec![call]);
        let (found, kills) = lives(folder.path(), MESSAGES, &killed);

        assert_eq!((found, kills), (root, 1), "killed at call {call}: {:?}", names.lock().unwrap());
        points.extend(names.lock().unwrap().iter().copied());
    }
    assert_eq!(points.len(), 8, "every point was met: {points:?}");

    let (report, records) = checked_with_policy(undisturbed.path());
    assert!(report.is_clean());
    assert_eq!(records.iter().filter(|record| record.source == "gateway").count(), 8);
    assert_eq!(records.len(), 32 * 2 + 8);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, max_shrink_iters: 8, ..ProptestConfig::default() })]

    #[test]
    fn kills_while_recovering_from_kills_change_nothing(calls in proptest::collection::btree_set(0u64..60, 2..8)) {
        let (undisturbed, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (root, _) = lives(undisturbed.path(), 30, &killed_at(Vec::new()).0);

        let (found, _) = lives(folder.path(), 30, &killed_at(calls.into_iter().collect()).0);

        prop_assert_eq!(found, root);
    }
}

fn checked_with_policy(folder: &Path) -> (ledger::Report, Vec<AuditRecord>) {
    let keys = keys::of_log(&folder.join("keys"), ORIGIN).unwrap();
    let lines: String = keys.iter().map(|key| format!("log {}\n", key.verifying_key())).collect();
    std::fs::write(folder.join("log.policy"), format!("{lines}quorum none\n")).unwrap();
    checked(folder)
}
