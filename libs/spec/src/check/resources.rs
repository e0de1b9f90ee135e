//! What an instance may use, and what is put into it: environment, files, secrets and volumes.

use model::{
    DeploymentSpec,
    spec::{Module, SECRET_VARIABLES, SecretFrom},
};

use super::{Found, texts};
use crate::document::{Path, shown_text};

/// Thousandths of a core, from one to 1024 cores.
const CPU: std::ops::RangeInclusive<u64> = 1..=1_024_000;
/// Bytes, from 1 MiB to 1 TiB.
const MEMORY: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 40;

pub(super) fn check(spec: &DeploymentSpec, module: &Module, path: &Path, found: &mut Found) {
    quantities(module, &path.field("resources"), found);
    environment(module, &path.field("environment"), found);
    config(spec, module, &path.field("config"), found);
    secrets(module, &path.field("secrets"), found);
    volumes(module, &path.field("volumes"), found);
}

fn quantities(module: &Module, path: &Path, found: &mut Found) {
    let (limit, request) = (&module.resources, &module.resources.request);
    let below = path.field("request");
    for (path, text, amount) in [
        (path.field("cpu"), &limit.cpu, limit.cpu_millis()),
        (below.field("cpu"), &request.cpu, request.cpu_millis()),
    ] {
        if let Some(text) = text.as_ref().filter(|_| !amount.is_some_and(|amount| CPU.contains(&amount))) {
            let message = format!("{} is not a processor share", shown_text(text));
            found.add(path, message, "write such as 500m for half a core or 2 for two; 1m to 1024");
        }
    }
    for (path, text, amount) in [
        (path.field("memory"), &limit.memory, limit.memory_bytes()),
        (below.field("memory"), &request.memory, request.memory_bytes()),
    ] {
        if let Some(text) = text.as_ref().filter(|_| !amount.is_some_and(|amount| MEMORY.contains(&amount))) {
            let message = format!("{} is not an amount of memory", shown_text(text));
            found.add(path, message, "write such as 128Mi or 1Gi; 1Mi to 1024Gi");
        }
    }
    for (field, asked, most) in [
        ("cpu", request.cpu_millis(), limit.cpu_millis()),
        ("memory", request.memory_bytes(), limit.memory_bytes()),
    ] {
        if let (Some(asked), Some(most)) = (asked, most)
            && asked > most
        {
            let message = format!("more {field} is set aside than an instance may use");
            found.add(below.field(field), message, format!("lower it, or raise resources.{field}"));
        }
    }
}

fn environment(module: &Module, path: &Path, found: &mut Found) {
    for (key, value) in &module.environment {
        if !texts::is_loose_variable(key) {
            let message = format!("{} is not a variable's name", shown_text(key));
            let cure = "letters, digits, _, . and -, not beginning with a digit";
            found.add_key(path.field(key), message, cure);
        }
        if value.contains('\0') {
            found.add(path.field(key), "the value holds a NUL character", "remove it");
        }
    }
}

fn config(spec: &DeploymentSpec, module: &Module, path: &Path, found: &mut Found) {
    let on_process = spec.target.as_str() == "process";
    for (at, file) in module.config.iter().enumerate() {
        let good = if on_process { texts::stays_below(&file.path) } else { texts::is_absolute(&file.path) };
        if !good || file.path.ends_with('/') {
            let message = format!("{} is not a path of a file", shown_text(&file.path));
            let cure =
                if on_process { "write a path without .." } else { "write an absolute path without .." };
            found.add(path.index(at).field("path"), message, cure);
        }
    }
    found.unique(
        module.config.iter().enumerate().map(|(at, file)| (path.index(at).field("path"), &file.path)),
        |name| format!("{} is written twice", shown_text(name)),
        "every file has a path of its own",
    );
}

fn secrets(module: &Module, path: &Path, found: &mut Found) {
    found.unique(
        module.secrets.iter().enumerate().map(|(at, secret)| (path.index(at).field("name"), &secret.name)),
        |name| format!("a second secret named {}", shown_text(name)),
        "every secret has a variable of its own",
    );
    for (at, secret) in module.secrets.iter().enumerate() {
        let path = path.index(at);
        if !texts::is_variable(&secret.name) {
            let message = format!("{} is not a variable's name", shown_text(&secret.name));
            found.add(path.field("name"), message, "letters, digits and _, not beginning with a digit");
        } else if module.environment.contains_key(&secret.name) {
            let message = format!("{} also stands in the environment", secret.name);
            found.add(path.field("name"), message, "keep the secret and remove the plain value");
        }
        match &secret.from {
            SecretFrom::File(file) if !texts::stays_below(file) || file.starts_with('/') => {
                let message = format!("{} is not a file below the secret folder", shown_text(file));
                found.add(path.to("from.file"), message, "write a relative path without ..");
            }
            SecretFrom::Env(name) if !texts::is_variable(&name.replace("{version}", "")) => {
                let message = format!("{} is not a variable's name", shown_text(name));
                found.add(path.to("from.env"), message, "letters, digits and _, not beginning with a digit");
            }
            SecretFrom::Env(name) if !name.starts_with(SECRET_VARIABLES) => {
                let message = format!("{} may not be read by the agents", shown_text(name));
                let cure = format!("name a variable of theirs that begins with {SECRET_VARIABLES}");
                found.add(path.to("from.env"), message, cure);
            }
            SecretFrom::File(_) | SecretFrom::Env(_) => {}
        }
    }
}

fn volumes(module: &Module, path: &Path, found: &mut Found) {
    for (at, volume) in module.volumes.iter().enumerate() {
        let path = path.index(at);
        match (&volume.name, &volume.host) {
            (Some(_), Some(_)) => {
                found.add(path.clone(), "a volume has both `name` and `host`", "keep one of the two")
            }
            (None, None) => {
                let cure = "give `name` for a named volume, or `host` for a folder of the host";
                found.add(path.clone(), "a volume has neither `name` nor `host`", cure);
            }
            _ => {}
        }
        if let Some(host) = volume.host.as_ref().filter(|host| !texts::is_absolute(host)) {
            let message = format!("{} is not an absolute path", shown_text(host));
            found.add(path.field("host"), message, "write an absolute path without ..");
        }
        if !texts::is_absolute(&volume.path) || volume.path == "/" {
            let message = format!("{} is not a path to mount at", shown_text(&volume.path));
            found.add(path.field("path"), message, "write an absolute path without .., below /");
        }
    }
    found.unique(
        module.volumes.iter().enumerate().map(|(at, volume)| (path.index(at).field("path"), &volume.path)),
        |name| format!("a second volume is mounted at {}", shown_text(name)),
        "every volume has a path of its own",
    );
}
