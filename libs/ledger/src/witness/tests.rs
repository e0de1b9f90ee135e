use super::*;
use crate::{Frontier, KeyKind, Store, leaf_hash};

const ORIGIN: &str = "example.com/log";

struct Log {
    folder: tempfile::TempDir,
    keys: Vec<SigningKey>,
}

impl Log {
    fn new() -> Log {
        let key = SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, [1; 32]).unwrap();
        Log { folder: tempfile::tempdir().unwrap(), keys: vec![key] }
    }

    fn public(&self) -> Vec<VerifyingKey> {
        self.keys.iter().map(|key| key.verifying_key().clone()).collect()
    }

    fn grow(&self, to: u64) -> SignedCheckpoint {
        let (mut store, _) = Store::open::<()>(self.folder.path()).unwrap();
        let entries: Vec<Vec<u8>> = (store.size()..to).map(|number| number.to_be_bytes().to_vec()).collect();
        store.integrate(&entries, &()).unwrap();
        store.publish(ORIGIN, &self.keys, 1).unwrap()
    }

    fn request(&self, old: u64, checkpoint: SignedCheckpoint) -> AddCheckpoint {
        let (store, _) = Store::open::<()>(self.folder.path()).unwrap();
        AddCheckpoint { old, proof: store.consistency(old).unwrap().hashes, checkpoint }
    }
}

fn witness(folder: &tempfile::TempDir, log: &Log) -> Result<WitnessFile, Error> {
    let key = SigningKey::from_seed("witness.example", KeyKind::MlDsa44, [2; 32]).unwrap();
    WitnessFile::open(folder.path(), vec![key], log.public())
}

#[test]
fn growth_is_cosigned_and_remembered_across_a_restart() {
    let (log, memory) = (Log::new(), tempfile::tempdir().unwrap());
    let first = witness(&memory, &log).unwrap();
    let mut signed = log.grow(5);
    let cosigned = first.add(&log.request(0, signed.clone()), 100).unwrap();
    signed.add(cosigned);
    let key = first.keys().next().unwrap().clone();
    assert_eq!(signed.verify([&key]).unwrap()[0].1, Some(100));
    drop(first);

    let second = witness(&memory, &log).unwrap();
    let grown = log.grow(300);
    assert_eq!(second.add(&log.request(0, grown.clone()), 200), Err(Refusal::Conflict(5)));
    let request = log.request(5, grown);
    assert_eq!(request.to_string().parse::<AddCheckpoint>().unwrap(), request);
    second.add(&request, 200).unwrap();
    assert_eq!(second.latest()[0].size, 300);
}

#[test]
fn a_fork_is_not_cosigned() {
    let (log, memory) = (Log::new(), tempfile::tempdir().unwrap());
    let witness = witness(&memory, &log).unwrap();
    witness.add(&log.request(0, log.grow(5)), 1).unwrap();
    let mut frontier = Frontier::default();
    (0..9u64).for_each(|number| frontier.push(leaf_hash(&(number + 1).to_be_bytes())));
    let sign = |size, root| {
        SignedCheckpoint::sign(Checkpoint { origin: ORIGIN.to_owned(), size, root }, &log.keys, 2).unwrap()
    };

    let forked =
        AddCheckpoint { old: 5, proof: vec![frontier.root(); 3], checkpoint: sign(9, frontier.root()) };
    assert!(matches!(witness.add(&forked, 2), Err(Refusal::Inconsistent(_))));
    let same_size = AddCheckpoint { old: 5, proof: vec![], checkpoint: sign(5, frontier.root()) };
    assert_eq!(witness.add(&same_size, 2), Err(Refusal::Conflict(5)));
    let back = AddCheckpoint { old: 5, proof: vec![], checkpoint: sign(4, frontier.root()) };
    assert_eq!(witness.add(&back, 2).unwrap_err().status(), 400);
    assert_eq!(witness.latest()[0].size, 5);
}

#[test]
fn strangers_are_not_cosigned() {
    let (log, memory) = (Log::new(), tempfile::tempdir().unwrap());
    let witness = witness(&memory, &log).unwrap();
    let checkpoint = log.grow(5).unverified().clone();
    let sign = |name: &str, seed: u8, checkpoint: Checkpoint| {
        let key = SigningKey::from_seed(name, KeyKind::Ed25519, [seed; 32]).unwrap();
        AddCheckpoint {
            old: 0,
            proof: vec![],
            checkpoint: SignedCheckpoint::sign(checkpoint, &[key], 1).unwrap(),
        }
    };

    assert_eq!(witness.add(&sign(ORIGIN, 9, checkpoint.clone()), 1).unwrap_err().status(), 403);
    let other = Checkpoint { origin: "other.example".to_owned(), ..checkpoint };
    assert_eq!(witness.add(&sign("other.example", 1, other), 1), Err(Refusal::UnknownLog));
}

#[test]
fn what_cannot_be_remembered_is_not_cosigned() {
    let (log, memory) = (Log::new(), tempfile::tempdir().unwrap());
    let witness = witness(&memory, &log).unwrap();
    std::fs::remove_dir_all(memory.path()).unwrap();
    // A file where the folder was: nothing can be written below it, whoever runs this.
    std::fs::write(memory.path(), "").unwrap();

    let refused = witness.add(&log.request(0, log.grow(5)), 1);
    std::fs::remove_file(memory.path()).unwrap();

    assert_eq!(refused.unwrap_err().status(), 503);
    assert!(witness.latest().is_empty());
}

#[test]
fn two_witnesses_cannot_share_a_memory() {
    let (log, memory) = (Log::new(), tempfile::tempdir().unwrap());
    let _first = witness(&memory, &log).unwrap();

    assert!(witness(&memory, &log).is_err());
}
