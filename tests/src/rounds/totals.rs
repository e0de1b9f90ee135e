//! What all rounds came to, by kind.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{judge::Class, kinds::Kind, run::Report};

/// Counts of one kind; a round with two kinds counts for both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Rounds with it.
    pub rounds: usize,
    /// Of them, those in which there was something to damage.
    pub damaged: usize,
    /// Findings.
    pub wrong: usize,
    /// Findings.
    pub stuck: usize,
    /// Findings.
    pub silent: usize,
    /// Rounds after which the engine started, or went on.
    pub started: usize,
}

/// All rounds.
#[derive(Default)]
pub struct Totals {
    rows: BTreeMap<Kind, Row>,
    all: Row,
    /// Those with findings.
    pub failed: Vec<Report>,
}

impl Row {
    fn add(&mut self, report: &Report, damaged: bool) {
        self.rounds += 1;
        self.damaged += usize::from(damaged);
        self.wrong += report.count(Class::Wrong);
        self.stuck += report.count(Class::Stuck);
        self.silent += report.count(Class::Silent);
        self.started += usize::from(report.started);
    }

    /// Nothing was found, and the engine started every time.
    pub fn is_clean(&self) -> bool {
        (self.wrong, self.stuck, self.silent) == (0, 0, 0) && self.started == self.rounds
    }

    fn json(&self) -> Value {
        json!({
            "rounds": self.rounds, "damaged": self.damaged, "wrong": self.wrong, "stuck": self.stuck,
            "silent": self.silent, "startedAgain": self.started,
        })
    }
}

impl Totals {
    /// Takes a round along.
    pub fn add(&mut self, report: Report) {
        for kind in &report.story.kinds {
            self.rows.entry(*kind).or_default().add(&report, report.damaged.contains(kind));
        }
        self.all.add(&report, !report.damaged.is_empty());
        if !report.findings.is_empty() {
            self.failed.push(report);
        }
    }

    /// Nothing was found.
    pub fn is_clean(&self) -> bool {
        self.all.is_clean()
    }

    /// By kind, then all together.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, Row)> {
        let kinds = self.rows.iter().map(|(kind, row)| (kind.name(), *row));
        kinds.chain([("all", self.all)])
    }

    /// As one document.
    pub fn json(&self) -> Value {
        let kinds: serde_json::Map<String, Value> =
            self.rows.iter().map(|(kind, row)| (kind.name().to_owned(), row.json())).collect();
        let failed: Vec<Value> = self.failed.iter().map(failure).collect();
        json!({"all": self.all.json(), "kinds": kinds, "failed": failed})
    }
}

fn failure(report: &Report) -> Value {
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    json!({
        "seed": report.story.seed, "story": report.story.told(), "notes": report.notes, "findings": findings,
        "kept": report.kept, "reproduce": format!("make rounds ARGS=\"--only {}\"", report.story.seed),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rounds::{Story, judge::Finding};

    fn report(seed: u64, kind: Kind, findings: Vec<Finding>) -> Report {
        let mut story = Story::of(seed, Some(kind), 2);
        story.kinds = vec![kind];
        Report {
            story,
            damaged: vec![kind],
            notes: Vec::new(),
            started: true,
            ended: "promoted".to_owned(),
            findings,
            took: Duration::ZERO,
            kept: None,
        }
    }

    #[test]
    fn one_finding_and_one_engine_that_does_not_start_spoil_the_whole() {
        let silent = Finding { class: Class::Silent, text: "a record".to_owned() };
        let mut totals = Totals::default();
        totals.add(report(1, Kind::EngineKilled, Vec::new()));
        assert!(totals.is_clean());

        totals.add(report(2, Kind::JournalTorn, vec![silent]));
        assert!(!totals.is_clean());
        assert_eq!(totals.json()["all"]["silent"], 1);
        assert_eq!(totals.json()["kinds"]["engine-killed"]["silent"], 0);

        let mut totals = Totals::default();
        totals.add(Report { started: false, ..report(3, Kind::EngineKilled, Vec::new()) });
        assert!(!totals.is_clean());
    }

    #[test]
    fn a_seed_gives_the_same_story_again_and_every_kind_has_its_turn() {
        let stories: Vec<Story> = (0..Kind::ALL.len() as u64).map(|seed| Story::of(seed, None, 2)).collect();

        for (story, kind) in stories.iter().zip(Kind::ALL) {
            assert_eq!(story.kinds[0], *kind);
            assert_eq!(story.told(), Story::of(story.seed, None, 2).told());
        }
        assert!(stories.iter().any(|story| story.kinds.len() == 2));
    }
}
