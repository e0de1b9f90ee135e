//! `extends` within the file, merged as Compose merges: mappings field by field, lists one after the other, a command
//! as a whole. What comes from another file is refused by name, since the import reads one text.

use super::{Import, items};
use crate::document::{Entry, Kind, Node, Path, shown_word};

/// Deepest chain of services that extend each other.
const CHAIN: usize = 32;

/// Puts the merged service in the place of every one that extends another.
pub(super) fn resolve(root: &mut Node, import: &mut Import) {
    let Kind::Map(top) = &mut root.kind else { return };
    let Some(services) = top.iter_mut().find(|entry| entry.key == "services") else { return };
    let given = services.value.clone();
    let Kind::Map(all) = &mut services.value.kind else { return };
    for entry in all.iter_mut().filter(|entry| entry.value.get("extends").is_some()) {
        let path = Path::default().field("services").field(&entry.key);
        if let Some(merged) = import.extended(&given, &entry.key, &entry.value, &path, CHAIN) {
            entry.value = merged;
        }
    }
}

impl Import {
    fn extended(
        &mut self,
        services: &Node,
        name: &str,
        service: &Node,
        path: &Path,
        depth: usize,
    ) -> Option<Node> {
        let Some(extends) = service.get("extends").filter(|node| node.kind != Kind::Null) else {
            return Some(service.clone());
        };
        let path = path.field("extends");
        if let Some(file) = extends.get("file").and_then(Node::scalar) {
            let message = format!("it extends a service of another file, {}", shown_word(&file));
            return self.object_with(&path, message, super::ONE_FILE);
        }
        let base = match &extends.kind {
            Kind::Map(_) => extends.get("service").and_then(Node::scalar),
            _ => extends.scalar(),
        };
        let Some(base) = base else { return self.object_to(&path, "`service` is missing") };
        let Some(found) = services.get(&base) else {
            return self.object_to(&path, format!("no service is named {}", shown_word(&base)));
        };
        if depth == 0 || base == name {
            return self.object_to(&path, format!("{} extends itself", shown_word(name)));
        }
        let found = self.extended(
            services,
            &base,
            found,
            &Path::default().field("services").field(&base),
            depth - 1,
        )?;
        let mut merged = merge(&found, service);
        if let Kind::Map(entries) = &mut merged.kind {
            entries.retain(|entry| entry.key != "extends");
        }
        Some(merged)
    }
}

/// A service on top of the one it extends.
fn merge(base: &Node, own: &Node) -> Node {
    fields(base, own, |key, base, own| match key {
        "command" | "entrypoint" => own.clone(),
        "healthcheck" => fields(base, own, |key, base, own| match key {
            "test" => own.clone(),
            _ => plain(base, own),
        }),
        "environment" | "labels" | "annotations" | "sysctls" => {
            plain(&pairs(base, false), &pairs(own, false))
        }
        "depends_on" | "networks" => plain(&pairs(base, true), &pairs(own, true)),
        "volumes" => unique(base, own, |node| match &node.kind {
            Kind::Map(_) => node.get("target").and_then(Node::scalar),
            _ => node.scalar().map(|line| line.split(':').take(2).last().unwrap_or_default().to_owned()),
        }),
        "configs" | "secrets" => {
            unique(base, own, |node| node.get("target").or(node.get("source")).unwrap_or(node).scalar())
        }
        "ports" | "expose" | "env_file" | "dns" | "dns_opt" | "dns_search" | "extra_hosts" | "tmpfs"
        | "profiles" | "links" | "cap_add" | "cap_drop" => unique(base, own, Node::scalar),
        _ => plain(base, own),
    })
}

/// Mappings field by field, lists one after the other, anything else replaced; nothing replaces nothing.
fn plain(base: &Node, own: &Node) -> Node {
    match (&base.kind, &own.kind) {
        (_, Kind::Null) => base.clone(),
        (Kind::Map(_), Kind::Map(_)) => fields(base, own, |_, base, own| plain(base, own)),
        (Kind::List(_), Kind::List(_)) => unique(base, own, |_| None),
        _ => own.clone(),
    }
}

/// Two mappings; `both` merges a field that stands in each.
fn fields(base: &Node, own: &Node, both: impl Fn(&str, &Node, &Node) -> Node) -> Node {
    let (Kind::Map(from), Kind::Map(over)) = (&base.kind, &own.kind) else { return own.clone() };
    let mut entries: Vec<Entry> = Vec::with_capacity(from.len() + over.len());
    for entry in from {
        let value = match own.get(&entry.key) {
            Some(mine) => both(&entry.key, &entry.value, mine),
            None => entry.value.clone(),
        };
        entries.push(Entry { value, ..entry.clone() });
    }
    entries.extend(over.iter().filter(|entry| base.get(&entry.key).is_none()).cloned());
    Node { place: own.place, kind: Kind::Map(entries) }
}

/// Two lists, or single items; of those with the same key the last stands in the place of the first.
fn unique(base: &Node, own: &Node, key: impl Fn(&Node) -> Option<String>) -> Node {
    let mut all: Vec<(Option<String>, Node)> = Vec::new();
    for item in items(base).into_iter().chain(items(own)) {
        let key = key(item);
        match all.iter_mut().find(|(other, _)| key.is_some() && *other == key) {
            Some(same) => same.1 = item.clone(),
            None => all.push((key, item.clone())),
        }
    }
    Node { place: own.place, kind: Kind::List(all.into_iter().map(|(_, item)| item).collect()) }
}

/// `[A=b, C]` as `{A: b, C: }`; `bare` takes each item as a name alone.
fn pairs(node: &Node, bare: bool) -> Node {
    let Kind::List(items) = &node.kind else { return node.clone() };
    let mut entries: Vec<Entry> = Vec::new();
    for item in items {
        let Some(line) = item.scalar() else { continue };
        let (key, kind) = match line.split_once('=') {
            Some((key, value)) if !bare => (key.to_owned(), Kind::Text(value.to_owned())),
            _ => (line, Kind::Null),
        };
        entries.retain(|entry| entry.key != key);
        entries.push(Entry { key, place: item.place, value: Node { place: item.place, kind } });
    }
    Node { place: node.place, kind: Kind::Map(entries) }
}
