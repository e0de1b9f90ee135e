//! How a request becomes the first record of a deployment.

use model::{DeploymentId, DeploymentSpec, Principal, Record, command::Submit};

use super::{Context, decide, replica::first_record, state::BadJournal};

/// The first record, with all that follows from the request by itself, and the deployment's id: of one principal the same
/// request id gives the same deployment, and a request without one the `fresh` id.
pub fn admit(
    submit: &Submit,
    by: &Principal,
    spec: DeploymentSpec,
    fresh: DeploymentId,
    trace: Option<String>,
    (context, draining): (Context<'_>, bool),
) -> Result<(DeploymentId, Record), BadJournal> {
    let id = match &submit.request_id {
        Some(key) => DeploymentId::derived(&format!("{}\n{key}", by.as_text())),
        None => fresh,
    };
    let received = decide::receive(submit, by, spec);
    let record = first_record(&id, received, trace, context, draining)?;
    Ok((id, record))
}
