use model::{DeploymentId, Outcome, Token};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::{Document, Measurements, Unjudged};

fn token(text: &str) -> Token {
    text.parse().unwrap()
}

fn metric(fields: Value) -> Metric {
    let mut all = json!({"name": "m", "provider": {"errorRate": {}}});
    let own = fields.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(own);
    serde_json::from_value(all).unwrap()
}

fn asked(metric: &Metric) -> Analysed {
    let (new, old) = ("bbb".parse().unwrap(), "aaa".parse().unwrap());
    Analysed::new(&token("web"), (&new, Some(&old)), metric, Timestamp(0))
}

fn count(requests: u64, errors: u64, micros: u64) -> Count {
    let mut latency = Histogram::default();
    (0..requests).for_each(|at| latency.record_micros(micros + at % 13 * micros / 20));
    Count { requests, errors: errors.min(requests), latency }
}

fn counted(at: i64, new: Count, old: Count) -> Look {
    Look { at: Timestamp(at), last: false, seen: Seen::Counted(Counted { millis: 1000, new, old }) }
}

/// As an agent does it: look by look; and as a reader does it: from the bytes that were kept.
fn both_ways(metric: &Metric, looks: Vec<Look>) -> (GateResult, Result<GateResult, Unjudged>, usize) {
    let mut recorder = Recorder::new(asked(metric)).unwrap();
    for look in looks {
        recorder.take(look);
    }
    let (told, kept) = recorder.close(Timestamp(99));
    let deployment: DeploymentId = "dep-1".parse().unwrap();
    let measured = Measurements::Analysis(Box::new(kept));
    let document = Document::new(deployment, (token("s1"), 1), &told.gate, told.at, measured);
    let bytes = document.to_bytes();
    let read = Document::read(&bytes).unwrap();
    assert_eq!(read, document);
    (told, read.judge(), bytes.len())
}

fn metrics() -> impl Strategy<Value = Metric> {
    let providers = prop_oneof![
        Just(json!({"errorRate": {}})),
        (0.5..0.999f64).prop_map(|quantile| json!({"latency": quantile})),
        Just(json!({"requestRate": {}})),
        Just(json!({"http": {"url": "http://numbers", "pointer": "/value"}})),
    ];
    let conditions = prop_oneof![
        Just(json!({"success": "< 0.05"})),
        Just(json!({"failure": "> 0.2"})),
        Just(json!({"success": "< 10", "failure": ">= 30"})),
        Just(json!({"success": "in 1..500"})),
        Just(json!({"success": "== 0"})),
        Just(json!({})),
    ];
    let limits = (0..3u32, 0..3u32, 0..3u32, 0..60u64, 0.5..0.999f64);
    let policies = prop_oneof![Just("inconclusive"), Just("fail"), Just("pass")];
    (providers, conditions, limits, policies, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(provider, conditions, limits, policy, compared, dry_run, sure)| {
            let (failure, inconclusive, errors, least, confidence) = limits;
            let mut all = json!({
                "provider": provider, "failureLimit": failure, "inconclusiveLimit": inconclusive,
                "consecutiveErrorLimit": errors, "minimumSamples": least, "noData": policy, "dryRun": dry_run,
            });
            all.as_object_mut().unwrap().extend(conditions.as_object().unwrap().clone());
            let comparable = all["provider"].get("errorRate").or(all["provider"].get("latency")).is_some();
            if compared && comparable {
                all["baseline"] = json!({"bad": "either"});
            }
            if sure {
                all["confidence"] = json!(confidence);
            }
            metric(all)
        },
    )
}

/// What a look may bring, by a draw.
fn seen(metric: &Metric, (requests, share, micros): (u64, f64, u64), draw: u8) -> Seen {
    if is_counted(&metric.provider) {
        let old = count(requests / 2 + u64::from(draw), requests / 40, micros);
        let new = count(requests, (requests as f64 * share) as u64, micros * (1 + u64::from(draw % 3)));
        return Seen::Counted(Counted { millis: 900 + u64::from(draw), new, old });
    }
    match draw % 4 {
        0 => Seen::Nothing("the value is null".to_owned()),
        1 => Seen::Error("it did not answer".to_owned()),
        _ => Seen::Value(share * requests as f64 / 7.0),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_verdict_that_is_told_is_the_one_that_follows_from_what_is_kept(
        metric in metrics(),
        draws in vec(((0..400u64, 0.0..0.4f64, 50..90_000u64), any::<u8>()), 0..12),
    ) {
        let mut looks: Vec<Look> = (0..).zip(&draws).map(|(at, (numbers, draw))| {
            Look { at: Timestamp(at), last: false, seen: seen(&metric, *numbers, *draw) }
        }).collect();
        if let Some(last) = looks.last_mut() {
            last.last = true;
        }

        let (told, again, _) = both_ways(&metric, looks);

        prop_assert_eq!(Ok(told), again);
    }
}

#[test]
fn a_look_that_waits_is_part_of_the_next_one() {
    let metric = metric(json!({"success": "< 0.05", "minimumSamples": 100}));
    let looks = vec![
        counted(1, count(40, 0, 900), Count::default()),
        counted(2, count(90, 0, 900), Count::default()),
        counted(3, count(140, 0, 900), Count::default()),
    ];
    let mut recorder = Recorder::new(asked(&metric)).unwrap();

    let measured: Vec<bool> = looks.into_iter().map(|look| recorder.take(look)).collect();
    let (told, kept) = recorder.close(Timestamp(9));

    assert_eq!(measured, [false, false, true]);
    assert_eq!((told.samples, kept.looks.len()), (140, 1), "{told:?}");
}

#[test]
fn a_document_has_a_size_that_it_never_exceeds_and_says_what_it_lacks() {
    let metric = metric(json!({"success": "< 0.05"}));
    let look = |at| counted(at, count(400, 1, 1 << (at % 24)), count(400, 1, 1 << (at % 20)));
    let looks: Vec<Look> = (0..6000).map(look).collect();

    let (told, again, bytes) = both_ways(&metric, looks);

    assert_eq!(told.outcome, Outcome::Succeeded, "it is judged all the same: {told:?}");
    assert!(matches!(again, Err(Unjudged::Cut(cut)) if cut > 0), "{again:?}");
    assert!(bytes < crate::MOST_BYTES, "{bytes}");
}

#[test]
fn a_document_that_cannot_be_gives_no_verdict() {
    let metric = metric(json!({"success": "< 0.05"}));
    let mut wrong = asked(&metric);
    let errors = Count { requests: 1, errors: 2, latency: Histogram::default() };
    wrong.looks.push(counted(1, errors, Count::default()));
    let mut other = asked(&metric);
    other.looks.push(Look { at: Timestamp(1), last: false, seen: Seen::Value(0.0) });

    for (analysed, words) in [(wrong, "more errors than requests"), (other, "another kind of metric")] {
        let told = analysed.judge(Timestamp(2)).unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
}
