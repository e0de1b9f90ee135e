//! What is held against a corpus: the scrubber against texts with and without secrets, the import against what Compose
//! makes of a file, the check of contracts against the breaking changes that oasdiff documents. The same code and the same
//! data as in the tests of `scrub`, `spec` and `contract`, which assert them.

#[path = "../../../libs/contract/tests/catalogue/measure.rs"]
mod contracts;
#[path = "../../../libs/spec/tests/corpus/measure.rs"]
#[allow(clippy::unwrap_used, clippy::panic, reason = "of a test")]
mod imports;
#[path = "../../../libs/scrub/tests/corpus/measure.rs"]
#[allow(clippy::unwrap_used, clippy::panic, reason = "of a test")]
mod secrets;

use std::path::PathBuf;

use anyhow::Result;
use benches::{
    Options,
    figure::{Aim, Better, Figure},
    output,
};
use clap::Parser;

/// Counts what is found in the corpora, and what is missed.
#[derive(Parser)]
#[command(name = "corpora")]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn folder(below: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(below)
}

fn main() -> Result<()> {
    let Arguments { options } = Arguments::parse();
    let found = secrets::measure(&folder("libs/scrub/tests/data"));
    let made = imports::measure(&folder("libs/spec/tests/corpus"), false);
    let tried = contracts::tried()?;
    let changes = contracts::figures(&tried);
    let seen = changes.found + changes.noted;
    let figures = vec![
        Figure::new("secrets that are masked", "%", Better::More, found.recall() * 100.0)
            .against("stated bound", 98.0)
            .aims(Aim::AtLeast(98.0))
            .note(format!("of {}", found.secrets)),
        Figure::new("harmless texts that are changed", "%", Better::Less, found.alarms() * 100.0)
            .against("stated bound", 1.0)
            .aims(Aim::AtMost(1.0))
            .note(format!("of {}", found.harmless)),
        Figure::new("Compose: differences in silence", "constructs", Better::Less, made.silent.len() as f64)
            .aims(Aim::AtMost(0.0))
            .note(format!(
                "of {}: {} mean the same, {} differ with a note, {} are refused by name, {} have other notes than noted",
                made.all,
                made.same,
                made.noted,
                made.refused,
                made.wrong.len()
            )),
        Figure::new("contracts: breaking changes of oasdiff's that are found", "ids", Better::More, seen as f64)
            .against("in scope", (changes.ids - changes.out) as f64)
            .aims(Aim::Ratio(1.0))
            .note(format!(
                "{} ids: {seen} found ({} as breaks, {} as doubts or notes), {} out of scope with reason",
                changes.ids, changes.found, changes.noted, changes.out
            )),
    ];
    output::finish("corpora", "make bench ARGS=corpora", &options, figures)
}
