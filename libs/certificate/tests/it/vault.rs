//! Keys in Vault: what is asked, what is refused.

use certificate::{
    At, Signer, Trust, TrustedKey, issue,
    keys::vault::{Settings, VaultKey},
    verify::check,
};
use ground::Secret;
use model::{Code, Timestamp};

use crate::{
    emulator::{self, Shared, pair},
    fixture::{BEGAN, NOW, Office, facts, journal, promoted},
};

async fn serve() -> (Shared, Settings) {
    let (vault, address) = emulator::start().await;
    let settings = Settings {
        address,
        mount: "transit".to_owned(),
        name: "certificates".to_owned(),
        token: Secret::new("s.secret"),
        namespace: None,
        authority: None,
    };
    (vault, settings)
}

#[tokio::test]
async fn a_certificate_that_vault_signed_is_valid() {
    let office = Office::open();
    let (vault, settings) = serve().await;
    let key = VaultKey::open(settings).await.unwrap();
    let (facts, documents) = facts(&promoted());

    let certificate = issue(&facts, documents, journal(&promoted()), &key, &office.quantum).await.unwrap();

    let keys = vec![TrustedKey::new(key.key(), At(Timestamp(BEGAN))), office.ring.keys[1].clone()];
    let trust = Trust { keys, log: None }.ready().unwrap();
    assert!(check(&certificate, &trust, NOW).unwrap().is_positive());
    assert_eq!(vault.lock().unwrap().asked.len(), 2);
}

#[tokio::test]
async fn a_key_that_was_rotated_in_vault_is_taken_when_it_is_opened_again() {
    let (vault, settings) = serve().await;
    let first = VaultKey::open(settings.clone()).await.unwrap();
    vault.lock().unwrap().versions.push(pair());

    let signature = first.sign(b"message").await.unwrap();
    let second = VaultKey::open(settings).await.unwrap();

    assert!(first.key().verifies(b"message", &signature), "still signs with the version it was opened with");
    assert_eq!((first.version(), second.version()), (1, 2));
    assert_ne!(first.key().id(), second.key().id());
}

#[tokio::test]
async fn what_vault_refuses_is_told_without_the_token() {
    let (vault, settings) = serve().await;
    let key = VaultKey::open(settings.clone()).await.unwrap();

    for (status, error, code) in [
        (403, "permission denied", Code::Denied),
        (429, "rate limited", Code::Unavailable),
        (503, "Vault is sealed", Code::Unavailable),
    ] {
        vault.lock().unwrap().fault = Some((status, error));

        let refusal = key.sign(b"message").await.unwrap_err();

        assert_eq!(refusal.code(), code, "{refusal}");
        assert!(refusal.to_string().contains(error), "{refusal}");
    }
    let wrong = Settings { token: Secret::new("s.wrong"), ..settings.clone() };
    let refusal = VaultKey::open(wrong.clone()).await.unwrap_err();
    assert!(!format!("{refusal:?} {wrong:?}").contains("s.wrong"));
}

#[tokio::test]
async fn a_signature_that_does_not_verify_is_not_passed_on() {
    let (vault, settings) = serve().await;
    let key = VaultKey::open(settings).await.unwrap();
    vault.lock().unwrap().lies = true;

    let refusal = key.sign(b"message").await.unwrap_err();

    assert!(refusal.to_string().contains("does not verify"), "{refusal}");
}

#[tokio::test]
async fn keys_of_other_kinds_and_names_are_refused() {
    let (vault, settings) = serve().await;
    vault.lock().unwrap().kind = "rsa-2048";

    let kind = VaultKey::open(settings.clone()).await.unwrap_err();
    let name = VaultKey::open(Settings { name: "other".to_owned(), ..settings.clone() }).await.unwrap_err();
    let nobody =
        VaultKey::open(Settings { address: "http://127.0.0.1:1".to_owned(), ..settings }).await.unwrap_err();

    assert!(kind.to_string().contains("is of type rsa-2048"), "{kind}");
    assert_eq!(name.code(), Code::Denied);
    assert_eq!(nobody.code(), Code::Unavailable);
}
