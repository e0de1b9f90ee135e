//! One folder that loses power again and again: nothing that was acknowledged is lost, no vote goes back, and damage is
//! noticed.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use openraft::{
    CommittedLeaderId, EntryPayload, RaftLogReader,
    storage::{RaftLogStorage, RaftLogStorageExt},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Bug, disk::Power, seeds};
use crate::{
    error::Error,
    snapshot,
    store::{Log, Opening, Store},
    types::{Batch, Entry, LogId, Proposal, SnapshotMeta, Vote, Wish},
};

/// What the folder must hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    vote: Option<Vote>,
    purged: Option<LogId>,
    /// Index, term and length of every entry.
    entries: Vec<(u64, u64, usize)>,
}

#[derive(Clone, Debug)]
enum Deed {
    Vote(Vote),
    Append(Vec<Entry>),
    Truncate(LogId),
    Purge(LogId),
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, 1), index)
}

fn entry(term: u64, index: u64, length: usize) -> Entry {
    let wish = Wish::Command(serde_json::value::to_raw_value(&"x".repeat(length)).unwrap());
    let proposal = Proposal { key: index.to_string(), after: 0, level: 1, wish };
    Entry { log_id: id(term, index), payload: EntryPayload::Normal(Batch { proposals: vec![proposal] }) }
}

fn seen(entry: &Entry) -> (u64, u64, usize) {
    let length = match &entry.payload {
        EntryPayload::Normal(batch) => batch.proposals[0].wish.size() - 2,
        _ => 0,
    };
    (entry.log_id.index, entry.log_id.leader_id.term, length)
}

impl Model {
    fn term(&self) -> u64 {
        self.vote.map_or(0, |vote| vote.leader_id.term)
    }

    fn next(&self) -> u64 {
        self.entries.last().map(|last| last.0).max(self.purged.map(|at| at.index)).map_or(0, |last| last + 1)
    }

    fn choose(&self, random: &mut StdRng) -> Deed {
        let lengths = [10, 300, 3_000, 30_000];
        match random.random_range(0..10) {
            0 | 1 => Deed::Vote(Vote::new(self.term() + 1, random.random_range(1..4))),
            2 if self.entries.len() > 2 => {
                let (index, term, _) = self.entries[random.random_range(1..self.entries.len())];
                Deed::Truncate(id(term, index))
            }
            3 if self.entries.len() > 20 => {
                let (index, term, _) = self.entries[random.random_range(0..self.entries.len())];
                Deed::Purge(id(term, index))
            }
            _ => {
                let (first, term) =
                    (self.next(), self.term().max(self.entries.last().map_or(0, |last| last.1)));
                let many = random.random_range(1..12);
                let length = lengths[random.random_range(0..lengths.len())];
                Deed::Append((first..first + many).map(|index| entry(term, index, length)).collect())
            }
        }
    }

    /// Entries that fill many of sled's segments at once.
    fn choose_large(&self, random: &mut StdRng) -> Deed {
        let (first, term) = (self.next(), self.term().max(self.entries.last().map_or(0, |last| last.1)));
        Deed::Append(
            (first..first + random.random_range(20..300)).map(|index| entry(term, index, 30_000)).collect(),
        )
    }

    fn after(&self, deed: &Deed) -> Model {
        let mut model = self.clone();
        match deed {
            Deed::Vote(vote) => model.vote = Some(*vote),
            Deed::Append(entries) => model.entries.extend(entries.iter().map(seen)),
            Deed::Truncate(from) => model.entries.retain(|one| one.0 < from.index),
            Deed::Purge(upto) => {
                model.purged = Some(*upto);
                model.entries.retain(|one| one.0 > upto.index);
            }
        }
        model
    }
}

async fn act(store_folder: PathBuf, mut log: Log, deed: Deed) {
    match deed {
        Deed::Vote(vote) => log.save_vote(&vote).await.unwrap(),
        Deed::Append(entries) => log.blocking_append(entries).await.unwrap(),
        Deed::Truncate(from) => log.truncate(from).await.unwrap(),
        Deed::Purge(upto) => {
            let meta = SnapshotMeta { last_log_id: Some(upto), ..SnapshotMeta::default() };
            snapshot::write(&store_folder.join("snapshot"), meta, b"{}").unwrap();
            log.purge(upto).await.unwrap();
        }
    }
}

async fn found(log: &mut Log) -> Model {
    let state = log.get_log_state().await.unwrap();
    let entries = log.try_get_log_entries(..).await.unwrap();
    Model {
        vote: log.read_vote().await.unwrap(),
        purged: state.last_purged_log_id,
        entries: entries.iter().map(seen).collect(),
    }
}

fn opening(folder: &Path, power: &Power, bug: Option<Bug>) -> Opening {
    Opening {
        folder: folder.to_owned(),
        cluster: "power".to_owned(),
        disk: std::sync::Arc::new(power.clone()),
        bug,
    }
}

