//! docs/configuration.md lists every setting of every service, as the types and their own checks say it.
//! `UPDATE=1 cargo nextest run -p code-tests configuration` writes it anew.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use chassis::config::{Common, Config};
use model::fault::Complaint;
use schemars::{JsonSchema, schema_for};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// What is above it is written by hand.
const MARK: &str = "<!-- What follows is made by tests/it/configuration.rs from the types. -->\n";
/// No list or table of settings is nested deeper.
const DEEPEST: usize = 4;

/// One setting.
struct Setting {
    /// Below its section.
    path: Vec<String>,
    kind: String,
    default: String,
    allowed: String,
    text: String,
}

/// The settings of one section.
struct Section {
    name: &'static str,
    settings: Vec<Setting>,
}

fn sections() -> Vec<Section> {
    vec![
        section("common", Common::check),
        section(agents::AgentsConfig::SERVICE, agents::AgentsConfig::check),
        section(audit::AuditConfig::SERVICE, audit::AuditConfig::check),
        section(consensus::ConsensusConfig::SERVICE, consensus::ConsensusConfig::check),
        section(experts::ExpertsConfig::SERVICE, experts::ExpertsConfig::check),
        section(orchestrator::Config::SERVICE, orchestrator::Config::check),
        section(traffic::TrafficConfig::SERVICE, traffic::TrafficConfig::check),
    ]
}

fn section<C: Default + Serialize + DeserializeOwned + JsonSchema>(
    name: &'static str,
    check: fn(&C) -> Result<(), Vec<Complaint>>,
) -> Section {
    let schema = schema_for!(C).to_value();
    let defaults = serde_json::to_value(C::default()).unwrap();
    // What the check says of these settings with one of them changed.
    let complaints = |path: &[String], value: Value| {
        let mut changed = defaults.clone();
        put(&mut changed, path, value);
        let read = serde_json::from_value::<C>(changed).ok()?;
        check(&read).err()
    };
    let mut settings = Vec::new();
    let walk = Walk { root: &schema, complaints: &complaints };
    walk.object(&schema, &defaults, &[], &mut settings);
    Section { name, settings }
}

/// What the check complains about once the setting at this path has this value.
type Complaints<'a> = &'a dyn Fn(&[String], Value) -> Option<Vec<Complaint>>;

struct Walk<'a> {
    root: &'a Value,
    complaints: Complaints<'a>,
}

impl Walk<'_> {
    fn object(&self, schema: &Value, defaults: &Value, above: &[String], found: &mut Vec<Setting>) {
        assert!(above.len() < DEEPEST, "{above:?}");
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let mut path = above.to_vec();
            path.push(name.clone());
            let said = sentence(property);
            let own = property.get("default").unwrap_or(&Value::Null);
            let default = defaults.get(name).unwrap_or(own);
            let (inner, optional) = self.resolved(property);
            let text = said.or_else(|| sentence(inner)).unwrap_or_default();
            if inner["properties"].is_object() {
                if optional {
                    found.push(Setting {
                        path: path.clone(),
                        kind: "table".to_owned(),
                        default: shown(default),
                        allowed: String::new(),
                        text,
                    });
                }
                self.object(inner, default, &path, found);
                continue;
            }
            let allowed = self.allowed(inner, &path);
            found.push(Setting { kind: self.kind(inner), default: shown(default), allowed, text, path });
        }
    }

    /// The schema behind references and `or nothing`.
    fn resolved<'b>(&'b self, schema: &'b Value) -> (&'b Value, bool) {
        if let Some(place) = schema["$ref"].as_str() {
            let place = self.root.pointer(place.trim_start_matches('#')).unwrap();
            return self.resolved(place);
        }
        let choices = schema["anyOf"].as_array();
        match choices.and_then(|choices| choices.iter().find(|choice| choice["type"] != "null")) {
            Some(choice) => (self.resolved(choice).0, true),
            None => (schema, false),
        }
    }

    fn kind(&self, schema: &Value) -> String {
        if !words(schema).is_empty() {
            return "one word".to_owned();
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            kinds => kinds.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
        };
        let kind = kinds.into_iter().find(|kind| *kind != "null").unwrap_or("text");
        let of = |schema: &Value| self.kind(self.resolved(schema).0);
        match kind {
            "string" if schema["examples"][0] == "250ms" => "span of time".to_owned(),
            "string" => "text".to_owned(),
            "boolean" => "`true` or `false`".to_owned(),
            "integer" => "whole number".to_owned(),
            "array" => format!("list of {}", of(&schema["items"])),
            "object" => format!("table of {}", of(&schema["additionalProperties"])),
            other => other.to_owned(),
        }
    }

    /// The words that may be written, or the range, as the check itself says it of what is too small or too large.
    fn allowed(&self, schema: &Value, path: &[String]) -> String {
        let words = words(schema);
        if !words.is_empty() {
            return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        }
        let probes = match schema["type"].as_str() {
            Some("integer") => vec![json!(0), json!(255), json!(u32::MAX), json!(i64::MAX)],
            Some("number") => vec![json!(-1.0), json!(1e12)],
            Some("string") => vec![json!("0s"), json!("36500days")],
            _ => Vec::new(),
        };
        let field = path.join(".");
        let cures = probes.into_iter().filter_map(|probe| (self.complaints)(path, probe)).flatten();
        let said: BTreeSet<String> =
            cures.filter(|complaint| complaint.field == field).map(|complaint| complaint.cure).collect();
        said.into_iter().collect::<Vec<_>>().join("; ")
    }
}

