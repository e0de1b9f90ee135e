//! Every command that a text of the product names is one that can be typed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::CommandFactory;

use super::Cli;

/// What is written about commands: where it stands, and the words from `codectl` on.
struct Mention {
    place: String,
    words: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Files below a folder of the repository whose names end so, with their paths from the root.
fn files(folder: &str, ends: &[&str]) -> Vec<(String, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                folders.push(path);
            } else if ends.iter().any(|end| name.ends_with(end)) {
                let short = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push((short, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// A source without what is only built for tests; empty for a file of tests.
fn product((path, text): &(String, String)) -> String {
    if path.contains("/tests/") || path.ends_with("/tests.rs") {
        return String::new();
    }
    text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()
}

/// What stands between backticks, on whatever lines.
fn in_backticks(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(|span| span.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Of Rust: what literals say, and what comments say between backticks. In a literal the word is followed by a space;
/// outside of literals and comments no space follows a name of ours.
fn of_source(path: &str, text: &str, found: &mut Vec<Mention>) {
    let (mut comments, mut code) = (String::new(), String::new());
    for line in text.lines() {
        match line.trim_start().strip_prefix("//") {
            Some(comment) => comments.push_str(comment.trim_start_matches(['/', '!'])),
            None => {
                // What is between two comments ends the one before.
                if comments.matches('`').count() % 2 == 1 {
                    comments.push('`');
                }
                code.push_str(line);
                code.push('\n');
            }
        }
        comments.push(' ');
    }
    while let Some((before, after)) = code.split_once("\\\n") {
        code = format!("{before}{}", after.trim_start());
    }
    code = code.replace("\\n", "\n");
    let spans = in_backticks(&comments).filter(|span| span.starts_with("codectl "));
    mentions(path, spans.chain([code]), found);
}

/// Of a document: what stands between backticks, and lines of its blocks.
fn of_document(path: &str, text: &str, found: &mut Vec<Mention>) {
    for (at, part) in text.split("```").enumerate() {
        if at % 2 == 1 {
            mentions(path, [part.replace("\\\n", " ")], found);
        } else {
            mentions(path, in_backticks(part), found);
        }
    }
}

fn mentions(path: &str, texts: impl IntoIterator<Item = String>, found: &mut Vec<Mention>) {
    for text in texts {
        for line in text.lines() {
            for (at, _) in line.match_indices("codectl ") {
                let inside =
                    line[..at].ends_with(|letter: char| letter.is_alphanumeric() || "-_/.".contains(letter));
                let by_path = line[..at].ends_with("debug/");
                let package = line[..at].ends_with("-p ") || line[..at].ends_with("--package ");
                if (!inside || by_path) && !package {
                    let words = line[at..].split(['`', '"', '|', ';', '#', ',', '\'']).next().unwrap();
                    let words = words.split(" codectl ").next().unwrap();
                    found
                        .push(Mention { place: format!("{path}: {}", line.trim()), words: words.to_owned() });
                }
            }
        }
    }
}

/// Every mention in the product's texts, in its documents and examples.
fn all() -> Vec<Mention> {
    let mut found = Vec::new();
    for folder in ["services", "libs"] {
        for file in files(folder, &[".rs"]) {
            of_source(&file.0, &product(&file), &mut found);
        }
    }
    for (path, text) in files("docs", &[".md"]) {
        of_document(&path, &text, &mut found);
    }
    for name in ["README.md", "ARCHITECTURE.md", "SECURITY.md"] {
        of_document(name, &fs::read_to_string(root().join(name)).unwrap(), &mut found);
    }
    found
}

/// The first of some words that is no command or option; what stands for a value is let pass.
fn unknown(root: &clap::Command, words: &str) -> Option<String> {
    let (mut command, mut names, mut value) = (root, true, false);
    for word in words.split_whitespace().skip(1) {
        let bare = word.split('{').next().unwrap();
        let bare = bare.trim_end_matches([')', '.', ':', '…', ']', '\\']).trim_start_matches(['(', '[']);
        let option = bare.split('=').next().unwrap();
        if std::mem::take(&mut value) {
            continue;
        }
        if option.starts_with('-') && option.len() > 1 && option != "--" {
            let named = |known: &&clap::Arg| {
                known.get_long().is_some_and(|long| option.strip_prefix("--") == Some(long))
                    || known.get_short().is_some_and(|short| option == format!("-{short}"))
            };
            let Some(known) = command.get_arguments().find(named) else { return Some(option.to_owned()) };
            value = known.get_action().takes_values() && option == bare;
        } else if names && command.has_subcommands() {
            let is_word = bare.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
            if !is_word || bare.is_empty() {
                return None;
            }
            match command.find_subcommand(bare) {
                Some(next) => command = next,
                None => return Some(bare.to_owned()),
            }
            // What ends a sentence ends the command.
            names = bare.len() == word.len();
        }
    }
    None
}

fn built() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    command
}

#[test]
fn every_command_that_a_text_recommends_can_be_typed() {
    let (all, root) = (all(), built());
    let wrong: Vec<String> = all
        .iter()
        .filter_map(|mention| Some((unknown(&root, &mention.words)?, mention)))
        .map(|(word, mention)| format!("{word} in {}", mention.place))
        .collect();

    assert!(all.len() > 250, "only {} mentions were found", all.len());
    assert!(wrong.is_empty(), "{} of {} mentions:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}

#[test]
fn a_command_that_is_not_there_is_found() {
    let root = built();
    for (words, wrong) in [
        ("codectl logs", Some("logs")),
        ("codectl logs {} --follow", Some("logs")),
        ("codectl journal drop", Some("drop")),
        ("codectl apply shop.yaml --wait", Some("--wait")),
        ("codectl status -x", Some("-x")),
        ("codectl journal skip {} --seq {} --reason …", None),
        ("codectl list -o json --timeout=1s", None),
        ("codectl audit.", None),
        ("codectl --as mallory approve {} --plan {plan}", None),
        ("codectl --as mallory agree", Some("agree")),
        ("codectl apply SPEC --watch{named}", None),
    ] {
        assert_eq!(unknown(&root, words).as_deref(), wrong, "{words}");
    }

    let mut found = Vec::new();
    of_source(
        "x.rs",
        "//! Try `codectl\n//! logs dep` or codectl itself.\nlet a = \"see codectl logs {id} \\\n   --all\";",
        &mut found,
    );
    of_document(
        "x.md",
        "Use `codectl logs`.\n```sh\ntarget/debug/codectl logs \\\n  --all\n```\n",
        &mut found,
    );
    let words: Vec<&str> = found.iter().map(|one| one.words.trim_end()).collect();
    assert_eq!(
        words,
        ["codectl logs dep", "codectl logs {id} --all", "codectl logs", "codectl logs    --all"]
    );
}

#[test]
fn every_command_and_option_is_documented() {
    let documents: String = files("docs", &[".md"]).into_iter().map(|(_, text)| text).collect();
    let root = built();
    let (mut missing, mut open) = (Vec::new(), vec![("codectl".to_owned(), &root)]);
    while let Some((name, command)) = open.pop() {
        let visible = command.get_subcommands().filter(|one| !one.is_hide_set() && one.get_name() != "help");
        open.extend(visible.map(|one| (format!("{name} {}", one.get_name()), one)));
        let last = command.get_name();
        if !documents.contains(&name) && !documents.contains(&format!("`{last}`")) {
            missing.push(name.clone());
        }
        let options =
            command.get_arguments().filter(|one| !one.is_hide_set()).filter_map(|one| one.get_long());
        let options = options.filter(|long| !["help", "version"].contains(long));
        missing.extend(
            options
                .filter(|long| !documents.contains(&format!("--{long}")))
                .map(|long| format!("{name} --{long}")),
        );
    }

    assert!(missing.is_empty(), "not in docs/:\n{}", missing.join("\n"));
}
