//! Bytes that somebody else sent: whatever they are, reading them ends, and they prove nothing but what was signed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "damage.rs"]
mod damage;

use std::{fs, path::PathBuf, sync::LazyLock};

use ledger::{
    KeyKind, Note, NoteSignature, Policy, ProofFile, SignedCheckpoint, SigningKey, Store, VerifyingKey,
    store::Reader, tile::Tile, verify, witness::AddCheckpoint,
};
use proptest::{prelude::*, strategy::ValueTree};

use damage::{damaged, damages};

const ORIGIN: &str = "example.com/log";
const SIZE: u64 = 300;
/// In the same tile, so that the older form of it lies beside the newer.
const OLD: u64 = 270;
const INDEX: u64 = 123;

/// A log with two states, an entry's proof, and a witness's cosignature under it.
struct World {
    folder: tempfile::TempDir,
    policy: Policy,
    /// The policy as a file.
    text: String,
    proof: ProofFile,
    request: AddCheckpoint,
    keys: Vec<VerifyingKey>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str, kind, seed| SigningKey::from_seed(name, kind, [seed; 32]).unwrap();
    let keys = [key(ORIGIN, KeyKind::Ed25519, 1), key(ORIGIN, KeyKind::MlDsa44, 2)];
    let witness = key("witness.example/1", KeyKind::MlDsa44, 3);
    let (mut store, ()) = Store::open(folder.path()).unwrap();
    let entries: Vec<Vec<u8>> = (0..SIZE).map(entry).collect();
    store.integrate(&entries[..OLD as usize], &()).unwrap();
    store.publish(ORIGIN, &keys, 1).unwrap();
    store.integrate(&entries[OLD as usize..], &()).unwrap();
    let mut signed = store.publish(ORIGIN, &keys, 2).unwrap();
    let request =
        AddCheckpoint { old: OLD, proof: store.consistency(OLD).unwrap().hashes, checkpoint: signed.clone() };
    signed.add([witness.sign(signed.unverified(), 3).unwrap()]);
    store.show(&signed).unwrap();
    let lines: String = keys.iter().map(|key| format!("log {}\n", key.verifying_key())).collect();
    let text = format!("{lines}witness w {}\nquorum w\n", witness.verifying_key());
    World {
        policy: text.parse().unwrap(),
        text,
        proof: ProofFile::new(store.inclusion(INDEX).unwrap(), signed),
        request,
        keys: keys.map(|key| key.verifying_key().clone()).to_vec(),
        folder,
    }
});

fn entry(number: u64) -> Vec<u8> {
    format!("entry {number}").into_bytes()
}

/// What is read as text is UTF-8 or not read at all; the readers get what is left of it.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn read_as_everything(text: &str) {
    let _ = text.parse::<Note>();
    let _ = text.parse::<NoteSignature>();
    let _ = text.parse::<SignedCheckpoint>();
    let _ = text.parse::<ProofFile>();
    let _ = text.parse::<AddCheckpoint>();
    let _ = text.parse::<Policy>();
    let _ = text.parse::<VerifyingKey>();
    let _ = SigningKey::from_secret_text(text);
}

/// It proves what it was made to prove, or nothing.
fn proves_nothing_else(text: &str, entry: &[u8]) -> Result<(), TestCaseError> {
    let World { policy, proof, .. } = &*WORLD;
    let Ok(read) = text.parse::<ProofFile>() else { return Ok(()) };
    if let Ok(proven) = read.check(entry, policy) {
        prop_assert_eq!(entry, self::entry(INDEX));
        prop_assert_eq!((proven.index, &read.hashes), (INDEX, &proof.hashes));
        prop_assert_eq!(read.checkpoint.unverified(), proof.checkpoint.unverified());
    }
    Ok(())
}

fn files() -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![WORLD.folder.path().join("log")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// The log again, with these bytes in one of its files.
fn copy_with(to: &std::path::Path, broken: &PathBuf, bytes: &[u8]) {
    for file in &files() {
        let path = to.join(file.strip_prefix(WORLD.folder.path()).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if file == broken { fs::write(path, bytes).unwrap() } else { fs::copy(file, path).map(drop).unwrap() }
    }
}

/// `make verifier`: a verifier that was written from the documentation says the same of damaged logs.
#[test]
fn another_verifier_says_the_same_of_damaged_logs() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = [root.join(".tools/py/bin/python"), "python3".into()].into_iter().find(|python| {
        let asked = std::process::Command::new(python).args(["-c", "import cryptography"]).status();
        asked.is_ok_and(|status| status.success())
    });
    let Some(python) = python else {
        testkit::skip("no Python with the package cryptography", "tools/setup.sh --all makes one");
        return;
    };
    let (World { policy, text, .. }, home, files) = (&*WORLD, tempfile::tempdir().unwrap(), files());
    fs::write(home.path().join("policy"), text).unwrap();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let damages = damages();
    let mut ours = Vec::new();
    let mut command = std::process::Command::new(python);
    command.arg("-B").arg(root.join("tests/verifier/log.py")).arg(home.path().join("policy"));
    for case in 0..400 {
        let broken = &files[case % files.len()];
        let whole = fs::read(broken).unwrap();
        let damage = damages.new_tree(&mut runner).unwrap().current();
        // Some as they are: both must also say yes.
        let bytes = if case % 10 == 9 { whole } else { damaged(&whole, &damage) };
        let folder = home.path().join(case.to_string());
        copy_with(&folder, broken, &bytes);
        let log = folder.join("log");
        let report = verify::verify(&log, policy, &[], |_, _| {});
        command.arg(&log);
        ours.push((report.as_ref().is_ok_and(verify::Report::is_clean), broken, format!("{report:?}")));
    }

    let output = command.output().unwrap();

    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), ours.len(), "{}", String::from_utf8_lossy(&output.stderr));
    for ((valid, broken, report), line) in ours.iter().zip(&lines) {
        assert_eq!(*valid, line.ends_with(" valid"), "{}: {line}\n{report}", broken.display());
    }
    let valid = ours.iter().filter(|(valid, ..)| *valid).count();
    println!("{} logs: both say valid of {valid} and invalid of {}", ours.len(), ours.len() - valid);
    assert!(valid >= 40 && valid < ours.len() / 2, "{valid}");
}

