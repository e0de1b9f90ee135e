//! What holds for the release as a whole: its modules together, their order, gates, hooks, deadlines and waivers.

use std::time::Duration;

use jiff::civil::Date;
use model::{
    DeploymentSpec, Span, limits,
    spec::{API_VERSION, Deadlines},
};
use semver::{Version, VersionReq};

use super::{DAY, Found, strategy};
use crate::{
    document::{Path, shown_text},
    order,
};

/// Where a release can run.
pub(super) const TARGETS: [&str; 3] = ["process", "docker", "scripted"];

/// Most people that can be asked.
const APPROVALS: u8 = 10;

pub(super) fn check(spec: &DeploymentSpec, root: &Path, found: &mut Found) {
    if spec.api_version != API_VERSION {
        let message = format!("{} is not a version this reads", shown_text(&spec.api_version));
        found.add(root.field("apiVersion"), message, format!("write {API_VERSION}"));
    }
    if !TARGETS.contains(&spec.target.as_str()) {
        let message = format!("\"{}\" is not a platform", spec.target);
        found.add(root.field("target"), message, "a release runs on process or docker");
    }
    modules(spec, &root.field("modules"), found);
    if spec.modules.len() <= limits::MODULES {
        dependencies(spec, &root.field("modules"), found);
    }
    strategy::check(&spec.strategy, &root.field("strategy"), found);
    gates(spec, &root.field("gates"), found);
    hooks(spec, &root.field("hooks"), found);
    deadlines(&spec.deadlines, &root.field("deadlines"), found);
    if let Some(soak) = spec.soak {
        found.span_or_none(root.field("soak"), soak);
    }
    waivers(spec, &root.field("waivers"), found);
    labels(spec, &root.field("labels"), found);
}

fn modules(spec: &DeploymentSpec, path: &Path, found: &mut Found) {
    let count = spec.modules.len();
    if count == 0 || count > limits::MODULES {
        found.add(path.clone(), format!("a release of {count} modules"), "a release has 1 to 100 modules");
    }
    let named = |index: usize, name: &str| path.index(index).to(name);
    let all = || spec.modules.iter().enumerate();
    found.unique(
        all().map(|(index, module)| (named(index, "name"), &module.name)),
        |name| format!("a second module named {name}"),
        "every module of a release has a name of its own",
    );
    found.unique(
        all().filter_map(|(index, module)| {
            Some((named(index, "expose.listen"), module.expose.as_ref()?.listen))
        }),
        |port| format!("port {port} is taken by another module"),
        "every exposed module listens on a port of its own",
    );
}

fn dependencies(spec: &DeploymentSpec, path: &Path, found: &mut Found) {
    for (index, module) in spec.modules.iter().enumerate() {
        let path = path.index(index).field("dependsOn");
        found.unique(
            module.depends_on.iter().enumerate().map(|(at, on)| (path.index(at).field("module"), &on.module)),
            |name| format!("{name} is named twice"),
            "name each module once",
        );
        for (at, dependency) in module.depends_on.iter().enumerate() {
            let path = path.index(at);
            let Some(needed) = spec.module(&dependency.module) else {
                let message = format!("no module is named {}", dependency.module);
                let names: Vec<&str> =
                    spec.modules.iter().take(20).map(|module| module.name.as_str()).collect();
                found.add(path.field("module"), message, format!("the release has {}", names.join(", ")));
                continue;
            };
            let Some(wanted) = &dependency.version else { continue };
            let path = path.field("version");
            match (wanted.parse::<VersionReq>(), needed.version.parse::<Version>()) {
                (Err(_), _) => {
                    let message = format!("{} is not a version constraint", shown_text(wanted));
                    found.add(path, message, "write such as \">=1.2, <2\"");
                }
                (Ok(constraint), Ok(version)) if !constraint.matches(&version) => {
                    let message = format!("{} {version} does not meet {}", needed.name, shown_text(wanted));
                    found.add(path, message, "change the constraint, or the version of the module");
                }
                _ => {}
            }
        }
    }
    if let Err(cycle) = order(spec) {
        let at = spec.modules.iter().position(|module| cycle.modules.first() == Some(&module.name));
        let path = at.map_or(path.clone(), |index| path.index(index).field("dependsOn"));
        found.add(
            path,
            format!("modules depend on each other in a circle: {cycle}"),
            "remove one of these dependencies",
        );
    }
}

