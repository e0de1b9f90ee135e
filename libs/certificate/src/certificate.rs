//! A certificate as a file: both statements, the documents they are about, and the proof that the audit log has it.

use model::{DeploymentSpec, Plan, Record, digest::canonical_json};
use serde::{Deserialize, Serialize};

use crate::{
    Deployment, Error, Signer, Trust,
    at::required,
    bundle::Bundle,
    deployment,
    dsse::Envelope,
    rules,
    statement::{Statement, subjects},
    vsa,
};

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

    /// The certificate in parts, as other tools read them, by their paths: the two statements, what they are about, the
    /// log's entry and proof, and below `trust` the keys that may have signed it. Whoever verifies must have the keys
    /// from elsewhere; that they lie here too proves nothing.
    pub fn files(&self, trust: &Trust) -> Vec<(String, Vec<u8>)> {
        let mut files = vec![
            ("certificate.json".to_owned(), self.to_bytes()),
            ("deployment.sigstore.json".to_owned(), canonical_json(&self.bundle)),
            ("vsa.dsse.json".to_owned(), canonical_json(&self.vsa)),
            ("spec.json".to_owned(), self.documents.spec.clone().into_bytes()),
            ("trust/trust.json".to_owned(), serde_json::to_vec_pretty(trust).unwrap_or_default()),
        ];
        files.extend(
            self.documents.plan.iter().map(|plan| ("plan.json".to_owned(), plan.clone().into_bytes())),
        );
        files.push(("journal.json".to_owned(), self.journal.records.clone().into_bytes()));
        if let Some(inclusion) = &self.log {
            files.push(("audit-entry.json".to_owned(), inclusion.entry.clone().into_bytes()));
            files.push(("deployment.tlog-proof".to_owned(), inclusion.proof.clone().into_bytes()));
        }
        let signed = self.bundle.dsse_envelope.signatures.iter().chain(&self.vsa.signatures);
        let mut ids: Vec<&str> = signed.map(|signature| signature.keyid.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        for key in trust.keys.iter().filter(|key| ids.contains(&key.id.as_str())) {
            files.push((format!("trust/{}.pub", key.algorithm), key.public_key.clone().into_bytes()));
        }
        files
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(self)
    }
}

/// Signs what is said, with a key of each kind. The audit log is asked later: it must know what it holds.
pub async fn issue(
    facts: &Deployment,
    documents: Documents,
    journal: Journal,
    classic: &dyn Signer,
    quantum: &dyn Signer,
) -> Result<Certificate, Error> {
    let contradiction = |why: String| Error::Contradiction { deployment: facts.deployment.to_string(), why };
    let spec = documents.spec().map_err(&contradiction)?;
    let plan = documents.plan().map_err(&contradiction)?;
    // Nobody can ask for a signature under a promotion that is not proven, not even a caller in this program.
    let promoted = facts.ending == crate::Ending::Promoted;
    let gaps = if promoted { rules::gaps(facts, &spec, plan.as_ref()) } else { Vec::new() };
    let wrong = gaps.into_iter().chain(rules::contradictions(facts, &spec, plan.as_ref())).next();
    if let Some(gap) = wrong {
        return Err(contradiction(format!("{}: {}", gap.field, gap.text)));
    }
    let subject = subjects(&facts.spec, facts.plan.as_ref(), &facts.artifacts);
    let statement = Statement::new(deployment::TYPE, subject, facts);
    let envelope = Envelope::sign(&canonical_json(&statement), &[classic]).await?;
    let summary = vsa::summary(facts, &envelope.digest());
    let vsa = Envelope::sign(&canonical_json(&summary), &[classic, quantum]).await?;
    Ok(Certificate {
        media_type: MEDIA_TYPE.to_owned(),
        bundle: Bundle::new(classic.key(), envelope),
        vsa,
        documents,
        journal,
        log: None,
    })
}
