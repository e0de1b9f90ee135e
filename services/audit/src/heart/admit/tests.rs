use proptest::prelude::*;

use super::*;

fn fact(source: &str, counter: u64) -> AuditRecord {
    AuditRecord {
        source: source.to_owned(),
        counter,
        action: "x.done".to_owned(),
        ..hole("", 0, 0, Timestamp(0))
    }
}

fn facts(counter: u64) -> Content {
    Content::Facts(vec![fact("S", counter)])
}

fn counts(records: &[AuditRecord]) -> Vec<u64> {
    records.iter().filter(|record| record.action != HOLE).map(|record| record.counter).collect()
}

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn what_is_missing_is_waited_for_and_then_a_hole_that_says_so() {
    let mut admission = Admission::default();
    admission.heard("S", 1, facts(1), Timestamp(0));
    assert_eq!(admission.heard("S", 4, facts(4), Timestamp(1000)), []);

    assert_eq!(admission.overdue(Timestamp(10_999), PATIENCE), []);
    let leaves = admission.overdue(Timestamp(11_000), PATIENCE);

    assert_eq!(
        (leaves[0].action.as_str(), leaves[0].subject.as_str(), leaves[0].source.as_str()),
        (HOLE, "S", OWN)
    );
    assert_eq!(leaves[0].detail, serde_json::json!({ "from": 2, "to": 3 }));
    assert_eq!(counts(&leaves), [4]);
    assert_eq!(admission.counted_of("S"), 4);
    // What comes after all is kept, once.
    assert_eq!(counts(&admission.heard("S", 3, facts(3), Timestamp(12_000))), [3]);
    assert_eq!(admission.heard("S", 3, facts(3), Timestamp(12_000)), []);
    assert_eq!(admission.counted().list()[0].lost, 1);
}

#[test]
fn a_source_that_jumps_far_is_one_hole_and_not_a_million() {
    let mut admission = Admission::default();
    assert_eq!(admission.told(&fact("gateway", 1), Timestamp(0)), Taken::New);
    assert_eq!(admission.told(&fact("gateway", 5_000_000), Timestamp(0)), Taken::New);

    let leaves = admission.overdue(Timestamp(60_000), PATIENCE);

    assert_eq!(leaves.len(), 1);
    assert!(admission.counted().sources["gateway"].lost.len() <= MOST_LOST);
    assert_eq!(admission.counted_of("gateway"), 5_000_000);
}

#[test]
fn a_source_that_loses_something_every_day_is_remembered_in_bounded_room() {
    let mut admission = Admission::default();
    let mut at = 0;
    for counter in (1..200_000).step_by(3) {
        admission.told(&fact("gateway", counter), Timestamp(at));
        at += 20_000;
        admission.overdue(Timestamp(at), PATIENCE);
    }

    let source = &admission.counted().sources["gateway"];
    assert_eq!((source.lost.len(), source.ahead.len()), (MOST_LOST, 0));
    // The newest are the ones that may still come.
    assert_eq!(admission.told(&fact("gateway", source.counted - 1), Timestamp(at)), Taken::New);
}

#[test]
fn a_fact_of_the_trail_is_counted_by_its_place_and_by_its_source() {
    let mut admission = Admission::default();
    let told = |counter| Content::Told(Box::new(fact("gateway", counter)));

    assert_eq!(counts(&admission.heard("TRAIL", 1, told(1), Timestamp(0))), [1]);
    // Published twice: two places, one fact.
    assert_eq!(counts(&admission.heard("TRAIL", 2, told(1), Timestamp(0))), [0; 0]);
    assert_eq!(counts(&admission.heard("TRAIL", 3, told(2), Timestamp(0))), [2]);
    assert_eq!((admission.counted_of("TRAIL"), admission.counted_of("gateway")), (3, 2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_any_repeats_give_each_message_once_and_in_order(
        order in proptest::collection::vec(1u64..30, 0..200), kill in 0usize..200
    ) {
        let mut admission = Admission::default();
        let mut kept = Vec::new();
        let mut order: Vec<u64> = order;
        order.extend(1..30);
        for (at, seq) in order.iter().enumerate() {
            kept.extend(counts(&admission.heard("S", *seq, facts(*seq), Timestamp(0))));
            if at == kill {
                admission = Admission::new(admission.counted().clone());
            }
        }
        // What was held when it was killed is delivered again.
        for seq in 1..30 {
            kept.extend(counts(&admission.heard("S", seq, facts(seq), Timestamp(0))));
        }

        prop_assert_eq!(kept, (1..30).collect::<Vec<_>>());
    }

    #[test]
    fn deltas_add_up_to_the_counts(counters in proptest::collection::vec((0u8..3, 1u64..20), 0..100)) {
        let mut admission = Admission::default();
        let mut added = Counted::default();
        for (source, counter) in counters {
            admission.told(&fact(&format!("s{source}"), counter), Timestamp(0));
            added.merge(admission.delta());
        }

        let mut all = admission.counted().clone();
        all.sources.retain(|_, source| *source != Source::default());
        prop_assert_eq!(added, all);
    }
}