#[test]
fn what_the_others_are_made_from_is_believed() {
    let World { policy, proof, request, keys, folder, .. } = &*WORLD;

    assert!(proof.check(&entry(INDEX), policy).is_ok());
    assert!(ledger::witness::decide(request, keys, Some(&before())).is_ok());
    assert!(verify::verify(&folder.path().join("log"), policy, &[], |_, _| {}).unwrap().is_clean());
    assert_eq!(files().len(), 8, "{:?}", files());
}

/// The state that the witness of the request has cosigned.
fn before() -> ledger::Checkpoint {
    let root = Reader::new(WORLD.folder.path().join("log"), OLD).root().unwrap();
    ledger::Checkpoint { origin: ORIGIN.to_owned(), size: OLD, root }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..400), width in 1..=256u16, number: u64) {
        read_as_everything(&text(&bytes));
        let tile = Tile { level: None, number: number >> 16, width };
        let _ = ledger::tile::split_entries(&tile, &bytes);
        let _ = ledger::tile::split_hashes(&Tile { level: Some(0), ..tile }, &bytes);
    }

    #[test]
    fn a_damaged_proof_proves_nothing_else(damage in damages()) {
        let whole = WORLD.proof.to_string();
        let bytes = damaged(whole.as_bytes(), &damage);

        read_as_everything(&text(&bytes));
        proves_nothing_else(&text(&bytes), &entry(INDEX))?;
    }

    #[test]
    fn a_proof_proves_no_damaged_entry(damage in damages()) {
        let bytes = damaged(&entry(INDEX), &damage);

        prop_assert!(bytes == entry(INDEX) || WORLD.proof.check(&bytes, &WORLD.policy).is_err());
    }

    #[test]
    fn a_damaged_request_is_not_cosigned(damage in damages()) {
        let World { request, keys, .. } = &*WORLD;
        let bytes = damaged(request.to_string().as_bytes(), &damage);

        if let Ok(read) = text(&bytes).parse::<AddCheckpoint>()
            && let Ok(cosigned) = ledger::witness::decide(&read, keys, Some(&before()))
        {
            prop_assert_eq!(&cosigned, request.checkpoint.unverified());
            prop_assert_eq!((read.old, &read.proof), (request.old, &request.proof));
        }
    }
}

proptest! {
    // Fewer: each reads a whole log.
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_with_a_damaged_file_is_not_found_whole(file: prop::sample::Index, damage in damages(), anything in prop::option::weighted(0.2, prop::collection::vec(any::<u8>(), 0..400))) {
        let World { policy, .. } = &*WORLD;
        let (files, copy) = (files(), tempfile::tempdir().unwrap());
        let broken = file.get(&files);
        let whole = fs::read(broken).unwrap();
        let bytes = anything.unwrap_or_else(|| damaged(&whole, &damage));
        copy_with(copy.path(), broken, &bytes);
        let log = copy.path().join("log");

        let reader = Reader::new(&log, SIZE);
        let (one, path, growth) = (reader.entry(INDEX), reader.inclusion(INDEX), reader.consistency(OLD));
        let report = verify::verify(&log, policy, &[], |_, _| {});

        let (root, known) = (WORLD.proof.checkpoint.unverified().root, before().root);
        if let (Ok(one), Ok(path)) = (one, path) {
            prop_assert!(one == entry(INDEX) || path.verify(&ledger::leaf_hash(&one), &root).is_err());
        }
        if let Ok(growth) = growth {
            prop_assert!(growth.old == OLD && growth.new == SIZE);
            let _ = growth.verify(&known, &root);
        }
        // Of a checkpoint only what its signatures cover must be as it was.
        let same = bytes == whole || String::from_utf8(bytes).is_ok_and(|text| {
            text.parse::<SignedCheckpoint>().is_ok_and(|read| policy.check(&read).is_ok())
        });
        prop_assert_eq!(report.is_ok_and(|report| report.is_clean()), same, "{}", broken.display());
    }
}
