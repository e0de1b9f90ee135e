use super::*;

const ALPHA: f64 = 0.01;
const BASELINE: Judge = Judge::ErrorsAgainstBaseline { alpha: ALPHA };
const LIMIT: Judge = Judge::ErrorsAgainstLimit { alpha: ALPHA };

fn latencies() -> Judge {
    Judge::Latencies(Rules::default())
}

#[test]
fn equal_error_rates_raise_a_false_alarm_in_at_most_one_of_a_hundred_runs_however_often_one_looks() {
    let default = Traffic::default();
    for traffic in [
        default,
        Traffic { looks: 1_000, canary_per_look: 1, baseline_per_look: 1, ..default },
        Traffic { canary_per_look: 5, baseline_per_look: 45, ..default },
        Traffic { error_rate: 0.3, ..default },
        Traffic { drifting: true, ..default },
    ] {
        let rate = aa_false_alarm_rate(&BASELINE, &traffic, 400, 7);

        assert!(rate <= ALPHA, "{rate} for {traffic:?}");
    }
}

#[test]
fn a_canary_at_its_limit_raises_a_false_alarm_in_at_most_one_of_a_hundred_runs() {
    for per_look in [1, 50] {
        let traffic = Traffic { looks: 300, canary_per_look: per_look, ..Traffic::default() };

        let rates = rates(&LIMIT, &traffic, 1.0, 1_000, 7);

        assert!(rates.alarm <= ALPHA && rates.pass <= ALPHA, "{rates:?}");
    }
}

#[test]
fn a_doubled_error_rate_is_found_in_95_of_100_runs_of_6000_requests_a_side() {
    let traffic = Traffic { looks: 120, ..Traffic::default() };

    let rates = rates(&BASELINE, &traffic, 2.0, 400, 7);

    assert!(rates.alarm >= 0.95, "{rates:?}");
    assert!(rates.requests_to_alarm.is_some_and(|requests| requests < 4_000.0), "{rates:?}");
}

#[test]
fn double_the_limit_is_found_in_95_of_100_runs_of_3000_requests() {
    let traffic = Traffic { looks: 60, ..Traffic::default() };

    let rate = detection_rate(&LIMIT, &traffic, 2.0, 400, 7);

    assert!(rate >= 0.95, "{rate}");
}

#[test]
fn equal_latencies_raise_a_false_alarm_in_at_most_one_of_a_hundred_runs() {
    let traffic = Traffic { looks: 4, canary_per_look: 100, baseline_per_look: 100, ..Traffic::default() };

    let rates = rates(&latencies(), &traffic, 1.0, 200, 7);

    assert!(rates.alarm <= ALPHA && rates.pass >= 0.95, "{rates:?}");
}

#[test]
fn a_doubled_latency_is_found_in_95_of_100_runs_of_200_requests_a_side() {
    let traffic = Traffic { looks: 1, canary_per_look: 200, baseline_per_look: 200, ..Traffic::default() };

    let rate = detection_rate(&latencies(), &traffic, 2.0, 200, 7);

    assert!(rate >= 0.95, "{rate}");
}

#[test]
fn a_fixed_threshold_looked_at_often_raises_false_alarms_where_the_sequential_test_does_not() {
    let rules = MetricRules { success: "< 0.06".parse().ok(), minimum_samples: 50, ..MetricRules::default() };
    let traffic = Traffic::default();

    let by_metric = aa_false_alarm_rate(&Judge::ErrorsByMetric(rules), &traffic, 500, 7);
    let sequential = aa_false_alarm_rate(&BASELINE, &traffic, 500, 7);

    assert!(by_metric > 0.5 && sequential <= ALPHA, "{by_metric} by metric, {sequential} sequential");
}

#[test]
fn the_same_seed_gives_the_same_rates_that_add_up() {
    let traffic = Traffic { looks: 30, ..Traffic::default() };

    let first = rates(&BASELINE, &traffic, 2.0, 100, 42);

    assert_eq!(rates(&BASELINE, &traffic, 2.0, 100, 42), first);
    assert!((first.alarm + first.pass + first.unknown - 1.0).abs() < 1e-12);
    assert!(first.alarm > 0.0 && first.unknown > 0.0, "{first:?}");
}
