//! 10: reads a deployment's journal, looks at what runs, and signs what it was: a certificate, also of a "no".
//!
//! A promotion whose required gates lack evidence is not certified as one: the step fails, and the certificate says
//! `UNPROVEN` with what is missing. What must be there is in [`certificate::rules`].

mod renew;

use std::time::Duration;

use certificate::{
    Certificate, Deployment, Ending, Inclusion, Range, Story,
    deployment::{Audit, Certifier, Observed},
    log,
};
use ledger::ProofFile;
use model::{
    DeploymentId, DeploymentSpec, Digest, Outcome, Record,
    audit::{AuditOutcome, AuditRecord},
    certificate::CertificateEntry,
    deployment::StepJob,
    step::StepResult,
};
use tracing::{info, warn};

pub use renew::renew;

use super::validator;
use crate::{
    Error,
    context::{Ctx, Engine},
    error::Result,
    store::Store,
};

/// What runs is looked at so often, in case an instance is just being started again.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Signs, and fails when a gate that had to be judged was not.
pub async fn certify(job: &StepJob, ctx: &Ctx) -> Result<StepResult> {
    ctx.show(job, "reading the journal", None);
    let issued = issue(ctx, &job.deployment).await?;
    let entry = issued.entry;
    let place = match (entry.index, &issued.trouble) {
        (Some(index), _) => format!("entry {index} of the audit log"),
        (None, Some(trouble)) => format!("not in the audit log: {trouble}"),
        (None, None) => "not in the audit log yet".to_owned(),
    };
    let (outcome, reason) = match issued.missing.as_slice() {
        [] if entry.ending == Ending::Unproven.as_str() => {
            (Outcome::Failed, "the promotion is not proven; its certificate says why".to_owned())
        }
        [] => (Outcome::Succeeded, format!("certified as {}, {place}", entry.ending)),
        [first, ..] => (Outcome::Failed, format!("{first} ({} missing in all)", issued.missing.len())),
    };
    Ok(StepResult { evidence: Some(entry.file), ..StepResult::new(outcome, reason) })
}

/// A certificate that stands.
pub struct Issued {
    /// Where it is.
    pub entry: CertificateEntry,
    /// What it lacks; empty when it was issued before.
    pub missing: Vec<String>,
    /// Why the audit log does not have it.
    pub trouble: Option<String>,
}

/// The deployment's certificate, made if there is none yet. Whoever is first wins: what was issued stays.
pub async fn issue(engine: &Engine, deployment: &DeploymentId) -> Result<Issued> {
    let store = engine.store.as_ref();
    if let Some((entry, _)) = store.certificate(deployment).await? {
        return Ok(Issued { entry, missing: Vec::new(), trouble: None });
    }
    let issued = make(engine, deployment).await?;
    if !store.set_certificate(&issued.entry, None).await? {
        let Some((entry, _)) = store.certificate(deployment).await? else {
            return Err(Error::trouble(format!(
                "the certificate of {deployment} is written by another and gone"
            )));
        };
        return Ok(Issued { entry, missing: Vec::new(), trouble: None });
    }
    stands(engine, &issued.entry).await;
    Ok(issued)
}

/// It is the deployment's certificate from now on.
async fn stands(engine: &Engine, entry: &CertificateEntry) {
    let CertificateEntry { deployment, ending, index, .. } = entry;
    if index.is_none() {
        engine.signing.unlogged.add(deployment).await;
    }
    engine.dated.note(entry);
    info!(%deployment, ending, index, "certificate issued");
}