/// The words of an enumeration.
fn words(schema: &Value) -> Vec<&str> {
    let listed = schema["enum"].as_array().into_iter().flatten();
    let each = schema["oneOf"].as_array().into_iter().flatten().map(|one| &one["const"]);
    listed.chain(each).filter_map(Value::as_str).collect()
}

fn sentence(schema: &Value) -> Option<String> {
    schema["description"].as_str().map(|said| said.replace('\n', " "))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "empty".to_owned(),
        Value::String(text) => format!("`{text}`"),
        Value::Array(all) if all.is_empty() => "none".to_owned(),
        Value::Object(all) if all.is_empty() => "none".to_owned(),
        other => format!("`{other}`"),
    }
}

fn put(tree: &mut Value, path: &[String], value: Value) {
    let [first, rest @ ..] = path else { return *tree = value };
    if !tree.is_object() {
        *tree = Value::Object(Map::new());
    }
    put(tree.as_object_mut().unwrap().entry(first).or_insert(Value::Null), rest, value);
}

fn page(sections: &[Section]) -> String {
    let mut page = String::new();
    for Section { name, settings } in sections {
        let _ = write!(page, "\n## `[{name}]`\n\n");
        page.push_str("| setting | in the environment | type | default | allowed | what it is |\n|---|---|---|---|---|---|\n");
        for setting in settings {
            let prefix = if *name == "common" { "CODE".to_owned() } else { format!("CODE_{name}") };
            let variable = format!("{prefix}_{}", setting.path.join("__")).replace('-', "_").to_uppercase();
            let cell = |text: &str| text.replace('|', "\\|");
            let _ = writeln!(
                page,
                "| `{}` | `{variable}` | {} | {} | {} | {} |",
                setting.path.join("."),
                cell(&setting.kind),
                cell(&setting.default),
                cell(&setting.allowed),
                cell(&setting.text),
            );
        }
    }
    page
}

#[test]
fn the_committed_configuration_reference_is_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let committed = fs::read_to_string(&path).unwrap();
    let (by_hand, _) = committed.split_once(MARK).unwrap();
    let expected = format!("{by_hand}{MARK}{}", page(&sections()));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &expected).unwrap();
    }

    assert!(
        fs::read_to_string(&path).unwrap() == expected,
        "docs/configuration.md is out of date: UPDATE=1 cargo nextest run -p code-tests configuration"
    );
}

#[test]
fn every_setting_says_what_it_is() {
    for Section { name, settings } in sections() {
        assert!(!settings.is_empty(), "{name}");
        for setting in settings {
            let said = setting.text.split("Default").next().unwrap_or_default().trim();
            assert!(!said.is_empty(), "[{name}] {} does not say what it is", setting.path.join("."));
        }
    }
}

/// Whoever adds a service with settings adds its section above.
#[test]
fn no_service_is_missing_from_the_configuration_reference() {
    let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../services");
    let listed: BTreeSet<String> = sections().iter().map(|section| section.name.to_owned()).collect();
    for service in fs::read_dir(services).unwrap().flatten() {
        let text = fs::read_to_string(service.path().join("src/config.rs")).unwrap_or_default();
        for part in text.split("const SERVICE: &'static str = \"").skip(1) {
            let name = part.split('"').next().unwrap_or_default();
            assert!(listed.contains(name), "{name} is not in tests/it/configuration.rs");
        }
    }
}
