//! Holds a document against the types of the model: every unknown field, missing field and value of a wrong type is
//! named at once, which serde alone cannot do.
//!
//! It walks the JSON Schema that the types themselves give, so there is no second list of fields. Where the meaning is
//! clear it is lenient, and the value it makes is in the strict form: a number where text is expected is taken as
//! written (`version: 1.10`), an empty value is as if the field were not there, and a form without fields may stand
//! as its bare name (`strategy: recreate`).

mod nearest;
mod words;

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::document::{Entry, Kind, Node, Objection, Path, shown, shown_word};
use nearest::nearest;

static NO_FIELDS: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// What became of the document.
pub(crate) struct Shaped {
    /// The value to read the types from; none when something that cannot be left out is wrong.
    pub value: Option<Value>,
    /// What is wrong.
    pub objections: Vec<Objection>,
    /// Wrong values of fields that can be left out, and were: what is said about them now is not true.
    pub dropped: Vec<Path>,
    /// Mappings with an unknown field: it may be meant as one that is missed now.
    pub clouded: Vec<Path>,
}

/// Holds the document against the schema of a spec.
pub(crate) fn fit(root: &Node) -> Shaped {
    let schema = crate::schema();
    let mut walk = Walk { schema: &schema, objections: Vec::new(), dropped: Vec::new(), clouded: Vec::new() };
    let value = walk.fit(root, &schema, &Path::default());
    Shaped { value, objections: walk.objections, dropped: walk.dropped, clouded: walk.clouded }
}

struct Walk<'a> {
    schema: &'a Value,
    objections: Vec<Objection>,
    dropped: Vec<Path>,
    clouded: Vec<Path>,
}

impl<'a> Walk<'a> {
    /// The value in its strict form; none when it is wrong, which has been said then.
    fn fit(&mut self, node: &Node, schema: &'a Value, path: &Path) -> Option<Value> {
        let (name, schema) = self.resolve(schema);
        if let Some(rule) = name.and_then(words::rule) {
            let text = self.text(node, path)?;
            return match rule(&text) {
                Ok(()) => Some(Value::String(text)),
                Err(message) => self.object_to(path, message, words::cure_of(path, "")),
            };
        }
        if let Some(forms) = schema.get("oneOf").and_then(Value::as_array) {
            return self.form(node, forms, path);
        }
        match kind(schema) {
            "object" => self.map(node, schema, path),
            "array" => self.list(node, schema, path),
            "string" => match schema.get("enum").and_then(Value::as_array) {
                Some(names) => self.one_of(node, names, path),
                None => self.text(node, path).map(Value::String),
            },
            "boolean" => match &node.kind {
                Kind::Bool(value) => Some(Value::Bool(*value)),
                _ => self.not_a(node, "true or false", schema, path),
            },
            "integer" => self.integer(node, schema, path),
            "number" => match &node.kind {
                Kind::Number { number: Some(number), .. } => Some(Value::Number(number.clone())),
                _ => self.not_a(node, "a number", schema, path),
            },
            _ => json(node),
        }
    }

