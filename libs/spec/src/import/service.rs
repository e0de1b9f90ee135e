//! One service as a module.

use super::{
    Import, Service, is_empty, quantities, words,
    yaml::{Out, text, texts, word},
};
use crate::document::{Kind, Node, Path, shown, shown_text, shown_word};

/// What is carried over, or dealt with on its own.
const KNOWN: [&str; 23] = [
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
    "cpus",
    "depends_on",
    "volumes",
    "secrets",
    "configs",
    "user",
    "privileged",
    "restart",
    "working_dir",
    "profiles",
    "container_name",
];

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
        if !entrypoint.is_empty() {
            self.note(format!("{}: entrypoint and command became one command", service.name));
        }
        let command: Vec<String> = entrypoint.into_iter().chain(command).collect();
        if !command.is_empty() {
            run.push(("command".to_owned(), texts(command)));
        }
        for (theirs, ours) in [("user", "user"), ("working_dir", "workingDirectory")] {
            if let Some(node) = service.node.get(theirs).filter(|node| !is_empty(node)) {
                let value = self.scalar(node, &service.path.field(theirs))?;
                run.push((ours.to_owned(), text(&value)));
            }
        }
        Some(Out::Map(run))
    }

    /// A command as a list, or as a line that is split as a shell would.
    fn words(&mut self, service: &Service<'_>, key: &str) -> Vec<String> {
        let Some(node) = service.node.get(key).filter(|node| !is_empty(node)) else { return Vec::new() };
        let path = service.path.field(key);
        let Kind::List(items) = &node.kind else {
            let Some(line) = self.scalar(node, &path) else { return Vec::new() };
            return words::split(&line).unwrap_or_else(|| {
                self.object_to::<()>(&path, format!("a quote is not closed in {}", shown_text(&line)));
                Vec::new()
            });
        };
        items.iter().enumerate().filter_map(|(at, item)| self.scalar(item, &path.index(at))).collect()
    }

    fn resources(&mut self, service: &Service<'_>) -> Vec<(String, Out)> {
        let limits = service.node.get("deploy").and_then(|deploy| deploy.get("resources")?.get("limits"));
        let path = service.path.to("deploy.resources.limits");
        for entry in limits.map(Node::entries).unwrap_or_default() {
            if !matches!(entry.key.as_str(), "cpus" | "memory") {
                self.note(format!(
                    "{}: the limit `{}` is not carried over",
                    service.name,
                    shown_word(&entry.key)
                ));
            }
        }
        let place = |inner: &str, outer: &str| match limits.and_then(|limits| limits.get(inner)) {
            Some(node) => Some((node, path.field(inner))),
            None => service.node.get(outer).map(|node| (node, service.path.field(outer))),
        };
        let mut resources = Vec::new();
        let asked = [
            ("cpu", place("cpus", "cpus"), quantities::cpu as fn(&str) -> Option<String>),
            ("memory", place("memory", "mem_limit"), quantities::memory),
        ];
        for (ours, found, convert) in asked {
            let Some((node, path)) = found.filter(|(node, _)| !is_empty(node)) else { continue };
            let Some(given) = self.scalar(node, &path) else { continue };
            match convert(&given) {
                Some(amount) => resources.push((ours.to_owned(), text(&amount))),
                None => self.note(format!(
                    "{}: {} is no {ours} we know and is left out",
                    service.name,
                    shown_text(&given)
                )),
            }
        }
        resources
    }

    fn replicas(&mut self, service: &Service<'_>) -> Option<u32> {
        let deploy = service.node.get("deploy");
        for entry in deploy.map(Node::entries).unwrap_or_default() {
            match entry.key.as_str() {
                "replicas" => {}
                "resources" => {
                    for inner in entry.value.entries().iter().filter(|inner| inner.key != "limits") {
                        self.note(format!(
                            "{}: {} of resources are not carried over",
                            service.name,
                            shown_word(&inner.key)
                        ));
                    }
                }
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
            Some(node) => (node, service.path.to("deploy.replicas")),
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
            environment.push((key, text(&value)));
        }
        environment
    }

    fn depends_on(&mut self, service: &Service<'_>) -> Vec<Out> {
        let Some(node) = service.node.get("depends_on") else { return Vec::new() };
        let path = service.path.field("depends_on");
        let mut needed: Vec<(String, Path)> = Vec::new();
        match &node.kind {
            Kind::Map(entries) => {
                for entry in entries {
                    for inner in entry.value.entries() {
                        match (inner.key.as_str(), inner.value.scalar().unwrap_or_default().as_str()) {
                            ("condition", "service_started" | "service_healthy") | ("required", "true") => {}
                            (key, value) => {
                                let (on, key, value) =
                                    (shown_word(&entry.key), shown_word(key), shown_word(value));
                                self.note(format!(
                                    "{}: `{key}: {value}` on {on} is not carried over",
                                    service.name
                                ));
                            }
                        }
                    }
                    needed.push((entry.key.clone(), path.field(&entry.key)));
                }
            }
            _ => {
                for (index, item) in super::items(node).into_iter().enumerate() {
                    needed
                        .extend(self.scalar(item, &path.index(index)).map(|name| (name, path.index(index))));
                }
            }
        }
        let mut modules: Vec<String> = Vec::new();
        for (name, path) in needed {
            match self.names.get(&name).cloned() {
                Some(module) if !modules.iter().any(|other| other == module.as_str()) => {
                    modules.push(module.as_str().to_owned());
                }
                Some(_) => {}
                None => {
                    self.object_to::<()>(&path, format!("no service is named {}", shown_word(&name)));
                }
            }
        }
        modules.into_iter().map(|module| Out::Map(vec![("module".to_owned(), Out::Text(module))])).collect()
    }

    /// Names what stays behind.
    fn left_behind<'n>(&mut self, service: &Service<'_>, fields: impl Iterator<Item = (&'n str, &'n Node)>) {
        let name = service.name;
        for (key, _) in fields.filter(|(key, value)| !is_empty(value) && !key.starts_with("x-")) {
            match key {
                "privileged" => {
                    self.note(format!("{name}: privileged is refused: the container runs without it"))
                }
                "env_file" => {
                    self.note(format!("{name}: env_file is not read: add its variables to `environment`"));
                }
                "restart" => {
                    self.note(format!("{name}: restart is not carried over: instances are kept running"))
                }
                "profiles" => {
                    self.note(format!("{name}: profiles are not carried over: the module always runs"))
                }
                "container_name" => {
                    self.note(format!(
                        "{name}: container_name is not carried over: instances get names of their own"
                    ));
                }
                "extends" => self.note(format!("{name}: extends is not followed: what it brings is missing")),
                key if KNOWN.contains(&key) => {}
                key => self.note(format!("{name}: `{}` is not carried over", shown_word(key))),
            }
        }
    }
}
