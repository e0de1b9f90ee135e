//! Vault's transit engine, as far as its API documents it: the requests that are sent and the replies that come.

use std::sync::{Arc, Mutex};

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use certificate::{
    Algorithm, At, PublicKey, Signer, Trust, TrustedKey, issue,
    keys::vault::{Settings, VaultKey},
    verify::check,
};
use model::{Code, Timestamp};
use serde_json::{Value, json};

use crate::fixture::{BEGAN, Office, facts, promoted};

/// The emulator: one key of several versions, and what goes wrong.
#[derive(Default)]
struct Vault {
    versions: Vec<EcdsaKeyPair>,
    kind: &'static str,
    fault: Option<(u16, &'static str)>,
    lies: bool,
    asked: Vec<Value>,
}

type Shared = Arc<Mutex<Vault>>;
type Reply = (StatusCode, Json<Value>);

fn refused(status: u16, errors: &[&str]) -> Reply {
    (StatusCode::from_u16(status).unwrap(), Json(json!({"errors": errors})))
}

fn answered(data: Value) -> Reply {
    let reply = json!({
        "request_id": "9b7a6f0e-2a0f-4b7e-8c0a-1f2a3b4c5d6e", "lease_id": "", "renewable": false, "lease_duration": 0,
        "data": data, "wrap_info": null, "warnings": null, "auth": null, "mount_type": "transit",
    });
    (StatusCode::OK, Json(reply))
}

fn gate(vault: &Vault, headers: &HeaderMap) -> Result<(), Reply> {
    if headers.get("x-vault-token").is_none_or(|token| token != "s.secret") {
        return Err(refused(403, &["permission denied"]));
    }
    match vault.fault {
        Some((status, error)) => Err(refused(status, &[error])),
        None => Ok(()),
    }
}

async fn read(State(vault): State<Shared>, Path(name): Path<String>, headers: HeaderMap) -> Reply {
    let vault = vault.lock().unwrap();
    if let Err(reply) = gate(&vault, &headers) {
        return reply;
    }
    if name != "certificates" {
        return refused(404, &[]);
    }
    let keys: serde_json::Map<String, Value> = vault
        .versions
        .iter()
        .enumerate()
        .map(|(at, pair)| {
            let public = public(pair).pem();
            let key = json!({
                "certificate_chain": "", "creation_time": "2026-11-21T05:51:00.142Z", "name": "P-256", "public_key": public,
            });
            ((at + 1).to_string(), key)
        })
        .collect();
    answered(json!({
        "name": name, "type": vault.kind, "keys": keys, "latest_version": vault.versions.len(), "exportable": false,
        "deletion_allowed": false, "min_decryption_version": 1, "min_encryption_version": 0, "supports_signing": true,
    }))
}

async fn sign(
    State(vault): State<Shared>,
    Path((name, hash)): Path<(String, String)>,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Reply {
    let mut vault = vault.lock().unwrap();
    if let Err(reply) = gate(&vault, &headers) {
        return reply;
    }
    if (name.as_str(), hash.as_str()) != ("certificates", "sha2-256") {
        return refused(400, &["signing key not found"]);
    }
    let version = asked["key_version"].as_u64().unwrap_or(vault.versions.len() as u64);
    let mut input = STANDARD.decode(asked["input"].as_str().unwrap()).unwrap();
    if vault.lies {
        input.push(0);
    }
    assert_eq!(asked["marshaling_algorithm"], "asn1");
    assert_eq!(asked["prehashed"], false);
    let signature = vault.versions[version as usize - 1].sign(&SystemRandom::new(), &input).unwrap();
    vault.asked.push(asked);
    answered(json!({
        "signature": format!("vault:v{version}:{}", STANDARD.encode(signature.as_ref())), "key_version": version,
    }))
}

fn pair() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()
}

fn public(pair: &EcdsaKeyPair) -> PublicKey {
    PublicKey::from_der(Algorithm::EcdsaP256, pair.public_key().as_der().unwrap().as_ref()).unwrap()
}

async fn serve() -> (Shared, Settings) {
    let vault = Shared::default();
    vault.lock().unwrap().kind = "ecdsa-p256";
    vault.lock().unwrap().versions.push(pair());
    let routes = Router::new()
        .route("/v1/transit/keys/{name}", get(read))
        .route("/v1/transit/sign/{name}/{hash}", post(sign))
        .with_state(Arc::clone(&vault));
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", socket.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(socket, routes).await.unwrap() });
    let settings = Settings {
        address,
        mount: "transit".to_owned(),
        name: "certificates".to_owned(),
        token: "s.secret".to_owned().into(),
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

    let certificate = issue(&facts, documents, &key, &office.quantum).await.unwrap();

    let keys = vec![TrustedKey::new(key.key(), At(Timestamp(BEGAN))), office.ring.keys[1].clone()];
    let trust = Trust { keys, log: None }.ready().unwrap();
    assert!(check(&certificate, &trust).unwrap().is_positive());
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
    let wrong = Settings { token: "s.wrong".to_owned().into(), ..settings.clone() };
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
