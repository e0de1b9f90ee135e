//! What the audit log says about a certificate: one record that names both of its statements by digest.

use model::audit::AuditRecord;
use serde_json::{Value, json};

use crate::{Certificate, Deployment};

/// The action of the record.
pub const ACTION: &str = "certificate.issued";

/// The detail of the record.
pub fn detail(certificate: &Certificate, facts: &Deployment) -> Value {
    json!({
        "ending": facts.ending,
        "statement": certificate.bundle.dsse_envelope.digest(),
        "summary": certificate.vsa.digest(),
    })
}

/// Whether the entry is the record of this certificate; the reason when not.
pub(crate) fn names(entry: &str, certificate: &Certificate, facts: &Deployment) -> Result<(), String> {
    let record: AuditRecord =
        serde_json::from_str(entry).map_err(|error| format!("is no record of an audit log: {error}"))?;
    if record.action != ACTION {
        return Err(format!("records {}, not {ACTION}", record.action));
    }
    if record.subject != facts.deployment.as_str() {
        return Err(format!("is about {}, the certificate about {}", record.subject, facts.deployment));
    }
    let expected = detail(certificate, facts);
    for field in ["statement", "summary", "ending"] {
        if record.detail.get(field) != expected.get(field) {
            let had = record.detail.get(field).and_then(Value::as_str).unwrap_or("nothing");
            let wanted = expected.get(field).and_then(Value::as_str).unwrap_or("nothing");
            return Err(format!("the log has {had} as its {field}, the certificate is {wanted}"));
        }
    }
    if record.detail == expected { Ok(()) } else { Err("says more than the certificate".to_owned()) }
}
