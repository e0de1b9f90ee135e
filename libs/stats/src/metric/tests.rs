use proptest::prelude::*;

use super::*;
use crate::compare::{Rules, compare_to_baseline};

fn value(value: f64) -> Sample {
    Sample::Value { value, samples: Some(100) }
}

fn rules(success: Option<&str>, failure: Option<&str>) -> MetricRules {
    let parse = |text: &str| text.parse().unwrap();
    MetricRules { success: success.map(parse), failure: failure.map(parse), ..MetricRules::default() }
}

fn below_one() -> MetricRules {
    rules(Some("< 1"), None)
}

/// What came of these samples, one by one: the first end, or none.
fn run(rules: MetricRules, samples: impl IntoIterator<Item = Sample>) -> Option<(Outcome, Reason)> {
    let mut run = MetricRun::new(rules);
    samples.into_iter().find_map(|sample| match run.observe(sample) {
        Progress::Running => None,
        Progress::Ended(outcome, reason) => Some((outcome, reason)),
    })
}

fn outcome(rules: MetricRules, samples: impl IntoIterator<Item = Sample>) -> Option<Outcome> {
    run(rules, samples).map(|(outcome, _)| outcome)
}

fn gone() -> Sample {
    Sample::Error("connection refused".to_owned())
}

#[test]
fn the_conditions_judge_as_in_argo_rollouts() {
    let judge = |success, failure, measured| rules(success, failure).judge(&value(measured)).0;

    assert_eq!(judge(Some("< 1"), None, 0.5), Outcome::Succeeded);
    assert_eq!(judge(Some("< 1"), None, 1.5), Outcome::Failed);
    assert_eq!(judge(None, Some("> 2"), 1.5), Outcome::Succeeded);
    assert_eq!(judge(None, Some("> 2"), 2.5), Outcome::Failed);
    assert_eq!(judge(Some("< 1"), Some("> 2"), 0.5), Outcome::Succeeded);
    assert_eq!(judge(Some("< 1"), Some("> 2"), 1.5), Outcome::Inconclusive);
    assert_eq!(judge(Some("< 1"), Some("> 2"), 2.5), Outcome::Failed);
    assert_eq!(judge(Some("> 1"), Some("> 2"), 2.5), Outcome::Failed, "where both hold, it is bad");
}

#[test]
fn a_value_without_any_condition_is_inconclusive() {
    assert_eq!(rules(None, None).judge(&value(1.0)).0, Outcome::Inconclusive);
}

#[test]
fn it_fails_when_there_are_more_failures_than_the_limit() {
    let rules = MetricRules { failure_limit: Some(1), ..below_one() };

    assert_eq!(outcome(rules.clone(), [value(2.0), value(0.1)]), None);
    assert_eq!(outcome(rules, [value(2.0), value(0.1), value(2.0)]), Some(Outcome::Failed));
    assert_eq!(outcome(below_one(), [value(2.0)]), Some(Outcome::Failed), "the default tolerates none");
}

#[test]
fn without_a_failure_limit_it_never_fails() {
    let rules = MetricRules { failure_limit: None, ..below_one() };

    assert_eq!(outcome(rules, std::iter::repeat_n(value(2.0), 1000)), None);
}

#[test]
fn it_is_inconclusive_when_there_are_more_inconclusive_ones_than_the_limit() {
    let rules = MetricRules { inconclusive_limit: 1, ..rules(Some("< 1"), Some("> 2")) };

    assert_eq!(outcome(rules.clone(), [value(1.5), value(0.5)]), None);
    assert_eq!(outcome(rules, [value(1.5), value(0.5), value(1.5)]), Some(Outcome::Inconclusive));
}

#[test]
fn the_fifth_error_in_a_row_ends_it_and_a_value_resets_the_count() {
    let four = || std::iter::repeat_n(gone(), 4);

    assert_eq!(outcome(below_one(), four().chain([value(0.1)]).chain(four())), None);
    assert_eq!(outcome(below_one(), four().chain([gone()])), Some(Outcome::Errored));
}

#[test]
fn errors_use_up_no_measurement() {
    let rules = MetricRules { count: Some(2), ..below_one() };

    assert_eq!(outcome(rules.clone(), [gone(), value(0.1), gone(), gone()]), None);
    assert_eq!(outcome(rules, [gone(), value(0.1), gone(), value(0.1)]), Some(Outcome::Succeeded));
}

