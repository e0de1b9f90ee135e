//! Environment variables as settings.

use std::collections::{BTreeMap, BTreeSet};

use figment::value::{Dict, Value};
use serde::Deserialize;
use toml_edit::de::ValueDeserializer;

use super::{
    SECTIONS,
    explain::{Problem, nearest},
};

const PREFIX: &str = "CODE_";
/// Read before everything else: the path of the file.
pub(super) const FILE: &str = "CODE_CONFIG";

/// The settings that the environment gives to one service.
#[derive(Debug, Default)]
pub(super) struct Environment {
    /// Path, such as `["agents", "retry", "most"]`, to the variable and its text.
    values: BTreeMap<Vec<String>, (String, String)>,
}

impl Environment {
    /// Sorts out which variables mean `service` or all services. Those of other services, of other programs that
    /// share the prefix, and those that Kubernetes adds for its services are left alone; one that looks like a
    /// misspelt common setting is refused.
    pub(super) fn sort_out(
        variables: &BTreeMap<String, String>,
        service: &str,
        common: &[String],
    ) -> Result<Environment, Vec<Problem>> {
        let mut values = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if name == FILE || is_service_link(rest, text) {
                continue;
            }
            let rest = rest.to_ascii_lowercase();
            if let Some(own) = after_section(&rest, service) {
                let path = std::iter::once(service).chain(own.split("__")).map(str::to_owned).collect();
                values.insert(path, (name.clone(), text.clone()));
            } else if SECTIONS.iter().any(|other| after_section(&rest, other).is_some()) {
                continue;
            } else if common.contains(&rest.split("__").next().unwrap_or_default().to_owned()) {
                let path = std::iter::once("common").chain(rest.split("__")).map(str::to_owned).collect();
                values.insert(path, (name.clone(), text.clone()));
            } else if let Some(meant) = nearest(&rest, common.iter().map(String::as_str)) {
                problems.push(Problem {
                    place: name.clone(),
                    field: format!("common.{rest}"),
                    message: "unknown setting".to_owned(),
                    cure: format!("did you mean {PREFIX}{}?", meant.to_ascii_uppercase()),
                });
            }
        }
        if problems.is_empty() { Ok(Environment { values }) } else { Err(problems) }
    }

    /// The variable that gave this value, the value it is a part of, or a part of it.
    pub(super) fn variable(&self, path: &[String]) -> Option<&str> {
        let whole = (1..=path.len()).rev().find_map(|depth| self.values.get(&path[..depth]));
        let part = || self.values.iter().find(|(set, _)| set.starts_with(path)).map(|(_, found)| found);
        whole.or_else(part).map(|(name, _)| name.as_str())
    }

    /// The paths this environment sets.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Vec<String>> {
        self.values.keys()
    }

    /// The values as a tree. Numbers, booleans and lists are read as such unless their path is in `as_text`.
    pub(super) fn tree(&self, as_text: &BTreeSet<Vec<String>>) -> Dict {
        let mut tree = Dict::new();
        for (path, (_, text)) in &self.values {
            let value = if as_text.contains(path) { Value::from(text.clone()) } else { read(text) };
            insert(&mut tree, path, value);
        }
        tree
    }
}

/// A text as the value it looks like. Not figment's own reader, which panics on `"ä\ "`.
fn read(text: &str) -> Value {
    let text = text.trim();
    if text.starts_with(['[', '{'])
        && let Ok(value) = text.parse::<ValueDeserializer>()
        && let Ok(value) = <Value as Deserialize>::deserialize(value)
    {
        return value;
    }
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        // A list whose texts stand without quotes, as one writes it in a shell.
        Some(items) => Value::from(items.split(',').map(scalar).collect::<Vec<Value>>()),
        None => scalar(text),
    }
}

fn scalar(text: &str) -> Value {
    let text = text.trim();
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    if let Ok(value) = text.parse::<bool>() {
        Value::from(value)
    } else if let Ok(value) = text.parse::<i64>() {
        Value::from(value)
    } else if let Some(value) = text.parse::<f64>().ok().filter(|_| numeric) {
        Value::from(value)
    } else {
        Value::from(text)
    }
}

fn insert(tree: &mut Dict, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            tree.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let branch = tree.entry(first.clone()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = branch {
                insert(inner, rest, value);
            } else {
                let mut inner = Dict::new();
                insert(&mut inner, rest, value);
                *branch = Value::from(inner);
            }
        }
    }
}

fn after_section<'a>(rest: &'a str, section: &str) -> Option<&'a str> {
    rest.strip_prefix(&section.replace('-', "_"))?.strip_prefix('_').filter(|field| !field.is_empty())
}

/// Kubernetes tells every pod about services by variables such as `CODE_AGENTS_PORT_8080_TCP_ADDR`
/// (enableServiceLinks); a service named `code-agents` must not be taken for a setting.
fn is_service_link(rest: &str, text: &str) -> bool {
    rest.ends_with("_SERVICE_HOST")
        || rest.contains("_SERVICE_PORT")
        || (rest.ends_with("_PORT") && text.contains("://"))
        || rest.split_once("_PORT_").is_some_and(|(_, after)| after.starts_with(|c: char| c.is_ascii_digit()))
}
