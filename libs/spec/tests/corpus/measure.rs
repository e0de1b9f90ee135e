//! What the import makes of the corpus, beside what Compose makes of it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use model::{
    DeploymentSpec,
    spec::{Module, Probe, SecretFrom},
};
use serde_json::{Value, json};
use spec::import::{Options, compose};

/// The note that every import has, at its end.
const CONFINED: &str = "containers run without Linux capabilities";

/// The image that most cases use, which is not repeated in what is expected.
const IMAGE: &str = "app:1";

type Fields = BTreeMap<String, Value>;

struct Case {
    title: String,
    file: String,
    compose: Fields,
    notes: Vec<String>,
    refused: Option<String>,
}

/// What the import made of a case.
enum Made {
    Spec { fields: Fields, notes: Vec<String> },
    Refused(String),
}

/// How the import does on the corpus.
#[derive(Default)]
pub struct Totals {
    pub all: usize,
    /// They mean the same.
    pub same: usize,
    /// They differ, and a note says how.
    pub noted: usize,
    /// Refused by name.
    pub refused: usize,
    /// Differences that nothing says.
    pub silent: Vec<String>,
    /// Notes and complaints that are not those of the corpus.
    pub wrong: Vec<String>,
}

/// Imports all of it. With `update` the notes and complaints are written anew.
pub fn measure(folder: &Path, update: bool) -> Totals {
    let mut totals = Totals::default();
    for path in files(folder) {
        let mut written = String::new();
        for case in read(&path) {
            totals.all += 1;
            let made = import(&case.file);
            write_case(&mut written, &case, &made);
            match made {
                Made::Refused(complaint) => {
                    totals.refused += 1;
                    if case.refused.as_ref() != Some(&complaint) {
                        totals.wrong.push(format!("{}: it is refused: {complaint}", case.title));
                    }
                }
                Made::Spec { fields, notes } => {
                    let differing = differing(&case.compose, &fields);
                    if differing.is_empty() {
                        totals.same += 1
                    } else {
                        totals.noted += 1
                    }
                    let silent =
                        differing.iter().filter(|field| !notes.iter().any(|note| names(note, field)));
                    totals.silent.extend(silent.map(|field| {
                        let (made, theirs) = (fields.get(field), case.compose.get(field));
                        format!("{}: {field}: Compose has {theirs:?}, we {made:?}", case.title)
                    }));
                    if case.refused.is_some() || case.notes != notes {
                        totals.wrong.push(format!("{}: the notes are {notes:#?}", case.title));
                    }
                }
            }
        }
        if update {
            fs::write(&path, written.trim_start()).unwrap();
        }
    }
    totals
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "txt")).collect();
    files.sort();
    files
}

fn read(path: &Path) -> Vec<Case> {
    let text = fs::read_to_string(path).unwrap();
    let mut cases: Vec<Case> = Vec::new();
    let mut part = "";
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("== ") {
            let title = title.to_owned();
            let (file, compose) = (String::new(), Fields::new());
            cases.push(Case { title, file, compose, notes: Vec::new(), refused: None });
            part = "file";
            continue;
        }
        if let Some(name) = line.strip_prefix("-- ") {
            part = name;
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        match part {
            "file" => case.file += &format!("{line}\n"),
            _ if line.is_empty() => {}
            "compose" => {
                let (field, value) = line.split_once(" = ").unwrap_or_else(|| panic!("{line} is no field"));
                let value = serde_json::from_str(value).unwrap_or_else(|error| panic!("{line}: {error}"));
                case.compose.insert(field.to_owned(), value);
            }
            "notes" => case.notes.push(line.to_owned()),
            "refused" => case.refused = Some(line.to_owned()),
            other => panic!("{other} is no part of a case"),
        }
    }
    cases
}

fn write_case(written: &mut String, case: &Case, made: &Made) {
    writeln!(written, "\n== {}\n{}", case.title, case.file.trim_end()).unwrap();
    if !case.compose.is_empty() {
        written.push_str("-- compose\n");
        for (field, value) in &case.compose {
            writeln!(written, "{field} = {value}").unwrap();
        }
    }
    match made {
        Made::Refused(complaint) => writeln!(written, "-- refused\n{complaint}").unwrap(),
        Made::Spec { notes, .. } if notes.is_empty() => {}
        Made::Spec { notes, .. } => writeln!(written, "-- notes\n{}", notes.join("\n")).unwrap(),
    }
}

