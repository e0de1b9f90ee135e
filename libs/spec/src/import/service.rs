//! One service as a module.

use model::placeholder::literal;

use super::{
    Import, Service, is_empty,
    names::is_true,
    quantities, words,
    yaml::{Out, text, texts, word},
};
use crate::document::{Kind, Node, as_compose, shown, shown_text, shown_word};

/// What is carried over, or dealt with on its own.
const KNOWN: [&str; 26] = [
    "image",
    "build",
    "command",
    "entrypoint",
    "environment",
    "env_file",
    "ports",
    "expose",
    "healthcheck",
    "deploy",
    "scale",
    "mem_limit",
    "mem_reservation",
    "cpus",
    "depends_on",
    "links",
    "volumes",
    "secrets",
    "configs",
    "user",
    "privileged",
    "restart",
    "working_dir",
    "profiles",
    "container_name",
    "extends",
];

/// Fields that say yes or no, where no is what happens here.
const SWITCHES: [&str; 7] =
    ["privileged", "read_only", "init", "tty", "stdin_open", "oom_kill_disable", "use_api_socket"];

impl Import {
    pub(super) fn service(&mut self, service: &Service<'_>) -> Option<Out> {
        let Kind::Map(entries) = &service.node.kind else {
            return self.object_to(&service.path, format!("{} is not a service", shown(service.node)));
        };
        let name = self.names.get(service.name)?.clone();
        if let Some((twin, _)) =
            self.names.iter().find(|(other, token)| **token == name && other.as_str() < service.name)
        {
            let message = format!("it would be named {name}, as {twin} is");
            return self.object_to(&service.path, message);
        }
        let run = self.run(service);
        let (mut ports, expose) = self.ports(service);
        let health = self.health(service, &mut ports);
        let resources = self.resources(service);
        let replicas = self.replicas(service);
        let environment = self.environment(service);
        let config = self.configs(service);
        let secrets = self.secrets(service);
        let volumes = self.volumes(service);
        let depends_on = self.depends_on(service);
        self.left_behind(service, entries.iter().map(|entry| (entry.key.as_str(), &entry.value)));

        let mut module = vec![("name".to_owned(), text(name.as_str())), ("run".to_owned(), run?)];
        let mut add = |name: &str, value: Out| match &value {
            Out::List(items) if items.is_empty() => {}
            Out::Map(fields) if fields.is_empty() => {}
            _ => module.push((name.to_owned(), value)),
        };
        if let Some(replicas) = replicas {
            add("replicas", word(replicas));
        }
        add("resources", Out::Map(resources));
        add("ports", Out::List(ports.into_iter().map(super::ports::Port::out).collect()));
        if let Some(expose) = expose {
            add("expose", expose);
        }
        if let Some(health) = health {
            add("health", health);
        }
        add("environment", Out::Map(environment));
        add("config", Out::List(config));
        add("secrets", Out::List(secrets));
        add("volumes", Out::List(volumes));
        add("aliases", texts(self.aliases.get(service.name).into_iter().flatten().cloned()));
        add("dependsOn", Out::List(depends_on));
        Some(Out::Map(module))
    }

    fn run(&mut self, service: &Service<'_>) -> Option<Out> {
        let mut run = Vec::new();
        let image = service.node.get("image").and_then(Node::scalar).filter(|image| !image.is_empty());
        let built = service.node.get("build").is_some_and(|build| !is_empty(build));
        let image = match image {
            Some(image) => image,
            None if built => format!("{}:latest", self.names.get(service.name)?),
            None => return self.object_to(&service.path, "the service has neither `image` nor `build`"),
        };
        if built {
            self.note(format!(
                "{}: build is not carried over: build and push the image {}",
                service.name,
                shown_word(&image)
            ));
        }
        run.push(("image".to_owned(), text(&image)));
        let entrypoint = self.words(service, "entrypoint");
        let command = self.words(service, "command");
        if command.as_ref().is_some_and(Vec::is_empty) && entrypoint.as_ref().is_none_or(Vec::is_empty) {
            self.note(format!("{}: an empty command leaves the image's own, as Docker does", service.name));
        }
        if let Some(words) = entrypoint {
            run.push(("entrypoint".to_owned(), texts(words)));
        }
        if let Some(words) = command.filter(|words| !words.is_empty()) {
            run.push(("arguments".to_owned(), texts(words)));
        }
        for (theirs, ours) in [("user", "user"), ("working_dir", "workingDirectory")] {
            if let Some(node) = service.node.get(theirs).filter(|node| !is_empty(node)) {
                let value = self.scalar(node, &service.path.field(theirs))?;
                run.push((ours.to_owned(), text(&value)));
            }
        }
        Some(Out::Map(run))
    }

