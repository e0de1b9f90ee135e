//! in-toto statements, version 1 (<https://in-toto.io/Statement/v1>).

use std::collections::BTreeMap;

use model::Digest;
use serde::{Deserialize, Serialize};

use crate::deployment::Artifact;

/// The type of every statement.
pub const TYPE: &str = "https://in-toto.io/Statement/v1";

/// Something said about subjects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statement<P> {
    /// Always [`TYPE`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// What it is about, by digest.
    pub subject: Vec<Subject>,
    /// What kind of thing is said.
    pub predicate_type: String,
    /// What is said.
    pub predicate: P,
}

impl<P> Statement<P> {
    /// A statement.
    pub fn new(predicate_type: &str, subject: Vec<Subject>, predicate: P) -> Statement<P> {
        Statement { kind: TYPE.to_owned(), subject, predicate_type: predicate_type.to_owned(), predicate }
    }
}

/// One thing that is spoken about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// A name for people; only the digest counts.
    pub name: String,
    /// `sha256` and its 64 hex digits.
    pub digest: BTreeMap<String, String>,
}

impl Subject {
    /// A subject.
    pub fn new(name: impl Into<String>, digest: &Digest) -> Subject {
        Subject { name: name.into(), digest: sha256(digest) }
    }
}

/// A digest as in-toto writes it: `{"sha256": "<64 hex digits>"}`.
pub fn sha256(digest: &Digest) -> BTreeMap<String, String> {
    let text = digest.to_string();
    let hex = text.strip_prefix("sha256:").unwrap_or(&text).to_owned();
    BTreeMap::from([("sha256".to_owned(), hex)])
}

/// What a certificate is about: the plan (or the spec alone, when there was none), and every artefact that is known by
/// a digest. The plan comes first: it is the file that cosign is given.
pub fn subjects(spec: &Digest, plan: Option<&Digest>, artifacts: &[Artifact]) -> Vec<Subject> {
    let mut subjects: Vec<Subject> = plan.map(|plan| Subject::new("plan", plan)).into_iter().collect();
    subjects.push(Subject::new("spec", spec));
    subjects.extend(artifacts.iter().filter_map(|artifact| {
        Some(Subject::new(format!("{} {}", artifact.module, artifact.name), artifact.digest.as_ref()?))
    }));
    subjects
}
