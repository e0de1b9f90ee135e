//! Verifies a certificate with nothing but a trust file: no network, no clock, no engine.
//!
//! Every problem names the field it is about. What was not signed by a trusted key is not interpreted any further.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ledger::ProofFile;
use model::{DeploymentSpec, Digest, Plan, Timestamp};
use serde::de::DeserializeOwned;

use crate::{
    Algorithm, At, Certificate, Deployment, Ending,
    bundle::{self, hint},
    certificate::MEDIA_TYPE,
    deployment,
    dsse::{Envelope, IN_TOTO, encoding},
    log, rules,
    statement::{self, Statement, subjects},
    trust::{Ready, TrustedKey},
    vsa::{self, Summary},
};

/// Why a certificate is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, from the top of the file.
    pub field: String,
    /// What is wrong, for a person.
    pub text: String,
}

impl Problem {
    fn new(field: impl Into<String>, text: impl Into<String>) -> Problem {
        Problem { field: field.into(), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.text)
    }
}

/// A certificate whose every signature, digest and rule holds.
#[derive(Clone, Debug)]
pub struct Verified {
    /// What it says.
    pub facts: Deployment,
    /// What was asked for.
    pub spec: DeploymentSpec,
    /// What was to be done.
    pub plan: Option<Plan>,
    /// The keys that signed it.
    pub keys: Vec<TrustedKey>,
    /// What the audit log proves; none when the trust file names no log.
    pub log: Option<Logged>,
}

impl Verified {
    /// Whether it certifies a promotion. Everything else is a valid "no".
    pub fn is_positive(&self) -> bool {
        self.facts.ending == Ending::Promoted
    }
}

/// What the audit log proves about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The log.
    pub origin: String,
    /// Index of the certificate's entry.
    pub index: u64,
    /// Size of the log at the checkpoint.
    pub size: u64,
    /// Witnesses that saw the checkpoint and found the log grown consistently.
    pub witnesses: Vec<String>,
    /// When the last of them saw it.
    pub at: Option<At>,
}

/// Verifies the file.
pub fn verify(file: &[u8], trust: &Ready) -> Result<Verified, Vec<Problem>> {
    let certificate: Certificate = serde_json::from_slice(file)
        .map_err(|error| vec![Problem::new("certificate", format!("cannot be read: {error}"))])?;
    check(&certificate, trust)
}

/// Verifies a certificate that was read.
pub fn check(certificate: &Certificate, trust: &Ready) -> Result<Verified, Vec<Problem>> {
    let mut problems = Vec::new();
    for (field, found, expected) in [
        ("mediaType", &certificate.media_type, MEDIA_TYPE),
        ("bundle.mediaType", &certificate.bundle.media_type, bundle::MEDIA_TYPE),
    ] {
        if found != expected {
            problems.push(Problem::new(field, format!("is {found:?}, expected {expected:?}")));
        }
    }

    let envelope = &certificate.bundle.dsse_envelope;
    let place = "bundle.dsseEnvelope";
    let signed = signatures(envelope, place, &[Algorithm::EcdsaP256], trust, &mut problems);
    let statement: Option<Statement<Deployment>> =
        signed.as_ref().and_then(|signed| read(&signed.payload, place, &mut problems));
    let also = signatures(
        &certificate.vsa,
        "vsa",
        &[Algorithm::EcdsaP256, Algorithm::MlDsa65],
        trust,
        &mut problems,
    );
    let summary: Option<Statement<Summary>> =
        also.as_ref().and_then(|signed| read(&signed.payload, "vsa", &mut problems));
    if signed.is_none()
        && let Some(summary) = &summary
    {
        changed(summary, &envelope.digest(), &mut problems);
    }
    let documents = documents(certificate, &mut problems);

    let (Some(signed), Some(statement), Some(also), Some(summary), Some((spec, plan))) =
        (signed, statement, also, summary, documents)
    else {
        return Err(problems);
    };
    let facts = &statement.predicate;
    let found = &certificate.bundle.verification_material.public_key.hint;
    if !signed.hints.contains(found) {
        let field = "bundle.verificationMaterial.publicKey.hint";
        problems.push(Problem::new(field, "is not the key that signed"));
    }
    if !certificate.bundle.verification_material.tlog_entries.is_empty() {
        let text = "names entries of a log that is not ours";
        problems.push(Problem::new("bundle.verificationMaterial.tlogEntries", text));
    }
    about(&statement, certificate, &mut problems);
    problems.extend(
        rules::contradictions(facts, &spec, plan.as_ref())
            .into_iter()
            .chain(if facts.ending == Ending::Promoted {
                rules::gaps(facts, &spec, plan.as_ref())
            } else {
                Vec::new()
            })
            .map(|gap| Problem::new(format!("predicate.{}", gap.field), gap.text)),
    );
    same(&summary, facts, &envelope.digest(), &mut problems);

    let mut keys = signed.keys;
    keys.extend(also.keys);
    keys.sort_by(|one, two| one.id.cmp(&two.id));
    keys.dedup();
    let log = logged(certificate, facts, trust, &mut problems);
    for key in &keys {
        if let Err(why) = in_force(key, facts.issued, log.as_ref()) {
            problems.push(Problem::new("trust.keys", format!("key {} {why}", short(&key.id))));
        }
    }
    if problems.is_empty() {
        Ok(Verified { facts: statement.predicate, spec, plan, keys, log })
    } else {
        Err(problems)
    }
}

struct Signed {
    payload: Vec<u8>,
    keys: Vec<TrustedKey>,
    hints: Vec<String>,
}