    /// Follows a reference, and takes `T` of `T or nothing`.
    fn resolve(&self, mut schema: &'a Value) -> (Option<&'a str>, &'a Value) {
        let mut name = None;
        loop {
            if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
                let Some(found) =
                    reference.strip_prefix('#').and_then(|pointer| self.schema.pointer(pointer))
                else {
                    return (name, schema);
                };
                name = reference.rsplit('/').next();
                schema = found;
            } else if let Some(some) = schema.get("anyOf").and_then(Value::as_array).and_then(|any| {
                any.iter().find(|one| one.get("type").and_then(Value::as_str) != Some("null"))
            }) {
                schema = some;
            } else {
                return (name, schema);
            }
        }
    }

    fn map(&mut self, node: &Node, schema: &'a Value, path: &Path) -> Option<Value> {
        let Kind::Map(entries) = &node.kind else { return self.not_a(node, "a mapping", schema, path) };
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return match schema.get("additionalProperties") {
                Some(values) if values.is_object() => self.values(entries, values, path),
                _ => self.fields(entries, &NO_FIELDS, schema, path),
            };
        };
        self.fields(entries, properties, schema, path)
    }

    /// A map whose keys are free.
    fn values(&mut self, entries: &[Entry], schema: &'a Value, path: &Path) -> Option<Value> {
        let mut map = Map::new();
        let mut whole = true;
        for entry in entries {
            match self.fit(&entry.value, schema, &path.field(&entry.key)) {
                Some(value) => drop(map.insert(entry.key.clone(), value)),
                None => whole = false,
            }
        }
        whole.then_some(Value::Object(map))
    }

    fn fields(
        &mut self,
        entries: &[Entry],
        properties: &'a Map<String, Value>,
        schema: &'a Value,
        path: &Path,
    ) -> Option<Value> {
        let required = required(schema);
        let mut map = Map::new();
        let mut whole = true;
        for entry in entries {
            let path_of = path.field(&entry.key);
            let Some(property) = properties.get(&entry.key) else {
                self.unknown(&entry.key, properties, path);
                continue;
            };
            let needed = required.contains(&entry.key.as_str());
            if entry.value.kind == Kind::Null && !needed {
                continue;
            }
            match self.fit(&entry.value, property, &path_of) {
                Some(value) => drop(map.insert(entry.key.clone(), value)),
                None if needed || !is_leaf(self.resolve(property).1) => whole = false,
                None => self.dropped.push(path_of),
            }
        }
        for name in required {
            if !entries.iter().any(|entry| entry.key == name) {
                whole = false;
                let meaning = properties.get(name).map(words::meaning).unwrap_or_default();
                self.object_to::<()>(&path.field(name), format!("`{name}` is missing"), meaning);
            }
        }
        whole.then_some(Value::Object(map))
    }

    fn unknown(&mut self, key: &str, properties: &'a Map<String, Value>, path: &Path) {
        let mut message = format!("unknown field `{}`", shown_word(key));
        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
        if let Some(meant) = nearest(key, &names) {
            message = format!("{message}; did you mean `{meant}`?");
        } else if let Some(parent) = self.holder(key, properties) {
            message = format!("{message}; it belongs into `{parent}`");
        }
        let cure = match names.len() {
            0 => "no field stands here".to_owned(),
            _ => format!("known here: {}", names.join(", ")),
        };
        let path_of = path.field(key);
        self.objections.push(Objection { path: path_of, key: true, message, cure });
        if !path.is_root() {
            self.clouded.push(path.clone());
        }
    }

    /// The field whose own fields have this name: `image` belongs into `run`.
    fn holder(&self, key: &str, properties: &'a Map<String, Value>) -> Option<&'a str> {
        let holds =
            |schema| self.resolve(schema).1.get("properties").is_some_and(|inner| inner.get(key).is_some());
        properties.iter().find(|(_, schema)| holds(schema)).map(|(name, _)| name.as_str())
    }

    fn list(&mut self, node: &Node, schema: &'a Value, path: &Path) -> Option<Value> {
        let Kind::List(items) = &node.kind else { return self.not_a(node, "a list", schema, path) };
        let Some(schema) = schema.get("items") else { return json(node) };
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            values.extend(self.fit(item, schema, &path.index(index)));
        }
        (values.len() == items.len()).then_some(Value::Array(values))
    }

    /// One of several forms: a mapping with the form's name as its only key, or the bare name where that is all.
    fn form(&mut self, node: &Node, forms: &'a [Value], path: &Path) -> Option<Value> {
        let names: Vec<&str> = forms.iter().flat_map(form_names).collect();
        match &node.kind {
            Kind::Text(text) if names.contains(&text.as_str()) => match self.form_content(forms, text) {
                None => Some(Value::String(text.clone())),
                Some(content) if content.get("type").and_then(Value::as_str) == Some("object") => {
                    let empty = Node { place: node.place, kind: Kind::Map(Vec::new()) };
                    let value = self.fit(&empty, content, &path.field(text))?;
                    Some(Value::Object(Map::from_iter([(text.clone(), value)])))
                }
                Some(_) => self.object_to(
                    path,
                    format!("`{text}` needs a value"),
                    format!("write `{text}: ...`, with {}", words::kind(self.form_content(forms, text))),
                ),
            },
            Kind::Map(entries) => match &entries[..] {
                [entry] if names.contains(&entry.key.as_str()) => {
                    let path = path.field(&entry.key);
                    let Some(content) = self.form_content(forms, &entry.key) else {
                        return self.object_to(
                            &path,
                            format!("`{}` stands alone, without a value", entry.key),
                            "",
                        );
                    };
                    let empty = Node { place: entry.value.place, kind: Kind::Map(Vec::new()) };
                    let inner = if entry.value.kind == Kind::Null && kind(content) == "object" {
                        &empty
                    } else {
                        &entry.value
                    };
                    let value = self.fit(inner, content, &path)?;
                    Some(Value::Object(Map::from_iter([(entry.key.clone(), value)])))
                }
                [entry] => {
                    let message = words::no_such_name(&entry.key, &names);
                    let cure = format!("one of {}", names.join(", "));
                    self.objections.push(Objection {
                        path: path.field(&entry.key),
                        key: true,
                        message,
                        cure,
                    });
                    None
                }
                [] => self.object_to(
                    path,
                    "nothing is chosen here",
                    format!("write one of {}", names.join(", ")),
                ),
                several => {
                    let chosen: Vec<String> = several.iter().take(4).map(|e| shown_word(&e.key)).collect();
                    let message = format!("{} things are chosen here: {}", several.len(), chosen.join(", "));
                    self.object_to(path, message, format!("write exactly one of {}", names.join(", ")))
                }
            },
            Kind::Text(text) => {
                let cure = format!("one of {}", names.join(", "));
                self.object_to(path, words::no_such_name(text, &names), cure)
            }
            _ => {
                let message = format!("{} is not one of {}", shown(node), names.join(", "));
                self.object_to(path, message, "")
            }
        }
    }

    /// What stands under a form's name; none when the bare name is all.
    fn form_content(&self, forms: &'a [Value], name: &str) -> Option<&'a Value> {
        forms.iter().find_map(|form| form.get("properties")?.get(name)).map(|schema| self.resolve(schema).1)
    }

    fn one_of(&mut self, node: &Node, names: &'a [Value], path: &Path) -> Option<Value> {
        let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
        match &node.kind {
            Kind::Text(text) if names.contains(&text.as_str()) => Some(Value::String(text.clone())),
            Kind::Text(text) => {
                let cure = format!("one of {}", names.join(", "));
                self.object_to(path, words::no_such_name(text, &names), cure)
            }
            _ => self.object_to(path, format!("{} is not one of {}", shown(node), names.join(", ")), ""),
        }
    }

    fn text(&mut self, node: &Node, path: &Path) -> Option<String> {
        match &node.kind {
            Kind::Text(text) => Some(text.clone()),
            Kind::Number { written, .. } => Some(written.clone()),
            Kind::Bool(value) => self.object_to(
                path,
                format!("{value} is not text"),
                format!("write it in quotes: \"{value}\""),
            ),
            Kind::Null => self.object_to(path, "a text is missing here", "write \"\" for an empty one"),
            Kind::List(_) | Kind::Map(_) => {
                self.object_to(path, format!("{} stands where text is expected", shown(node)), "")
            }
        }
    }

    fn integer(&mut self, node: &Node, schema: &'a Value, path: &Path) -> Option<Value> {
        let (least, most) = words::range(schema);
        if let Kind::Number { number: Some(number), .. } = &node.kind {
            let fits = match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => u128::from(value) <= most && i128::from(value) >= least,
                (None, Some(value)) => i128::from(value) >= least,
                (None, None) => false,
            };
            if fits {
                return Some(Value::Number(number.clone()));
            }
        }
        let noun = words::noun(path).map_or_else(|| words::number_within(least, most), str::to_owned);
        self.not_a(node, &noun, schema, path)
    }

    fn not_a<T>(&mut self, node: &Node, expected: &str, schema: &Value, path: &Path) -> Option<T> {
        let message = match (&node.kind, kind(schema)) {
            (Kind::List(_) | Kind::Map(_) | Kind::Null, _) | (_, "object" | "array") => {
                format!("{} stands where {expected} is expected", shown(node))
            }
            _ => format!("{} is not {expected}", shown(node)),
        };
        self.object_to(path, message, words::cure_of(path, &words::meaning(schema)))
    }

    fn object_to<T>(
        &mut self,
        path: &Path,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) -> Option<T> {
        let (message, cure) = (message.into(), cure.into());
        self.objections.push(Objection { path: path.clone(), key: false, message, cure });
        None
    }
}

