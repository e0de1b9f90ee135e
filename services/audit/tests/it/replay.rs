//! Large replays with repeats and disorder: no hole, no double, the root of the undisturbed run.

use audit::heart::admit::{Admission, Content, Counted, Taken};
use ledger::{Frontier, leaf_hash};
use model::{Timestamp, audit::AuditRecord};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::fact;

const STREAMS: u64 = 4;

/// The stream and place of the nth message, and what it says.
fn message(number: u64) -> (String, u64, AuditRecord) {
    let (stream, seq) = (format!("LOG_deployment_{}", number % STREAMS), number / STREAMS + 1);
    let record = fact(&stream, seq);
    (stream, seq, record)
}

/// Every message at least once; a tenth again, a quarter late by up to 50 places.
fn disturbed(count: u64, seed: u64) -> Vec<u64> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut order: Vec<(f64, u64)> = Vec::new();
    for number in 0..count {
        let late = if random.random_bool(0.25) { random.random_range(1.0..50.0) } else { 0.0 };
        order.push((number as f64 + late, number));
        if random.random_bool(0.10) {
            order.push((number as f64 + random.random_range(0.0..200.0), number));
        }
    }
    order.sort_by(|one, other| one.0.total_cmp(&other.0));
    order.into_iter().map(|(_, number)| number).collect()
}

/// What a run keeps: by stream in order, so that the order between streams does not matter.
fn roots(numbers: impl IntoIterator<Item = u64>, restart_every: usize) -> (Vec<ledger::Hash>, u64) {
    let mut trees = vec![Frontier::default(); STREAMS as usize];
    let mut admission = Admission::default();
    let mut kept = 0;
    let mut numbers: Vec<u64> = numbers.into_iter().collect();
    let mut at = 0;
    let mut restarts = 0;
    while at < numbers.len() {
        let (stream, seq, record) = message(numbers[at]);
        for record in admission.heard(&stream, seq, Content::Facts(vec![record]), Timestamp(at as i64)) {
            let shard = record.source.rsplit('_').next().and_then(|shard| shard.parse::<usize>().ok());
            trees[shard.unwrap()].push(leaf_hash(&record.to_leaf()));
            kept += 1;
        }
        at += 1;
        if at.is_multiple_of(restart_every) && restarts < 20 {
            // A kill: what was held in memory is gone, and what was not counted is delivered again.
            let counted: Counted =
                serde_json::from_slice(&serde_json::to_vec(admission.counted()).unwrap()).unwrap();
            let again: Vec<u64> = numbers[..at]
                .iter()
                .copied()
                .filter(|number| {
                    let (stream, seq, _) = message(*number);
                    counted.sources.get(&stream).is_none_or(|source| seq > source.counted)
                })
                .collect();
            numbers.splice(at..at, again);
            admission = Admission::new(counted);
            restarts += 1;
        }
    }
    (trees.iter().map(Frontier::root).collect(), kept)
}

fn replay(count: u64, seed: u64) {
    let undisturbed = roots(0..count, usize::MAX);

    let order = disturbed(count, seed);
    let repeats = order.len() as u64 - count;
    let moved = order.windows(2).filter(|pair| pair[0] > pair[1]).count();
    let replayed = roots(order, (count / 7) as usize);

    assert_eq!(replayed, undisturbed, "seed {seed}");
    assert_eq!(replayed.1, count);
    assert!(repeats > count / 12 && moved as u64 > count / 10, "{repeats} repeats, {moved} out of order");
}

#[test]
fn fifty_thousand_messages_with_repeats_and_disorder_give_the_undisturbed_root() {
    replay(50_000, 7);
}

#[test]
fn a_million_messages_with_repeats_and_disorder_give_the_undisturbed_root() {
    replay(1_000_000, 11);
}

/// Facts that services hand over themselves are kept in the order of arrival: each once, and none is missing.
#[test]
fn facts_of_services_in_any_order_are_kept_once_each() {
    let mut admission = Admission::default();
    let mut kept = std::collections::BTreeSet::new();
    for number in disturbed(20_000, 3) {
        let record = fact(&format!("gateway-{}", number % 3), number / 3 + 1);
        if admission.told(&record, Timestamp(0)) == Taken::New {
            assert!(kept.insert((record.source, record.counter)));
        }
    }

    assert_eq!(kept.len(), 20_000);
    for source in admission.counted().list() {
        assert_eq!((source.ahead, source.lost), (0, 0), "{}", source.source);
    }
    assert_eq!(admission.waiting().count(), 0);
}
