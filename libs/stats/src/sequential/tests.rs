use proptest::prelude::*;

use super::*;

/// Chances of 0 to `n` errors in `n` requests.
fn binomial(n: u64, rate: f64) -> Vec<f64> {
    let mut chances = vec![1.0];
    for _ in 0..n {
        let mut next = vec![0.0; chances.len() + 1];
        for (errors, chance) in chances.iter().enumerate() {
            next[errors] += chance * (1.0 - rate);
            next[errors + 1] += chance * rate;
        }
        chances = next;
    }
    chances
}

/// What each bet is expected to be worth after one batch: (on more, on fewer).
fn expected(test: &Sequential, canary: (u64, f64), baseline: (u64, f64)) -> Vec<(f64, f64)> {
    let mut worth = vec![(0.0, 0.0); MULTIPLES.len()];
    for (x, chance) in binomial(canary.0, canary.1).iter().enumerate() {
        for (y, other) in binomial(baseline.0, baseline.1).iter().enumerate() {
            let (x, y) = (x as u64, y as u64);
            let mut after = test.clone();
            after.observe(canary.0 - x, x, baseline.0 - y, y);
            for (index, (more, fewer)) in worth.iter_mut().enumerate() {
                *more += chance * other * after.more.0[index].exp();
                *fewer += chance * other * after.fewer.0[index].exp();
            }
        }
    }
    worth
}