/// One good signature of each kind, in this order, and no other; none of them may be missing.
fn signatures(
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
fn changed(summary: &Statement<Summary>, found: &Digest, problems: &mut Vec<Problem>) {
    let named = summary.predicate.input_attestations.first().and_then(|input| input.digest.get("sha256"));
    if let Some(named) = named.filter(|named| format!("sha256:{named}") != found.to_string()) {
        let text = format!(
            "was changed after it was signed: the summary, whose signatures hold, names sha256:{named}, here is {found}"
        );
        problems.push(Problem::new("bundle.dsseEnvelope", text));
    }
}

fn read<P: DeserializeOwned>(
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

fn documents(
    certificate: &Certificate,
    problems: &mut Vec<Problem>,
) -> Option<(DeploymentSpec, Option<Plan>)> {
    let spec = certificate.documents.spec();
    let plan = certificate.documents.plan();
    if let Err(error) = &spec {
        problems.push(Problem::new("documents.spec", format!("cannot be read: {error}")));
    }
    if let Err(error) = &plan {
        problems.push(Problem::new("documents.plan", format!("cannot be read: {error}")));
    }
    Some((spec.ok()?, plan.ok()?))
}

/// The statement is of our kind, and about the documents that are enclosed.
fn about(statement: &Statement<Deployment>, certificate: &Certificate, problems: &mut Vec<Problem>) {
    let facts = &statement.predicate;
    for (field, found, expected) in [
        ("statement._type", &statement.kind, statement::TYPE),
        ("statement.predicateType", &statement.predicate_type, deployment::TYPE),
    ] {
        if found != expected {
            problems.push(Problem::new(field, format!("is {found:?}, expected {expected:?}")));
        }
    }
    if statement.subject != subjects(&facts.spec, facts.plan.as_ref(), &facts.artifacts) {
        problems.push(Problem::new("statement.subject", "is not spec, plan and artefacts of the predicate"));
    }
    let spec = Digest::of_bytes(certificate.documents.spec.as_bytes());
    if spec != facts.spec {
        problems
            .push(Problem::new("documents.spec", format!("its digest is {spec}, signed is {}", facts.spec)));
    }
    let plan = certificate.documents.plan.as_ref().map(|plan| Digest::of_bytes(plan.as_bytes()));
    if plan != facts.plan {
        let name = |digest: &Option<Digest>| digest.as_ref().map_or("none".to_owned(), Digest::to_string);
        let text = format!("its digest is {}, signed is {}", name(&plan), name(&facts.plan));
        problems.push(Problem::new("documents.plan", text));
    }
}

/// The summary says the same as the certificate.
fn same(found: &Statement<Summary>, facts: &Deployment, certificate: &Digest, problems: &mut Vec<Problem>) {
    let expected = vsa::summary(facts, certificate);
    let (had, wanted) = (&found.predicate, &expected.predicate);
    for (field, same) in [
        ("_type", found.kind == expected.kind),
        ("predicateType", found.predicate_type == expected.predicate_type),
        ("subject", found.subject == expected.subject),
        ("predicate.verifier", had.verifier == wanted.verifier),
        ("predicate.timeVerified", had.time_verified == wanted.time_verified),
        ("predicate.resourceUri", had.resource_uri == wanted.resource_uri),
        ("predicate.policy", had.policy == wanted.policy),
        ("predicate.inputAttestations", had.input_attestations == wanted.input_attestations),
        ("predicate.verificationResult", had.verification_result == wanted.verification_result),
        ("predicate.verifiedLevels", had.verified_levels == wanted.verified_levels),
        ("predicate.slsaVersion", had.slsa_version == wanted.slsa_version),
    ] {
        if !same {
            let text = "is not what the deployment certificate says: the two are not of one making";
            problems.push(Problem::new(format!("vsa.{field}"), text));
        }
    }
}

/// Whether the key may have made it. After a revocation only what the log held before counts.
fn in_force(key: &TrustedKey, issued: At, log: Option<&Logged>) -> Result<(), String> {
    key.may_sign(issued)?;
    let Some(revoked) = key.revoked else { return Ok(()) };
    match log.and_then(|log| log.at) {
        Some(at) if at < revoked => Ok(()),
        Some(at) => Err(format!("was revoked at {revoked}, the log's witnesses saw the certificate at {at}")),
        None => Err(format!("was revoked at {revoked}, and no witness saw the certificate before")),
    }
}

/// The audit log holds it, by the policy of the trust file.
fn logged(
    certificate: &Certificate,
    facts: &Deployment,
    trust: &Ready,
    problems: &mut Vec<Problem>,
) -> Option<Logged> {
    let policy = trust.log()?;
    let Some(inclusion) = &certificate.log else {
        problems.push(Problem::new("log", "is null, and the trust file wants the audit log's proof"));
        return None;
    };
    let mut broken = |field: &str, text: String| {
        problems.push(Problem::new(field, text));
        None
    };
    if let Err(text) = log::names(&inclusion.entry, certificate, facts) {
        return broken("log.entry", text);
    }
    let proof: ProofFile = match inclusion.proof.parse() {
        Ok(proof) => proof,
        Err(error) => return broken("log.proof", format!("cannot be read: {error}")),
    };
    // Nothing covers it, so nobody may read anything into it.
    if proof.extra.is_some() {
        return broken("log.proof", "carries data that nothing signs".to_owned());
    }
    match proof.check(inclusion.entry.as_bytes(), policy) {
        Ok(proven) => Some(Logged {
            origin: proven.origin,
            index: proven.index,
            size: proven.size,
            at: proven.trust.witnesses.iter().filter_map(|witness| witness.time).max().map(seconds),
            witnesses: proven.trust.witnesses.into_iter().map(|witness| witness.name).collect(),
        }),
        Err(error) => broken("log.proof", error.to_string()),
    }
}

fn seconds(seconds: u64) -> At {
    At(Timestamp(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000)))
}

/// The beginning of a key's id: enough to find it.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
