//! A certificate in parts.

use model::digest::canonical_json;

use crate::{Certificate, Story, Trust};

/// The certificate in parts, as other tools read them, by their paths: the two statements, what they are about, the
/// log's entry and proof, below `approvals` what approvers signed with the keys that were in force, and below `trust` the
/// keys that may have signed it. Whoever verifies must have the keys from elsewhere; that they lie here too proves nothing.
pub fn files(certificate: &Certificate, trust: &Trust) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![
        ("certificate.json".to_owned(), certificate.to_bytes()),
        ("deployment.sigstore.json".to_owned(), canonical_json(&certificate.bundle)),
        ("vsa.dsse.json".to_owned(), canonical_json(&certificate.vsa)),
        ("spec.json".to_owned(), certificate.documents.spec.clone().into_bytes()),
        ("trust/trust.json".to_owned(), serde_json::to_vec_pretty(trust).unwrap_or_default()),
    ];
    files.extend(
        certificate.documents.plan.iter().map(|plan| ("plan.json".to_owned(), plan.clone().into_bytes())),
    );
    files.push(("journal.json".to_owned(), certificate.journal.records.clone().into_bytes()));
    if let Ok(records) = certificate.journal.read()
        && let Ok(story) = Story::read(&records)
    {
        files.extend(story.signed_files());
    }
    if let Some(inclusion) = &certificate.log {
        files.push(("audit-entry.json".to_owned(), inclusion.entry.clone().into_bytes()));
        files.push(("deployment.tlog-proof".to_owned(), inclusion.proof.clone().into_bytes()));
    }
    let signed = certificate.bundle.dsse_envelope.signatures.iter().chain(&certificate.vsa.signatures);
    let mut ids: Vec<&str> = signed.map(|signature| signature.keyid.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    for key in trust.keys.iter().filter(|key| ids.contains(&key.id.as_str())) {
        files.push((format!("trust/{}.pub", key.algorithm), key.public_key.clone().into_bytes()));
    }
    files
}
