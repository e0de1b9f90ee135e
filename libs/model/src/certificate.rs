//! Where deployments' certificates are found. What stands in one is in the crate `certificate`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DeploymentId, Digest, TargetId, Timestamp};

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateEntry {
    /// Of which deployment.
    pub deployment: DeploymentId,
    /// Where.
    pub target: TargetId,
    /// How it ended, in the words of the certificate, such as `PROMOTED` or `ROLLED_BACK`.
    pub ending: String,
    /// The digest under which the file is kept as evidence.
    pub file: Digest,
    /// The digest of the signed statement, as the audit log has it.
    pub statement: Digest,
    /// Its index in the audit log; none when the log has not answered.
    pub index: Option<u64>,
    /// When it was issued.
    pub issued: Timestamp,
}
