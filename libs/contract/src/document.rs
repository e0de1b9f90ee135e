//! An OpenAPI document as it was read, with what it refers to within itself.

use serde_json::Value;

use crate::{
    reading::{self, Unread},
    swagger,
    value::members,
};

/// Longest chain of references that lead to references.
const CHAIN: usize = 32;

/// A document. One of Swagger 2.0 is held as the same in terms of OpenAPI 3.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    root: Value,
    /// What stands beside a `$ref` counts (3.1 on); before, it is ignored.
    siblings: bool,
}

impl Document {
    /// Reads JSON or YAML.
    pub fn read(bytes: &[u8]) -> Result<Document, Unread> {
        Document::of(reading::read(bytes)?)
    }

    /// Takes what was read elsewhere.
    pub fn of(mut root: Value) -> Result<Document, Unread> {
        if ["openapi", "swagger", "paths"].iter().all(|name| root.get(name).is_none()) {
            return Err(Unread::NotOpenApi);
        }
        let version = root["openapi"].as_str().unwrap_or_default().to_owned();
        if root.get("swagger").is_some() && version.is_empty() {
            root = swagger::as_openapi(root);
        }
        mark_discriminated(&mut root);
        Ok(Document { root, siblings: !version.is_empty() && !version.starts_with("3.0") })
    }

    /// All of it.
    pub(crate) fn root(&self) -> &Value {
        &self.root
    }

    /// Whether what stands beside a `$ref` counts.
    pub(crate) fn has_siblings(&self) -> bool {
        self.siblings
    }

    /// Follows `#/…` references of anything but schemas; what cannot be followed stays as it is.
    pub(crate) fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let mut value = value;
        for _ in 0..CHAIN {
            match value.get("$ref").and_then(Value::as_str).and_then(|text| self.target(text)) {
                Some(found) => value = found,
                None => break,
            }
        }
        value
    }

    /// What a reference within the document leads to.
    pub(crate) fn target(&self, reference: &str) -> Option<&Value> {
        let pointer = percent_decoded(reference.strip_prefix('#')?);
        if pointer.is_empty() { Some(&self.root) } else { self.root.pointer(&pointer) }
    }

    /// The pointers of the values with these addresses.
    pub(crate) fn pointers(&self, wanted: &std::collections::HashSet<usize>) -> Vec<(usize, String)> {
        let (mut found, mut open) = (Vec::new(), vec![(&self.root, String::new())]);
        while let Some((value, pointer)) = open.pop() {
            let address = address(value);
            if wanted.contains(&address) {
                found.push((address, pointer.clone()));
            }
            match value {
                Value::Object(map) => open.extend(map.iter().map(|(name, value)| {
                    (value, format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")))
                })),
                Value::Array(list) => {
                    open.extend(
                        list.iter().enumerate().map(|(at, value)| (value, format!("{pointer}/{at}"))),
                    );
                }
                _ => {}
            }
        }
        found
    }
}

/// Tells values of one document apart.
pub(crate) fn address(value: &Value) -> usize {
    std::ptr::from_ref(value) as usize
}

fn percent_decoded(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        match hex.filter(|_| *byte == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// What a discriminator says about a branch, as a schema beside the branch: the property has one of the names that lead
/// to it. Whether it counts is decided where two documents meet, since alone it is only a hint.
pub(crate) const DISCRIMINATED: &str = "x-code-discriminated";

fn mark_discriminated(root: &mut Value) {
    let mut open = vec![root];
    while let Some(value) = open.pop() {
        let property = value["discriminator"]["propertyName"].as_str().map(str::to_owned);
        if let Some(property) = property {
            let mapping = value["discriminator"]["mapping"].clone();
            for word in ["oneOf", "anyOf"] {
                for branch in value.get_mut(word).and_then(Value::as_array_mut).into_iter().flatten() {
                    mark(branch, &property, &mapping);
                }
            }
        }
        match value {
            Value::Object(map) => open.extend(map.values_mut()),
            Value::Array(list) => open.extend(list.iter_mut()),
            _ => {}
        }
    }
}

fn mark(branch: &mut Value, property: &str, mapping: &Value) {
    let Some(reference) = branch.get("$ref").and_then(Value::as_str).map(str::to_owned) else { return };
    let name = reference.rsplit('/').next().unwrap_or_default().to_owned();
    let mapped =
        members(mapping).filter(|(_, to)| to.as_str().is_some_and(|to| to == reference || to == name));
    let mut names: Vec<String> = mapped.map(|(key, _)| key.clone()).collect();
    names.push(name);
    *branch = serde_json::json!({
        "allOf": [branch.take()],
        DISCRIMINATED: {"properties": {property: {"enum": names}}, "required": [property]},
    });
}
