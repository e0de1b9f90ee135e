//! Secrets in plain text in a spec: where they stand, never what they are.

use model::{
    DeploymentSpec, Fault, Timestamp, Token,
    spec::{Module, Probe},
};
use scrub::{Suspicion, suspicious};
use serde_json::Value;

use crate::{
    Read,
    document::{Objection, Path, load},
    read::{listed, read},
};

/// The rule by which a secret in plain text is found, as waivers name it.
pub const PLAINTEXT_SECRET: &str = "security/plaintext-secret";
/// What to do about one.
pub const SECRET_CURE: &str = "name it under secrets; its value stays out of the spec";

/// A place in a spec that holds what looks like a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// The field, such as `modules[0].environment.DB_PASSWORD`.
    pub field: String,
    /// The module that it is part of.
    pub module: Option<Token>,
    /// The same in words.
    pub place: String,
    /// What it looks like, and how long it is.
    pub what: Suspicion,
    path: Path,
}

/// Reads a spec that is about to be kept: like [`read()`], and a secret in plain text is a mistake too, unless a waiver of
/// [`PLAINTEXT_SECRET`] covers it today (UTC). The complaint has its line and column and never the value.
pub fn admit(text: &str, now: Timestamp) -> Result<Read, Fault> {
    let read = read(text)?;
    let today: String = now.to_string().chars().take(10).collect();
    let waived = |leak: &Leak| {
        read.spec.waivers.iter().any(|waiver| {
            waiver.rule == PLAINTEXT_SECRET
                && waiver.module.as_ref().is_none_or(|module| leak.module.as_ref() == Some(module))
                && waiver.expires >= today
        })
    };
    let leaks: Vec<Leak> = leaks(&read.spec).into_iter().filter(|leak| !waived(leak)).collect();
    if leaks.is_empty() {
        return Ok(read);
    }
    let (root, _) = load(text);
    let complaints = leaks.into_iter().map(|leak| {
        let message = format!("{} holds what looks like a {}", leak.place, leak.what);
        let objection = Objection { path: leak.path, key: false, message, cure: SECRET_CURE.to_owned() };
        match &root {
            Some(root) => objection.placed(root),
            None => objection.unplaced(),
        }
    });
    Err(Fault { confidential: true, ..listed("the spec", complaints.collect(), 0) })
}

/// Every place of a spec that holds what looks like a secret: by the name of a variable, an option or a line of a file,
/// by known shapes anywhere, and by chance in values. One place is told once.
pub fn leaks(spec: &DeploymentSpec) -> Vec<Leak> {
    let mut leaks = Leaks(Vec::new());
    for (at, module) in spec.modules.iter().enumerate() {
        leaks.module(module, &Path::default().field("modules").index(at));
    }
    for (at, hook) in spec.hooks.iter().enumerate() {
        let path = Path::default().field("hooks").index(at).field("command");
        for word in &hook.command {
            leaks.add(&path, None, &format!("hook {}", hook.name), suspicious("", word));
        }
    }
    // Addresses of metrics, labels, reasons: whatever else is text, by shapes alone.
    if let Ok(value) = serde_json::to_value(spec) {
        leaks.anywhere(&value, &Path::default(), spec);
    }
    leaks.0
}

struct Leaks(Vec<Leak>);

impl Leaks {
    fn add(&mut self, path: &Path, module: Option<&Module>, place: &str, what: Option<Suspicion>) {
        let Some(what) = what else { return };
        let module = module.map(|module| module.name.clone());
        self.0.push(Leak {
            field: path.to_string(),
            module,
            place: place.to_owned(),
            what,
            path: path.clone(),
        });
    }

    fn module(&mut self, module: &Module, path: &Path) {
        for (name, value) in &module.environment {
            let path = path.field("environment").field(name);
            self.add(&path, Some(module), &format!("variable {name}"), suspicious(name, value));
        }
        let probe = match module.health.as_ref().map(|health| &health.probe) {
            Some(Probe::Command(command)) => command.as_slice(),
            Some(Probe::Http { .. } | Probe::Tcp { .. }) | None => &[],
        };
        let run = module.run.words().map(|(field, words)| (format!("run.{field}"), words));
        for (field, words) in run.into_iter().chain([("health.probe.command".to_owned(), probe)]) {
            for (at, word) in words.iter().enumerate() {
                let (name, value) =
                    word.split_once('=').unwrap_or((words.get(at.wrapping_sub(1)).map_or("", |it| it), word));
                let named = name.starts_with('-') || word.contains('=');
                let name = if named { name.trim_start_matches('-') } else { "" };
                let what = suspicious(name, value).or_else(|| suspicious("", word));
                self.add(
                    &path.to(&field).index(at),
                    Some(module),
                    &format!("word {at} of the command"),
                    what,
                );
            }
        }
        for (at, file) in module.config.iter().enumerate() {
            let path = path.field("config").index(at).field("content");
            for (line, text) in file.content.lines().enumerate() {
                let (name, value) = text.split_once(['=', ':']).unwrap_or(("", text));
                let name = name.trim().trim_matches(['"', '\'', '-', ' ']);
                let what =
                    suspicious(name, value.trim().trim_end_matches(',')).or_else(|| suspicious("", text));
                self.add(&path, Some(module), &format!("line {} of {}", line + 1, file.path), what);
            }
        }
    }

    fn anywhere(&mut self, value: &Value, path: &Path, spec: &DeploymentSpec) {
        match value {
            Value::String(text) => {
                let field = path.to_string();
                let known = self.0.iter().any(|leak| leak.field == field);
                if let Some(what) = scrub::shaped(text).filter(|_| !known) {
                    let module = spec
                        .modules
                        .iter()
                        .enumerate()
                        .find(|(at, _)| Path::default().field("modules").index(*at).holds(path));
                    self.add(path, module.map(|(_, module)| module), &field, Some(what));
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.anywhere(item, &path.index(at), spec);
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    self.anywhere(field, &path.field(name), spec);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}
