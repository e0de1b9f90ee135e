//! Patterns over labelled findings.

use model::expert::{Topic, Weight};
use opinion::pattern::{MOST, Note, Thresholds, analyse, sample::Sample};

fn note(case: &str, expert: &str, at: u64, statement: &str) -> Note {
    Note {
        case: case.to_owned(),
        expert: expert.to_owned(),
        at,
        category: Topic::Config,
        severity: Weight::Major,
        statement: statement.to_owned(),
    }
}

#[test]
fn precision_and_recall_hold_on_findings_that_no_threshold_was_chosen_on() {
    for (odd, what) in [(false, "chosen on"), (true, "measured on")] {
        let sample = Sample::new(120, odd, 1);

        let patterns = analyse(&sample.notes, &Thresholds::default());

        let (recurring, contradictions, copies) =
            (sample.recurring(&patterns, false), sample.contradictions(&patterns), sample.copies(&patterns));
        println!("in other words {:?}", sample.recurring(&patterns, true));
        println!("{what}: {} notes\n  {recurring:?}\n  {contradictions:?}\n  {copies:?}", sample.notes.len());
        assert!(recurring.precision > 0.95 && recurring.recall > 0.8, "{recurring:?}");
        assert!(contradictions.precision > 0.9 && contradictions.recall > 0.7, "{contradictions:?}");
        assert!(copies.precision > 0.9 && copies.recall > 0.95, "{copies:?}");
    }
}

#[test]
fn who_is_first_with_a_finding_is_counted_per_case() {
    let probe = "no readiness probe is set";
    let notes = [
        note("one", "slow", 5, probe),
        note("one", "fast", 3, probe),
        note("two", "slow", 9, probe),
        note("two", "fast", 8, "No readiness probe is set on the gateway."),
        note("three", "slow", 11, probe),
    ];

    let patterns = analyse(&notes, &Thresholds::default());

    let counts: Vec<(&str, u32, u32)> =
        patterns.firsts.iter().map(|one| (one.expert.as_str(), one.found, one.first)).collect();
    assert_eq!(counts, [("fast", 2, 2), ("slow", 3, 1)]);
    assert_eq!(patterns.recurring.len(), 1);
    assert_eq!(patterns.recurring[0].cases.len(), 3);
}

#[test]
fn a_contradiction_needs_one_case_and_opposite_signs() {
    let notes = [
        note("one", "a", 1, "a readiness probe is set on the gateway"),
        note("one", "b", 2, "no readiness probe is set on the gateway"),
        note("two", "c", 3, "no readiness probe is set on the gateway"),
    ];

    assert_eq!(analyse(&notes, &Thresholds::default()).contradictions, [(0, 1)]);
}

#[test]
fn an_expert_does_not_contradict_itself_in_one_answer() {
    let (unchecked, alone) = (
        "greeter takes traffic and has no health check, so a sick instance keeps getting requests",
        "greeter takes traffic with one instance: any restart of it is an outage",
    );
    let by = |first: &str, second: &str| {
        let notes = [note("one", first, 1, unchecked), note("one", second, 1, alone)];
        analyse(&notes, &Thresholds::default()).contradictions
    };

    assert_eq!(by("reliability", "reliability"), []);
    // The words alone would pair them.
    assert_eq!(by("reliability", "capacity"), [(0, 1)]);
}

#[test]
fn nothing_and_too_much_are_survived() {
    let none = analyse(&[], &Thresholds::default());
    let empty = analyse(&[note("one", "a", 1, ""), note("one", "b", 2, "")], &Thresholds::default());

    assert_eq!((none.recurring.len(), none.left_out), (0, 0));
    assert!(empty.copies.is_empty() && empty.contradictions.is_empty());
    let many: Vec<Note> = (0..MOST + 3).map(|at| note("one", "a", at as u64, "")).collect();
    assert_eq!(analyse(&many[MOST - 5..], &Thresholds::default()).left_out, 0);
}
