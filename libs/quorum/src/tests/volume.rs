//! What sled 0.34 does when more than a segment of its log is on its way to disk while power is lost, and that our log
//! never has as much on its way.

use std::{fs::File, path::Path};

use openraft::{
    CommittedLeaderId, EntryPayload,
    storage::{RaftLogStorage, RaftLogStorageExt},
};
use rand::{SeedableRng, rngs::StdRng};

use super::disk::Power;
use crate::{
    snapshot,
    store::{Disk, Opening, Store, system},
    types::{Batch, Entry, LogId, Proposal, SnapshotMeta, Wish},
};

/// A segment of sled's log: less than that may be written between two syncs.
const SEGMENT: u64 = 512 * 1024;

fn sled_at(folder: &Path) -> sled::Db {
    let config = sled::Config::new().path(folder.join("log")).mode(sled::Mode::HighThroughput);
    config.flush_every_ms(None).open().unwrap()
}

/// Whether what was synced survives when power is lost while `megabytes` more are on their way.
fn survives(megabytes: u64, seed: u64) -> bool {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("before");
    let database = sled_at(&folder);
    let path = folder.join("log/db");
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let power = Power::default();
    for number in 0..200u64 {
        database.insert(number.to_be_bytes(), vec![1; 20_000]).unwrap();
    }
    database.flush().unwrap();
    power.sync(&path, &file).unwrap();

    for number in 200..200 + megabytes * 50 {
        database.insert(number.to_be_bytes(), vec![2; 20_000]).unwrap();
    }
    let after = root.path().join("after");
    power.lose(&folder, &after, &mut StdRng::seed_from_u64(seed));
    drop(database);

    std::panic::catch_unwind(|| {
        let database = sled_at(&after);
        (0..200u64).all(|number| database.get(number.to_be_bytes()).is_ok_and(|value| value.is_some()))
    })
    .unwrap_or(false)
}

#[test]
fn sled_alone_loses_what_was_synced_when_more_than_a_segment_is_on_its_way() {
    let lost = (0..4).filter(|seed| !survives(8, *seed)).count();

    println!("{lost} of 4 databases lost what was synced before, with 8 MB on their way");
    assert!(lost > 0, "then windows are not needed any more");
}

fn entry(index: u64, length: usize) -> Entry {
    let wish = Wish::Command(serde_json::value::to_raw_value(&"x".repeat(length)).unwrap());
    let proposal = Proposal { key: index.to_string(), after: 0, level: 1, wish };
    let log_id = LogId::new(CommittedLeaderId::new(1, 1), index);
    Entry { log_id, payload: EntryPayload::Normal(Batch { proposals: vec![proposal] }) }
}

#[test]
fn less_than_a_segment_is_ever_on_its_way_whatever_the_size_of_entries() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (length, many) in [(1, 8_000u64), (300, 6_000), (4_000, 800), (32_000, 150)] {
        let root = tempfile::tempdir().unwrap();
        let power = Power::default();
        let opening = Opening {
            folder: root.path().to_owned(),
            cluster: "volume".to_owned(),
            disk: std::sync::Arc::new(power.clone()),
            bug: None,
        };
        let store = Store::open(opening).unwrap();
        let mut log = store.log.clone();
        runtime.block_on(async {
            log.blocking_append((0..many).map(|index| entry(index, length))).await.unwrap();
            log.truncate(LogId::new(CommittedLeaderId::new(1, 1), many * 3 / 4)).await.unwrap();
            let upto = LogId::new(CommittedLeaderId::new(1, 1), many / 2);
            let meta = SnapshotMeta { last_log_id: Some(upto), ..SnapshotMeta::default() };
            snapshot::write(&store.snapshot_path(), meta, b"{}").unwrap();
            log.purge(upto).await.unwrap();
        });

        let most = power.most_changed();
        println!("entries of {length} bytes: at most {} KiB between two syncs", most / 1024);
        assert!(most < SEGMENT, "{most} bytes for entries of {length}");
        log.close();
    }
}

#[test]
fn a_log_that_is_written_and_purged_for_long_stays_small() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let root = tempfile::tempdir().unwrap();
    let opening =
        Opening { folder: root.path().to_owned(), cluster: "long".to_owned(), disk: system(), bug: None };
    let store = Store::open(opening).unwrap();
    let mut log = store.log.clone();
    let (mut sizes, step) = (Vec::new(), 2_000);

    for round in 1..=20u64 {
        runtime.block_on(async {
            let entries = ((round - 1) * step..round * step).map(|index| entry(index, 300));
            log.blocking_append(entries).await.unwrap();
            let upto = LogId::new(CommittedLeaderId::new(1, 1), round * step - 500);
            let meta = SnapshotMeta { last_log_id: Some(upto), ..SnapshotMeta::default() };
            snapshot::write(&store.snapshot_path(), meta, b"{}").unwrap();
            log.purge(upto).await.unwrap();
        });
        sizes.push(log.disk_bytes() >> 10);
    }

    println!("KiB on disk after each 2,000 entries of 300 bytes: {sizes:?}");
    // All that was written is several times as much.
    assert!(sizes.iter().all(|size| *size < 16 << 10), "{sizes:?}");
    let blobs = std::fs::read_dir(root.path().join("log/blobs")).map_or(0, Iterator::count);
    assert_eq!(blobs, 0, "files that sled never frees");
    log.close();
}