#[test]
fn no_bet_is_worth_more_than_its_stake_as_long_as_nothing_is_wrong() {
    for tolerated in [0.5, 1.0, 2.0] {
        let test = Sequential::against_baseline_times(0.01, tolerated);
        for (n, m) in [(1, 1), (1, 9), (9, 1), (6, 6)] {
            for base in [0.001, 0.05, 0.3, 0.5] {
                for factor in [0.0, 0.5, 1.0, 1.5, 2.0] {
                    let rate = f64::min(base * tolerated * factor, 1.0);
                    for (more, fewer) in expected(&test, (n, rate), (m, base)) {
                        assert!(
                            factor > 1.0 || more <= 1.0 + 1e-12,
                            "{more} at {rate} against {base} for {n}:{m}"
                        );
                        assert!(
                            base * tolerated > rate || fewer <= 1.0 + 1e-12,
                            "{fewer} at {rate} against {base} for {n}:{m}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn no_bet_against_a_limit_is_worth_more_than_its_stake_as_long_as_nothing_is_wrong() {
    for limit in [0.001, 0.05, 0.5, 0.99] {
        let test = Sequential::against_limit(0.01, limit);
        for rate in [0.0, limit / 2.0, limit, (1.0 + limit) / 2.0, 1.0] {
            for (more, fewer) in expected(&test, (8, rate), (0, 0.0)) {
                assert!(rate > limit || more <= 1.0 + 1e-9, "{more} at {rate} against {limit}");
                assert!(rate < limit || fewer <= 1.0 + 1e-9, "{fewer} at {rate} against {limit}");
            }
        }
    }
}

#[test]
fn a_canary_that_always_errs_is_harmful_within_ten_requests() {
    let mut test = Sequential::against_baseline(0.01);

    let needed = (1..100).find(|_| test.observe(0, 1, 9, 0) == Decision::Harmful);

    assert!(needed.is_some_and(|requests| requests <= 10), "{needed:?}");
}

#[test]
fn one_large_first_batch_is_enough() {
    let mut test = Sequential::against_baseline(0.01);

    assert_eq!(test.observe(9_600, 400, 9_800, 200), Decision::Harmful);
    assert_eq!(
        test.explain().split_once(": ").unwrap().1,
        "canary 4 % errors (400 of 10000), baseline 2 % errors (200 of 10000); alpha 0.01"
    );
}

#[test]
fn a_canary_as_good_as_the_baseline_stays_undecided() {
    let mut test = Sequential::against_baseline(0.01);

    for _ in 0..1000 {
        assert_eq!(test.observe(99, 1, 99, 1), Decision::Undecided);
    }
}

#[test]
fn a_canary_as_good_as_the_baseline_is_safe_where_twice_its_errors_are_tolerated() {
    let mut test = Sequential::against_baseline_times(0.01, 2.0);

    let needed = (1..1000).find(|_| test.observe(99, 1, 99, 1) == Decision::Safe);

    assert!(needed.is_some_and(|batches| batches < 150), "{needed:?}");
    assert!(test.p_value_safe() <= 0.01);
}

#[test]
fn a_baseline_that_fails_likewise_excuses_the_canary() {
    let mut test = Sequential::against_baseline(0.01);

    for outage in [1, 90, 95, 2, 1] {
        assert_eq!(test.observe(100 - outage, outage, 900 - 9 * outage, 9 * outage), Decision::Undecided);
    }
}

#[test]
fn without_requests_on_both_sides_nothing_is_known() {
    let mut test = Sequential::against_baseline(0.01);

    assert_eq!(test.observe(0, 1_000_000, 0, 0), Decision::Undecided);
    assert_eq!(test.observe(0, 0, 0, 1_000_000), Decision::Undecided);
    assert_eq!(test.p_value(), 1.0);
}

#[test]
fn a_clean_canary_is_safe_against_a_limit_after_enough_requests() {
    let mut test = Sequential::against_limit(0.01, 0.05);

    assert_eq!(test.observe(10, 0, 0, 0), Decision::Undecided);
    assert_eq!(test.observe(190, 0, 0, 0), Decision::Safe);
}

#[test]
fn above_the_limit_it_is_harmful_and_stays_so() {
    let mut test = Sequential::against_limit(0.01, 0.05);

    assert_eq!(test.observe(80, 20, 0, 0), Decision::Harmful);
    assert_eq!(test.observe(1_000_000, 0, 0, 0), Decision::Harmful);
}

#[test]
fn limits_at_the_ends_and_out_of_range_stay_finite() {
    for limit in [-1.0, 0.0, 1e-300, 1.0, 2.0] {
        let mut test = Sequential::against_limit(0.01, limit);
        test.observe(1_000, 1_000, 0, 0);

        assert!(test.more.average().is_finite() && test.fewer.average().is_finite(), "{limit}: {test:?}");
    }
    let mut zero = Sequential::against_limit(0.01, 0.0);
    assert_eq!(zero.observe(1_000, 2, 0, 0), Decision::Harmful, "no errors are tolerated");
}

#[test]
fn what_is_not_a_number_decides_nothing() {
    for mut test in [Sequential::against_limit(0.01, f64::NAN), Sequential::against_limit(f64::NAN, 0.1)] {
        assert_eq!(test.observe(0, 1_000, 0, 0), Decision::Undecided);
    }
}

#[test]
fn a_billion_requests_a_batch_do_not_overflow() {
    let (million, billion) = (1_000_000, 1_000_000_000);
    let mut test = Sequential::against_baseline(0.01);
    for _ in 0..5 {
        assert_eq!(test.observe(billion, 10 * million, billion, 10 * million), Decision::Undecided);
    }
    assert!(test.more.average().is_finite());
    assert_eq!(test.observe(billion, 40 * million, billion, 10 * million), Decision::Harmful);

    let mut most = Sequential::against_baseline(0.01);
    most.observe(u64::MAX, u64::MAX, u64::MAX, u64::MAX);
    most.observe(u64::MAX, u64::MAX, u64::MAX, u64::MAX);
    assert!(most.more.average().is_finite() && most.canary_rate().is_some());
}

#[test]
fn small_steps_and_one_large_step_gather_the_same_evidence_at_billions() {
    let (mut steps, mut once) = (Sequential::against_baseline(0.01), Sequential::against_baseline(0.01));
    for _ in 0..10_000 {
        steps.observe(99_000, 1_000, 99_000, 1_000);
    }
    once.observe(990_000_000, 10_000_000, 990_000_000, 10_000_000);

    for (step, all) in steps.more.0.iter().zip(once.more.0) {
        assert!((step - all).abs() <= 1e-9 * all.abs(), "{step} is not {all}");
    }
}

proptest! {
    #[test]
    fn more_errors_of_the_canary_are_never_better_news(n in 1..200_u64, m in 1..200_u64, x in 0..200_u64, y in 0..200_u64) {
        let (x, y) = (x.min(n - 1), y.min(m));
        let (mut one, mut other) = (Sequential::against_baseline(0.01), Sequential::against_baseline(0.01));
        one.observe(n - x, x, m - y, y);
        other.observe(n - x - 1, x + 1, m - y, y);

        prop_assert!(other.p_value() <= one.p_value());
        prop_assert!(other.p_value_safe() >= one.p_value_safe());
    }

    #[test]
    fn a_test_read_back_goes_on_where_it_was(batches in prop::collection::vec((0..99_u64, 0..9_u64, 0..99_u64, 0..9_u64), 0..20)) {
        let mut test = Sequential::against_baseline(0.01);
        for (a, b, c, d) in batches {
            test.observe(a, b, c, d);
            let mut back: Sequential = serde_json::from_str(&serde_json::to_string(&test).unwrap()).unwrap();
            prop_assert_eq!(back.observe(9, 1, 9, 1), test.clone().observe(9, 1, 9, 1));
        }
    }
}
