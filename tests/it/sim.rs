//! The simulation finds no broken promise, and finds every planted one.

use code_tests::sim::{
    Planted, Victim,
    matrix::{self, Totals},
    scenario,
};

fn assert_clean(totals: &Totals) {
    assert!(totals.is_clean(), "{}\n{}", totals.line(), totals.told());
}

#[test]
fn every_story_ends_as_it_must_when_nothing_disturbs_it() {
    let stories = scenario::all();

    let totals = matrix::run_all(stories.iter().map(matrix::undisturbed));

    assert_clean(&totals);
    assert!(totals.runs >= 40, "{} stories", totals.runs);
}