fn gates(spec: &DeploymentSpec, path: &Path, found: &mut Found) {
    let Some(approvals) = &spec.gates.approvals else { return };
    let path = path.field("approvals");
    let required = approvals.required;
    if !(1..=APPROVALS).contains(&required) {
        let message = format!("{required} is not a number of approvals");
        found.add(path.field("required"), message, "1 to 10 people can be asked");
    } else if !approvals.from.is_empty() && usize::from(required) > approvals.from.len() {
        let message = format!("{required} must approve, but only {} may", approvals.from.len());
        found.add(path.field("required"), message, "ask fewer, or name more people in `from`");
    }
    let from = path.field("from");
    found.unique(
        approvals.from.iter().enumerate().map(|(at, person)| (from.index(at), person)),
        |person| format!("{} is named twice", shown_text(person)),
        "name each person once",
    );
    for (at, person) in approvals.from.iter().enumerate().filter(|(_, person)| person.trim().is_empty()) {
        found.add(from.index(at), format!("{} is nobody", shown_text(person)), "");
    }
}

fn hooks(spec: &DeploymentSpec, path: &Path, found: &mut Found) {
    found.unique(
        spec.hooks.iter().enumerate().map(|(at, hook)| (path.index(at).field("name"), &hook.name)),
        |name| format!("a second hook named {name}"),
        "every hook has a name of its own",
    );
    for (at, hook) in spec.hooks.iter().enumerate() {
        let path = path.index(at);
        command(&hook.command, &path.field("command"), found);
        if hook.timeout > spec.deadlines.step {
            let message = format!("{} is longer than a step may take, {}", hook.timeout, spec.deadlines.step);
            found.add(path.field("timeout"), message, "shorten it, or raise deadlines.step");
        } else {
            found.span(path.field("timeout"), hook.timeout);
        }
    }
}

/// A program and its arguments.
pub(super) fn command(command: &[String], path: &Path, found: &mut Found) {
    if command.first().is_none_or(|program| program.trim().is_empty()) {
        found.add(path.clone(), "the command is empty", "name a program, then its arguments");
    }
    arguments(command, path, found);
}

/// Words of a command line, each of which may be anything but hold a NUL.
pub(super) fn arguments(words: &[String], path: &Path, found: &mut Found) {
    for (at, _) in words.iter().enumerate().filter(|(_, argument)| argument.contains('\0')) {
        found.add(path.index(at), "the argument holds a NUL character", "remove it");
    }
}

fn deadlines(deadlines: &Deadlines, path: &Path, found: &mut Found) {
    let named = [
        ("total", deadlines.total),
        ("step", deadlines.step),
        ("human", deadlines.human),
        ("rollback", deadlines.rollback),
    ];
    for (name, Span(span)) in named {
        if !(Duration::from_secs(1)..=DAY).contains(&span) {
            found.add(path.field(name), format!("{} is out of range", Span(span)), "a deadline is 1s to 24h");
        }
    }
    if deadlines.step > deadlines.total {
        let message =
            format!("a step may take {}, longer than all of it, {}", deadlines.step, deadlines.total);
        found.add(path.field("step"), message, "lower deadlines.step, or raise deadlines.total");
    }
}

fn waivers(spec: &DeploymentSpec, path: &Path, found: &mut Found) {
    for (at, waiver) in spec.waivers.iter().enumerate() {
        let path = path.index(at);
        for (name, text) in [("rule", &waiver.rule), ("reason", &waiver.reason)] {
            if text.trim().is_empty() {
                found.add(
                    path.field(name),
                    format!("the {name} is empty"),
                    "a waiver says what it accepts and why",
                );
            }
        }
        if waiver.expires.len() != 10 || waiver.expires.parse::<Date>().is_err() {
            let message = format!("{} is not a day", shown_text(&waiver.expires));
            found.add(path.field("expires"), message, "write the last day it holds, such as 2030-12-31");
        }
        if let Some(name) = waiver.module.as_ref().filter(|name| spec.module(name).is_none()) {
            found.add(
                path.field("module"),
                format!("no module is named {name}"),
                "leave it out to mean all modules",
            );
        }
    }
}

fn labels(spec: &DeploymentSpec, path: &Path, found: &mut Found) {
    for (key, value) in &spec.labels {
        if key.is_empty() || key.len() > 253 || !key.chars().all(|c| c.is_ascii_graphic()) {
            let message = format!("{} is not a label", shown_text(key));
            found.add_key(path.field(key), message, "a label is 1 to 253 visible ASCII characters");
        }
        if value.len() > 4096 || value.contains('\0') {
            found.add(
                path.field(key),
                "the label's value is too long or holds a NUL character",
                "at most 4096 bytes",
            );
        }
    }
}
