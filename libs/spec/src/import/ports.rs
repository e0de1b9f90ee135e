//! Ports of a service, and the one the data plane opens for it.

use super::{
    Import, Service, items,
    yaml::{Out, map, text, word},
};
use crate::document::{Kind, Node, Path, shown_word};

/// One port inside the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Port(pub u16);

impl Port {
    /// The name it gets.
    pub fn name(self) -> String {
        match self.0 {
            80 | 3000 | 5000 | 8000 | 8080 => format!("http-{}", self.0),
            number => format!("port-{number}"),
        }
    }

    pub fn out(self) -> Out {
        map([("name", text(&self.name())), ("container", word(self.0))])
    }
}

/// A port of the host, and the container's behind it.
struct Published {
    container: u16,
    host: Option<u16>,
}

impl Import {
    /// The ports, the routed one first, and the field `expose`.
    pub(super) fn ports(&mut self, service: &Service<'_>) -> (Vec<Port>, Option<Out>) {
        let mut published = Vec::new();
        if let Some(node) = service.node.get("ports") {
            let path = service.path.field("ports");
            for (index, item) in items(node).into_iter().enumerate() {
                published.extend(self.published(service.name, item, &path.index(index)));
            }
        }
        let mut ports: Vec<Port> = Vec::new();
        let mut expose = None;
        for one in &published {
            if !ports.contains(&Port(one.container)) {
                ports.push(Port(one.container));
            }
            let Some(host) = one.host else {
                self.note(format!(
                    "{}: port {} has no fixed port outside and is not opened",
                    service.name, one.container
                ));
                continue;
            };
            if expose.is_some() {
                self.note(format!(
                    "{}: port {host}:{} is not opened: a module has one open port",
                    service.name, one.container
                ));
            } else if !self.listens.insert(host) {
                self.note(format!("{}: port {host} is not opened: another service has it", service.name));
            } else {
                self.opened.push(format!("{} {host}", service.name));
                expose = Some((host, Port(one.container)));
            }
        }
        if let Some(node) = service.node.get("expose") {
            let path = service.path.field("expose");
            for (index, item) in items(node).into_iter().enumerate() {
                for number in self.numbers(item, &path.index(index)) {
                    if !ports.contains(&Port(number)) {
                        ports.push(Port(number));
                    }
                }
            }
        }
        let expose = expose.map(|(listen, port)| {
            // The first port is the one that is routed and probed.
            ports.retain(|other| *other != port);
            ports.insert(0, port);
            map([("listen", word(listen))])
        });
        (ports, expose)
    }

    fn published(&mut self, service: &str, node: &Node, path: &Path) -> Vec<Published> {
        match &node.kind {
            Kind::Map(entries) => {
                for entry in entries {
                    match entry.key.as_str() {
                        "target" | "published" | "protocol" | "name" | "app_protocol" => {}
                        "mode" if entry.value.scalar().as_deref() == Some("ingress") => {}
                        key => self
                            .note(format!("{service}: `{}` of a port is not carried over", shown_word(key))),
                    }
                }
                let part = |name: &str| node.get(name).and_then(Node::scalar).unwrap_or_default();
                self.pairs(service, &part("target"), &part("published"), &part("protocol"), path)
            }
            _ => {
                let Some(line) = self.scalar(node, path) else { return Vec::new() };
                let (line, protocol) = line.split_once('/').unwrap_or((&line, ""));
                let (front, target) = line.rsplit_once(':').unwrap_or(("", line));
                let (address, host) = front.rsplit_once(':').unwrap_or(("", front));
                if !address.is_empty() {
                    self.note(format!(
                        "{service}: the address {} of a port is not carried over",
                        shown_word(address)
                    ));
                }
                self.pairs(service, target, host, protocol, path)
            }
        }
    }

    fn pairs(
        &mut self,
        service: &str,
        target: &str,
        host: &str,
        protocol: &str,
        path: &Path,
    ) -> Vec<Published> {
        if !matches!(protocol, "" | "tcp") {
            self.note(format!(
                "{service}: {} port {} is not carried over",
                shown_word(protocol),
                shown_word(target)
            ));
            return Vec::new();
        }
        let containers = range(target);
        let hosts = if host.is_empty() { Some(Vec::new()) } else { range(host) };
        let (Some(containers), Some(hosts)) = (containers, hosts) else {
            self.object_to::<()>(
                path,
                format!("\"{}:{}\" is not a port", shown_word(host), shown_word(target)),
            );
            return Vec::new();
        };
        if hosts.len() > containers.len() && containers.len() == 1 {
            self.note(format!("{service}: of the ports {} only the first is opened", shown_word(host)));
        } else if !hosts.is_empty() && hosts.len() != containers.len() {
            self.object_to::<()>(path, "the two ranges of ports differ in length");
        }
        containers
            .into_iter()
            .enumerate()
            .map(|(at, container)| Published { container, host: hosts.get(at).copied() })
            .collect()
    }

    fn numbers(&mut self, node: &Node, path: &Path) -> Vec<u16> {
        let Some(line) = self.scalar(node, path) else { return Vec::new() };
        let number = line.split('/').next().unwrap_or_default();
        range(number).unwrap_or_else(|| {
            self.object_to::<()>(path, format!("\"{}\" is not a port", shown_word(&line)));
            Vec::new()
        })
    }
}

/// `80` or `8000-8010`, at most 100 ports.
fn range(text: &str) -> Option<Vec<u16>> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high): (u16, u16) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
    (low > 0 && low <= high && high - low < 100).then(|| (low..=high).collect())
}
