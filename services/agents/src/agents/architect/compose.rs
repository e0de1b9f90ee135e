//! The release as a Compose file, for people and as evidence; the engine itself does not run it.

use std::fmt::Write as _;

use model::{
    DeploymentSpec,
    spec::{Module, Probe},
};

/// The Compose file. JSON strings and lists are valid YAML, so every value is written as one.
pub fn render(spec: &DeploymentSpec) -> String {
    let mut text = format!(
        "# rendered from {} {}; secrets are references\nname: {}\nservices:\n",
        spec.api_version, spec.name, spec.name
    );
    for module in &spec.modules {
        service(&mut text, module);
    }
    let mut volumes: Vec<&str> = spec
        .modules
        .iter()
        .flat_map(|module| &module.volumes)
        .filter_map(|volume| Some(volume.name.as_ref()?.as_str()))
        .collect();
    volumes.sort_unstable();
    volumes.dedup();
    if !volumes.is_empty() {
        line(&mut text, 0, "volumes:");
        volumes.iter().for_each(|name| line(&mut text, 1, &format!("{name}: {{}}")));
    }
    text
}

fn service(text: &mut String, module: &Module) {
    line(text, 1, &format!("{}:", module.name));
    if let Some(image) = &module.run.image {
        line(text, 2, &format!("image: {}", json(image)));
    }
    let run = &module.run;
    let program = run.entrypoint.as_ref().or((!run.command.is_empty()).then_some(&run.command));
    if let Some(words) = program {
        line(text, 2, &format!("entrypoint: {}", dollars(words)));
    }
    if !run.arguments.is_empty() {
        line(text, 2, &format!("command: {}", dollars(&run.arguments)));
    }
    if let Some(user) = &module.run.user {
        line(text, 2, &format!("user: {}", json(user)));
    }
    if let Some(folder) = &module.run.working_directory {
        line(text, 2, &format!("working_dir: {}", json(folder)));
    }
    if !module.environment.is_empty() || !module.secrets.is_empty() {
        line(text, 2, "environment:");
        for (name, value) in &module.environment {
            line(text, 3, &format!("{name}: {}", json(&value.replace('$', "$$"))));
        }
        for secret in &module.secrets {
            line(text, 3, &format!("{}: \"${{{}}}\"", secret.name, secret.name));
        }
    }
    if let Some(expose) = &module.expose {
        let inside =
            module.ports.iter().find(|port| expose.port.as_ref().is_none_or(|name| *name == port.name));
        let inside = inside.and_then(|port| port.container).unwrap_or(expose.listen);
        line(text, 2, &format!("ports: [{}]", json(&format!("{}:{inside}", expose.listen))));
    }
    if !module.volumes.is_empty() {
        line(text, 2, "volumes:");
        for volume in &module.volumes {
            let from =
                volume.name.as_ref().map(|name| name.as_str()).or(volume.host.as_deref()).unwrap_or_default();
            let mode = if volume.read_only { ":ro" } else { "" };
            line(text, 3, &format!("- {}", json(&format!("{from}:{}{mode}", volume.path))));
        }
    }
    if let Some(health) = &module.health {
        let test = match &health.probe {
            Probe::Http { path, .. } => json(&[
                "CMD-SHELL".to_owned(),
                format!("wget -q -O /dev/null http://127.0.0.1:$${{PORT}}{path}"),
            ]),
            Probe::Tcp { .. } => json(&["CMD-SHELL", "nc -z 127.0.0.1 $${PORT}"]),
            Probe::Command(command) => dollars(&[&["CMD".to_owned()], command.as_slice()].concat()),
        };
        line(text, 2, "healthcheck:");
        line(text, 3, &format!("test: {test}"));
        line(text, 3, &format!("interval: {}", health.interval));
        line(text, 3, &format!("timeout: {}", health.timeout));
        line(text, 3, &format!("retries: {}", health.unhealthy_threshold));
    }
    if !module.depends_on.is_empty() {
        let names: Vec<&str> =
            module.depends_on.iter().map(|dependency| dependency.module.as_str()).collect();
        line(text, 2, &format!("depends_on: {}", json(&names)));
    }
    line(text, 2, "deploy:");
    line(text, 3, &format!("replicas: {}", module.replicas));
    let (limits, request) = (&module.resources, &module.resources.request);
    let amounts = [
        ("limits", limits.cpu_millis(), limits.memory_bytes()),
        ("reservations", request.cpu_millis(), request.memory_bytes()),
    ];
    let given = amounts.iter().filter(|(_, cpu, memory)| cpu.is_some() || memory.is_some());
    for (at, (name, cpu, memory)) in given.enumerate() {
        if at == 0 {
            line(text, 3, "resources:");
        }
        line(text, 4, &format!("{name}:"));
        if let Some(cpu) = cpu {
            line(text, 5, &format!("cpus: \"{}.{:03}\"", cpu / 1000, cpu % 1000));
        }
        if let Some(memory) = memory {
            line(text, 5, &format!("memory: \"{memory}\""));
        }
    }
}

fn line(text: &mut String, depth: usize, what: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(text, "{}{what}", "  ".repeat(depth));
}

/// Words in which Compose fills in nothing.
fn dollars(words: &[String]) -> String {
    json(&words.iter().map(|word| word.replace('$', "$$")).collect::<Vec<String>>())
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
