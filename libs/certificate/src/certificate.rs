//! A certificate as a file: both statements, the documents they are about, and the proof that the audit log has it.

use model::{DeploymentSpec, Plan, Record, digest::canonical_json};
use serde::{Deserialize, Serialize};

use crate::{Deployment, at::required, bundle::Bundle, dsse::Envelope, statement::Statement};

/// The media type of the file.
pub const MEDIA_TYPE: &str = "application/vnd.code.certificate.v1+json";

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// Always [`MEDIA_TYPE`].
    pub media_type: String,
    /// The deployment statement, as `cosign verify-blob-attestation` reads it.
    pub bundle: Bundle,
    /// The verification summary, as `slsa-verifier verify-vsa` reads it. Two signatures.
    pub vsa: Envelope,
    /// What both are about.
    pub documents: Documents,
    /// The deployment's journal that the certificate was read from. Whoever verifies reads the certificate from it again.
    pub journal: Journal,
    /// Where the audit log has the certificate; `null` when no log was kept or it did not answer.
    #[serde(deserialize_with = "required")]
    pub log: Option<Inclusion>,
}

/// A deployment's journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Its records as canonical JSON, the exact text whose digest the statement names.
    pub records: String,
    /// That the audit log holds it; `null` when the statement names no place in a log.
    #[serde(deserialize_with = "required")]
    pub range: Option<Range>,
}

impl Journal {
    /// The records, read.
    pub fn read(&self) -> Result<Vec<Record>, String> {
        serde_json::from_str(&self.records).map_err(|error| error.to_string())
    }
}

/// That the audit log holds the journal from its first to its last record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The first event of the first record.
    pub first: Inclusion,
    /// The last event of the last record.
    pub last: Inclusion,
}

/// The documents that a certificate is about, as the exact text whose digest it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Documents {
    /// What was asked for, as canonical JSON.
    pub spec: String,
    /// What was to be done, as canonical JSON; `null` when it never came to a plan.
    #[serde(deserialize_with = "required")]
    pub plan: Option<String>,
}

/// That the audit log holds an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inclusion {
    /// The log's entry, as it is hashed. That of the certificate names the digests of both envelopes.
    pub entry: String,
    /// Index, path and signed checkpoint with its cosignatures: a C2SP tlog-proof.
    pub proof: String,
}

impl Documents {
    /// The spec, read.
    pub fn spec(&self) -> Result<DeploymentSpec, String> {
        serde_json::from_str(&self.spec).map_err(|error| error.to_string())
    }

    /// The plan, read.
    pub fn plan(&self) -> Result<Option<Plan>, String> {
        self.plan.as_deref().map(serde_json::from_str).transpose().map_err(|error| error.to_string())
    }
}

impl Certificate {
    /// What the statement says, whoever signed it: to show, never to decide on.
    pub fn unverified_facts(&self) -> Result<Deployment, String> {
        let payload = self.bundle.dsse_envelope.bytes().ok_or("its payload is no standard base64")?;
        let statement: Statement<Deployment> =
            serde_json::from_slice(&payload).map_err(|error| error.to_string())?;
        Ok(statement.predicate)
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(self)
    }
}
