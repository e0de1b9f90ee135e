//! Everything that is printed: text with colour for people, JSON for programs.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where a command line prints")]

mod clean;
mod names;
pub mod paint;
pub mod screen;
pub mod steps;
pub mod table;

use std::{
    io::IsTerminal,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use serde::Serialize;

use crate::{
    cli::{Color, Global, Output},
    failure::Failure,
};

pub use names::{know, named};

static COLOUR: AtomicBool = AtomicBool::new(false);
static JSON: AtomicBool = AtomicBool::new(false);

/// Decides on colour and form, once.
pub fn set_up(global: &Global) {
    let wanted = match global.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    COLOUR.store(wanted, Ordering::Relaxed);
    JSON.store(global.output == Output::Json, Ordering::Relaxed);
}

/// Colour is wanted.
pub fn colour() -> bool {
    COLOUR.load(Ordering::Relaxed)
}

/// JSON is wanted.
pub fn json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Standard output is a terminal for a person, so lines may be drawn again.
pub fn live() -> bool {
    !json() && screen::moves()
}

/// What time it is for words such as `5m ago`.
pub fn now() -> model::Timestamp {
    chassis::Clock::system().now()
}

/// One line for people, after an empty one when it begins with an end of line. Whatever it quotes stays within the line.
pub fn line(text: impl AsRef<str>) {
    write_line(&on_one_line(text.as_ref()));
}

/// What [`line`] prints.
pub fn on_one_line(text: &str) -> String {
    let named = named(text);
    let (gap, text) = match named.strip_prefix('\n') {
        Some(text) => ("\n", text),
        None => ("", &*named),
    };
    format!("{gap}{}", clean::one_line(text))
}

fn write_line(text: &str) {
    use std::io::Write;
    // A reader that went away (`| head`) is no reason to fail.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Text as it is, without a line end.
pub fn raw(text: impl AsRef<str>) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_ref().as_bytes());
    let _ = out.flush();
}

/// One JSON document.
pub fn document<T: Serialize>(value: &T) {
    write_line(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// One JSON document on one line.
pub fn json_line<T: Serialize>(value: &T) {
    write_line(&serde_json::to_string(value).unwrap_or_default());
}

/// Text that is signed: a remark in which nothing is called by another name.
pub fn exact(text: impl AsRef<str>) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
}

/// A remark beside the result, on standard error. Of several lines all but the first are indented.
pub fn note(text: impl AsRef<str>) {
    use std::io::Write;
    let text = named(text.as_ref());
    let lines: Vec<&str> = text.split('\n').collect();
    let indented = |line: &&str| line.is_empty() || line.starts_with(' ');
    let rest = lines
        .iter()
        .skip(1)
        .map(|line| if indented(line) { (*line).to_owned() } else { format!("  {line}") });
    let text: Vec<String> = lines.iter().take(1).map(|first| (*first).to_owned()).chain(rest).collect();
    let _ = writeln!(std::io::stderr().lock(), "{}", clean::clean(&text.join("\n")));
}

/// Prints what is wrong with the arguments. They could not be read, so whether JSON is wanted is looked up in them.
pub fn misused(error: &clap::Error) -> ExitCode {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let in_one_word = ["--output=json", "-o=json", "-ojson"];
    let asked =
        words.windows(2).any(|pair| matches!(pair[0].as_str(), "--output" | "-o") && pair[1] == "json")
            || words.iter().any(|word| in_one_word.contains(&word.as_str()))
            || std::env::var_os("CODE_OUTPUT").is_some_and(|form| form == "json");
    if asked {
        let text = error.render().to_string();
        let text = text.trim().trim_start_matches("error: ");
        let value = serde_json::json!({"error": text, "status": 2, "complaints": []});
        note(value.to_string());
    } else {
        let _ = error.print();
    }
    ExitCode::from(2)
}

/// Prints a failure the way it was asked for.
pub fn failed(failure: &Failure) -> ExitCode {
    if json() {
        let value = serde_json::json!({
            "error": failure.text, "status": failure.status, "complaints": failure.complaints,
        });
        note(value.to_string());
    } else if failure.complaints.is_empty() {
        note(format!("{} {}", paint::bad("error:"), failure.text));
    } else {
        let (before, place) = match &failure.file {
            Some(file) => (format!("{file}:"), format!(" in {file}")),
            None => Default::default(),
        };
        for complaint in &failure.complaints {
            let gap = if complaint.line > 0 || before.is_empty() { "" } else { " " };
            note(format!("{before}{gap}{complaint}"));
        }
        let count = failure.complaints.len();
        let word = if count == 1 { "mistake" } else { "mistakes" };
        note(format!("{} {count} {word}{place}", paint::bad("error:")));
    }
    ExitCode::from(failure.status)
}
