//! What gates make of values that say little.

use model::{Outcome, spec::NoData};
use stats::{Condition, MetricRules, Rules, Sample, Verdict, compare_to_baseline};

use crate::Case;

fn judged(no_data: NoData, value: f64) -> String {
    let success: Condition = "< 0.05".parse().unwrap();
    let rules = MetricRules { success: Some(success), no_data, ..MetricRules::default() };
    outcome(rules.judge(&Sample::Value { value, samples: None }).0).to_owned()
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "pass",
        Outcome::Failed => "fail",
        Outcome::Inconclusive => "don't know",
        Outcome::Errored => "error",
    }
}

fn compared(canary: &[f64], baseline: &[f64]) -> String {
    match compare_to_baseline(canary, baseline, &Rules::default()).verdict {
        Verdict::Pass => "pass",
        Verdict::High | Verdict::Low => "fail",
        Verdict::Inconclusive => "don't know",
    }
    .to_owned()
}

pub fn cases() -> Vec<Case> {
    let mostly_zero = |ones: usize| {
        let mut values = vec![0.0; 100];
        values[..ones].fill(1.0);
        values
    };
    vec![
        Case::of(
            "a gate whose value is NaN, noData: pass",
            "no data, which passes here",
            "pass",
            judged(NoData::Pass, f64::NAN),
        ),
        Case::of(
            "a gate whose value is NaN, noData: fail",
            "no data, which fails here",
            "fail",
            judged(NoData::Fail, f64::NAN),
        ),
        Case::of("latencies that are all the same", "pass", "pass", compared(&[5.0; 100], &[5.0; 100])),
        Case::of(
            "the same latencies with many ties",
            "pass",
            "pass",
            compared(&[1.0, 2.0, 2.0, 3.0].repeat(25), &[1.0, 2.0, 2.0, 3.0].repeat(25)),
        ),
        Case::of(
            "one error in a hundred on both sides",
            "pass",
            "pass",
            compared(&mostly_zero(1), &mostly_zero(1)),
        ),
    ]
}
