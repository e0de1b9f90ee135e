//! From text to a spec, or to everything that is wrong with it.

use model::{DeploymentSpec, Digest, Fault, fault::Complaint};

use crate::{
    check::{objections, warnings},
    document::{Node, Objection, Path, load, shown_word},
    shape::{self, Shaped},
};

/// Most complaints that are listed; the rest is counted.
const LISTED: usize = 100;

/// Most complaints about types whose place is looked up; they come in the order of the document.
const PLACED: usize = 1000;

/// A spec that is valid in itself, and what it is known by.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The spec, defaults filled in.
    pub spec: DeploymentSpec,
    /// The digest of the spec's canonical JSON: equal for two texts that mean the same.
    pub digest: Digest,
    /// What is allowed and perhaps not meant, by place: what looks like a placeholder and is none.
    pub warnings: Vec<Complaint>,
}

/// Reads a spec from YAML 1.2 or JSON. The fault is [`model::Code::Invalid`] and lists every complaint by place; a document
/// with mistakes of form (an unclosed quote, a value of the wrong type in a place that cannot be left out) is not
/// held against the rules that go beyond types until those are cured.
pub fn read(text: &str) -> Result<Read, Fault> {
    let (root, mut complaints) = load(text);
    let Some(root) = root else { return Err(fault(complaints)) };
    let shaped = shape::fit(&root);
    let spec = match &shaped.value {
        Some(value) => match deserialize(value.clone()) {
            Ok(spec) => Some(spec),
            Err(objection) => {
                complaints.push(objection.placed(&root));
                None
            }
        },
        None => None,
    };
    if let Some(spec) = &spec {
        complaints.extend(beyond_types(spec, &shaped, &root));
    }
    let unplaced = shaped.objections.len().saturating_sub(PLACED);
    let placed = shaped.objections.into_iter().take(PLACED).map(|objection| objection.placed(&root));
    complaints.extend(placed);
    match spec {
        Some(spec) if complaints.is_empty() => {
            let warnings = warnings(&spec).into_iter().map(|warning| warning.placed(&root)).collect();
            Ok(Read { digest: Digest::of(&spec), spec, warnings })
        }
        _ => Err(listed("the spec", complaints, unplaced)),
    }
}

/// Reads a spec from bytes that may not even be text.
pub fn read_bytes(bytes: &[u8]) -> Result<Read, Fault> {
    match std::str::from_utf8(bytes) {
        Ok(text) => read(text),
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
            let complaint = Complaint {
                field: String::new(),
                line: u32::try_from(line).unwrap_or(u32::MAX),
                column: u32::try_from(column).unwrap_or(u32::MAX),
                message: format!("byte {} is not UTF-8 text", error.valid_up_to()),
                cure: "save the spec as UTF-8".to_owned(),
            };
            Err(fault(vec![complaint]))
        }
    }
}

/// What the rules beyond types say, without what only follows from a field that was left out because it is wrong.
fn beyond_types(spec: &DeploymentSpec, shaped: &Shaped, root: &Node) -> Vec<Complaint> {
    let follows = |path: &Path| {
        shaped.dropped.iter().any(|dropped| path.holds(dropped))
            || shaped.clouded.iter().any(|clouded| clouded.holds(path))
    };
    let found = objections(spec).into_iter().filter(|objection| !follows(&objection.path));
    found.map(|objection| objection.placed(root)).collect()
}

/// The shape has been checked, so this fails only where serde knows more than the schema.
fn deserialize(value: serde_json::Value) -> Result<DeploymentSpec, Objection> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        use serde_path_to_error::Segment;
        let path = error.path().iter().fold(Path::default(), |path, segment| match segment {
            Segment::Seq { index } => path.index(*index),
            Segment::Map { key } | Segment::Enum { variant: key } => path.field(key),
            Segment::Unknown => path,
        });
        Objection { path, key: false, message: shown_word(&error.inner().to_string()), cure: String::new() }
    })
}

fn fault(complaints: Vec<Complaint>) -> Fault {
    listed("the spec", complaints, 0)
}

/// The fault that lists these complaints by place, and counts `others` without listing them.
pub(crate) fn listed(what: &str, mut complaints: Vec<Complaint>, others: usize) -> Fault {
    complaints.sort_by(|a, b| (a.line, a.column, &a.field).cmp(&(b.line, b.column, &b.field)));
    complaints.dedup();
    let count = complaints.len() + others;
    let message =
        if count == 1 { format!("{what} has a mistake") } else { format!("{what} has {count} mistakes") };
    if count > LISTED {
        complaints.truncate(LISTED);
        complaints.push(Complaint {
            field: String::new(),
            line: 0,
            column: 0,
            message: format!("{} more mistakes are not listed", count - LISTED),
            cure: String::new(),
        });
    }
    Fault::invalid(message, complaints)
}
