//! The breaking changes that oasdiff documents, by its identifiers (version 1.28, errors and warnings), each with a pair
//! of documents of our own: is it found, and is nothing found on the way back where that breaks nothing?
//!
//! The same code for the test and for the report. The list of identifiers is a fact about another tool; the documents are in `catalogue.json` and made for this one.

use serde::Deserialize;
use serde_json::{Value, json};

use contract::{Document, Finding, Kind, compare};

/// The day on which the documents of the catalogue are compared.
const TODAY: &str = "2026-11-30";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    /// What oasdiff takes it for.
    #[serde(rename = "level")]
    _level: String,
    /// What the pair is made into a document as; without a pair there is a reason in `out`.
    #[serde(default)]
    at: String,
    #[serde(default)]
    old: Value,
    #[serde(default)]
    new: Value,
    /// The finding that breaks.
    found: Option<String>,
    /// The finding that is a doubt or a note.
    noted: Option<String>,
    /// Why the way back breaks too.
    reverse: Option<String>,
    /// Why it is not looked for.
    out: Option<String>,
}

/// What becomes of an identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Found as a break, under this identifier of ours.
    Found(String),
    /// Found as a doubt or a note, under this identifier of ours.
    Noted(String),
    /// Out of scope, for this reason.
    Out(String),
    /// Not as the catalogue says: this is what happened.
    Wrong(String),
}

/// How many of each there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Identifiers in the catalogue.
    pub ids: usize,
    /// Found as breaks.
    pub found: usize,
    /// Found as doubts or notes.
    pub noted: usize,
    /// Out of scope, with a reason.
    pub out: usize,
    /// Not as the catalogue says.
    pub wrong: usize,
}

/// Tries every pair of the catalogue, by identifier.
pub fn tried() -> Result<Vec<(String, Outcome)>, serde_json::Error> {
    let entries: Vec<Entry> = serde_json::from_str(include_str!("catalogue.json"))?;
    Ok(entries.into_iter().map(|entry| (entry.id.clone(), outcome(&entry))).collect())
}

/// Counts what became of them.
pub fn figures(tried: &[(String, Outcome)]) -> Figures {
    let count = |is: fn(&Outcome) -> bool| tried.iter().filter(|(_, outcome)| is(outcome)).count();
    Figures {
        ids: tried.len(),
        found: count(|outcome| matches!(outcome, Outcome::Found(_))),
        noted: count(|outcome| matches!(outcome, Outcome::Noted(_))),
        out: count(|outcome| matches!(outcome, Outcome::Out(_))),
        wrong: count(|outcome| matches!(outcome, Outcome::Wrong(_))),
    }
}

fn outcome(entry: &Entry) -> Outcome {
    let (id, is_break) = match (&entry.found, &entry.noted, &entry.out) {
        (Some(id), None, None) => (id, true),
        (None, Some(id), None) => (id, false),
        (None, None, Some(reason)) => return Outcome::Out(reason.clone()),
        _ => return Outcome::Wrong("it is not said what becomes of it".to_owned()),
    };
    let (old, new) = (whole(&entry.at, &entry.old), whole(&entry.at, &entry.new));
    let (Ok(old), Ok(new)) = (Document::of(old), Document::of(new)) else {
        return Outcome::Wrong("a document of the pair cannot be read".to_owned());
    };
    let told = |old: &Document, new: &Document| compare(old, new, TODAY).findings;
    let (forth, back) = (told(&old, &new), told(&new, &old));
    let list = |findings: &[Finding]| {
        findings.iter().map(|one| format!("{:?} {}: {one}", one.kind, one.id)).collect::<Vec<_>>().join("; ")
    };
    let is_only = forth.iter().all(|finding| finding.id == *id && (finding.kind == Kind::Break) == is_break)
        && !forth.is_empty();
    let breaks_back = back.iter().any(|finding| finding.kind == Kind::Break);
    if !is_only {
        return Outcome::Wrong(format!("{id} was expected, found: {}", list(&forth)));
    }
    if breaks_back != entry.reverse.is_some() {
        return Outcome::Wrong(format!("on the way back: {}", list(&back)));
    }
    if is_break { Outcome::Found(id.clone()) } else { Outcome::Noted(id.clone()) }
}

/// The smallest document that holds it.
fn whole(at: &str, value: &Value) -> Value {
    let field = json!({"type": "object", "properties": {"p": value}});
    let plain = json!({"200": {"description": "ok"}});
    let body = |schema: &Value| json!({"requestBody": {"content": {"application/json": {"schema": schema}}}, "responses": plain});
    let parameter = |schema: &Value| json!({"parameters": [{"name": "q", "in": "query", "schema": schema}], "responses": plain});
    let answer = |schema: &Value| json!({"responses": {"200": {"description": "ok", "content": {"application/json": {"schema": schema}}}}});
    let operation = match at {
        "document" => return value.clone(),
        "request-body" => body(value),
        "request-property" => body(&field),
        "request-parameter" => parameter(value),
        "request-parameter-property" => parameter(&field),
        "response-body" => answer(value),
        "response-property" => answer(&field),
        _ => value.clone(),
    };
    json!({"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {"/a": {"post": operation}}})
}