fn import(file: &str) -> Made {
    let options = Options {
        name: Some("corpus".parse().unwrap()),
        variables: [("SET", "value"), ("EMPTY", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Options::default()
    };
    match compose(&format!("{}\n", file.trim_end()), &options) {
        Ok(mut imported) => {
            let last = imported.notes.pop().unwrap();
            assert!(last.starts_with(CONFINED), "{last}");
            let spec = spec::read(&imported.spec_yaml).unwrap().spec;
            Made::Spec { fields: fields(&spec), notes: imported.notes }
        }
        Err(fault) => {
            let complaint = fault.complaints.first().map(ToString::to_string).unwrap_or_default();
            Made::Refused(complaint.lines().next().unwrap_or_default().to_owned())
        }
    }
}

fn differing(compose: &Fields, made: &Fields) -> Vec<String> {
    let mut fields: Vec<&String> = compose.keys().chain(made.keys()).collect();
    fields.sort();
    fields.dedup();
    let differs = |field: &&String| match (field.ends_with(".expose"), made.get(*field)) {
        // A port that is named beyond those is named for the data plane or a probe, and changes nothing.
        (true, Some(Value::Array(made))) => {
            let theirs = compose.get(*field).and_then(Value::as_array);
            !theirs.into_iter().flatten().all(|port| made.contains(port))
        }
        _ => compose.get(*field) != made.get(*field),
    };
    fields.into_iter().filter(differs).cloned().collect()
}

/// Whether the note is about this field: it names the service, unless it holds for all, and what the field is about.
fn names(note: &str, field: &str) -> bool {
    let (service, field) = field.split_once('.').unwrap();
    let last = field.rsplit('.').next().unwrap();
    let words: &[&str] = match last {
        "interval" | "timeout" | "retries" => &["health check"],
        "test" => &["probe", "health check", "CMD-SHELL"],
        "deadline" => &["to become healthy"],
        "ports" => &["port"],
        "volumes" => &["volume", "folder", "tmpfs", "bind", "named pipe"],
        "depends_on" => &["wait"],
        "networks" => &["networks"],
        "configs" => &["config"],
        "secrets" => &["secret"],
        "build" => &["build"],
        "profiles" => &["profiles"],
        other => &[other],
    };
    let about = note.split(": ").next().unwrap();
    (about.replace('_', "-") == service
        || !note.contains(": ")
        || !about.chars().all(|c| c.is_alphanumeric() || c == '-'))
        && words.iter().any(|word| note.contains(word))
}

/// The spec in the words of Compose: everything that is not as Compose has it when nothing is said.
fn fields(spec: &DeploymentSpec) -> Fields {
    let mut fields = Fields::new();
    for module in &spec.modules {
        of_module(module, &mut fields);
    }
    fields
}

fn of_module(module: &Module, fields: &mut Fields) {
    let mut put = |name: &str, value: Value| {
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty) && name != "entrypoint";
        if !empty {
            fields.insert(format!("{}.{name}", module.name), value);
        }
    };
    let run = &module.run;
    assert!(run.command.is_empty(), "an import writes entrypoint and arguments");
    put("image", json!(run.image.as_ref().filter(|image| *image != IMAGE)));
    put("entrypoint", json!(run.entrypoint));
    put("command", json!(run.arguments));
    put("user", json!(run.user));
    put("working_dir", json!(run.working_directory));
    put("replicas", json!(Some(module.replicas).filter(|count| *count != 1)));
    put("limits.cpus", json!(module.resources.cpu_millis()));
    put("limits.memory", json!(module.resources.memory_bytes()));
    put("reservations.cpus", json!(module.resources.request.cpu_millis()));
    put("reservations.memory", json!(module.resources.request.memory_bytes()));
    for (name, value) in &module.environment {
        let literal: String = model::placeholder::parts(value)
            .into_iter()
            .map(|part| match part {
                model::placeholder::Part::Text(text) => text,
                model::placeholder::Part::Port(_) => "(a port)",
            })
            .collect();
        put(&format!("environment.{name}"), json!(literal));
    }
    let opened = module.expose.as_ref().map(|expose| expose.listen);
    let first = module.ports.first().and_then(|port| port.container);
    put(
        "ports",
        json!(opened.iter().map(|listen| format!("{listen}:{}", first.unwrap())).collect::<Vec<_>>()),
    );
    let inner = module.ports.iter().skip(usize::from(opened.is_some())).filter_map(|port| port.container);
    put("expose", json!(inner.collect::<Vec<u16>>()));
    if let Some(health) = &module.health {
        let test = match &health.probe {
            Probe::Command(words) => json!(words),
            Probe::Http { path, .. } => json!(format!("GET {path}")),
            Probe::Tcp { .. } => json!("connect"),
        };
        put("healthcheck.test", test);
        put("healthcheck.interval", json!(health.interval.to_string()));
        put("healthcheck.timeout", json!(health.timeout.to_string()));
        put("healthcheck.retries", json!(health.unhealthy_threshold));
        put("healthcheck.deadline", json!(health.healthy_deadline.to_string()));
    }
    let volumes = module.volumes.iter().map(|volume| {
        let from = volume.name.as_ref().map(ToString::to_string).or(volume.host.clone()).unwrap_or_default();
        format!("{from}:{}{}", volume.path, if volume.read_only { ":ro" } else { "" })
    });
    put("volumes", json!(volumes.collect::<Vec<String>>()));
    put(
        "configs",
        json!(module.config.iter().map(|file| format!("{}={}", file.path, file.content)).collect::<Vec<_>>()),
    );
    let secrets = module.secrets.iter().map(|secret| match &secret.from {
        SecretFrom::File(file) => format!("{} of file {file}", secret.name),
        SecretFrom::Env(name) => format!("{} of variable {name}", secret.name),
    });
    put("secrets", json!(secrets.collect::<Vec<String>>()));
    put("hostnames", json!(module.aliases));
    let needs = module.depends_on.iter().map(|dependency| dependency.module.to_string());
    put("depends_on", json!(needs.collect::<Vec<String>>()));
}
