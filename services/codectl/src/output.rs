//! Everything that is printed: text with colour for people, JSON for programs.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where a command line prints")]

pub mod paint;
pub mod screen;
pub mod steps;

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

/// One line, or several.
pub fn line(text: impl AsRef<str>) {
    use std::io::Write;
    // A reader that went away (`| head`) is no reason to fail.
    let _ = writeln!(std::io::stdout().lock(), "{}", text.as_ref());
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
    line(serde_json::to_string_pretty(value).unwrap_or_default());
}

/// One JSON document on one line.
pub fn json_line<T: Serialize>(value: &T) {
    line(serde_json::to_string(value).unwrap_or_default());
}

/// A remark beside the result, on standard error.
pub fn note(text: impl AsRef<str>) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
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
        let file = failure.file.as_deref().unwrap_or("spec");
        for complaint in &failure.complaints {
            let place = if complaint.line > 0 { "" } else { " " };
            note(format!("{file}:{place}{complaint}"));
        }
        let count = failure.complaints.len();
        let word = if count == 1 { "mistake" } else { "mistakes" };
        note(format!("{} {count} {word} in {file}", paint::bad("error:")));
    }
    ExitCode::from(failure.status)
}
