//! Vault's transit engine, as far as its API documents it: the requests that are sent and the replies that come. Also
//! read by the command line's tests.
#![allow(dead_code, reason = "each needs only some of it")]

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
use serde_json::{Value, json};

/// The emulator: one key of several versions, and what goes wrong.
#[derive(Default)]
pub struct Vault {
    pub versions: Vec<EcdsaKeyPair>,
    pub kind: &'static str,
    pub fault: Option<(u16, &'static str)>,
    pub lies: bool,
    /// What was to be signed.
    pub asked: Vec<Value>,
}

pub type Shared = Arc<Mutex<Vault>>;
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
            let public = public(pair);
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

pub fn pair() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()
}

/// The public half as Vault shows it.
pub fn public(pair: &EcdsaKeyPair) -> String {
    let der = STANDARD.encode(pair.public_key().as_der().unwrap().as_ref());
    let lines: Vec<&str> = der.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

/// Starts it with a key named `certificates` of type `ecdsa-p256`; gives its address. Its token is `s.secret`.
pub async fn start() -> (Shared, String) {
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
    (vault, address)
}
