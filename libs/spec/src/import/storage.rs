//! Volumes, configuration files and secrets of a service.

use model::{Token, placeholder::literal, spec::SECRET_VARIABLES};

use super::{
    Import, Service, is_empty, items,
    names::is_true,
    plain_name,
    yaml::{Out, map, text, word},
};
use crate::document::{Kind, Node, Path, shown_word};

impl Import {
    /// Named volumes exist by being used; what else is said of them is not carried over.
    pub(super) fn top_volumes(&mut self, node: &Node) {
        for entry in node.entries().iter().filter(|entry| !is_empty(&entry.value)) {
            let settings: Vec<&str> = entry.value.entries().iter().map(|entry| entry.key.as_str()).collect();
            let settings = shown_word(&settings.join(", "));
            self.note(format!("volume {}: {settings} is not carried over", shown_word(&entry.key)));
        }
    }

    pub(super) fn volumes(&mut self, service: &Service<'_>) -> Vec<Out> {
        let Some(node) = service.node.get("volumes") else { return Vec::new() };
        let path = service.path.field("volumes");
        let nodes = items(node).into_iter().enumerate();
        nodes.filter_map(|(index, item)| self.volume(service, item, &path.index(index))).collect()
    }

    fn volume(&mut self, service: &Service<'_>, node: &Node, path: &Path) -> Option<Out> {
        let name = service.name;
        let (source, target, read_only) = match &node.kind {
            Kind::Map(entries) => {
                let part = |name: &str| node.get(name).and_then(Node::scalar).unwrap_or_default();
                let target = part("target");
                if !matches!(part("type").as_str(), "" | "volume" | "bind") {
                    let kind = shown_word(&part("type"));
                    self.note(format!("{name}: the {kind} at {} is not carried over", shown_word(&target)));
                    return None;
                }
                for entry in entries {
                    if !matches!(entry.key.as_str(), "type" | "source" | "target" | "read_only") {
                        let key = shown_word(&entry.key);
                        self.note(format!(
                            "{name}: `{key}` of the volume at {} is not carried over",
                            shown_word(&target)
                        ));
                    }
                }
                let read_only = node.get("read_only").is_some_and(is_true);
                (part("source"), target, read_only)
            }
            _ => {
                let line = self.scalar(node, path)?;
                let parts: Vec<&str> = line.split(':').collect();
                let (source, target, options) = match parts[..] {
                    [target] => ("", target, ""),
                    [source, target] => (source, target, ""),
                    [source, target, options] => (source, target, options),
                    _ => return self.object_to(path, format!("\"{}\" is not a volume", shown_word(&line))),
                };
                for option in options.split(',').filter(|option| !matches!(*option, "" | "ro" | "rw")) {
                    let option = shown_word(option);
                    self.note(format!(
                        "{name}: the option {option} of the volume at {} is not carried over",
                        shown_word(target)
                    ));
                }
                (source.to_owned(), target.to_owned(), options.split(',').any(|option| option == "ro"))
            }
        };
        if !target.starts_with('/') {
            return self.object_to(path, format!("\"{}\" is not a path to mount at", shown_word(&target)));
        }
        let declared = source.is_empty() || source.starts_with(['/', '.', '~']) || {
            service.root.get("volumes").is_some_and(|volumes| volumes.get(&source).is_some())
        };
        if !declared {
            let source = shown_word(&source);
            self.note(format!(
                "{name}: volume {source} is not declared under `volumes`, which Compose refuses"
            ));
        }
        let from = if source.is_empty() {
            self.note(format!("{name}: the volume at {} has no name and is left out", shown_word(&target)));
            return None;
        } else if source.starts_with('/') {
            let source_shown = shown_word(&source);
            self.note(format!(
                "{name}: the folder {source_shown} is mounted only if the agents' setting `volumes_root` holds it"
            ));
            ("host", source)
        } else if source.starts_with(['.', '~']) {
            let (source, target) = (shown_word(&source), shown_word(&target));
            self.note(format!(
                "{name}: the folder {source} at {target} is left out: give `host` with an absolute path"
            ));
            return None;
        } else {
            ("name", self.token(&source, "volume", path)?.as_str().to_owned())
        };
        let mut volume = vec![(from.0.to_owned(), text(&from.1)), ("path".to_owned(), text(&target))];
        if read_only {
            volume.push(("readOnly".to_owned(), word(true)));
        }
        Some(Out::Map(volume))
    }

