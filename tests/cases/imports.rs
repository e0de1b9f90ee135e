//! Compose files and specs.

use model::{
    fault::Complaint,
    spec::{Module, Probe},
};
use spec::import::{Options, compose};

use crate::Case;

/// The module of this name, and the notes; or the first complaint.
fn imported(file: &str, module: &str) -> Result<(Module, Vec<String>), String> {
    let options = Options { fallback: "app".parse().ok(), ..Options::default() };
    let made = compose(file, &options).map_err(|fault| {
        let said = |complaint: &Complaint| format!("{}: {}", complaint.field, complaint.message);
        fault.complaints.first().map_or(fault.message.clone(), said)
    })?;
    let spec = spec::read(&made.spec_yaml).unwrap().spec;
    let found = spec.modules.into_iter().find(|found| found.name.as_str() == module);
    Ok((found.ok_or_else(|| format!("no module {module}"))?, made.notes))
}

fn shown(file: &str, module: &str, show: impl Fn(Module, Vec<String>) -> String) -> String {
    match imported(file, module) {
        Ok((module, notes)) => show(module, notes),
        Err(complaint) => format!("refused: {complaint}"),
    }
}

fn run(module: Module, _: Vec<String>) -> String {
    let words = |words: &[String]| words.join(" ");
    let entry =
        module.run.entrypoint.as_deref().map_or("the image's".to_owned(), |all| format!("[{}]", words(all)));
    format!("entrypoint {entry}, arguments [{}]", words(&module.run.arguments))
}

fn probe(module: &Module) -> String {
    match module.health.as_ref().map(|health| &health.probe) {
        Some(Probe::Command(words)) => format!("command {}", words.join(" ")),
        Some(Probe::Http { path, .. }) => format!("GET {path}"),
        Some(Probe::Tcp { .. }) => "connect".to_owned(),
        None => "none".to_owned(),
    }
}

pub fn cases() -> Vec<Case> {
    let command = "services: {proxy: {image: 'p:3', command: [--quiet, --port=80]}}\n";
    let cleared = "services: {tool: {image: 't:1', entrypoint: [], command: [/bin/tool, -q]}}\n";
    let emptied = "services: {tool: {image: 't:1', entrypoint: ''}}\n";
    let words = "services:\n  db:\n    image: d:1\n    healthcheck: {test: [CMD-SHELL, ready, -d, shop]}\n";
    let slow = "services:\n  web:\n    image: w:1\n    ports: ['8081:80']\n    healthcheck: {test: [CMD, probe], \
                interval: 40s, timeout: 5s, retries: 4, start_period: 10s}\n";
    let extends = "services:\n  base: {image: 'a:4', environment: {MODE: lean}}\n  job:\n    extends: {service: base}\n    command: [work]\n";
    let include = "include: [other.yaml]\nservices: {web: {image: 'w:1'}}\n";
    let names = "services:\n  user_api: {image: 'a:1', expose: ['80']}\n  web: {image: 'w:1', depends_on: [user_api], environment: {API: 'http://user_api:80'}}\n";
    let lenient = "services:\n  find:\n    image: f:8\n    expose: ['9200']\n    healthcheck: {test: 'curl -s http://localhost:9200/ || exit 1'}\n";
    let strict = "services:\n  find:\n    image: f:8\n    expose: ['9200']\n    healthcheck: {test: 'curl -sf http://localhost:9200/'}\n";
    let digit = "services: {web: {image: 'w:1', command: [sh, -c, \"awk '{print $1}'\"]}}\n";
    let bracket = "services:\n  web:\n    image: w:1\n    healthcheck:\n      test: [\n        \"CMD\", \"probe\"\n      ]\n";
    let spec = "apiVersion: code/v1\nname: shop\ntarget: process\nmodules:\n  - name: web\n    run:\n      command: [\n        \"serve\", \"{port}\"\n      ]\n    ports: [{name: http}]\n";
    vec![
        Case::of(
            "Compose: command beside the image's ENTRYPOINT",
            "arguments; the image's ENTRYPOINT stays",
            "entrypoint the image's, arguments [--quiet --port=80]",
            shown(command, "proxy", run),
        ),
        Case::of(
            "Compose: entrypoint: [] with a command",
            "the ENTRYPOINT is cleared",
            "entrypoint [], arguments [/bin/tool -q]",
            shown(cleared, "tool", run),
        ),
        Case::of(
            "Compose: an empty text as entrypoint",
            "the ENTRYPOINT is cleared",
            "entrypoint [], arguments []",
            shown(emptied, "tool", run),
        ),
        Case::of(
            "Compose: words behind CMD-SHELL",
            "taken, with a note",
            "command /bin/sh -c ready -d shop; 1 note about it",
            shown(words, "db", |module, notes| {
                let about = notes.iter().filter(|note| note.contains("CMD-SHELL")).count();
                format!("{}; {about} note about it", probe(&module))
            }),
        ),
        Case::of(
            "Compose: interval × retries longer than a minute",
            "start_period + retries × interval until unhealthy",
            "40s × 4, given 2m50s at the start",
            shown(slow, "web", |module, _| {
                let health = module.health.unwrap();
                format!(
                    "{} × {}, given {} at the start",
                    health.interval, health.unhealthy_threshold, health.healthy_deadline
                )
            }),
        ),
        Case::of(
            "Compose: extends within the file",
            "merged",
            "a:4, MODE=lean, arguments [work]",
            shown(extends, "job", |module, _| {
                let mode = module.environment.get("MODE").cloned().unwrap_or_default();
                let image = module.run.image.clone().unwrap_or_default();
                format!("{image}, MODE={mode}, arguments [{}]", module.run.arguments.join(" "))
            }),
        ),
        Case {
            as_expected: shown(include, "web", run).contains("include"),
            ..Case::of("Compose: include", "a complaint that names it", "", shown(include, "web", run))
        },
        Case::of(
            "Compose: a service's name with _ as a host name",
            "reached under both names",
            "user-api, also user_api",
            shown(names, "user-api", |module, _| {
                format!("{}, also {}", module.name, module.aliases.join(" "))
            }),
        ),
        Case::of(
            "Compose: curl without -f as a health check",
            "any answer is well: the command stays",
            "command /bin/sh -c curl -s http://localhost:9200/ || exit 1",
            shown(lenient, "find", |module, _| probe(&module)),
        ),
        Case::of(
            "Compose: curl with -f as a health check",
            "an answer below 400",
            "GET /",
            shown(strict, "find", |module, _| probe(&module)),
        ),
        Case {
            as_expected: shown(digit, "web", run).starts_with("refused: "),
            ..Case::of("Compose: $1 in a command", "refused, as Compose does", "", shown(digit, "web", run))
        },
        Case::of(
            "Compose: a bracket that closes in its key's column",
            "read, as by libyaml",
            "command probe",
            shown(bracket, "web", |module, _| probe(&module)),
        ),
        Case::of(
            "a spec: a bracket that closes in its key's column",
            "read, as by libyaml",
            "serve {port}",
            spec::read(spec)
                .map_or_else(|fault| fault.to_string(), |read| read.spec.modules[0].run.command.join(" ")),
        ),
    ]
}
