//! What Compose makes of a file, held against what the import makes of it: every difference is a note.
//!
//! The cases stand in the `.txt` files beside this one. Each begins with `== ` and a sentence, then comes the Compose
//! file. `-- compose` says what Compose makes of it, field by field (`field = JSON`); `-- notes` are the notes, all of
//! them; `-- refused` is the complaint instead. `UPDATE=1` writes the notes and complaints anew: read what changed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test, whose figures are printed"
)]

mod measure;

use std::path::Path;

#[test]
fn every_difference_from_compose_is_a_note() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");

    let totals = measure::measure(&folder, std::env::var_os("UPDATE").is_some());

    println!(
        "Compose corpus: {} constructs, {} mean the same, {} differ with a note, {} are refused by name, {} differ in \
         silence",
        totals.all,
        totals.same,
        totals.noted,
        totals.refused,
        totals.silent.len()
    );
    assert!(totals.all >= 60, "{} constructs are too few to say anything", totals.all);
    assert!(totals.silent.is_empty(), "differences in silence:\n{}", totals.silent.join("\n"));
    assert!(
        totals.wrong.is_empty(),
        "run this test with UPDATE=1 and read what changed:\n{}",
        totals.wrong.join("\n")
    );
}
