//! `{port}` and `{port:NAME}`, wherever they are filled in.

use model::{
    DeploymentSpec, limits,
    placeholder::{Part, parts, unknown},
    spec::{Module, Probe},
};

use super::{Found, network};
use crate::document::{Objection, Path, shown_text, shown_word};

/// Most unknown placeholders that are named of one text.
const NAMED: usize = 3;

/// Every placeholder must mean a port of the module.
pub(super) fn check(module: &Module, path: &Path, found: &mut Found) {
    for (path, text) in texts(module, path) {
        for part in parts(text) {
            let Part::Port(name) = part else { continue };
            let known = match name {
                Some(name) => module.ports.iter().any(|port| port.name.as_str() == name),
                None => !module.ports.is_empty(),
            };
            if !known {
                let message = match name {
                    Some(name) => format!("no port is named {}", shown_text(name)),
                    None => "{port} stands here, and the module has no port".to_owned(),
                };
                let cure = network::known_ports(module);
                found.add(
                    path.clone(),
                    message,
                    format!("{cure}; a brace that is meant as one is {{brace}}"),
                );
            }
        }
    }
}

/// What looks like a placeholder and is none: it stays as it is, which may be meant.
pub(crate) fn warnings(spec: &DeploymentSpec) -> Vec<Objection> {
    let mut warnings = Vec::new();
    for (index, module) in spec.modules.iter().enumerate().take(limits::MODULES) {
        for (path, text) in texts(module, &Path::default().field("modules").index(index)) {
            let unknown = unknown(text);
            if unknown.is_empty() {
                continue;
            }
            let named: Vec<String> = unknown.iter().take(NAMED).map(|word| shown_word(word)).collect();
            let others = match unknown.len().saturating_sub(NAMED) {
                0 => String::new(),
                others => format!(" and {others} more"),
            };
            warnings.push(Objection {
                path,
                key: false,
                message: format!("{}{others} is no placeholder and stays as it is", named.join(", ")),
                cure: "placeholders are {port}, {port:NAME} and {brace}".to_owned(),
            });
        }
    }
    warnings
}

/// All texts in which placeholders are filled in.
fn texts<'a>(module: &'a Module, path: &Path) -> Vec<(Path, &'a str)> {
    let mut texts: Vec<(Path, &str)> = Vec::new();
    let mut list = |path: Path, words: &'a [String]| {
        texts.extend(words.iter().enumerate().map(|(at, word)| (path.index(at), word.as_str())));
    };
    for (field, words) in module.run.words() {
        list(path.field("run").field(field), words);
    }
    if let Some(Probe::Command(words)) = module.health.as_ref().map(|health| &health.probe) {
        list(path.to("health.probe.command"), words);
    }
    let environment = path.field("environment");
    texts.extend(module.environment.iter().map(|(name, value)| (environment.field(name), value.as_str())));
    let files = module.config.iter().enumerate();
    texts.extend(
        files.map(|(at, file)| (path.field("config").index(at).field("content"), file.content.as_str())),
    );
    texts
}
