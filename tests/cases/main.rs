//! Small inputs of kinds that went wrong for people elsewhere, tried on this project: `make cases` prints what was asked
//! of each, and what it did.
//!
//! "Expected" is what the format's standard, or the tool that people come from, does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test, whose table is printed and whose tasks end with it"
)]

mod answers;
mod contracts;
mod events;
mod imports;
mod judging;
mod plane;
mod upstream;

/// One input, and what came of it.
pub struct Case {
    /// The kind of input.
    pub kind: &'static str,
    pub expected: &'static str,
    /// What it did, in short.
    pub did: String,
    pub as_expected: bool,
}

impl Case {
    /// Compares what it did, as a text, with what it should have done.
    pub fn of(kind: &'static str, expected: &'static str, should: &str, did: impl Into<String>) -> Case {
        let did = did.into();
        Case { kind, expected, as_expected: did == should, did }
    }
}

#[tokio::test]
async fn inputs_that_went_wrong_elsewhere_do_what_is_expected() {
    let mut cases = imports::cases();
    cases.extend(plane::cases().await);
    cases.extend(judging::cases());
    cases.extend(events::cases().await);
    cases.extend(answers::cases().await);
    cases.extend(contracts::cases());

    let width = |text: fn(&Case) -> &str| cases.iter().map(|case| text(case).chars().count()).max().unwrap();
    let (kinds, expected) = (width(|case| case.kind), width(|case| case.expected));
    println!("  {:<kinds$}  {:<expected$}  what it did", "case", "expected");
    for case in &cases {
        let sign = if case.as_expected { '✓' } else { '✗' };
        println!(
            "{sign} {:<kinds$}  {:<expected$}  {}",
            case.kind,
            case.expected,
            case.did.replace('\n', " ⏎ ")
        );
    }
    let wrong: Vec<&str> = cases.iter().filter(|case| !case.as_expected).map(|case| case.kind).collect();
    println!("{} of {} cases are as expected", cases.len() - wrong.len(), cases.len());
    assert!(wrong.is_empty(), "not as expected: {}", wrong.join("; "));
}
