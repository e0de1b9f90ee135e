//! What an approval is: whose approvals a deployment waits for, and what an approver signed. How one is held against the
//! other is in `libs/approval`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, Principal, Span, Timestamp};

/// Whose approvals a deployment waits for, and whose keys count: as they were in force when it began to wait. An approval
/// names the digest of this and is void under another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Terms {
    /// Each rule has to be met for itself; within one, nobody fills two places.
    pub rules: Vec<Rule>,
    /// The keys of those who may, as lines of an OpenSSH file `allowed_signers`.
    pub signers: String,
    /// How long an approval counts, at most.
    pub lasts: Span,
    /// A hardware key must have asked for its PIN or a finger; that it was touched is asked of it always.
    pub verified: bool,
}

impl Terms {
    /// What the terms are known by.
    pub fn digest(&self) -> Digest {
        Digest::of(self)
    }
}

/// One rule, by whoever made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// All of them have to hold, by different people.
    pub all: Vec<Clause>,
}

/// So many of these people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Clause {
    /// How many.
    pub count: u8,
    /// Of whom, by name, in order.
    pub of: Vec<String>,
    /// Only when this is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
}

/// A fact of the plan on which a clause depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Modules are given other secrets than before.
    SecretsTouched,
}

impl When {
    /// The name in JSON and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            When::SecretsTouched => "secrets_touched",
        }
    }
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Yes, to exactly this plan.
    Approve,
    /// No: the deployment is rejected.
    Deny,
}

impl Decision {
    /// The name in JSON and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Decision::Approve => "approve",
            Decision::Deny => "deny",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A statement and the signature over its exact bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signed {
    /// The statement: canonical JSON, whose exact bytes are signed.
    pub statement: String,
    /// The signature.
    pub signature: Signature,
}

/// How a statement is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Signature {
    /// By an SSH key: the file that `ssh-keygen -Y sign` writes.
    Sshsig(String),
}

/// How it stands with the signed approvals that a deployment waits for or waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The digest of the terms; a statement names it.
    pub policy: Digest,
    /// The requirement in words; a statement says it.
    pub requirement: String,
    /// How long an approval counts, at most.
    pub lasts: Span,
    /// Who approved, with which key, and until when that counts.
    pub given: Vec<Given>,
    /// What is missing, in words; empty when nothing is.
    pub missing: Vec<String>,
    /// Whose keys count: the lines of the file of signers that are in force.
    pub signers: String,
}

/// One approval that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Given {
    /// Who.
    pub by: Principal,
    /// The fingerprint of the key, as `ssh-keygen -l` prints it.
    pub key: String,
    /// Until when it counts.
    pub until: Timestamp,
}
