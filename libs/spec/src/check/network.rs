//! How a module is reached, and how it is known to be well.

use std::time::Duration;

use model::{
    DeploymentSpec, Token,
    spec::{Expose, Health, Module, Probe},
};

use super::{Found, release, texts};
use crate::document::{Path, shown_text};

/// Most requests of one smoke test.
const TIMES: u32 = 10_000;

pub(super) fn check(spec: &DeploymentSpec, module: &Module, path: &Path, found: &mut Found) {
    ports(spec, module, &path.field("ports"), found);
    if let Some(expose) = &module.expose {
        check_expose(module, expose, &path.field("expose"), found);
    }
    if let Some(health) = &module.health {
        check_health(module, health, &path.field("health"), found);
    }
    smoke(module, &path.field("smoke"), found);
    aliases(spec, module, &path.field("aliases"), found);
    if let Some(openapi) = &module.openapi {
        request_path(openapi, path.field("openapi"), found);
    }
}

/// The ports there are, as a cure.
pub(super) fn known_ports(module: &Module) -> String {
    let names: Vec<&str> = module.ports.iter().take(20).map(|port| port.name.as_str()).collect();
    if names.is_empty() {
        "add it to `ports`".to_owned()
    } else {
        format!("the module has {}", names.join(", "))
    }
}

fn ports(spec: &DeploymentSpec, module: &Module, path: &Path, found: &mut Found) {
    let all = || module.ports.iter().enumerate();
    found.unique(
        all().map(|(at, port)| (path.index(at).field("name"), &port.name)),
        |name| format!("a second port named {name}"),
        "every port of a module has a name of its own",
    );
    found.unique(
        all().filter_map(|(at, port)| Some((path.index(at).field("container"), port.container?))),
        |number| format!("a second port with the number {number}"),
        "every port of a module has a number of its own",
    );
    for (at, port) in all() {
        match port.container {
            Some(0) => {
                found.add(path.index(at).field("container"), "0 is not a port", "a port is 1 to 65535")
            }
            None if spec.target.as_str() == "docker" => {
                let message = format!("port {} has no number", port.name);
                found.add(
                    path.index(at),
                    message,
                    "on docker, give `container`: the number inside the container",
                );
            }
            _ => {}
        }
    }
}

/// A port that is named must be there; one that is not named is the first, and must be there too.
fn port(module: &Module, name: Option<&Token>, path: &Path, found: &mut Found) {
    match name {
        Some(name) if !module.ports.iter().any(|port| port.name == *name) => {
            found.add(path.field("port"), format!("no port is named {name}"), known_ports(module));
        }
        None if module.ports.is_empty() => {
            found.add(path.clone(), "the module has no port", "add one to `ports`, such as `- name: http`");
        }
        _ => {}
    }
}

fn check_expose(module: &Module, expose: &Expose, path: &Path, found: &mut Found) {
    if expose.listen == 0 {
        found.add(path.field("listen"), "0 is not a port", "a port is 1 to 65535");
    }
    port(module, expose.port.as_ref(), path, found);
    if let Some(cookie) = expose.sticky_cookie.as_ref().filter(|cookie| !is_header_token(cookie)) {
        let message = format!("{} is not a cookie's name", shown_text(cookie));
        found.add(path.field("stickyCookie"), message, "letters, digits, _ and -");
    }
    if let Some(header) = &expose.preview_header {
        let good = header.split_once('=').is_some_and(|(name, value)| {
            is_header_token(name) && !value.is_empty() && !value.chars().any(char::is_control)
        });
        if !good {
            let message = format!("{} is not a header with a value", shown_text(header));
            found.add(path.field("previewHeader"), message, "write name=value, such as x-preview=yes");
        }
    }
    found.span(path.field("requestTimeout"), expose.request_timeout);
}

/// A token by RFC 9110, section 5.6.2.
fn is_header_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn check_health(module: &Module, health: &Health, path: &Path, found: &mut Found) {
    let probe = path.field("probe");
    match &health.probe {
        Probe::Http { path: asked, port: name } => {
            let probe = probe.field("http");
            request_path(asked, probe.field("path"), found);
            port(module, name.as_ref(), &probe, found);
        }
        Probe::Tcp { port: name } => port(module, name.as_ref(), &probe.field("tcp"), found),
        Probe::Command(command) => release::command(command, &probe.field("command"), found),
    }
    found.span(path.field("interval"), health.interval);
    found.span(path.field("timeout"), health.timeout);
    found.span(path.field("healthyDeadline"), health.healthy_deadline);
    if health.healthy_after.0 > Duration::ZERO && health.healthy_after >= health.healthy_deadline {
        let message = format!(
            "an instance must be well for {} and may take only {} to be so",
            health.healthy_after, health.healthy_deadline
        );
        found.add(path.field("healthyAfter"), message, "lower healthyAfter, or raise healthyDeadline");
    }
    if health.unhealthy_threshold == 0 {
        found.add(path.field("unhealthyThreshold"), "0 probes cannot fail in a row", "write 1 or more");
    }
}

fn aliases(spec: &DeploymentSpec, module: &Module, path: &Path, found: &mut Found) {
    if spec.target.as_str() == "process" && !module.aliases.is_empty() {
        let cure = "remove it: processes find each other by CODE_PEER_<NAME>";
        found.add_key(path.clone(), "the process platform has no host names", cure);
    }
    for (at, alias) in module.aliases.iter().enumerate().filter(|(_, alias)| !texts::is_host_name(alias)) {
        let message = format!("{} is not a host name", shown_text(alias));
        found.add(path.index(at), message, "letters, digits, _, - and ., at most 253 characters");
    }
}

fn smoke(module: &Module, path: &Path, found: &mut Found) {
    for (at, smoke) in module.smoke.iter().enumerate() {
        let path = path.index(at);
        request_path(&smoke.path, path.field("path"), found);
        if !(100..=599).contains(&smoke.status) {
            let message = format!("{} is not an HTTP status", smoke.status);
            found.add(path.field("status"), message, "a status is 100 to 599");
        }
        if !(1..=TIMES).contains(&smoke.times) {
            let message = format!("{} is out of range", smoke.times);
            found.add(path.field("times"), message, "a request can be sent 1 to 10000 times");
        }
        port(module, None, &path, found);
    }
}

fn request_path(text: &str, path: Path, found: &mut Found) {
    if !texts::is_request_path(text) {
        let message = format!("{} is not the path of a request", shown_text(text));
        found.add(path, message, "a path begins with / and holds no blanks");
    }
}
