//! What the Makefile and the scripts would run: where they put what they build, and with which features.

use std::{fs, process::Command};

use super::{assert_none, root};

/// What `make -n` says it would run for each target, with cargo's folder elsewhere when one is named.
fn planned(folder: Option<&str>) -> Vec<String> {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let targets = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap();
    let mut lines = Vec::new();
    for target in targets.split_whitespace() {
        let mut make = Command::new("make");
        make.args(["--dry-run", target]).current_dir(root());
        // Whoever runs the tests by make hands on what make was given.
        for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS", "CARGO_TARGET_DIR"] {
            make.env_remove(name);
        }
        if let Some(folder) = folder {
            make.env("CARGO_TARGET_DIR", folder);
        }
        let output = make.output().expect("make, which tools/setup.sh installs");
        assert!(output.status.success(), "make -n {target}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        lines.extend(text.lines().map(|line| format!("{target}: {line}")));
    }
    lines
}

/// The scripts' lines, with their places.
fn scripts() -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(root().join("tools")).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".sh") {
            let text = fs::read_to_string(entry.path()).unwrap();
            let numbered = text.lines().enumerate();
            lines.extend(numbered.map(|(at, line)| (format!("tools/{name}:{}", at + 1), line.to_owned())));
        }
    }
    lines
}

/// Whether a line names the folder that cargo takes when nobody says otherwise.
fn names_the_usual_folder(line: &str) -> bool {
    let inside =
        |before: &str| before.ends_with(|letter: char| letter.is_alphanumeric() || "-_}/.".contains(letter));
    let parts = ["target/debug", "target/release", "target/mutants", "target/fuzz"];
    parts.iter().any(|part| line.match_indices(part).any(|(at, _)| !inside(&line[..at])))
        || line.contains("$PWD/target") && !line.contains("CARGO_TARGET_DIR:-$PWD/target")
}

#[test]
fn what_is_built_elsewhere_is_run_from_there() {
    const ELSEWHERE: &str = "/elsewhere/built";
    let (there, usual) = (planned(Some(ELSEWHERE)), planned(None));

    let mut broken: Vec<String> = there.iter().filter(|line| names_the_usual_folder(line)).cloned().collect();
    let code = scripts().into_iter().filter(|(_, line)| line.contains("folder=") || line.contains("exec "));
    broken.extend(
        code.filter(|(_, line)| names_the_usual_folder(line)).map(|(place, line)| format!("{place}: {line}")),
    );

    let of_demo = |lines: &[String], program: &str| {
        let line = format!("demo: {program} demo");
        lines.iter().any(|one| one.trim_end() == line)
    };
    assert!(of_demo(&there, &format!("{ELSEWHERE}/debug/codectl")), "{there:#?}");
    assert!(of_demo(&usual, "target/debug/codectl"), "{usual:#?}");
    assert_none(&broken, "cargo builds where CARGO_TARGET_DIR says");
}

/// Whether a line builds into the folder that all builds share.
fn builds(line: &str) -> bool {
    let commands = ["build", "run", "test", "nextest run", "clippy", "bench", "check", "doc"];
    let own = ["--target-dir", "--manifest-path"];
    let shown = line.trim_start().starts_with("echo ") || line.trim_start().starts_with('#');
    commands.iter().any(|command| line.contains(&format!("cargo {command} ")))
        && !own.iter().any(|option| line.contains(option))
        && !shown
}

#[test]
fn all_builds_have_the_same_features() {
    let suite = fs::read_to_string(root().join("benches/src/suite.rs")).unwrap();
    let makefile = planned(None).into_iter();
    let scripts = scripts().into_iter().map(|(place, line)| format!("{place}: {line}"));
    let all: Vec<String> = makefile.chain(scripts).filter(|line| builds(line)).collect();
    let broken: Vec<String> = all.iter().filter(|line| !line.contains("--workspace")).cloned().collect();

    assert!(all.len() >= 12, "only {all:#?} were found");
    assert!(
        suite.contains(r#"["build", "--quiet", "--workspace"]"#),
        "benches/src/suite.rs builds otherwise"
    );
    assert_none(
        &broken,
        "features of what is depended on are those of all packages together: with --package much is compiled again",
    );
}
