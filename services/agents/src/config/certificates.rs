//! Settings of the certifier: with what it signs.

use std::path::PathBuf;

use chassis::{Secret, config::complaint};
use model::{Span, fault::Complaint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[agents.certificates]`, `CODE_AGENTS_CERTIFICATES__*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CertificateSettings {
    /// Folder of the keys; shared by all certifiers that should sign with the same ones. Default `keys` below the
    /// agents' `state_dir`.
    pub keys: Option<PathBuf>,
    /// Opens the keys. Default none: the text of `passphrase_file`.
    #[schemars(with = "String")]
    pub passphrase: Secret,
    /// File whose text opens the keys. Default `passphrase` beside the keys, made at random when it is not there: good
    /// for a laptop, not for a host where others read the folder.
    pub passphrase_file: Option<PathBuf>,
    /// How long an older key of a service is still believed after a newer one came. Default 14 days.
    pub overlap: Span,
    /// How long the audit log may take to include a certificate before it is issued without its proof and brought to the log
    /// later. Default 15 s: longer than the log waits for what is missing of a journal (`hole_patience`).
    pub log_patience: Span,
    /// Sign with a key in Vault's transit engine instead of the ECDSA key in the folder. The ML-DSA key stays there.
    pub vault: Option<VaultSettings>,
}

/// `[agents.certificates.vault]`: a key of type `ecdsa-p256` in Vault's or OpenBao's transit engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VaultSettings {
    /// Such as `https://vault.internal:8200`.
    pub address: String,
    /// Where the transit engine is mounted. Default `transit`.
    pub mount: String,
    /// The key's name. Default `code-certificates`.
    pub key: String,
    /// The token. Default none: the text of `token_file`.
    #[schemars(with = "String")]
    pub token: Secret,
    /// File with the token, read anew for every opening, so that an agent may renew it.
    pub token_file: Option<PathBuf>,
    /// Namespace. Default none.
    pub namespace: Option<String>,
    /// PEM file of the authority that signed Vault's certificate. Default those that the system knows.
    pub authority: Option<PathBuf>,
}

impl Default for CertificateSettings {
    fn default() -> Self {
        CertificateSettings {
            keys: None,
            passphrase: Secret::default(),
            passphrase_file: None,
            overlap: Span::seconds(14 * 24 * 3600),
            log_patience: Span::seconds(15),
            vault: None,
        }
    }
}

impl Default for VaultSettings {
    fn default() -> Self {
        VaultSettings {
            address: String::new(),
            mount: "transit".to_owned(),
            key: "code-certificates".to_owned(),
            token: Secret::default(),
            token_file: None,
            namespace: None,
            authority: None,
        }
    }
}

impl CertificateSettings {
    /// What is wrong with them.
    pub(super) fn check(&self, complaints: &mut Vec<Complaint>) {
        let mut say = |field: &str, message: &str, cure: &str| {
            complaints.push(complaint(&format!("certificates.{field}"), message.to_owned(), cure));
        };
        if !self.passphrase.is_empty() && self.passphrase_file.is_some() {
            say("passphrase", "there are two passphrases", "set passphrase or passphrase_file");
        }
        let Some(vault) = &self.vault else { return };
        let plain =
            vault.address.starts_with("http://127.0.0.1:") || vault.address.starts_with("http://localhost:");
        if !vault.address.starts_with("https://") && !plain {
            say("vault.address", "is no https:// address", "such as https://vault.internal:8200");
        }
        if vault.token.is_empty() == vault.token_file.is_none() {
            say("vault.token", "one token is needed", "set token or token_file");
        }
        for (field, text) in [("vault.mount", &vault.mount), ("vault.key", &vault.key)] {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_/".contains(c);
            if text.is_empty() || !text.chars().all(fits) {
                say(field, "is no name in Vault", "letters, digits, - and _");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(settings: &CertificateSettings) -> Vec<String> {
        let mut complaints = Vec::new();
        settings.check(&mut complaints);
        complaints.into_iter().map(|complaint| complaint.field).collect()
    }

    fn vault() -> VaultSettings {
        VaultSettings {
            address: "https://vault.internal:8200".to_owned(),
            token: Secret::new("s.secret"),
            ..VaultSettings::default()
        }
    }

    #[test]
    fn a_key_in_vault_needs_an_encrypted_way_and_one_token() {
        let with = |change: fn(&mut VaultSettings)| {
            let mut vault = vault();
            change(&mut vault);
            complaints(&CertificateSettings { vault: Some(vault), ..CertificateSettings::default() })
        };

        assert!(with(|_| ()).is_empty());
        assert!(with(|vault| vault.address = "http://127.0.0.1:8200".to_owned()).is_empty());
        for (change, field) in [
            ((|vault| vault.address = "http://vault:8200".to_owned()) as fn(&mut VaultSettings), "address"),
            (|vault| vault.token = Secret::default(), "token"),
            (|vault| vault.token_file = Some("token".into()), "token"),
            (|vault| vault.key = "../other?x".to_owned(), "key"),
        ] {
            assert_eq!(with(change), [format!("certificates.vault.{field}")]);
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = CertificateSettings {
            passphrase: Secret::new("open sesame"),
            vault: Some(vault()),
            ..CertificateSettings::default()
        };

        let shown = format!("{settings:?} {}", serde_json::to_string(&settings).unwrap());

        assert!(!shown.contains("open sesame") && !shown.contains("s.secret"), "{shown}");
    }
}
