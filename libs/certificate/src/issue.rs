//! Makes a certificate.

use model::digest::canonical_json;

use crate::{
    Deployment, Documents, Ending, Error, Journal, MEDIA_TYPE, Signer, Story,
    bundle::Bundle,
    certificate::Certificate,
    deployment,
    dsse::Envelope,
    rules,
    statement::{Statement, subjects},
    vsa,
};

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
    let promoted = facts.ending == Ending::Promoted;
    let gaps = if promoted { rules::gaps(facts, &spec, plan.as_ref()) } else { Vec::new() };
    let records = journal.read().map_err(&contradiction)?;
    let unsound = if promoted { Story::read(&records)?.unsound() } else { Vec::new() };
    let wrong =
        gaps.into_iter().chain(unsound).chain(rules::contradictions(facts, &spec, plan.as_ref())).next();
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
