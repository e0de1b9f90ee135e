//! Judges the gates of a verified certificate again, from the documents of what they measured. Pure.
//!
//! A document is known by the SHA-256 of its bytes, whatever its file is called. That it is the one that was signed says
//! that the runner told it, and that the verdict follows from it; that it is what happened is still the runner's word.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use gates::{Difference, Document, Unjudged};
use model::{Digest, GateResult};
use serde::Serialize;

use crate::{Problem, Verified, deployment::Gate, verify::Belief};

/// Documents as they were found, by the digest of their bytes.
#[derive(Clone, Debug, Default)]
pub struct Evidence(BTreeMap<Digest, (String, Vec<u8>)>);

/// What judging a gate again came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recount {
    /// The same verdict follows from the document.
    Recomputed,
    /// When it was judged nothing was kept.
    NotKept,
    /// Its document is not there.
    Missing,
    /// Its document had no room for all looks.
    Cut,
    /// Another verdict follows, or the document is not the one that was signed, or about something else.
    Differs,
}

impl fmt::Display for Recount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Recount::Recomputed => "recomputed",
            Recount::NotKept => "not kept",
            Recount::Missing => "missing",
            Recount::Cut => "cut",
            Recount::Differs => "differs",
        })
    }
}

/// One gate that was judged again, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recounted {
    /// The gate's field, from the top of the file.
    pub field: String,
    /// The step.
    pub step: String,
    /// Its attempt.
    pub attempt: u32,
    /// The gate.
    pub gate: String,
    /// The digest that is signed.
    pub evidence: Option<Digest>,
    /// What it came to.
    pub result: Recount,
    /// The same for a person.
    pub text: String,
    /// Every field that differs.
    pub differences: Vec<Difference>,
}

