//! SLSA verification summaries, version 1 (<https://slsa.dev/verification_summary/v1>): the certificate in the form
//! that `slsa-verifier verify-vsa` reads.

use std::collections::BTreeMap;

use model::{Digest, deployment::Mode};
use serde::{Deserialize, Serialize};

use crate::{
    At, Deployment, Ending,
    statement::{Statement, sha256, subjects},
};

/// The predicate type.
pub const TYPE: &str = "https://slsa.dev/verification_summary/v1";
/// Who verifies.
pub const VERIFIER: &str = "https://code.example/certifier";
/// The level that a certified promotion reaches. Of our own, since no build was looked at.
pub const LEVEL: &str = "CODE_DEPLOYMENT_L1";

/// The predicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Summary {
    /// Who verified.
    pub verifier: Verifier,
    /// When.
    pub time_verified: At,
    /// What was verified: `code:<environment>.<platform>.<name>`.
    pub resource_uri: String,
    /// By which rules.
    pub policy: Reference,
    /// What was read to come to this: the deployment certificate alone. What it names by digest nobody read.
    pub input_attestations: Vec<Reference>,
    /// `PASSED` for a certified promotion through all gates, else `FAILED`.
    pub verification_result: String,
    /// [`LEVEL`] or `FAILED`.
    pub verified_levels: Vec<String>,
    /// The version of SLSA this follows.
    pub slsa_version: String,
}

/// Who verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verifier {
    /// Always [`VERIFIER`].
    pub id: String,
    /// Versions of its parts.
    pub version: BTreeMap<String, String>,
}

/// Something by name and digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Its name.
    pub uri: String,
    /// Its digest.
    pub digest: BTreeMap<String, String>,
}

impl Reference {
    fn new(uri: impl Into<String>, digest: &Digest) -> Reference {
        Reference { uri: uri.into(), digest: sha256(digest) }
    }
}

/// The one summary that says the same as this certificate, whose envelope has this digest.
pub fn summary(facts: &Deployment, certificate: &Digest) -> Statement<Summary> {
    // A way back passed no gates: it reaches no level.
    let passed = facts.ending == Ending::Promoted && facts.mode == Mode::Apply;
    let inputs = vec![Reference::new(format!("code:certificate/{}", facts.deployment), certificate)];
    let summary = Summary {
        verifier: Verifier {
            id: VERIFIER.to_owned(),
            version: BTreeMap::from([("code".to_owned(), facts.certifier.version.clone())]),
        },
        time_verified: facts.issued,
        resource_uri: resource(&facts.target.to_string()),
        policy: Reference::new(format!("code:policy/{}", facts.target), &facts.policy.digest),
        input_attestations: inputs,
        verification_result: if passed { "PASSED" } else { "FAILED" }.to_owned(),
        verified_levels: vec![if passed { LEVEL } else { "FAILED" }.to_owned()],
        slsa_version: "1.1".to_owned(),
    };
    Statement::new(TYPE, subjects(&facts.spec, facts.plan.as_ref(), &facts.artifacts), summary)
}

/// How a target is named as a resource.
pub fn resource(target: &str) -> String {
    format!("code:{target}")
}