#[test]
fn at_its_count_it_passes_if_no_limit_was_exceeded_and_something_was_good() {
    let rules = MetricRules { count: Some(2), failure_limit: Some(2), ..below_one() };

    assert_eq!(outcome(rules.clone(), [value(2.0), value(0.1)]), Some(Outcome::Succeeded));
    assert_eq!(outcome(rules, [value(2.0), value(2.0)]), Some(Outcome::Inconclusive));
}

#[test]
fn good_ones_in_a_row_end_it_early_and_an_error_breaks_the_row() {
    let rules = MetricRules { consecutive_success_limit: Some(3), ..below_one() };

    assert_eq!(outcome(rules.clone(), [value(0.1), value(0.1), value(0.1)]), Some(Outcome::Succeeded));
    assert_eq!(outcome(rules, [value(0.1), value(0.1), gone(), value(0.1), value(0.1)]), None);
}

#[test]
fn a_row_asked_for_and_not_reached_is_inconclusive() {
    let rules = MetricRules { consecutive_success_limit: Some(3), count: Some(2), ..below_one() };

    let (outcome, reason) = run(rules, [value(0.1), value(0.1)]).unwrap();

    assert_eq!(outcome, Outcome::Inconclusive);
    assert!(reason.text.contains("2 good in a row, 3 are asked for"), "{}", reason.text);
}

#[test]
fn no_data_means_what_the_policy_says() {
    let nothing = Sample::Value { value: f64::NAN, samples: Some(0) };
    for (no_data, outcome) in [
        (NoData::Inconclusive, Outcome::Inconclusive),
        (NoData::Fail, Outcome::Failed),
        (NoData::Pass, Outcome::Succeeded),
    ] {
        let rules = MetricRules { no_data, ..below_one() };

        assert_eq!(rules.judge(&Sample::NoData).0, outcome);
        assert_eq!(rules.judge(&nothing).0, outcome);
    }
}

#[test]
fn a_value_that_is_not_finite_is_no_data_and_the_policy_decides() {
    for (no_data, outcome) in [
        (NoData::Inconclusive, Outcome::Inconclusive),
        (NoData::Fail, Outcome::Failed),
        (NoData::Pass, Outcome::Succeeded),
    ] {
        let rules = MetricRules { minimum_samples: 20, no_data, ..below_one() };
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for samples in [None, Some(5), Some(20)] {
                assert_eq!(rules.judge(&Sample::Value { value, samples }).0, outcome, "{value} {samples:?}");
            }
        }
    }
}

#[test]
fn too_few_samples_are_inconclusive_whatever_the_policy() {
    for no_data in [NoData::Inconclusive, NoData::Fail, NoData::Pass] {
        let rules = MetricRules { minimum_samples: 20, no_data, ..below_one() };
        let judge = |value, samples| rules.judge(&Sample::Value { value, samples }).0;

        assert_eq!(judge(0.0, Some(19)), Outcome::Inconclusive);
        assert_eq!(judge(9.0, Some(19)), Outcome::Inconclusive);
        assert_eq!(judge(0.0, Some(20)), Outcome::Succeeded);
        assert_eq!(judge(0.0, None), Outcome::Succeeded, "the source does not count its observations");
    }
}

#[test]
fn a_run_stopped_before_any_measurement_is_inconclusive() {
    let mut run = MetricRun::new(below_one());
    assert_eq!(run.outcome_if_stopped().0, Outcome::Inconclusive);

    run.observe(gone());

    let (outcome, reason) = run.outcome_if_stopped();
    assert_eq!(outcome, Outcome::Inconclusive);
    assert_eq!(reason.text, "inconclusive: nothing was measured; the last: connection refused");
}

#[test]
fn a_run_stopped_after_a_good_measurement_passes() {
    let mut run = MetricRun::new(below_one());
    run.observe(value(0.25));

    let (outcome, reason) = run.outcome_if_stopped();

    assert_eq!(outcome, Outcome::Succeeded);
    assert_eq!(
        reason.text,
        "pass: 1 of 1 measurement good; the last: measured 0.25 from 100 samples, good is < 1"
    );
    assert_eq!(
        (reason.measured, reason.samples, reason.limit.as_str()),
        (Some(0.25), Some(100), "good is < 1")
    );
}

