//! What the tests replicate: numbers by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::history::{Call, Verdict, explain};
use crate::state::State;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Numbers {
    pub values: BTreeMap<String, u64>,
    /// Makes a snapshot larger than one part.
    pub ballast: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Do {
    Set(u64),
    /// Sets it if it has the first value; says what it was.
    Swap(u64, u64),
    /// Adds one; says what it became. Applied twice, it shows.
    Add,
    /// Only read, never proposed.
    Get,
    Ballast(String),
    /// Level 2.
    Double,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    pub key: String,
    pub what: Do,
}

fn step(value: &u64, what: &Do) -> (u64, u64) {
    match what {
        Do::Set(to) => (*to, *to),
        Do::Swap(from, to) => (if value == from { *to } else { *value }, *value),
        Do::Add => (value + 1, value + 1),
        Do::Get | Do::Ballast(_) => (*value, *value),
        Do::Double => (value * 2, value * 2),
    }
}

impl Numbers {
    fn apply_any(&mut self, command: Change) -> u64 {
        if let Do::Ballast(text) = &command.what {
            self.ballast.push_str(text);
        }
        let value = self.values.entry(command.key).or_default();
        let (next, reply) = step(value, &command.what);
        *value = next;
        reply
    }
}

impl State for Numbers {
    const LEVEL: u32 = 1;
    type Command = Change;
    type Reply = u64;

    fn level(command: &Change) -> u32 {
        if command.what == Do::Double { 2 } else { 1 }
    }

    fn apply(&mut self, _index: u64, command: Change) -> u64 {
        self.apply_any(command)
    }
}

/// The same in a newer program, which knows how to double.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Newer(pub Numbers);

impl State for Newer {
    const LEVEL: u32 = 2;
    type Command = Change;
    type Reply = u64;

    fn level(command: &Change) -> u32 {
        Numbers::level(command)
    }

    fn apply(&mut self, _index: u64, command: Change) -> u64 {
        self.0.apply_any(command)
    }
}

/// What clients did, by name.
pub(crate) type History = BTreeMap<String, Vec<Call<Do, u64>>>;

/// The first name whose history is not explained, with it.
pub(crate) fn wrong(history: &History) -> Option<String> {
    let verdicts = history.iter().map(|(name, calls)| (name, calls, explain(0, calls, step)));
    let (name, calls, verdict) = verdicts.into_iter().find(|(.., verdict)| *verdict != Verdict::Explained)?;
    let mut calls = calls.clone();
    calls.sort_by_key(|call| call.begun);
    let lines: Vec<String> = calls
        .iter()
        .map(|call| format!("{}..{:?} {:?} -> {:?}", call.begun, call.ended, call.input, call.output))
        .collect();
    Some(format!("{verdict:?}: no order explains what clients saw of {name}:\n{}", lines.join("\n")))
}
