//! What services are called here, and under which other names they must still be found.

use std::collections::BTreeSet;

use super::{Import, items, plain_name};
use crate::document::{Entry, Kind, Node, Path, shown_word};

impl Import {
    /// Names the services that take part, and collects the host names under which Compose makes each resolve.
    pub(super) fn name_services(&mut self, services: &[Entry], path: &Path) {
        for service in services {
            if let Some(token) = self.token(&service.key, "service", &path.field(&service.key)) {
                if token.as_str() != service.key {
                    self.add_alias(&service.key, &service.key);
                }
                self.names.insert(service.key.clone(), token);
            }
        }
        for service in services {
            if let Some(name) = service.value.get("container_name").and_then(Node::scalar) {
                self.add_alias(&service.key, &name);
            }
            let networks = service.value.get("networks").map(Node::entries).unwrap_or_default();
            for alias in networks.iter().filter_map(|network| network.value.get("aliases")).flat_map(items) {
                if let Some(alias) = alias.scalar() {
                    self.add_alias(&service.key, &alias);
                }
            }
            for link in service.value.get("links").map(items).unwrap_or_default() {
                let line = link.scalar().unwrap_or_default();
                if let Some((linked, alias)) = line.split_once(':') {
                    self.add_alias(linked, alias);
                }
            }
        }
    }

    fn add_alias(&mut self, service: &str, alias: &str) {
        if crate::check::is_host_name(alias) && plain_name(service) != alias {
            self.aliases.entry(service.to_owned()).or_default().insert(alias.to_owned());
        } else if plain_name(service) != alias {
            self.note(format!(
                "{}: the host name {} is not carried over",
                shown_word(service),
                shown_word(alias)
            ));
        }
    }

    /// The services that take part: those without profiles, and those of which one is asked for.
    pub(super) fn active(&mut self, services: &[Entry]) -> Vec<Entry> {
        let mut active = Vec::new();
        for service in services {
            let profiles: BTreeSet<String> = match service.value.get("profiles") {
                Some(node) => items(node).into_iter().filter_map(Node::scalar).collect(),
                None => BTreeSet::new(),
            };
            let asked = self.profiles.contains("*") || !profiles.is_disjoint(&self.profiles);
            if profiles.is_empty() || asked {
                active.push(service.clone());
                continue;
            }
            let listed = profiles.into_iter().collect::<Vec<String>>().join(", ");
            self.note(format!(
                "{}: it is left out, as none of its profiles is asked for: {}",
                service.key,
                shown_word(&listed)
            ));
            self.left_out.insert(service.key.clone());
        }
        active
    }

    /// What is said of networks: that all modules share one, and what else stands there.
    pub(super) fn networks(&mut self, name: &str, node: &Node) {
        self.note(super::ONE_NETWORK);
        for network in node.entries() {
            for entry in network.value.entries().iter().filter(|entry| entry.key != "aliases") {
                let (key, network) = (shown_word(&entry.key), shown_word(&network.key));
                self.note(format!("{name}: `{key}` of network {network} is not carried over"));
            }
        }
    }
}

/// Whether a truth value is set, in the words that Compose takes for one.
pub(super) fn is_true(node: &Node) -> bool {
    match &node.kind {
        Kind::Bool(value) => *value,
        Kind::Text(text) => matches!(text.to_lowercase().as_str(), "true" | "y" | "yes" | "on"),
        _ => false,
    }
}
