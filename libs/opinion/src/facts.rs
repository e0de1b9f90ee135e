//! What is known about a question beside the answers.

use serde::{Deserialize, Serialize};

use crate::policy::Risk;

/// What an opinion must respect whatever the votes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Facts {
    /// Ids of the evidence that the question carries. A blocking finding counts only with one of these.
    pub evidence: Vec<String>,
    /// Mechanical gates that failed, such as a policy or a signature. With one there is no approval.
    pub failed_gates: Vec<String>,
    /// How much is at stake.
    pub risk: Risk,
}
