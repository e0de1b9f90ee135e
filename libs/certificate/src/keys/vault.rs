//! Keys in Vault's transit engine (or OpenBao's, which speaks the same): the private key never leaves the service.
//!
//! `GET /v1/<mount>/keys/<name>` for the public half, `POST /v1/<mount>/sign/<name>/sha2-256` to sign.

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ground::Secret;
use reqwest::{Client, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Signer;
use crate::{Algorithm, Error, PublicKey};

const SERVICE: &str = "vault";
/// Bound of one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How to reach a key in Vault.
#[derive(Clone)]
pub struct Settings {
    /// Such as `https://vault.internal:8200`.
    pub address: String,
    /// Where the transit engine is mounted. Usually `transit`.
    pub mount: String,
    /// The key's name.
    pub name: String,
    /// The token. Never shown.
    pub token: Secret,
    /// Vault Enterprise's or HCP's namespace, if there is one.
    pub namespace: Option<String>,
    /// PEM of the authority that signed Vault's certificate; none for those the system knows.
    pub authority: Option<Vec<u8>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vault {}/{}/{}", self.address, self.mount, self.name)
    }
}

/// The newest version of a key in Vault, as it was when it was opened. A rotation there takes effect when it is opened
/// again, so that a signature always belongs to the public key that is said to have made it.
#[derive(Debug)]
pub struct VaultKey {
    client: Client,
    settings: Settings,
    version: u64,
    public: PublicKey,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct KeyData {
    #[serde(rename = "type")]
    kind: String,
    latest_version: u64,
    keys: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Signed {
    signature: String,
}

impl VaultKey {
    /// Asks for the public half. The key must be of type `ecdsa-p256`.
    pub async fn open(settings: Settings) -> Result<VaultKey, Error> {
        let failed = |why: String| Error::Service {
            service: SERVICE,
            what: "is set up".to_owned(),
            why,
            passing: false,
        };
        let mut client = Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
        if let Some(authority) = &settings.authority {
            let authority =
                reqwest::Certificate::from_pem(authority).map_err(|error| failed(error.to_string()))?;
            client = client.add_root_certificate(authority);
        }
        let client = client.build().map_err(|error| failed(error.to_string()))?;
        let path = format!("keys/{}", settings.name);
        let data: KeyData = ask(&client, &settings, Method::GET, &path, None).await?;
        let refuse = |why: String| Error::Key { key: format!("vault {}", settings.name), why };
        if data.kind != "ecdsa-p256" {
            return Err(refuse(format!("is of type {}, expected ecdsa-p256", data.kind)));
        }
        let version = data.keys.get(&data.latest_version.to_string());
        let pem = version.and_then(|version| version.get("public_key")).and_then(Value::as_str);
        let pem =
            pem.ok_or_else(|| refuse(format!("has no public key of version {}", data.latest_version)))?;
        let public = PublicKey::from_pem(Algorithm::EcdsaP256, pem)?;
        Ok(VaultKey { client, version: data.latest_version, public, settings })
    }

    /// The version that signs.
    pub fn version(&self) -> u64 {
        self.version
    }
}

#[async_trait]
impl Signer for VaultKey {
    fn key(&self) -> &PublicKey {
        &self.public
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let path = format!("sign/{}/sha2-256", self.settings.name);
        let body = json!({
            "input": STANDARD.encode(message), "key_version": self.version,
            "marshaling_algorithm": "asn1", "prehashed": false,
        });
        let signed: Signed = ask(&self.client, &self.settings, Method::POST, &path, Some(body)).await?;
        let wrong = |why: &str| Error::Service {
            service: SERVICE,
            what: path.clone(),
            why: why.to_owned(),
            passing: false,
        };
        let prefix = format!("vault:v{}:", self.version);
        let text =
            signed.signature.strip_prefix(&prefix).ok_or_else(|| wrong("signed with another version"))?;
        let bytes = STANDARD.decode(text).map_err(|_| wrong("answered without base64"))?;
        // A service that is broken or lies must not be noticed only when somebody verifies.
        if self.public.verifies(message, &bytes) {
            Ok(bytes)
        } else {
            Err(wrong("gave a signature that does not verify"))
        }
    }
}

async fn ask<T: serde::de::DeserializeOwned>(
    client: &Client,
    settings: &Settings,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<T, Error> {
    let failed =
        |why: String, passing: bool| Error::Service { service: SERVICE, what: path.to_owned(), why, passing };
    let url = format!("{}/v1/{}/{path}", settings.address.trim_end_matches('/'), settings.mount);
    let mut request = client
        .request(method, url)
        .header("X-Vault-Token", settings.token.reveal())
        .header("X-Vault-Request", "true");
    if let Some(namespace) = &settings.namespace {
        request = request.header("X-Vault-Namespace", namespace);
    }
    if let Some(body) = &body {
        request = request.json(body);
    }
    let reply = request.send().await.map_err(|error| failed(error.without_url().to_string(), true))?;
    let status = reply.status();
    let bytes = reply.bytes().await.map_err(|error| failed(error.without_url().to_string(), true))?;
    if !status.is_success() {
        let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let errors: Vec<&str> =
            said["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        // 429: standby or rate limit, 5xx: sealed or starting.
        let passing = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        return Err(failed(format!("{status} {}", errors.join("; ")).trim_end().to_owned(), passing));
    }
    let answer: Answer<T> =
        serde_json::from_slice(&bytes).map_err(|error| failed(format!("answered {error}"), false))?;
    Ok(answer.data)
}
