use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    canary: Vec<f64>,
    baseline: Vec<f64>,
    p: f64,
    shift: f64,
    low: f64,
    high: f64,
    larger: f64,
    mean_ratio: f64,
}

fn compare(canary: &[f64], baseline: &[f64]) -> Comparison {
    compare_to_baseline(canary, baseline, &Rules::default())
}

/// Sixty values around `middle`, one per cent apart from end to end.
fn around(middle: f64) -> Vec<f64> {
    (0..60).map(|n| middle * (0.995 + f64::from(n) / 6000.0)).collect()
}

fn scaled(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| value * factor).collect()
}

#[test]
fn the_figures_are_those_of_scipy() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/scipy_vectors.json")).unwrap();
    assert!(cases.len() >= 10);

    for case in cases {
        let found = compare(&case.canary, &case.baseline);
        let shift = found.shift.unwrap();

        let close = |what: &str, found: f64, wanted: f64| {
            let slack = 1e-9 * wanted.abs().max(1e-300);
            assert!((found - wanted).abs() <= slack, "{}: {what} is {found}, not {wanted}", case.name);
        };
        close("p", found.p_value, case.p);
        close("larger", found.larger.unwrap(), case.larger);
        close("shift", shift.estimate, case.shift);
        close("low", shift.low, case.low);
        close("high", shift.high, case.high);
        if let Some(mean_ratio) = found.mean_ratio {
            close("ratio of means", mean_ratio, case.mean_ratio);
        }
    }
}

#[test]
fn plus_650_percent_on_five_points_is_inconclusive() {
    let baseline = [10.0, 11.0, 10.5, 9.8, 10.2];

    let found = compare(&scaled(&baseline, 7.5), &baseline);

    assert_eq!(found.verdict, Verdict::Inconclusive);
    assert!(found.text.starts_with("too few values, 50 are needed on each side: shift +6"), "{}", found.text);
}

#[test]
fn the_direction_says_which_way_is_bad() {
    let baseline = around(10.0);
    let (higher, lower) = (scaled(&baseline, 1.5), scaled(&baseline, 0.5));
    let verdict = |canary: &[f64], direction| {
        compare_to_baseline(canary, &baseline, &Rules { direction, ..Rules::default() }).verdict
    };

    assert_eq!(verdict(&higher, Direction::Increase), Verdict::High);
    assert_eq!(verdict(&higher, Direction::Decrease), Verdict::Pass);
    assert_eq!(verdict(&higher, Direction::Either), Verdict::High);
    assert_eq!(verdict(&lower, Direction::Increase), Verdict::Pass);
    assert_eq!(verdict(&lower, Direction::Decrease), Verdict::Low);
    assert_eq!(verdict(&lower, Direction::Either), Verdict::Low);
}

#[test]
fn what_lies_within_the_tolerance_passes_however_sure_the_difference_is() {
    let baseline = around(10.0);

    let found = compare(&scaled(&baseline, 1.2), &baseline);

    assert_eq!(found.verdict, Verdict::Pass);
    assert!(found.p_value < 1e-9);
    assert!(
        found.text.starts_with("within the limit of at most 25 % higher: shift +20.0 %"),
        "{}",
        found.text
    );
}

#[test]
fn beyond_the_tolerance_but_not_surely_is_inconclusive() {
    let baseline: Vec<f64> = (1..=60).map(f64::from).collect();

    let found = compare(&scaled(&baseline, 1.5), &baseline);

    assert_eq!(found.verdict, Verdict::Inconclusive, "{}", found.text);
}

#[test]
fn an_effect_smaller_than_asked_for_passes() {
    let baseline = around(10.0);
    let verdict = |factor, effect_size| {
        compare_to_baseline(&scaled(&baseline, factor), &baseline, &Rules { effect_size, ..Rules::default() })
            .verdict
    };
    let doubled = EffectSize::MeanRatio { increase: 2.0, decrease: 1.0 };
    let nearly_always = EffectSize::Larger { increase: 0.9, decrease: 0.1 };

    assert_eq!(verdict(1.5, doubled), Verdict::Pass);
    assert_eq!(verdict(2.5, doubled), Verdict::High);
    assert_eq!(verdict(1.5, nearly_always), Verdict::High);
}

