use super::*;
use crate::simulate::{Judge, Traffic, rates};

fn rules(measure: Measure, success: &str) -> LimitRules {
    LimitRules {
        measure,
        success: Some(success.parse().unwrap()),
        failure: None,
        confidence: CONFIDENCE,
        minimum_samples: 20,
    }
}

fn millis(values: impl IntoIterator<Item = (u64, u64)>) -> Histogram {
    let mut histogram = Histogram::default();
    for (millis, count) in values {
        (0..count).for_each(|_| histogram.record_micros(millis * 1000));
    }
    histogram
}

#[test]
fn one_error_of_31_does_not_decide_about_one_percent() {
    let mut run = LimitRun::new(rules(Measure::Share, "< 0.01"));

    assert_eq!(run.observe_share(31, 1), Look::Undecided);
}

#[test]
fn one_slow_request_of_36_is_not_the_99th_percentile() {
    let mut run = LimitRun::new(rules(Measure::Quantile(0.99), "< 500"));

    assert_eq!(run.observe_latencies(&millis([(20, 35), (2000, 1)])), Look::Undecided);
}

#[test]
fn what_is_surely_beyond_fails_and_what_is_surely_within_passes() {
    let share = |all, failed| LimitRun::new(rules(Measure::Share, "< 0.05")).observe_share(all, failed);
    assert_eq!(share(40, 12), Look::Bad);
    assert_eq!(share(2000, 40), Look::Good);
    assert_eq!(share(2000, 100), Look::Undecided);

    let slow = |rest, slow| {
        let mut run = LimitRun::new(rules(Measure::Quantile(0.9), "<= 100"));
        run.observe_latencies(&millis([(20, rest), (400, slow)]))
    };
    assert_eq!(slow(60, 40), Look::Bad);
    assert_eq!(slow(990, 10), Look::Good);
    assert_eq!(slow(90, 10), Look::Undecided);
}

#[test]
fn between_a_good_and_a_bad_limit_nothing_is_known() {
    let both = LimitRules { failure: Some("> 0.2".parse().unwrap()), ..rules(Measure::Share, "< 0.05") };
    let look = |all, failed| LimitRun::new(both.clone()).observe_share(all, failed);

    assert_eq!(look(10_000, 1000), Look::Undecided);
    assert_eq!(look(10_000, 100), Look::Good);
    assert_eq!(look(10_000, 4000), Look::Bad);
}

#[test]
fn only_a_failure_condition_is_the_other_way_round() {
    let only = LimitRules {
        success: None,
        failure: Some(">= 0.1".parse().unwrap()),
        ..rules(Measure::Share, "< 1")
    };
    let look = |all, failed| LimitRun::new(only.clone()).observe_share(all, failed);

    assert_eq!(look(1000, 10), Look::Good);
    assert_eq!(look(1000, 300), Look::Bad);
    assert_eq!(look(50, 5), Look::Undecided);
}

#[test]
fn a_range_has_two_ends() {
    let look = |failed| LimitRun::new(rules(Measure::Share, "in 0.1..0.3")).observe_share(5000, failed);

    assert_eq!(look(1000), Look::Good);
    assert_eq!(look(100), Look::Bad);
    assert_eq!(look(2500), Look::Bad);
}

#[test]
fn a_limit_of_zero_falls_with_the_first_failure_and_stands_without_one() {
    let look = |all, failed| LimitRun::new(rules(Measure::Share, "== 0")).observe_share(all, failed);

    assert_eq!(look(19, 0), Look::Undecided);
    assert_eq!(look(20, 0), Look::Good);
    assert_eq!(look(5000, 1), Look::Bad);
}

#[test]
fn without_the_least_number_of_samples_there_is_no_verdict() {
    let mut run = LimitRun::new(rules(Measure::Share, "< 0.05"));

    assert_eq!(run.observe_share(19, 19), Look::Undecided);
    assert_eq!(run.observe_share(1, 1), Look::Bad);
}

#[test]
fn a_long_good_stretch_does_not_hide_what_comes_after_it() {
    let mut run = LimitRun::new(rules(Measure::Share, "< 0.05"));
    for _ in 0..200 {
        run.observe_share(500, 5);
    }

    let looks: Vec<Look> = (0..3).map(|_| run.observe_share(40, 20)).collect();

    assert!(looks.contains(&Look::Bad), "{looks:?}");
}

/// Looks after every ten requests, as often as the sample that the plan names allows.
fn simulated(rules: &LimitRules, traffic: Traffic, factor: f64) -> crate::simulate::Rates {
    let likely = rules.required().unwrap().likely;
    let traffic = Traffic { looks: likely.div_ceil(10) as u32, canary_per_look: 10, ..traffic };
    rates(&Judge::Limit(rules.clone()), &traffic, factor, 300, 7)
}

#[test]
fn half_the_limit_raises_no_alarm_and_twice_the_limit_is_found_within_the_sample_that_is_named() {
    let cases = [
        (rules(Measure::Share, "< 0.01"), Traffic { error_rate: 0.01, ..Traffic::default() }),
        (rules(Measure::Share, "< 0.05"), Traffic { error_rate: 0.05, ..Traffic::default() }),
        // The 99th percentile of latencies with a median of 10 ms and a sigma of 0.5 is 32 ms.
        (rules(Measure::Quantile(0.99), "< 32"), Traffic::default()),
    ];
    for (rules, traffic) in cases {
        let (half, twice) = (simulated(&rules, traffic, 0.5), simulated(&rules, traffic, 2.0));

        assert!(half.alarm <= 0.01, "{rules:?}: {half:?}");
        assert!(half.pass >= 0.95, "{rules:?}: {half:?}");
        assert!(twice.alarm >= 0.95, "{rules:?}: {twice:?}");
        assert!(twice.pass <= 0.01, "{rules:?}: {twice:?}");
    }
}

#[test]
fn at_the_limit_itself_a_verdict_is_rare_however_often_one_looks() {
    let rules = rules(Measure::Share, "< 0.05");
    let traffic = Traffic { error_rate: 0.05, looks: 1000, canary_per_look: 5, ..Traffic::default() };

    let at = rates(&Judge::Limit(rules), &traffic, 1.0, 300, 11);

    assert!(at.alarm <= 0.05 && at.pass <= 0.05, "{at:?}");
}

#[test]
fn every_share_keeps_a_limit_that_excludes_none() {
    for condition in ["<= 1", ">= 0", "in 0..1"] {
        assert_eq!(
            LimitRun::new(rules(Measure::Share, condition)).observe_share(50, 50),
            Look::Good,
            "{condition}"
        );
    }
    let any =
        LimitRules { success: None, failure: Some("> 0".parse().unwrap()), ..rules(Measure::Share, "== 0") };
    assert_eq!(LimitRun::new(any.clone()).observe_share(50, 0), Look::Good);
    assert_eq!(LimitRun::new(any).observe_share(50, 1), Look::Bad);
}

#[test]
fn what_no_share_can_be_fails() {
    for condition in ["< 0", "> 1", "<= -0.1", "in 2..3"] {
        for failed in [0, 25, 50] {
            let look = LimitRun::new(rules(Measure::Share, condition)).observe_share(50, failed);
            assert_eq!(look, Look::Bad, "{condition}, {failed} of 50");
        }
    }
    let all = |failed| LimitRun::new(rules(Measure::Share, ">= 1")).observe_share(50, failed);
    assert_eq!((all(50), all(49)), (Look::Good, Look::Bad));
}
