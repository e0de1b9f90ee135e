//! Why an approval does not count.

use model::{Digest, Span, Timestamp};

/// Why an approval does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The statement cannot be read.
    #[error("the statement {0}; print it anew with codectl approve --print and sign exactly these bytes")]
    Statement(String),
    /// It is about something else.
    #[error(
        "the statement is about {field} {found}, here it is {expected}: it counts for nothing else than what it names, sign this one"
    )]
    Other {
        /// Which field.
        field: &'static str,
        /// What it says.
        found: String,
        /// What it is here.
        expected: String,
    },
    /// The plan is another.
    #[error("the statement is about plan {found}, the plan is {expected}: look at this one and sign anew")]
    Plan {
        /// What it names.
        found: String,
        /// What is planned.
        expected: Digest,
    },
    /// Other terms are in force.
    #[error(
        "the statement names policy {found}, in force is {expected}: the requirement or the signers changed since, sign anew"
    )]
    Policy {
        /// What it names.
        found: String,
        /// What is in force.
        expected: Digest,
    },
    /// Not valid yet.
    #[error("the statement is issued at {issued} and it is {now}: set the clocks")]
    Early {
        /// Since when.
        issued: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// Over.
    #[error("the statement expired at {expires} and it is {now}: sign anew")]
    Expired {
        /// Since when it is.
        expires: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// Lasts too long, or ends before it begins.
    #[error("the statement is to count from {issued} to {expires}; an approval counts for at most {most}")]
    Lasts {
        /// From.
        issued: Timestamp,
        /// To.
        expires: Timestamp,
        /// The most.
        most: Span,
    },
    /// The same nonce was used before.
    #[error("nonce {0} was used before on this deployment: a statement counts once, sign a new one")]
    Nonce(String),
    /// The approver asked for it.
    #[error("{0} asked for it and so cannot decide on it: somebody else has to")]
    Author(String),
    /// The approver is not among those who may.
    #[error("{who} is not among those who may: {may}")]
    MayNot {
        /// Who signed.
        who: String,
        /// Who may.
        may: String,
    },
    /// The signature cannot be read or does not hold.
    #[error("the signature does not count: {0}")]
    Signature(String),
    /// Signed for another purpose.
    #[error("the signature is for namespace {found:?}, expected {namespace}: sign with -n {namespace}", namespace = crate::names::NAMESPACE)]
    Namespace {
        /// What it is for.
        found: String,
    },
    /// The key is not one of the approver's.
    #[error("{key} is no key of {who} in the file of signers: they have {theirs}")]
    Key {
        /// Whose it is said to be.
        who: String,
        /// The key's fingerprint.
        key: String,
        /// The fingerprints of their keys.
        theirs: String,
    },
    /// The key is theirs, and does not count.
    #[error("{key} of {who} {why}")]
    KeyOver {
        /// Whose.
        who: String,
        /// The key's fingerprint.
        key: String,
        /// Why.
        why: String,
    },
    /// Somebody else's decision stands on it.
    #[error("the statement says {found}, asked is to {expected}")]
    Decision {
        /// What it says.
        found: model::approval::Decision,
        /// What is asked for.
        expected: model::approval::Decision,
    },
}