impl Evidence {
    /// Of files by their names. A file that is named by a digest (`sha256-…`, `sha256:…` or the 64 digits, with or without
    /// `.json`) must have it.
    pub fn of(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> (Evidence, Vec<Problem>) {
        let (mut evidence, mut problems) = (Evidence::default(), Vec::new());
        for (name, bytes) in files {
            let digest = Digest::of_bytes(&bytes);
            if let Some(named) = named(&name).filter(|named| *named != digest) {
                let text = format!("is named by the digest {named}, and its content has {digest}");
                problems.push(Problem::new(format!("evidence/{name}"), text));
            }
            evidence.0.insert(digest, (name, bytes));
        }
        (evidence, problems)
    }

    /// Every gate of the certificate, in its order.
    pub fn recount(&self, verified: &Verified) -> Vec<Recounted> {
        let gates = verified.facts.gates.iter().enumerate();
        gates.map(|(at, gate)| self.gate(verified, at, gate)).collect()
    }

    fn gate(&self, verified: &Verified, at: usize, gate: &Gate) -> Recounted {
        let (result, text, differences) = match &gate.evidence {
            None => (Recount::NotKept, "nothing was kept of what was measured".to_owned(), Vec::new()),
            Some(digest) => match self.0.get(digest) {
                Some((_, bytes)) => judged(verified, gate, bytes),
                None => self.instead(verified, gate, digest),
            },
        };
        Recounted {
            field: format!("predicate.gates[{at}]"),
            step: gate.step.to_string(),
            attempt: gate.attempt,
            gate: gate.gate.clone(),
            evidence: gate.evidence.clone(),
            result,
            text,
            differences,
        }
    }

    /// The signed document is not there: one that says to be it is a changed one.
    fn instead(&self, verified: &Verified, gate: &Gate, signed: &Digest) -> Found {
        let used: BTreeSet<&Digest> =
            verified.facts.gates.iter().filter_map(|gate| gate.evidence.as_ref()).collect();
        for (digest, (name, bytes)) in self.0.iter().filter(|(digest, _)| !used.contains(digest)) {
            let Ok(document) = Document::read(bytes) else { continue };
            if !strays(verified, gate, &document).is_empty() {
                continue;
            }
            let text = format!("{name} has the digest {digest}, signed is {signed}: it was changed");
            let mut differences = vec![Difference::new("evidence", text.clone())];
            differences.extend(document.differences(&told(gate)).unwrap_or_default());
            return (Recount::Differs, text, differences);
        }
        (Recount::Missing, format!("its document {signed} is not there"), Vec::new())
    }
}

type Found = (Recount, String, Vec<Difference>);

fn named(file: &str) -> Option<Digest> {
    let stem = file.strip_suffix(".json").unwrap_or(file);
    let digits = stem.strip_prefix("sha256-").or(stem.strip_prefix("sha256:")).unwrap_or(stem);
    format!("sha256:{digits}").parse().ok()
}

fn told(gate: &Gate) -> GateResult {
    GateResult {
        gate: gate.gate.clone(),
        outcome: gate.outcome,
        measured: gate.measured,
        limit: gate.limit.clone(),
        samples: gate.samples,
        text: gate.text.clone(),
        at: gate.at.0,
        evidence: gate.evidence.clone(),
    }
}

/// Where the document is that of another gate.
fn strays(verified: &Verified, gate: &Gate, document: &Document) -> Vec<Difference> {
    let mut found = Vec::new();
    for (field, named, asked) in [
        ("deployment", document.deployment.to_string(), verified.facts.deployment.to_string()),
        ("step", document.step.to_string(), gate.step.to_string()),
        ("attempt", document.attempt.to_string(), gate.attempt.to_string()),
        ("gate", document.gate.clone(), gate.gate.clone()),
    ] {
        if named != asked {
            found.push(Difference::new(field, format!("the document is of {named}, signed is {asked}")));
        }
    }
    found
}

fn judged(verified: &Verified, gate: &Gate, bytes: &[u8]) -> Found {
    let differs = |differences: Vec<Difference>| {
        let all: Vec<String> =
            differences.iter().map(|found| format!("{}: {}", found.field, found.text)).collect();
        (Recount::Differs, all.join("; "), differences)
    };
    let broken = |error: Unjudged| Difference::new("document", error.to_string());
    let document = match Document::read(bytes) {
        Ok(document) => document,
        Err(error) => return differs(vec![broken(error)]),
    };
    let mut found = strays(verified, gate, &document);
    match verified.steps.iter().find(|step| step.id == gate.step) {
        Some(step) => found.extend(document.strays(step, &verified.spec)),
        None => found.push(Difference::new("step", "is none of the plan and none of the way back")),
    }
    match document.differences(&told(gate)) {
        Ok(more) => found.extend(more),
        Err(Unjudged::Cut(_)) if found.is_empty() => {
            return (Recount::Cut, "its document had no room for all looks".to_owned(), found);
        }
        Err(error) => found.push(broken(error)),
    }
    if found.is_empty() {
        return (Recount::Recomputed, "the same follows from its document".to_owned(), found);
    }
    differs(found)
}

impl Verified {
    /// Takes out of what is believed the gates that were judged again; those that could not be stay, each by its name.
    pub fn believe_less(&mut self, recounted: &[Recounted]) {
        let is_gate = |belief: &Belief| belief.field.starts_with("predicate.gates");
        let Some(place) = self.believed.iter().position(is_gate) else { return };
        let by = self.believed[place].by.clone();
        self.believed.retain(|belief| !is_gate(belief));
        let left = recounted.iter().filter(|gate| gate.result != Recount::Recomputed);
        let mut beliefs: Vec<Belief> = left
            .map(|gate| Belief {
                field: gate.field.clone(),
                by: by.clone(),
                text: format!(
                    "the measured value and samples of {} of {}: {}",
                    gate.gate, gate.step, gate.text
                ),
            })
            .collect();
        if beliefs.len() < recounted.len() {
            let text = "that what the documents say was measured: the verdicts follow from it".to_owned();
            beliefs.insert(0, Belief { field: "predicate.gates".to_owned(), by, text });
        }
        self.believed.splice(place..place, beliefs);
    }
}
