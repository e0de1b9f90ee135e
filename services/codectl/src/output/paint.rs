//! Colour, when it is wanted.

use model::{
    Phase, Severity, Verdict,
    view::{StepStatus, Summary},
};
use owo_colors::OwoColorize;

macro_rules! paint {
    ($($(#[$doc:meta])* $name:ident => $style:ident),* $(,)?) => {$(
        $(#[$doc])*
        pub fn $name(text: impl std::fmt::Display) -> String {
            if super::colour() { text.$style().to_string() } else { text.to_string() }
        }
    )*};
}

paint! {
    /// Went well.
    good => green,
    /// Went wrong.
    bad => red,
    /// Wants attention.
    warn => yellow,
    /// Names and numbers that stand out.
    strong => bold,
    /// Less important.
    faint => dimmed,
    /// What moves.
    moving => cyan,
}

/// A verdict in its colour.
pub fn verdict(verdict: Verdict) -> String {
    let text = verdict.to_string();
    match verdict {
        Verdict::Promoted => good(text),
        Verdict::RolledBack | Verdict::Superseded | Verdict::Cancelled => warn(text),
        Verdict::Rejected | Verdict::NeedsHuman => bad(text),
    }
}

/// A phase in words.
pub fn phase(phase: Phase) -> String {
    moving(phase)
}

/// The verdict, or the phase of what is not over.
pub fn stand(summary: &Summary) -> String {
    summary.verdict.map_or_else(|| phase(summary.phase), verdict)
}

/// A severity in its colour.
pub fn severity(severity: Severity) -> String {
    match severity {
        Severity::Info => faint(severity),
        Severity::Low => severity.to_string(),
        Severity::Medium => warn(severity),
        Severity::High | Severity::Critical => bad(severity),
    }
}

/// One sign per step status.
pub fn sign(status: StepStatus) -> String {
    match status {
        StepStatus::Waiting => faint("·"),
        StepStatus::Scheduled => moving("◌"),
        StepStatus::Running => moving("●"),
        StepStatus::Succeeded => good("✓"),
        StepStatus::Failed => bad("✗"),
        StepStatus::Errored => warn("!"),
        StepStatus::Inconclusive => warn("?"),
        StepStatus::Skipped => faint("-"),
    }
}

/// `████░░░░░░` for a share in percent.
pub fn bar(percent: f64, width: usize) -> String {
    let full = ((percent / 100.0 * width as f64).round().max(0.0) as usize).min(width);
    format!("{}{}", moving("█".repeat(full)), faint("░".repeat(width - full)))
}
