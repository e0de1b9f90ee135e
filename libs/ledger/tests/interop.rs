//! The log's files are checked by a program in another language that shares no code with ours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ledger::{KeyKind, ProofFile, SigningKey, Store};

const ORIGIN: &str = "example.com/log";

fn python(arguments: &[&str]) -> (bool, String) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop/tlog.py");
    let output = Command::new("python3").arg(script).args(arguments).output().expect("python3 is needed");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn roots_and_proofs_are_those_of_another_implementation() {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, [1; 32]).unwrap();
    let (mut store, _) = Store::open::<()>(folder.path()).unwrap();
    let entry = |number: u64| format!("entry {number}").into_bytes();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let file = |name: &str| folder.path().join(name);

    for (size, older) in [(1, 0), (2, 1), (255, 2), (256, 255), (257, 256), (700, 257), (3001, 700)] {
        let entries: Vec<Vec<u8>> = (older..size).map(entry).collect();
        store.integrate(&entries, &()).unwrap();
        let signed = store.publish(ORIGIN, std::slice::from_ref(&key), 1).unwrap();

        let (agrees, said) = python(&["root", text(&store.public_folder())]);
        assert!(agrees, "root of {size}: {said}");

        let index = size * 2 / 3;
        let proof = ProofFile::new(store.inclusion(index).unwrap(), signed.clone());
        fs::write(file("proof"), proof.to_string()).unwrap();
        fs::write(file("entry"), entry(index)).unwrap();
        let (agrees, said) = python(&["proof", text(&file("proof")), text(&file("entry"))]);
        assert!(agrees, "entry {index} of {size}: {said}");
        fs::write(file("entry"), entry(index + 1)).unwrap();
        assert!(!python(&["proof", text(&file("proof")), text(&file("entry"))]).0);

        fs::write(&new, signed.to_string()).unwrap();
        if older > 0 {
            let hashes: Vec<String> =
                store.consistency(older).unwrap().hashes.iter().map(ToString::to_string).collect();
            let mut arguments = vec!["consistency", text(&old), text(&new)];
            arguments.extend(hashes.iter().map(String::as_str));
            let (agrees, said) = python(&arguments);
            assert!(agrees, "{older} to {size}: {said}");
            arguments.pop();
            assert!(!python(&arguments).0);
        }
        fs::copy(&new, &old).unwrap();
    }
}

#[test]
fn the_other_implementation_sees_a_changed_entry_too() {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, [1; 32]).unwrap();
    let (mut store, _) = Store::open::<()>(folder.path()).unwrap();
    store.integrate(&[b"one".to_vec(), b"two".to_vec()], &()).unwrap();
    store.publish(ORIGIN, &[key], 1).unwrap();
    let bundle = store.public_folder().join("tile/entries/000.p/2");
    let mut bytes = fs::read(&bundle).unwrap();
    bytes[3] ^= 1;
    fs::write(&bundle, bytes).unwrap();

    assert!(!python(&["root", text(&store.public_folder())]).0);
}