/// The schema's type, without `null`.
fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(one)) => one,
        Some(Value::Array(several)) => {
            several.iter().filter_map(Value::as_str).find(|one| *one != "null").unwrap_or_default()
        }
        _ => "",
    }
}

/// Whether a value of this schema can be left out without leaving others without their ground.
fn is_leaf(schema: &Value) -> bool {
    let is_name = |form: &Value| form.get("const").is_some();
    matches!(kind(schema), "string" | "boolean" | "integer" | "number")
        || schema.get("oneOf").and_then(Value::as_array).is_some_and(|forms| forms.iter().all(is_name))
}

fn required(schema: &Value) -> Vec<&str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The names a form goes by: the constants of a bare name, or the one key of a mapping.
fn form_names(form: &Value) -> Vec<&str> {
    let constant = form.get("const").and_then(Value::as_str).into_iter();
    let several = form.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let keys = form.get("properties").and_then(Value::as_object).into_iter().flat_map(|keys| keys.keys());
    constant.chain(several).chain(keys.map(String::as_str)).collect()
}

/// The value as it stands, where the schema asks for nothing in particular.
fn json(node: &Node) -> Option<Value> {
    Some(match &node.kind {
        Kind::Null => Value::Null,
        Kind::Bool(value) => Value::Bool(*value),
        Kind::Number { number, written } => {
            number.clone().map_or_else(|| Value::String(written.clone()), Value::Number)
        }
        Kind::Text(text) => Value::String(text.clone()),
        Kind::List(items) => Value::Array(items.iter().filter_map(json).collect()),
        Kind::Map(entries) => Value::Object(
            entries.iter().filter_map(|entry| Some((entry.key.clone(), json(&entry.value)?))).collect(),
        ),
    })
}
