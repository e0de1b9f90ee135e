//! The same certificate, checked by software that is not ours.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use certificate::Certificate;

use crate::{
    fixture::{Office, promoted, rejected, rolled_back},
    log,
};

fn from_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Runs a script; panics with what it said when it fails.
fn run(python: &Path, script: &str, arguments: &[&Path], word: Option<&str>) -> String {
    let output = Command::new(python).arg(from_root(script)).args(arguments).args(word).output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}:\n{said}");
    said
}

fn export(certificate: &Certificate, office: &Office, folder: &Path) {
    for (name, bytes) in certificate::files(certificate, &office.trust()) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

#[tokio::test]
async fn other_software_agrees_on_every_part() {
    let python = from_root(".tools/py/bin/python");
    if !python.exists() {
        testkit::skip(
            "no .tools/py here, so nobody else checked a certificate",
            "tools/setup.sh --all makes it",
        );
        return;
    }
    let office = Office::open();

    for records in [promoted(), rolled_back(), rejected()] {
        let folder = tempfile::tempdir().unwrap();
        export(&office.issue(&records).await, &office, folder.path());

        let arguments = [folder.path(), office.folder.path()];
        let said =
            run(&python, "tests/interop/certificate.py", &arguments, Some("correct horse battery staple"));

        for part in [
            "sigstore-models reads",
            "securesystemslib verifies",
            "ML-DSA-65",
            "in-toto-attestation validates",
        ] {
            assert!(said.contains(part), "{part} is missing:\n{said}");
        }
    }
}

#[tokio::test]
async fn the_rfc_agrees_on_the_proof() {
    let (office, kept) = (Office::open(), log::Log::new());
    let (certificate, _) = log::logged(&office, &kept).await;
    let folder = tempfile::tempdir().unwrap();
    export(&certificate, &office, folder.path());

    let (proof, entry) =
        (folder.path().join("deployment.tlog-proof"), folder.path().join("audit-entry.json"));
    let output = Command::new("python3")
        .arg(from_root("tests/interop/tlog.py"))
        .arg("proof")
        .args([&proof, &entry])
        .output();
    let Ok(output) = output else {
        testkit::skip("no python3 here, so nobody else checked a proof", "tools/setup.sh installs it");
        return;
    };

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