    /// A command as a list, or as a line that is split as a shell would; none when the image's own is meant.
    fn words(&mut self, service: &Service<'_>, key: &str) -> Option<Vec<String>> {
        let node = service.node.get(key).filter(|node| node.kind != Kind::Null)?;
        let path = service.path.field(key);
        let words = match &node.kind {
            Kind::List(items) => {
                items.iter().enumerate().filter_map(|(at, item)| self.scalar(item, &path.index(at))).collect()
            }
            _ => {
                let line = self.scalar(node, &path)?;
                match words::split(&line) {
                    Some(words) => words,
                    None => {
                        return self
                            .object_to(&path, format!("a quote is not closed in {}", shown_text(&line)));
                    }
                }
            }
        };
        Some(words.iter().map(|word| literal(word)).collect())
    }

    fn resources(&mut self, service: &Service<'_>) -> Vec<(String, Out)> {
        let all = service.node.get("deploy").and_then(|deploy| deploy.get("resources"));
        for kind in all.map(Node::entries).unwrap_or_default() {
            let (name, what) = (service.name, shown_word(&kind.key));
            if !matches!(kind.key.as_str(), "limits" | "reservations") {
                self.note(format!("{name}: {what} of resources are not carried over"));
                continue;
            }
            for entry in kind.value.entries() {
                if !matches!(entry.key.as_str(), "cpus" | "memory") && !is_empty(&entry.value) {
                    self.note(format!("{name}: `{}` of {what} is not carried over", shown_word(&entry.key)));
                }
            }
        }
        let mut resources = self.amounts(service, "limits", [("cpu", "cpus"), ("memory", "mem_limit")]);
        let request = self.amounts(service, "reservations", [("cpu", ""), ("memory", "mem_reservation")]);
        if !request.is_empty() {
            resources.push(("request".to_owned(), Out::Map(request)));
        }
        resources
    }

    /// The processor and memory of one kind: of `deploy.resources`, else the older field of the service.
    fn amounts(&mut self, service: &Service<'_>, kind: &str, ours: [(&str, &str); 2]) -> Vec<(String, Out)> {
        let group = service.node.get("deploy").and_then(|deploy| deploy.get("resources")?.get(kind));
        let mut amounts = Vec::new();
        for (ours, outer) in ours {
            let (inner, convert): (&str, fn(&str) -> Option<String>) = match ours {
                "cpu" => ("cpus", quantities::cpu),
                _ => ("memory", quantities::memory),
            };
            let new = group.and_then(|group| group.get(inner)).filter(|node| !is_empty(node));
            let old = service.node.get(outer).filter(|node| !is_empty(node));
            let path = service.path.to("deploy.resources").field(kind).field(inner);
            let (node, path) = match (new, old) {
                (Some(new), old) => {
                    let differs = old
                        .and_then(Node::scalar)
                        .is_some_and(|old| new.scalar().is_some_and(|new| convert(&new) != convert(&old)));
                    if differs {
                        let message = format!("`{outer}` says something else, which Compose refuses");
                        self.object_with::<()>(&path, message, "keep one of the two");
                    }
                    (new, path)
                }
                (None, Some(old)) => (old, service.path.field(outer)),
                (None, None) => continue,
            };
            let Some(given) = self.scalar(node, &path) else { continue };
            match convert(&given) {
                // Nothing is no limit, there as here.
                _ if given.parse() == Ok(0.0) => {}
                Some(amount) => amounts.push((ours.to_owned(), text(&amount))),
                None => {
                    let given = shown_text(&given);
                    self.note(format!("{}: {given} is no {ours} we know and is left out", service.name));
                }
            }
        }
        amounts
    }