    pub(super) fn configs(&mut self, service: &Service<'_>) -> Vec<Out> {
        let Some(node) = service.node.get("configs") else { return Vec::new() };
        let path = service.path.field("configs");
        let mut files = Vec::new();
        for (index, item) in items(node).into_iter().enumerate() {
            let Some((source, target)) = self.reference(service.name, item, &path.index(index)) else {
                continue;
            };
            let target = target.unwrap_or_else(|| format!("/{source}"));
            let content =
                service.root.get("configs").and_then(|all| all.get(&source)?.get("content")?.scalar());
            match content {
                Some(content) => {
                    let user = service.node.get("user").and_then(Node::scalar).unwrap_or_default();
                    if !user.starts_with(|c: char| c.is_ascii_digit()) {
                        self.note(format!(
                            "{}: {} can be read by root alone: give `user` as a number for another",
                            service.name,
                            shown_word(&target)
                        ));
                    }
                    files.push(map([("path", text(&target)), ("content", text(&literal(&content)))]));
                }
                None => {
                    let (source, target) = (shown_word(&source), shown_word(&target));
                    self.note(format!(
                        "{}: the config {source} for {target} is left out: its text is not in the file",
                        service.name
                    ));
                }
            }
        }
        files
    }

    pub(super) fn secrets(&mut self, service: &Service<'_>) -> Vec<Out> {
        let Some(node) = service.node.get("secrets") else { return Vec::new() };
        let path = service.path.field("secrets");
        let mut secrets = Vec::new();
        for (index, item) in items(node).into_iter().enumerate() {
            let Some((source, _)) = self.reference(service.name, item, &path.index(index)) else { continue };
            let Ok(file) = plain_name(&source).parse::<Token>() else {
                self.object_to::<()>(
                    &path.index(index),
                    format!("\"{}\" is not a name", shown_word(&source)),
                );
                continue;
            };
            let variable = file.as_str().replace('-', "_").to_uppercase();
            let variable = if variable.starts_with(|c: char| c.is_ascii_digit()) {
                format!("SECRET_{variable}")
            } else {
                variable
            };
            let from =
                service.root.get("secrets").and_then(|all| all.get(&source)?.get("environment")?.scalar());
            let (from, place) = match from {
                Some(name) => {
                    let name = format!("{SECRET_VARIABLES}{}", name.to_uppercase());
                    (map([("env", text(&name))]), format!("the variable {name} where the agents run"))
                }
                None => (
                    map([("file", text(file.as_str()))]),
                    format!("the file {file} in the agents' `secrets_dir`"),
                ),
            };
            self.note(format!(
                "{}: secret {} comes as the variable {variable}, not as a file in /run/secrets, and is read from {place}",
                service.name,
                shown_word(&source)
            ));
            secrets.push(map([("name", text(&variable)), ("from", from)]));
        }
        secrets
    }

    /// The source and target of a config or secret, in short or long form.
    fn reference(&mut self, service: &str, node: &Node, path: &Path) -> Option<(String, Option<String>)> {
        let Kind::Map(entries) = &node.kind else { return Some((self.scalar(node, path)?, None)) };
        for entry in entries.iter().filter(|entry| !matches!(entry.key.as_str(), "source" | "target")) {
            self.note(format!(
                "{service}: `{}` of a config or secret is not carried over",
                shown_word(&entry.key)
            ));
        }
        match node.get("source").and_then(Node::scalar) {
            Some(source) => Some((source, node.get("target").and_then(Node::scalar))),
            None => self.object_to(path, "`source` is missing"),
        }
    }
}
