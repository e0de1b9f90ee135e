//! The simulation finds no broken promise, and finds every planted one. More of it: `make matrix`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where its ground is missing"
)]

use std::collections::BTreeSet;

use code_tests::sim::{
    Chaos, Planted, Scenario, Victim,
    matrix::{self, Totals},
    run, scenario,
};
use proptest::prelude::*;

fn named(name: &str) -> Scenario {
    scenario::named(name).expect(name)
}

#[track_caller]
fn assert_clean(totals: &Totals) {
    assert!(totals.is_clean(), "{}\n{}", totals.line(), totals.told());
}

/// The orchestrator that wrote a record dies right after it; in another run a runner dies then: for every record.
#[track_caller]
fn assert_every_kill_is_survived(strategy: &str) {
    for end in ["good", "bad"] {
        let story = named(&format!("{strategy}/{end}"));
        let cases = matrix::every_kill(&story);
        let records = matrix::undisturbed(&story).run().records;

        let totals = matrix::run_all(cases);

        assert_clean(&totals);
        assert_eq!(totals.runs, 2 * records);
        assert!(totals.faults >= totals.runs * 9 / 10, "only {} of {} kills hit", totals.faults, totals.runs);
    }
}

#[test]
fn every_story_ends_as_it_must_when_nothing_disturbs_it() {
    let stories = scenario::all();
    let names: BTreeSet<&str> = stories.iter().map(|story| story.name.as_str()).collect();

    let totals = matrix::run_all(stories.iter().map(matrix::undisturbed));

    assert_clean(&totals);
    assert_eq!(names.len(), stories.len(), "two stories share a name");
    assert!(totals.runs >= 50, "{} stories", totals.runs);
}

#[test]
fn the_gate_for_experts_survives_a_kill_at_every_record() {
    for name in ["experts/require-good", "experts/require-against", "experts/advise-silent"] {
        let totals = matrix::run_all(matrix::every_kill(&named(name)));

        assert_clean(&totals);
    }
}

#[test]
fn a_canary_survives_a_kill_at_every_record() {
    assert_every_kill_is_survived("canary");
}

#[test]
fn a_blue_green_change_survives_a_kill_at_every_record() {
    assert_every_kill_is_survived("blue-green");
}

#[test]
fn a_rolling_update_survives_a_kill_at_every_record() {
    assert_every_kill_is_survived("rolling");
}

#[test]
fn two_kills_the_second_during_recovery_from_the_first_are_survived() {
    let stories = ["canary/bad", "blue-green/bad", "rolling/bad", "canary/two-queued"].map(named);

    let totals = matrix::run_all(stories.iter().flat_map(matrix::double_kills));

    assert_clean(&totals);
    assert!(totals.runs >= 50);
}

#[test]
fn two_hundred_seeds_of_mixed_faults_break_no_promise() {
    let stories = scenario::all();
    let cases = (0..200).map(|seed| matrix::mixture(&stories[seed as usize % stories.len()], seed));

    let totals = matrix::run_all(cases);

    assert_clean(&totals);
    assert_eq!(totals.runs, 200);
    assert!(totals.faults > 500, "only {} faults in 200 runs", totals.faults);
}

/// A harness that notices nothing proves nothing. The same faults without the bug are clean, so it is the bug that is
/// noticed.
#[test]
fn every_planted_bug_is_noticed() {
    for planted in Planted::ALL {
        let caught = matrix::hunt(planted, 25);

        assert!(caught.by.is_some(), "{planted} was not noticed in {} runs", caught.tried);
        let (case, run) = caught.by.unwrap();
        assert!(!run.violations.is_empty());
        let control = matrix::control(&case).run();
        assert!(control.is_clean(), "without {planted}, seed {}: {:?}", case.seed, control.violations);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..6 {
        let case = matrix::mixture(&named("canary/two-queued"), seed);

        let (first, second) = (case.run(), case.run());

        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!((first.records, first.effects, first.took), (second.records, second.effects, second.took));
    }
}

#[test]
fn another_seed_gives_another_run() {
    let story = named("canary/good");

    let traces: BTreeSet<u64> = (0..10).map(|seed| run(&story, seed, &Chaos::none()).trace).collect();

    assert_eq!(traces.len(), 10);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_pair_of_kills_breaks_any_story(story in any::<prop::sample::Index>(), first in 1..60_usize, gap in 1..12_usize) {
        let stories = scenario::all();
        let case = matrix::double_kill(&stories[story.index(stories.len())], first, first + gap);

        let run = case.run();

        prop_assert!(run.is_clean(), "{}: {:#?}", case.arguments, run.violations);
    }

    #[test]
    fn no_single_kill_breaks_any_story(story in any::<prop::sample::Index>(), record in 1..90_usize, runner in any::<bool>()) {
        let stories = scenario::all();
        let victim = if runner { Victim::Runner } else { Victim::Writer };
        let case = matrix::kill(&stories[story.index(stories.len())], record, victim);

        let run = case.run();

        prop_assert!(run.is_clean(), "{}: {:#?}", case.arguments, run.violations);
    }
}
