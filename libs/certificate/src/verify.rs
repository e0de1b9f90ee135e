//! Verifies a certificate with nothing but a trust file and the time of day: no network, no engine.
//!
//! Every problem names the field it is about. What was not signed by a trusted key is not interpreted any further. What
//! is signed is told again from the journal that is enclosed, and held against the spec, the plan and the log's proofs;
//! what nothing enclosed can show is listed as believed.

mod believed;
mod logged;
mod retold;
mod signed;
mod timely;

use std::fmt;

use model::{
    DeploymentSpec, Digest, Plan, Record, Step, Timestamp, deployment::Mode, digest::check_canonical,
};
use serde::Serialize;

use crate::{
    Algorithm, At, Certificate, Deployment, Ending, Story, bundle,
    certificate::MEDIA_TYPE,
    deployment, rules,
    statement::{self, Statement, subjects},
    trust::{Ready, TrustedKey},
    vsa::{self, Summary},
};
use signed::{changed, read, signatures};

/// Why a certificate is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, from the top of the file.
    pub field: String,
    /// What is wrong, for a person.
    pub text: String,
}

impl Problem {
    pub(crate) fn new(field: impl Into<String>, text: impl Into<String>) -> Problem {
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
    /// The steps of the plan, then those of the way back.
    pub steps: Vec<Step>,
    /// The keys that signed it.
    pub keys: Vec<TrustedKey>,
    /// By which key each approval was signed, in their order; none: it is not signed, and believed.
    pub signed: Vec<Option<String>>,
    /// The requirement of signed approvals that was in force and is met, in words; none: nobody had to sign.
    pub requirement: Option<String>,
    /// What the audit log proves; none when the trust file names no log.
    pub log: Option<Logged>,
    /// What is left to believe, and whom.
    pub believed: Vec<Belief>,
}

/// Something that is signed and that nothing enclosed shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Belief {
    /// The field, from the top of the file.
    pub field: String,
    /// Who is believed.
    pub by: String,
    /// For what, for a person.
    pub text: String,
}

impl Verified {
    /// Whether it certifies a promotion through all gates. Everything else is a valid "no", a way back too: it asks
    /// neither people nor measurements.
    pub fn is_positive(&self) -> bool {
        self.facts.ending == Ending::Promoted && self.facts.mode == Mode::Apply
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
    /// When the log signed the checkpoint; none when its keys carry no time.
    pub signed: Option<At>,
}

impl Logged {
    /// Since when the certificate can be seen there: by a witness, else by the log's own word.
    pub fn seen(&self) -> Option<At> {
        self.at.or(self.signed)
    }
}

/// Verifies the file, as of `now`: what says to be signed later is not believed.
pub fn verify(file: &[u8], trust: &Ready, now: Timestamp) -> Result<Verified, Vec<Problem>> {
    let certificate: Certificate = serde_json::from_slice(file)
        .map_err(|error| vec![Problem::new("certificate", format!("cannot be read: {error}"))])?;
    check(&certificate, trust, now)
}

/// Verifies a certificate that was read, as of `now`.
pub fn check(certificate: &Certificate, trust: &Ready, now: Timestamp) -> Result<Verified, Vec<Problem>> {
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

    let (Some(signed), Some(statement), Some(also), Some(summary), Some((spec, plan, records))) =
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
    retold::compare(certificate, facts, (&spec, plan.as_ref()), &records, &mut problems);
    same(&summary, facts, &envelope.digest(), &mut problems);

    let mut keys = signed.keys;
    keys.extend(also.keys);
    keys.sort_by(|one, two| one.id.cmp(&two.id));
    keys.dedup();
    let log = logged::certificate(certificate, facts, trust, &mut problems);
    logged::range(certificate, facts, &records, trust, &mut problems);
    problems.extend(timely::problems(facts, &keys, log.as_ref(), now));
    let story = match Story::read(&records) {
        Ok(story) if problems.is_empty() => story,
        _ => return Err(problems),
    };
    let facts = statement.predicate;
    let signed =
        facts.approvals.iter().map(|approval| story.key_of(&approval.by).map(str::to_owned)).collect();
    let requirement = story.requirement();
    let steps = story.steps().cloned().collect();
    let believed = Vec::new();
    let mut verified = Verified { facts, spec, plan, steps, keys, signed, requirement, log, believed };
    verified.believed = believed::list(&verified, &story);
    Ok(verified)
}

fn documents(
    certificate: &Certificate,
    problems: &mut Vec<Problem>,
) -> Option<(DeploymentSpec, Option<Plan>, Vec<Record>)> {
    let documents = &certificate.documents;
    let mut sound = |field: &str, text: Option<&String>, why: Option<String>| {
        let strict = || check_canonical(text?.as_bytes()).err();
        if let Some(why) = why.or_else(strict) {
            problems.push(Problem::new(field, format!("cannot be read: {why}")));
        }
    };
    let (spec, plan, journal) = (documents.spec(), documents.plan(), certificate.journal.read());
    sound("documents.spec", Some(&documents.spec), spec.as_ref().err().cloned());
    sound("documents.plan", documents.plan.as_ref(), plan.as_ref().err().cloned());
    sound("journal.records", Some(&certificate.journal.records), journal.as_ref().err().cloned());
    Some((spec.ok()?, plan.ok()?, journal.ok()?))
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

/// The beginning of a key's id: enough to find it.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