#[test]
fn a_failure_names_the_bad_value_even_if_others_followed() {
    let rules = MetricRules { failure_limit: Some(1), ..below_one() };

    let (_, reason) = run(rules, [value(2.0), value(0.1), value(3.0)]).unwrap();

    assert_eq!(reason.measured, Some(3.0));
    assert_eq!(
        reason.text,
        "fail: 2 bad measurements, 1 tolerated; the last: measured 3 from 100 samples, good is < 1"
    );
}

#[test]
fn what_ended_stays_ended() {
    let mut run = MetricRun::new(below_one());
    let ended = run.observe(value(2.0));

    assert_eq!(run.observe(value(0.1)), ended);
    assert_eq!(run.outcome_if_stopped().0, Outcome::Failed);
    assert_eq!(run.measurements(), 1);
}

#[test]
fn a_dry_run_says_what_it_would_have_been_and_passes() {
    let dry = MetricRules { dry_run: true, ..below_one() };

    let (outcome, reason) = run(dry.clone(), [value(2.0)]).unwrap();

    assert_eq!((outcome, reason.dry_run), (Outcome::Succeeded, Some(Outcome::Failed)));
    assert!(reason.text.starts_with("dry run, would be fail: "), "{}", reason.text);
    assert_eq!(MetricRun::new(dry).outcome_if_stopped().0, Outcome::Succeeded);
}

#[test]
fn a_comparison_counts_as_a_measurement() {
    let baseline: Vec<f64> = (0..60).map(|n| 10.0 + f64::from(n) / 60.0).collect();
    let canary: Vec<f64> = baseline.iter().map(|value| value * 2.0).collect();
    let judge = |canary: &[f64]| Sample::from(&compare_to_baseline(canary, &baseline, &Rules::default()));

    let (outcome, reason) = run(MetricRules::default(), [judge(&canary)]).unwrap();

    assert_eq!(outcome, Outcome::Failed);
    assert!(reason.measured.unwrap() > 0.9 && reason.samples == Some(60), "{reason:?}");
    assert_eq!(run(MetricRules::default(), [judge(&baseline)]), None);
    assert_eq!(run(MetricRules::default(), [judge(&canary[..5])]).unwrap().0, Outcome::Inconclusive);
}

fn any_sample() -> impl Strategy<Value = Sample> {
    prop_oneof![
        (0.0..3.0_f64, prop::option::of(0..40_u64))
            .prop_map(|(value, samples)| Sample::Value { value, samples }),
        Just(Sample::NoData),
        Just(gone()),
        Just(value(f64::NAN)),
    ]
}

proptest! {
    #[test]
    fn without_a_good_measurement_it_never_passes(samples in prop::collection::vec(any_sample(), 0..30), limit in 0..40_u32) {
        let rules = MetricRules { failure_limit: Some(limit), inconclusive_limit: limit, consecutive_error_limit: limit, ..rules(Some("< 1"), Some("> 2")) };
        let any_good = samples.iter().any(|sample| rules.judge(sample).0 == Outcome::Succeeded);
        let mut run = MetricRun::new(rules);

        samples.into_iter().for_each(|sample| drop(run.observe(sample)));

        prop_assert!(any_good || run.outcome_if_stopped().0 != Outcome::Succeeded);
    }

    #[test]
    fn a_dry_run_never_fails(samples in prop::collection::vec(any_sample(), 0..30)) {
        let mut run = MetricRun::new(MetricRules { dry_run: true, ..below_one() });

        samples.into_iter().for_each(|sample| drop(run.observe(sample)));

        prop_assert_eq!(run.outcome_if_stopped().0, Outcome::Succeeded);
    }

    #[test]
    fn a_run_read_back_goes_on_where_it_was(samples in prop::collection::vec(any_sample(), 0..10), next in any_sample()) {
        let mut run = MetricRun::new(MetricRules { failure_limit: Some(3), ..below_one() });
        samples.into_iter().for_each(|sample| drop(run.observe(sample)));

        let mut back: MetricRun = serde_json::from_str(&serde_json::to_string(&run).unwrap()).unwrap();

        prop_assert_eq!(back.observe(next.clone()), run.observe(next));
    }
}
