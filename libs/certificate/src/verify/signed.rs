//! Whose signatures stand under a payload.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::Digest;
use serde::de::DeserializeOwned;

use super::{Problem, short};
use crate::{
    Algorithm,
    bundle::hint,
    dsse::{Envelope, IN_TOTO, encoding},
    statement::Statement,
    trust::{Ready, TrustedKey},
    vsa::Summary,
};

pub(super) struct Signed {
    pub(super) payload: Vec<u8>,
    pub(super) keys: Vec<TrustedKey>,
    pub(super) hints: Vec<String>,
}

/// One good signature of each kind, in this order, and no other; none of them may be missing.
pub(super) fn signatures(
    envelope: &Envelope,
    place: &str,
    expected: &[Algorithm],
    trust: &Ready,
    problems: &mut Vec<Problem>,
) -> Option<Signed> {
    let before = problems.len();
    if envelope.payload_type != IN_TOTO {
        let text = format!("is {:?}, expected {IN_TOTO:?}", envelope.payload_type);
        problems.push(Problem::new(format!("{place}.payloadType"), text));
    }
    if envelope.signatures.len() != expected.len() {
        let text = format!("there are {}, expected {}", envelope.signatures.len(), expected.len());
        problems.push(Problem::new(format!("{place}.signatures"), text));
    }
    let Some(payload) = envelope.bytes() else {
        problems.push(Problem::new(format!("{place}.payload"), "is no standard base64"));
        return None;
    };
    let message = encoding(&envelope.payload_type, &payload);
    let (mut keys, mut hints) = (Vec::new(), Vec::new());
    for (at, (signature, expected)) in envelope.signatures.iter().zip(expected).enumerate() {
        let place = format!("{place}.signatures[{at}]");
        let Some((trusted, key)) = trust.key(&signature.keyid) else {
            let text = format!("no trusted key has the id {}", short(&signature.keyid));
            problems.push(Problem::new(format!("{place}.keyid"), text));
            continue;
        };
        if key.algorithm() != *expected {
            let text = format!("is a key for {}, expected {expected}", key.algorithm());
            problems.push(Problem::new(format!("{place}.keyid"), text));
            continue;
        }
        let Ok(bytes) = STANDARD.decode(&signature.sig) else {
            problems.push(Problem::new(format!("{place}.sig"), "is no standard base64"));
            continue;
        };
        if !key.verifies(&message, &bytes) {
            let text = format!(
                "the {expected} signature by key {} does not match the payload: one of the two was changed",
                short(key.id())
            );
            problems.push(Problem::new(format!("{place}.sig"), text));
            continue;
        }
        keys.push(trusted.clone());
        hints.push(hint(key));
    }
    (problems.len() == before).then_some(Signed { payload, keys, hints })
}

/// The summary still holds: it tells which of the two was changed.
pub(super) fn changed(summary: &Statement<Summary>, found: &Digest, problems: &mut Vec<Problem>) {
    let named = summary.predicate.input_attestations.first().and_then(|input| input.digest.get("sha256"));
    if let Some(named) = named.filter(|named| format!("sha256:{named}") != found.to_string()) {
        let text = format!(
            "was changed after it was signed: the summary, whose signatures hold, names sha256:{named}, here is {found}"
        );
        problems.push(Problem::new("bundle.dsseEnvelope", text));
    }
}

pub(super) fn read<P: DeserializeOwned>(
    payload: &[u8],
    place: &str,
    problems: &mut Vec<Problem>,
) -> Option<Statement<P>> {
    match serde_json::from_slice(payload) {
        Ok(statement) => Some(statement),
        Err(error) => {
            problems.push(Problem::new(format!("{place}.payload"), format!("cannot be read: {error}")));
            None
        }
    }
}
