//! What documents promise of names and commands is there, and what is there stands in the documents.

use std::{collections::BTreeSet, fs};

use super::{assert_none, files, root, without_tests};

/// Sources whose variables are met only by who works on the project, or are those of a program of the examples.
const NOT_OF_THE_PRODUCT: [&str; 4] = [
    "libs/testkit/",
    "libs/platform/sample/",
    "libs/platform/src/scenarios/",
    "services/codectl/src/demo/releases.rs",
];

/// All documents as one text.
fn documents() -> String {
    all_documents().into_iter().map(|(_, text)| text + "\n").collect()
}

/// The documents by their paths.
fn all_documents() -> Vec<(String, String)> {
    let mut paths =
        vec![root().join("README.md"), root().join("ARCHITECTURE.md"), root().join("SECURITY.md")];
    for folder in ["docs", "docs/decisions"] {
        paths.extend(fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    paths.retain(|path| path.extension().is_some_and(|end| end == "md"));
    let read = |path: std::path::PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    paths.into_iter().map(read).collect()
}

/// The product's lines of code of libraries and services, with their files.
fn code() -> Vec<(String, String)> {
    let ours = |path: &str| {
        (path.starts_with("libs/") || path.starts_with("services/"))
            && !NOT_OF_THE_PRODUCT.iter().any(|apart| path.starts_with(apart))
    };
    let lines = |text: String| -> String {
        text.lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(|line| line.to_owned() + "\n")
            .collect()
    };
    let sources = files(".rs").into_iter().filter(|(path, _)| ours(path));
    sources.map(|(path, text)| (path.clone(), lines(without_tests(&path, &text)))).collect()
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_'
}

/// Names in a text that begin so, as long as they go on in upper case.
fn names(text: &str, begin: &str) -> BTreeSet<String> {
    let found = text.match_indices(begin).filter(|(at, _)| !text[..*at].ends_with(is_of_name));
    found.map(|(at, _)| text[at..].chars().take_while(|letter| is_of_name(*letter)).collect()).collect()
}

/// Names of variables that stand right behind one of these calls.
fn read_by_name(text: &str) -> BTreeSet<String> {
    let calls = ["env::var(\"", "env::var_os(\"", "env = \""];
    let behind = |call: &'static str| text.match_indices(call).map(move |(at, _)| &text[at + call.len()..]);
    let name = |rest: &str| rest.chars().take_while(|letter| is_of_name(*letter)).collect();
    calls.into_iter().flat_map(behind).map(name).collect()
}

#[test]
fn every_variable_of_the_environment_is_documented() {
    let documents = documents();
    let documented = names(&documents, "CODE_");
    let is_documented = |name: &str| match name.strip_suffix('_') {
        // A family: the rest of the name is what the spec or the settings say.
        Some(_) => documented.iter().any(|known| known.starts_with(name)),
        None if name.starts_with("CODE_") => documented.contains(name),
        None => documents.contains(&format!("`{name}`")),
    };
    let (mut broken, mut seen) = (Vec::new(), BTreeSet::new());

    for (path, text) in code() {
        let mut found = names(&text, "CODE_");
        found.extend(read_by_name(&text));
        found.remove("CODE_");
        found.remove("");
        broken.extend(found.iter().filter(|name| !is_documented(name)).map(|name| format!("{path}: {name}")));
        seen.extend(found);
    }

    assert!(seen.len() > 30, "only {seen:?} were found");
    assert!(["CODE_PEER_", "CODE_HOOK", "CODE_OUTPUT", "NO_COLOR"].iter().all(|name| seen.contains(*name)));
    assert_none(&broken, "a variable that is read or given stands in docs/");
}

#[test]
fn every_option_of_a_service_is_documented() {
    let documents = documents();
    let chassis = fs::read_to_string(root().join("libs/chassis/src/run.rs")).unwrap();
    let options: Vec<String> = chassis
        .split(".long(\"")
        .skip(1)
        .map(|rest| format!("--{}", rest.split('"').next().unwrap()))
        .collect();
    let broken: Vec<String> = options.iter().filter(|option| !documents.contains(*option)).cloned().collect();

    assert!(options.contains(&"--config".to_owned()), "{options:?}");
    assert_none(&broken, "an option of services stands in docs/");
}

/// Targets of the Makefile.
fn targets() -> BTreeSet<String> {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let phony = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap();
    phony.split_whitespace().map(str::to_owned).collect()
}

/// What follows `make ` in spans and blocks of code of a document.
fn made(text: &str) -> Vec<String> {
    let spans = text.split('`').skip(1).step_by(2);
    let lines = spans.flat_map(str::lines).map(|line| line.trim_start_matches("$ "));
    lines.filter_map(|line| line.strip_prefix("make ")).map(str::to_owned).collect()
}

#[test]
fn what_a_document_says_to_make_can_be_made() {
    let (targets, mut broken, mut seen) = (targets(), Vec::new(), 0);

    for (path, text) in all_documents() {
        for asked in made(&text) {
            let target = asked.split([' ', '\n']).next().unwrap_or_default();
            seen += 1;
            if !targets.contains(target) && target != "TARGET" {
                broken.push(format!("{path}: make {asked}"));
            }
        }
        for tool in text.split("tools/").skip(1) {
            let name: String = tool
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || "-_.".contains(*letter))
                .collect();
            let name = name.trim_end_matches('.');
            if name.ends_with(".sh") && !root().join("tools").join(name).is_file() {
                broken.push(format!("{path}: tools/{name}"));
            }
        }
    }

    assert!(seen > 30, "only {seen} were found");
    assert_none(&broken, "a target that is named is one of the Makefile");
}

/// A command of the table of figures: a program that measures, by what `make bench` calls it.
fn is_a_measurement(command: &str) -> bool {
    let Some(rest) = command.strip_prefix("make ") else { return false };
    let (target, arguments) = rest.split_once(" ARGS=").unwrap_or((rest, ""));
    let suite = fs::read_to_string(root().join("benches/src/suite.rs")).unwrap();
    let program = arguments.trim_matches('"').split(' ').next().unwrap_or_default();
    targets().contains(target) && (target != "bench" || suite.contains(&format!("name: \"{program}\"")))
}

#[test]
fn every_figure_stands_below_the_command_that_makes_it() {
    let text = fs::read_to_string(root().join("docs/performance.md")).unwrap();
    let (_, figures) = text.split_once("\n## Figures\n").unwrap();
    let (figures, _) = figures.split_once("\n## ").unwrap();
    let rows = figures.lines().filter(|line| line.starts_with("| ")).skip(1);
    let (mut command, mut commands, mut broken) = (None, 0, Vec::new());

    for row in rows {
        let first = row.split('|').nth(1).unwrap().trim();
        if let Some(named) = first.strip_prefix("**`").and_then(|rest| rest.split("`**").next()) {
            command = Some(named.to_owned());
            commands += 1;
        }
        if !command.as_deref().is_some_and(is_a_measurement) {
            broken.push(format!("{command:?} for {row}"));
        }
    }

    assert!(commands >= 9, "only {commands} commands were found");
    assert!(!is_a_measurement("make bench ARGS=nothing") && !is_a_measurement("make nothing"));
    assert_none(&broken, "a figure names the command that made it");
}