/// Looks at what runs, signs, and brings it to the log. Nobody is told of it yet.
async fn make(engine: &Engine, deployment: &DeploymentId) -> Result<Issued> {
    let store = engine.store.as_ref();
    let records = store.history(deployment).await?;
    let story = Story::read(&records)?;
    let observed = match story.should_run() {
        Some(expected) => Some(look(engine, &story, expected).await?),
        None => None,
    };
    let (audit, range) = match range(engine, deployment, &records).await {
        Ok((audit, range)) => (Some(audit), Some(range)),
        Err(error) => {
            warn!(%deployment, cause = chassis::chain(&error), "the certificate cannot say where the audit log has it");
            (None, None)
        }
    };
    let certifier =
        Certifier { replica: engine.runner.clone(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let keys = engine.signing.keys.open(store, engine.now()).await?;
    // A clock that is behind that of whoever made the keys must not make the certificate older than them.
    let facts = story.facts(observed, audit, certifier, engine.now().max(keys.since))?;
    if facts.deployment != *deployment {
        return Err(Error::trouble(format!("the journal of {deployment} is that of {}", facts.deployment)));
    }
    let (classic, quantum) = (keys.classic.as_ref(), keys.quantum.as_ref());
    let certificate =
        certificate::issue(&facts, story.documents(), story.enclosed(range), classic, quantum).await?;
    // What has no place in the log's state has none for its own record either; it is handed over later.
    let (inclusion, trouble) = match &facts.audit {
        Some(_) => match log_one(engine, &certificate, &facts).await {
            Ok((inclusion, index)) => (Some((inclusion, index)), None),
            Err(error) => (None, Some(chassis::chain(&error))),
        },
        None => (None, Some("nobody keeps one, or it does not answer".to_owned())),
    };
    let index = inclusion.as_ref().map(|(_, index)| *index);
    let certificate = Certificate { log: inclusion.map(|(inclusion, _)| inclusion), ..certificate };
    let entry = CertificateEntry {
        deployment: deployment.clone(),
        target: facts.target.clone(),
        ending: facts.ending.as_str().to_owned(),
        file: store.keep(&certificate.to_bytes()).await?,
        statement: certificate.bundle.dsse_envelope.digest(),
        index,
        issued: facts.issued.0,
    };
    Ok(Issued { entry, missing: facts.missing, trouble })
}

/// Hands certificates that are not in the audit log to it.
pub async fn log_missing(engine: &Engine) -> Result<()> {
    let store = engine.store.as_ref();
    let mut outcome = Ok(());
    for deployment in engine.signing.unlogged.take(store).await? {
        // After the first failure the others wait for the next turn.
        if outcome.is_ok() {
            outcome = log_late(engine, &deployment).await;
        }
        if outcome.is_err() {
            engine.signing.unlogged.add(&deployment).await;
        }
    }
    outcome
}

async fn log_late(engine: &Engine, deployment: &DeploymentId) -> Result<()> {
    let store = engine.store.as_ref();
    let Some((entry, revision)) = store.certificate(deployment).await? else { return Ok(()) };
    if entry.index.is_some() {
        return Ok(());
    }
    let unreadable = |error: String| Error::trouble(format!("the certificate of {deployment}: {error}"));
    let certificate: Certificate = serde_json::from_slice(&store.evidence(&entry.file).await?)
        .map_err(|error| unreadable(error.to_string()))?;
    let facts = certificate.unverified_facts().map_err(unreadable)?;
    let (inclusion, index) = log_one(engine, &certificate, &facts).await?;
    let certificate = Certificate { log: Some(inclusion), ..certificate };
    let file = store.keep(&certificate.to_bytes()).await?;
    // Another certifier that was faster did the same.
    store.set_certificate(&CertificateEntry { file, index: Some(index), ..entry }, Some(revision)).await?;
    Ok(())
}

/// Looks at what runs until it is as it should be, a few times.
async fn look(engine: &Engine, story: &Story<'_>, expected: Option<&DeploymentSpec>) -> Result<Observed> {
    let target = story.target();
    let mut differences = Vec::new();
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        differences = validator::differences(engine, &target, expected).await?;
        if differences.is_empty() {
            break;
        }
    }
    Ok(Observed {
        at: engine.now().into(),
        expected: expected.map(Digest::of),
        differences: differences.into_iter().map(|drift| drift.text).collect(),
    })
}

/// Where the audit log has the journal so far, and its proof of that. What the log does not prove is not said.
async fn range(engine: &Engine, deployment: &DeploymentId, records: &[Record]) -> Result<(Audit, Range)> {
    let (store, patience) = (engine.store.as_ref(), engine.signing.outbox.patience());
    let version = records.len() as u64;
    let last = store.logged(deployment, version, patience).await?;
    let first = store.logged(deployment, 1, patience).await?;
    let (first, last) = (first.index, last.index + u64::from(last.leaves.max(1)) - 1);
    let range = Range { first: proven(store, first).await?, last: proven(store, last).await? };
    let trouble = |what: String| Error::trouble(format!("the audit log's proof of the journal: {what}"));
    let proof: ProofFile =
        range.last.proof.parse().map_err(|error: ledger::Error| trouble(error.to_string()))?;
    let state = proof.checkpoint.unverified();
    let audit = Audit {
        origin: state.origin.clone(),
        first,
        last,
        records: version,
        size: state.size,
        root: state.root.to_string(),
    };
    log::holds(&range, &audit, records, None).map_err(|(field, text)| trouble(format!("{field} {text}")))?;
    Ok((audit, range))
}

/// The log's proof of an entry that a checkpoint covers; its witnesses may be a moment behind.
async fn proven(store: &dyn Store, index: u64) -> Result<Inclusion> {
    let mut looks = 1;
    loop {
        match store.prove(index).await {
            Ok(proof) => return Ok(Inclusion { entry: proof.leaf, proof: proof.proof }),
            Err(_) if looks < LOOKS => looks += 1,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// Hands the certificate to the audit log and gives its proof.
async fn log_one(engine: &Engine, certificate: &Certificate, facts: &Deployment) -> Result<(Inclusion, u64)> {
    let record = AuditRecord {
        v: 1,
        source: String::new(),
        counter: 0,
        part: 1,
        parts: 1,
        at: engine.now(),
        actor: "certifier".to_owned(),
        action: log::ACTION.to_owned(),
        subject: facts.deployment.to_string(),
        outcome: AuditOutcome::Done,
        reason: None,
        cause: Some(format!("{}:{}", facts.deployment, facts.journal.version)),
        trace: None,
        detail: log::detail(certificate, facts),
        payload: None,
    };
    let store = engine.store.as_ref();
    let (receipt, record) = engine.signing.outbox.send(store, record).await?;
    let proof = store.prove(receipt.index).await?;
    if proof.leaf.as_bytes() != record.to_leaf() {
        return Err(Error::trouble(format!(
            "entry {} of the audit log is not what was handed in",
            receipt.index
        )));
    }
    Ok((Inclusion { entry: proof.leaf, proof: proof.proof }, receipt.index))
}

#[cfg(test)]
mod tests;
