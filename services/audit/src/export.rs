//! The log for other tools: JSON lines, CloudEvents, OCSF, CEF.
//!
//! Pure: an entry in, one line out. Nothing that a fact says can end a line or a field.

mod cef;
mod cloudevents;
mod ocsf;

use std::{fmt, str::FromStr};

use model::audit::AuditEntry;

/// A form of export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The entries as they are, one JSON document a line.
    Jsonl,
    /// CloudEvents 1.0 whose data is the entry, one a line.
    CloudEvents,
    /// Open Cybersecurity Schema Framework 1.6.0, one event a line.
    Ocsf,
    /// ArcSight Common Event Format, version 0.
    Cef,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 4] = [Format::Jsonl, Format::CloudEvents, Format::Ocsf, Format::Cef];

    /// The name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Jsonl => "jsonl",
            Format::CloudEvents => "cloudevents",
            Format::Ocsf => "ocsf",
            Format::Cef => "cef",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Format, String> {
        let names = Format::ALL.map(Format::as_str).join(", ");
        let found = Format::ALL.into_iter().find(|format| format.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is not a form of export: expected {names}"))
    }
}

/// One line, without its end. `origin` is the log's name.
pub fn line(format: Format, origin: &str, entry: &AuditEntry) -> String {
    match format {
        Format::Jsonl => serde_json::to_string(entry).unwrap_or_default(),
        Format::CloudEvents => cloudevents::event(origin, entry).to_string(),
        Format::Ocsf => ocsf::event(origin, entry).to_string(),
        Format::Cef => cef::line(origin, entry),
    }
}

#[cfg(test)]
mod tests;