/// One folder through several losses of power. The error says what was lost.
fn lives(seed: u64, bug: Option<Bug>) -> Result<u32, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let root = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let (mut model, mut under_way): (Model, Option<Deed>) = (Model::default(), None);
    let mut deeds = 0;
    for life in 0..6 {
        let folder = root.path().join(life.to_string());
        let power = Power::default();
        let opened = Store::open(opening(&folder, &power, bug));
        let store = opened.map_err(|error| format!("life {life}: {error}"))?;
        let mut log = store.log.clone();
        let found = runtime.block_on(found(&mut log));
        let done = under_way.take().map_or_else(|| model.clone(), |deed| model.after(&deed));
        // Entries that were on their way may have arrived up to any of them; all else happened or did not.
        let has_some = found.entries.len() > model.entries.len()
            && done.entries.starts_with(&found.entries)
            && found == Model { entries: found.entries.clone(), ..model.clone() };
        if found != model && found != done && !has_some {
            return Err(format!("life {life}: found {found:?}\nacknowledged {model:?}\nor {done:?}"));
        }
        model = found;

        for _ in 0..random.random_range(1..60) {
            let deed = model.choose(&mut random);
            model = model.after(&deed);
            runtime.block_on(act(folder.clone(), log.clone(), deed));
            deeds += 1;
        }
        let deed =
            if random.random_bool(0.5) { model.choose(&mut random) } else { model.choose_large(&mut random) };
        let doing = runtime.spawn(act(folder.clone(), log.clone(), deed.clone()));
        std::thread::sleep(Duration::from_micros(random.random_range(0..30_000)));
        power.lose(&folder, &root.path().join((life + 1).to_string()), &mut random);
        runtime.block_on(doing).unwrap();
        under_way = Some(deed);
        store.log.close();
    }
    Ok(deeds)
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_power_is() {
    let (seeds, mut deeds) = (seeds(4), 0);
    for seed in &seeds {
        deeds += lives(*seed, None).unwrap_or_else(|lost| panic!("QUORUM_SEED={seed}: {lost}"));
    }
    println!("{deeds} acknowledged writes, {} losses of power", 6 * seeds.len());
}

#[test]
fn a_log_that_acknowledges_before_it_flushes_is_found_out() {
    let found = (0..40).find_map(|seed| Some((seed, lives(seed, Some(Bug::AcknowledgeBeforeFlush)).err()?)));

    let (seed, lost) = found.expect("found within 40 seeds");
    println!("seed {seed}: {}", lost.lines().next().unwrap_or_default());
}

#[test]
fn a_vote_that_is_not_put_down_is_found_out() {
    let found = (0..40).find_map(|seed| Some((seed, lives(seed, Some(Bug::VoteNotSaved)).err()?)));

    let (seed, lost) = found.expect("found within 40 seeds");
    println!("seed {seed}: {}", lost.lines().next().unwrap_or_default());
}

#[test]
fn a_folder_that_lost_a_file_or_got_an_old_one_back_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = |what: &str, spoil: &dyn Fn(&Path, &Path)| {
        let root = tempfile::tempdir().unwrap();
        let (folder, old) = (root.path().join("member"), root.path().join("old"));
        let mut random = StdRng::seed_from_u64(1);
        let power = Power::default();
        let mut model = Model::default();
        for life in 0..2 {
            let store = Store::open(opening(&folder, &power, None)).unwrap();
            for _ in 0..30 {
                let deed = model.choose(&mut random);
                model = model.after(&deed);
                runtime.block_on(act(folder.clone(), store.log.clone(), deed));
            }
            store.log.close();
            if life == 0 {
                power.keep_all(&folder, &old);
            }
        }
        assert!(model.purged.is_some(), "the story has a purge");
        spoil(&folder, &old);
        let error = Store::open(opening(&folder, &power, None)).err();
        assert!(matches!(error, Some(Error::Damaged { .. })), "{what}: {error:?}");
        error.unwrap().to_string()
    };
    let remove =
        |name: &'static str| move |folder: &Path, _: &Path| std::fs::remove_file(folder.join(name)).unwrap();
    let restore = |folder: &Path, old: &Path| {
        std::fs::remove_dir_all(folder.join("log")).unwrap();
        std::fs::rename(old.join("log"), folder.join("log")).unwrap();
    };

    assert!(refused("database", &remove("log/db")).contains("log/db is gone"));
    assert!(refused("seal", &remove("seal")).contains("the file seal is gone"));
    assert!(refused("member", &remove("member.json")).contains("member.json is gone"));
    assert!(refused("snapshot", &remove("snapshot")).contains("but the newest snapshot ends at none"));
    assert!(refused("old database", &restore).contains("was acknowledged: it lost what was written since"));
}

#[test]
fn a_damaged_folder_is_refused_and_stays_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (seeds, mut noticed) = (seeds(20), 0);
    for seed in seeds.clone() {
        let root = tempfile::tempdir().unwrap();
        let mut random = StdRng::seed_from_u64(seed);
        let power = Power::default();
        let folder = root.path().join("member");
        let store = Store::open(opening(&folder, &power, None)).unwrap();
        let (mut log, mut model) = (store.log.clone(), Model::default());
        for _ in 0..40 {
            let deed = model.choose(&mut random);
            model = model.after(&deed);
            runtime.block_on(act(folder.clone(), log.clone(), deed));
        }
        log.close();
        drop((log, store));
        let path = folder.join("log/db");
        let mut bytes = std::fs::read(&path).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        let at = random.random_range(0..used);
        let end = (at + random.random_range(1..2_000)).min(used);
        random.fill(&mut bytes[at..end]);
        std::fs::write(&path, bytes).unwrap();

        match Store::open(opening(&folder, &power, None)) {
            Ok(store) => {
                // What was hit was no longer needed.
                log = store.log.clone();
                let found = runtime.block_on(found(&mut log));
                assert_eq!(
                    found, model,
                    "QUORUM_SEED={seed}: damage at {at}..{end} of {used} went unnoticed"
                );
                log.close();
            }
            Err(error @ Error::Damaged { .. }) => {
                noticed += 1;
                let again = Store::open(opening(&folder, &power, None)).err().map(|error| error.to_string());
                assert_eq!(again, Some(error.to_string()), "QUORUM_SEED={seed}");
            }
            Err(other) => panic!("QUORUM_SEED={seed}: {other}"),
        }
    }
    println!("{noticed} of {} damages were noticed, the others hit nothing that was needed", seeds.len());
    assert!(noticed > 0);
}