#[test]
fn shift_and_means_that_contradict_each_other_are_inconclusive() {
    let mut baseline = around(10.0);
    let canary = scaled(&baseline, 1.5);
    baseline[0] = 100_000.0;

    let found = compare(&canary, &baseline);

    assert_eq!(found.verdict, Verdict::Inconclusive, "{}", found.text);
}

#[test]
fn a_baseline_of_zero_or_nothing_is_inconclusive() {
    let canary = [5.0; 60];
    for baseline in [&[0.0; 60][..], &[], &[f64::NAN; 60], &[f64::INFINITY; 60]] {
        assert_eq!(compare(&canary, baseline).verdict, Verdict::Inconclusive);
        assert_ne!(compare(baseline, &canary).verdict, Verdict::High);
    }
}

#[test]
fn a_canary_that_became_infinitely_slow_does_not_pass() {
    let mut canary = around(10.0);
    canary.extend([f64::INFINITY; 60]);

    assert_eq!(compare(&canary, &around(10.0)).verdict, Verdict::Inconclusive);
}

#[test]
fn identical_series_pass_even_of_zeros() {
    let varied = around(10.0);

    assert_eq!(compare(&varied, &varied).verdict, Verdict::Pass);
    assert_eq!(compare(&[3.0; 60], &[3.0; 80]).verdict, Verdict::Pass);
    assert_eq!(compare(&[0.0; 60], &[0.0; 60]).verdict, Verdict::Pass);
    assert_eq!(compare(&[3.0; 5], &[3.0; 5]).verdict, Verdict::Inconclusive, "too few remain too few");
}

#[test]
fn rules_out_of_range_judge_nothing() {
    let (baseline, default) = (around(10.0), Rules::default());
    for rules in [
        Rules { confidence: f64::NAN, ..default },
        Rules { confidence: 1.0, ..default },
        Rules { tolerance: -0.1, ..default },
        Rules { tolerance: f64::NAN, ..default },
        Rules { effect_size: EffectSize::MeanRatio { increase: 0.5, decrease: 1.0 }, ..default },
    ] {
        let found = compare_to_baseline(&baseline, &baseline, &rules);

        assert_eq!(found.verdict, Verdict::Inconclusive, "{rules:?}");
        assert!(found.text.contains("not"), "{}", found.text);
    }
}

#[test]
fn histograms_are_judged_as_the_values_in_their_buckets() {
    let (mut canary, mut baseline) = (Histogram::default(), Histogram::default());
    for micros in 1_000..1_200_u64 {
        canary.record_micros(micros * 3);
        baseline.record_micros(micros);
    }
    let values = |histogram: &Histogram| -> Vec<f64> {
        histogram.values().flat_map(|(middle, count)| std::iter::repeat_n(middle, count as usize)).collect()
    };

    let found = compare_histograms(&canary, &baseline, &Rules::default());

    assert_eq!(found, compare(&values(&canary), &values(&baseline)));
    assert_eq!(found.verdict, Verdict::High);
    assert!((found.relative_shift().unwrap() - 2.0).abs() < 0.05, "{}", found.text);
}

proptest! {
    #[test]
    fn the_order_of_the_values_does_not_matter(mut canary in prop::collection::vec(0.0..100.0, 1..40), baseline in prop::collection::vec(0.0..100.0, 1..40)) {
        let before = compare(&canary, &baseline);
        canary.reverse();

        prop_assert_eq!(compare(&canary, &baseline), before);
    }

    #[test]
    fn too_few_values_are_always_inconclusive(canary in prop::collection::vec(any::<f64>(), 0..49), baseline in prop::collection::vec(any::<f64>(), 0..80)) {
        prop_assert_eq!(compare(&canary, &baseline).verdict, Verdict::Inconclusive);
    }

    #[test]
    fn the_unit_does_not_matter(seed in prop::collection::vec(1.0..100.0_f64, 60), factor in 0.5..3.0_f64, unit in prop::sample::select(vec![0.001, 0.25, 1024.0])) {
        let canary = scaled(&seed, factor);

        let found = compare(&canary, &seed);

        prop_assert_eq!(compare(&scaled(&canary, unit), &scaled(&seed, unit)).verdict, found.verdict, "{}", found.text);
    }
}
