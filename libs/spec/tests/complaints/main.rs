//! Every complaint, with its exact line and column.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod modules;
mod moves;
mod types;

const BASE: &str = "\
apiVersion: code/v1
name: shop
target: docker
modules:
- name: web
  run: {image: nginx}
";

/// The complaints about a text, one a line, without their cures.
fn complaints(text: &str) -> String {
    match spec::read(text) {
        Ok(_) => "none".to_owned(),
        Err(fault) => {
            let lines = fault.complaints.iter().map(|c| c.to_string().lines().next().unwrap().to_owned());
            lines.collect::<Vec<String>>().join("\n")
        }
    }
}

/// Line 7 of the base, as a field of the module.
fn in_module(field: &str) -> String {
    complaints(&format!("{BASE}  {field}\n"))
}

/// Line 7 of the base, as a field of the release.
fn in_release(field: &str) -> String {
    complaints(&format!("{BASE}{field}\n"))
}

/// The same on the process platform.
fn on_process(fields: &str) -> String {
    let base = BASE.replace("docker", "process").replace("image: nginx", "command: [web]");
    complaints(&format!("{base}  {fields}\n"))
}

#[track_caller]
fn check(cases: &[(&str, &str)], complain: impl Fn(&str) -> String) {
    let mut wrong = String::new();
    for (given, expected) in cases {
        let found = complain(given);
        if found != *expected {
            wrong += &format!("{given}\n  expected {expected}\n  found    {found}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
