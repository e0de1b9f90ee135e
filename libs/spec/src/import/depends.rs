//! What a service waits for.

use super::{Import, Service, is_empty, items, names::is_true, yaml::Out};
use crate::document::{Kind, Node, Path, shown_word};

/// One service that another waits for.
struct Need {
    name: String,
    path: Path,
    condition: String,
    required: bool,
}

impl Import {
    pub(super) fn depends_on(&mut self, service: &Service<'_>) -> Vec<Out> {
        let mut modules: Vec<String> = Vec::new();
        for need in self.needs(service) {
            let shown = shown_word(&need.name);
            if self.left_out.contains(&need.name) {
                if need.required {
                    let message = format!("{shown} is left out, since none of its profiles is asked for");
                    self.object_with::<()>(&need.path, message, "ask for one with --profile");
                } else {
                    self.note(format!("{}: it does not wait for {shown}, which is left out", service.name));
                }
                continue;
            }
            let Some(module) = self.names.get(&need.name).cloned() else {
                self.object_to::<()>(&need.path, format!("no service is named {shown}"));
                continue;
            };
            self.condition(service, &need);
            if !modules.iter().any(|other| other == module.as_str()) {
                modules.push(module.as_str().to_owned());
            }
        }
        modules.into_iter().map(|module| Out::Map(vec![("module".to_owned(), Out::Text(module))])).collect()
    }

    /// A module moves when what it depends on is healthy; whatever else is asked for is a note.
    fn condition(&mut self, service: &Service<'_>, need: &Need) {
        let (name, on) = (service.name, shown_word(&need.name));
        let needed = service.root.get("services").and_then(|services| services.get(&need.name));
        let checked = needed.and_then(|needed| needed.get("healthcheck")?.get("test")).is_some();
        match need.condition.as_str() {
            "service_healthy" if checked => {}
            "service_healthy" => self.note(format!(
                "{name}: {on} has no health check in this file: it is waited for until it runs"
            )),
            "" | "service_started" if checked => {
                self.note(format!("{name}: waits until {on} is healthy, not only started"));
            }
            "" | "service_started" => {}
            "service_completed_successfully" => self.note(format!(
                "{name}: waits until {on} runs, not until it has ended: a module that ends has failed here, make it a hook"
            )),
            other => self.note(format!("{name}: `condition: {}` on {on} is not carried over", shown_word(other))),
        }
    }

    fn needs(&mut self, service: &Service<'_>) -> Vec<Need> {
        let mut needs = Vec::new();
        if let Some(node) = service.node.get("depends_on") {
            let path = service.path.field("depends_on");
            match &node.kind {
                Kind::Map(entries) => {
                    for entry in entries {
                        needs.push(self.need(service, &entry.key, &entry.value, path.field(&entry.key)));
                    }
                }
                _ => self.plain_needs(node, &path, &mut needs),
            }
        }
        // A link also orders.
        if let Some(node) = service.node.get("links") {
            self.plain_needs(node, &service.path.field("links"), &mut needs);
        }
        needs
    }

    fn plain_needs(&mut self, node: &Node, path: &Path, needs: &mut Vec<Need>) {
        for (index, item) in items(node).into_iter().enumerate() {
            let path = path.index(index);
            if let Some(line) = self.scalar(item, &path) {
                let name = line.split(':').next().unwrap_or_default().to_owned();
                needs.push(Need { name, path, condition: String::new(), required: true });
            }
        }
    }

    fn need(&mut self, service: &Service<'_>, name: &str, node: &Node, path: Path) -> Need {
        let mut need = Need { name: name.to_owned(), path, condition: String::new(), required: true };
        for inner in node.entries().iter() {
            match inner.key.as_str() {
                "condition" => need.condition = inner.value.scalar().unwrap_or_default(),
                "required" => {
                    need.required = is_true(&inner.value);
                    if !need.required && !self.left_out.contains(name) {
                        let on = shown_word(name);
                        self.note(format!("{}: {on} is waited for, `required: false` or not", service.name));
                    }
                }
                _ if is_empty(&inner.value) => {}
                key => self.note(format!(
                    "{}: `{}` on {} is not carried over",
                    service.name,
                    shown_word(key),
                    shown_word(name)
                )),
            }
        }
        need
    }
}
