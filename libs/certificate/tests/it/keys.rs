use std::{os::unix::fs::PermissionsExt, time::Duration};

use certificate::{
    Algorithm, At, Certificate, Signer, Trust, TrustedKey, issue,
    keys::file::{self, Keyring},
    verify::check,
};
use ground::Secret;
use ml_dsa::{MlDsa65, signature::Verifier};
use model::Timestamp;

use crate::fixture::{BEGAN, Office, facts, journal, passphrase, promoted};

fn after(seconds: i64) -> Timestamp {
    Timestamp(BEGAN + seconds * 1000)
}

#[test]
fn keys_are_stored_encrypted_for_their_owner_alone() {
    let office = Office::open();

    let mut keys = 0;
    for entry in std::fs::read_dir(office.folder.path()).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().ends_with(".key.pem") {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{text}");
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            keys += 1;
        }
    }
    assert_eq!(keys, 2);
}

#[test]
fn a_wrong_passphrase_opens_nothing_and_replaces_nothing() {
    let office = Office::open();
    let wrong = Secret::new("wrong");

    let opened = file::open(office.folder.path(), &office.ring.keys[0], &wrong);
    let rotated = file::rotate(office.folder.path(), &wrong, after(60), Duration::from_secs(60));

    assert!(opened.err().unwrap().to_string().ends_with("does not open with this passphrase"));
    assert!(rotated.is_err());
    assert_eq!(Keyring::read(office.folder.path()).unwrap(), office.ring);
    assert_eq!(format!("{wrong:?}"), "***");
}

#[test]
fn without_a_passphrase_no_key_is_stored() {
    let folder = tempfile::tempdir().unwrap();

    assert!(file::ensure(folder.path(), &Secret::new(""), file::BOTH, after(0)).is_err());
    assert!(Keyring::read(folder.path()).unwrap().keys.is_empty());
}

#[test]
fn making_sure_of_keys_twice_makes_them_once() {
    let office = Office::open();

    assert_eq!(file::ensure(office.folder.path(), &passphrase(), file::BOTH, after(9)).unwrap(), office.ring);
}

#[test]
fn the_passphrase_of_a_laptop_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys/passphrase");

    file::passphrase_file(&path).unwrap();
    let first = std::fs::read(&path).unwrap();
    file::passphrase_file(&path).unwrap();

    assert_eq!(std::fs::read(&path).unwrap(), first);
    assert_eq!(first.len(), 64);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

/// A certificate that says it was issued at this instant, by the newest keys of the ring.
async fn issued(office: &Office, ring: &Keyring, now: Timestamp, at: Timestamp) -> Certificate {
    let (mut facts, documents) = facts(&promoted());
    facts.issued = At(at);
    let open = |algorithm| {
        file::open(
            office.folder.path(),
            ring.current(office.folder.path(), algorithm, At(now)).unwrap(),
            &passphrase(),
        )
        .unwrap()
    };
    issue(&facts, documents, journal(&promoted()), &open(Algorithm::EcdsaP256), &open(Algorithm::MlDsa65))
        .await
        .unwrap()
}

#[tokio::test]
async fn old_and_new_keys_overlap() {
    let office = Office::open();
    let before = office.ring.clone();
    let after_rotation =
        file::rotate(office.folder.path(), &passphrase(), after(100), Duration::from_secs(50)).unwrap();
    let trust = Trust { keys: after_rotation.keys.clone(), log: None }.ready().unwrap();

    let old = |at| issued(&office, &before, after(99), after(at));
    let new = |at| issued(&office, &after_rotation, after(101), after(at));

    assert!(check(&old(99).await, &trust, after(120)).is_ok());
    assert!(check(&old(149).await, &trust, after(149)).is_ok(), "within the overlap");
    let late = check(&old(150).await, &trust, after(151)).unwrap_err();
    assert!(late[0].to_string().contains("was valid until"), "{}", late[0]);
    assert!(check(&new(100).await, &trust, after(151)).is_ok());
    let early = check(&new(99).await, &trust, after(151)).unwrap_err();
    assert!(early[0].to_string().contains("is valid from"), "{}", early[0]);
    assert_eq!(after_rotation.keys.len(), 4);
}

#[tokio::test]
async fn a_revoked_key_is_believed_nothing_that_no_log_saw_before() {
    let office = Office::open();
    let certificate = office.issue(&promoted()).await;
    let id = office.ring.keys[0].id.clone();

    let ring = file::revoke(office.folder.path(), &id[..12], after(86_400)).unwrap();
    let trust = Trust { keys: ring.keys.clone(), log: None }.ready().unwrap();
    let problems = check(&certificate, &trust, after(86_500)).unwrap_err();

    assert!(problems[0].to_string().contains("no witness saw the certificate before"), "{}", problems[0]);
    assert!(ring.current(office.folder.path(), Algorithm::EcdsaP256, At(after(86_401))).is_none());
    let ring = file::ensure(office.folder.path(), &passphrase(), file::BOTH, after(86_401)).unwrap();
    assert!(ring.current(office.folder.path(), Algorithm::EcdsaP256, At(after(86_401))).is_some());
}

#[test]
fn a_key_of_a_service_takes_over_with_an_overlap() {
    let (office, service) = (Office::open(), Office::open());
    let folder = office.folder.path();
    let key = TrustedKey::new(service.classic.key(), At(after(100)));

    for _ in 0..2 {
        file::adopt(folder, key.clone(), Duration::from_secs(50)).unwrap();
    }
    let ring = Keyring::read(folder).unwrap();

    assert_eq!(ring.keys.len(), 3);
    assert_eq!(ring.keys[0].valid_until, Some(At(after(150))));
    assert_eq!(ring.keys[1].valid_until, None, "the other kind of key is not its concern");
    // Its private half is not here, so only the old one could sign here, and only until it is over.
    let current = |at| ring.current(folder, Algorithm::EcdsaP256, At(after(at))).map(|key| key.id.clone());
    assert_eq!(current(149), Some(ring.keys[0].id.clone()));
    assert_eq!(current(150), None);
}

#[test]
fn a_trust_file_whose_key_is_another_than_its_id_is_refused() {
    let office = Office::open();
    let mut trust = office.trust();
    trust.keys[0].id = "0".repeat(64);

    assert!(trust.ready().is_err());
}

#[tokio::test]
async fn another_implementation_agrees_on_the_second_signature() {
    let office = Office::open();
    let message = b"the same message for both";

    let signature = office.quantum.sign(message).await.unwrap();

    // The raw key is the end of its SubjectPublicKeyInfo.
    let der = office.quantum.key().der();
    let raw: [u8; 1952] = der[der.len() - 1952..].try_into().unwrap();
    let key = ml_dsa::VerifyingKey::<MlDsa65>::decode(&raw.into());
    let signature = ml_dsa::Signature::<MlDsa65>::try_from(signature.as_slice()).unwrap();
    assert!(key.verify(message, &signature).is_ok());
    assert!(key.verify(b"another message", &signature).is_err());
}
