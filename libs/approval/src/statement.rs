//! What an approver signs: an in-toto statement about one plan of one deployment, in canonical JSON.

use std::time::Duration;

use model::{
    At, Digest, Plan, Principal, Span, TargetId, Timestamp,
    approval::Decision,
    digest::{canonical_json, check_canonical},
};
use serde::{Deserialize, Serialize};

use crate::{names::TYPE, refusal::Refusal};

/// By how much the clocks of an approver, the engine and its machines may differ.
pub const SKEW: Duration = Duration::from_secs(300);

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// Longest statement in bytes, and longest reason.
const MOST: usize = 8192;
const REASON: usize = 1000;

/// What an approval is about, beside the terms: a deployment and its plan as they stand.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The deployment.
    pub deployment: &'a str,
    /// Where it goes.
    pub target: &'a TargetId,
    /// Who asked for it.
    pub initiator: &'a Principal,
    /// Modules and their versions, such as `web 1.2.0`.
    pub modules: &'a [String],
    /// The plan.
    pub plan: &'a Plan,
}

/// The text that an approver is shown; the statement names its digest.
pub fn shown(about: &About<'_>) -> String {
    let mut text = format!(
        "deployment {}\ntarget {}\nasked for by {}\nrelease {}\nplan {}\n",
        about.deployment,
        about.target,
        about.initiator.as_text(),
        about.modules.join(", "),
        about.plan.digest(),
    );
    for step in &about.plan.steps {
        text += &format!("step {}: {}\n", step.id, step.describe());
    }
    text
}

/// What an approver signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    /// What is said.
    pub predicate: Predicate,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: Sha256,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sha256 {
    sha256: String,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Predicate {
    /// Yes or no.
    pub decision: Decision,
    /// To which deployment.
    pub deployment: String,
    /// Of which target.
    pub target: String,
    /// In which environment.
    pub environment: String,
    /// Who says it, as the file of signers names them.
    pub approver: String,
    /// The digest of the terms that were in force.
    pub policy: String,
    /// The requirement in words.
    pub requirement: String,
    /// Random; a statement counts once.
    pub nonce: String,
    /// Since when it counts.
    pub issued: At,
    /// Until when.
    pub expires: At,
    /// Why; may be empty.
    pub reason: String,
    /// The digest of the text that was shown.
    pub shown: String,
}

/// What an approver adds to what the engine says.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    /// Yes or no.
    pub decision: Decision,
    /// Who.
    pub approver: &'a str,
    /// Why.
    pub reason: &'a str,
    /// 32 random hex digits.
    pub nonce: &'a str,
    /// Now.
    pub issued: Timestamp,
    /// How long it is to count.
    pub lasts: Span,
}

impl Statement {
    /// The statement of an approver, under these terms.
    pub fn new(about: &About<'_>, policy: &Digest, requirement: &str, words: &Words<'_>) -> Statement {
        Statement {
            kind: STATEMENT.to_owned(),
            subject: vec![subject(about)],
            predicate_type: TYPE.to_owned(),
            predicate: Predicate {
                decision: words.decision,
                deployment: about.deployment.to_owned(),
                target: about.target.to_string(),
                environment: about.target.environment.to_string(),
                approver: words.approver.to_owned(),
                policy: policy.to_string(),
                requirement: requirement.to_owned(),
                nonce: words.nonce.to_owned(),
                issued: At(words.issued),
                expires: At(words.issued.plus(words.lasts.0)),
                reason: words.reason.to_owned(),
                shown: Digest::of_bytes(shown(about).as_bytes()).to_string(),
            },
        }
    }

    /// The exact text that is signed.
    pub fn text(&self) -> String {
        String::from_utf8(canonical_json(self)).unwrap_or_default()
    }

    /// Reads the text that was signed. Only its one spelling is taken.
    ///
    /// # Errors
    /// [`Refusal::Statement`] when it is none.
    pub fn read(text: &str) -> Result<Statement, Refusal> {
        let wrong = |why: String| Refusal::Statement(why);
        if text.len() > MOST {
            return Err(wrong(format!("has {} bytes, at most {MOST} are taken", text.len())));
        }
        check_canonical(text.as_bytes()).map_err(|why| wrong(format!("is no canonical JSON ({why})")))?;
        let read: Statement =
            serde_json::from_str(text).map_err(|error| wrong(format!("cannot be read ({error})")))?;
        if read.text() != text {
            return Err(wrong("is not spelled as canonical JSON".to_owned()));
        }
        for (field, found, expected) in
            [("_type", &read.kind, STATEMENT), ("predicateType", &read.predicate_type, TYPE)]
        {
            if found != expected {
                return Err(wrong(format!("has {field} {found:?}, expected {expected}")));
            }
        }
        let Predicate { nonce, reason, .. } = &read.predicate;
        if nonce.len() != 32 || !nonce.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong(format!("has the nonce {nonce:?}, expected 32 hex digits")));
        }
        if reason.chars().count() > REASON || reason.chars().any(char::is_control) {
            return Err(wrong(format!(
                "has a reason that is longer than {REASON} characters or holds control characters"
            )));
        }
        Ok(read)
    }

    /// It is about this, and nothing else.
    pub(crate) fn is_about(&self, about: &About<'_>) -> Result<(), Refusal> {
        let said = &self.predicate;
        let target = about.target.to_string();
        for (field, found, expected) in [
            ("deployment", &said.deployment, about.deployment),
            ("target", &said.target, target.as_str()),
            ("environment", &said.environment, about.target.environment.as_str()),
        ] {
            if found != expected {
                let (found, expected) = (found.clone(), expected.to_owned());
                return Err(Refusal::Other { field, found, expected });
            }
        }
        if self.subject != [subject(about)] {
            let found = self.subject.first().map_or_else(
                || "none".to_owned(),
                |subject| format!("{} sha256:{}", subject.name, subject.digest.sha256),
            );
            return Err(Refusal::Plan { found, expected: about.plan.digest() });
        }
        let shown = Digest::of_bytes(shown(about).as_bytes()).to_string();
        if said.shown != shown {
            return Err(Refusal::Other { field: "shown", found: said.shown.clone(), expected: shown });
        }
        Ok(())
    }

    /// It counts at this time, for at most so long.
    pub(crate) fn is_in_time(&self, now: Timestamp, most: Span) -> Result<(), Refusal> {
        let (At(issued), At(expires)) = (self.predicate.issued, self.predicate.expires);
        if expires <= issued || expires.since(issued) > most.0 {
            return Err(Refusal::Lasts { issued, expires, most });
        }
        if issued > now.plus(SKEW) {
            return Err(Refusal::Early { issued, now });
        }
        if expires < now {
            return Err(Refusal::Expired { expires, now });
        }
        Ok(())
    }
}

fn subject(about: &About<'_>) -> Subject {
    let digest = about.plan.digest().to_string();
    let sha256 = digest.strip_prefix("sha256:").unwrap_or(&digest).to_owned();
    Subject { name: format!("plan/{}", about.deployment), digest: Sha256 { sha256 } }
}