    fn replicas(&mut self, service: &Service<'_>) -> Option<u32> {
        let deploy = service.node.get("deploy");
        for entry in deploy.map(Node::entries).unwrap_or_default() {
            match entry.key.as_str() {
                "replicas" | "resources" => {}
                "mode" if entry.value.scalar().as_deref() == Some("replicated") => {}
                _ if is_empty(&entry.value) => {}
                key => self.note(format!(
                    "{}: `{}` of deploy is not carried over",
                    service.name,
                    shown_word(key)
                )),
            }
        }
        let (node, path) = match deploy.and_then(|deploy| deploy.get("replicas")) {
            Some(node) => {
                let path = service.path.to("deploy.replicas");
                if service.node.get("scale").is_some_and(|scale| scale.scalar() != node.scalar()) {
                    let message = "`scale` says something else, which Compose refuses";
                    return self.object_with(&path, message, "keep one of the two");
                }
                (node, path)
            }
            None => (service.node.get("scale")?, service.path.field("scale")),
        };
        let given = self.scalar(node, &path)?;
        match given.parse::<u32>() {
            Ok(count) if (1..=model::limits::REPLICAS).contains(&count) => Some(count),
            Ok(0) => {
                self.note(format!(
                    "{}: 0 replicas are asked for; the module runs 1, remove it to run none",
                    service.name
                ));
                None
            }
            _ => self.object_to(&path, format!("{} is not a number of replicas", shown_text(&given))),
        }
    }

    fn environment(&mut self, service: &Service<'_>) -> Vec<(String, Out)> {
        let Some(node) = service.node.get("environment") else { return Vec::new() };
        let path = service.path.field("environment");
        let mut given: Vec<(String, Option<String>)> = Vec::new();
        match &node.kind {
            Kind::Map(entries) => {
                for entry in entries {
                    match &entry.value.kind {
                        Kind::Null => given.push((entry.key.clone(), None)),
                        Kind::Number { written, .. } => {
                            let value = as_compose(written).unwrap_or_else(|| written.clone());
                            if value != *written {
                                let (name, key) = (service.name, shown_word(&entry.key));
                                self.note(format!(
                                    "{name}: {key} is {value}, as Compose reads {written} without quotes"
                                ));
                            }
                            given.push((entry.key.clone(), Some(value)));
                        }
                        _ => {
                            let value = self.scalar(&entry.value, &path.field(&entry.key));
                            given.extend(value.map(|value| (entry.key.clone(), Some(value))));
                        }
                    }
                }
            }
            Kind::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let Some(line) = self.scalar(item, &path.index(index)) else { continue };
                    match line.split_once('=') {
                        Some((key, value)) => given.push((key.to_owned(), Some(value.to_owned()))),
                        None => given.push((line, None)),
                    }
                }
            }
            Kind::Null => {}
            _ => {
                self.object_to::<()>(&path, "the environment is neither a list nor a mapping");
            }
        }
        let mut environment: Vec<(String, Out)> = Vec::new();
        for (key, value) in given {
            let Some(value) = value else {
                self.note(format!(
                    "{}: the variable {} comes from the shell and is left out",
                    service.name,
                    shown_word(&key)
                ));
                continue;
            };
            if !crate::check::is_loose_variable(&key) {
                self.note(format!(
                    "{}: {} is no variable's name and is left out",
                    service.name,
                    shown_text(&key)
                ));
                continue;
            }
            environment.retain(|(other, _)| *other != key);
            environment.push((key, text(&literal(&value))));
        }
        environment
    }

    /// Names what stays behind.
    fn left_behind<'n>(&mut self, service: &Service<'_>, fields: impl Iterator<Item = (&'n str, &'n Node)>) {
        let name = service.name;
        for (key, node) in fields.filter(|(key, value)| !is_empty(value) && !key.starts_with("x-")) {
            let given = node.scalar().unwrap_or_default();
            match key {
                key if SWITCHES.contains(&key) && !is_true(node) => {}
                "privileged" => {
                    self.note(format!("{name}: privileged is refused: the container runs without it"));
                }
                "env_file" => {
                    self.note(format!("{name}: env_file is not read: add its variables to `environment`"));
                }
                "restart" if matches!(given.as_str(), "no" | "false") => {}
                "restart" => self.note(format!(
                    "{name}: restart is not carried over: an instance that ends after the promotion stays ended"
                )),
                "container_name" => {
                    self.note(format!(
                        "{name}: container_name is not carried over: instances get names of their own"
                    ));
                }
                "networks" => self.networks(name, node),
                "pull_policy" if matches!(given.as_str(), "missing" | "if_not_present") => {}
                "cap_drop" if super::items(node).iter().any(|item| item.scalar().as_deref() == Some("ALL")) => {}
                key if KNOWN.contains(&key) => {}
                key => self.note(format!("{name}: `{}` is not carried over", shown_word(key))),
            }
        }
    }
}
