use proptest::prelude::*;

use super::*;
use ground::Jitter;

fn backoff(jitter: Jitter) -> Backoff {
    Backoff::new(Duration::from_secs(1), Duration::from_secs(8), jitter)
}

fn in_a_row(failures: u32) -> Settings {
    Settings { consecutive_failures: failures, backoff: backoff(Jitter::None), ..Settings::default() }
}

fn by_rate(least_requests: u32) -> Settings {
    let rate = Rate { threshold: 0.8, window: Duration::from_secs(10), least_requests };
    Settings { consecutive_failures: 0, success_rate: Some(rate), ..in_a_row(0) }
}

fn one(machine: &mut Machine, outcome: Outcome, now: Instant) {
    let ticket = machine.ask(now).unwrap();
    machine.settle(ticket, Some(outcome), now);
}

#[test]
fn failures_in_a_row_open_it_and_a_success_between_starts_over() {
    let now = Instant::now();
    let mut machine = Machine::new(in_a_row(3), now, 0);

    for outcome in [Outcome::Failure, Outcome::Failure, Outcome::Success, Outcome::Failure, Outcome::Failure]
    {
        one(&mut machine, outcome, now);
    }
    assert_eq!(machine.state(now), State::Closed);
    one(&mut machine, Outcome::Failure, now);

    assert_eq!(machine.state(now), State::Open { until: now + Duration::from_secs(1) });
}

#[test]
fn throttling_counts_for_the_rate_but_not_in_a_row() {
    let now = Instant::now();
    let mut row = Machine::new(in_a_row(3), now, 0);
    let mut rate = Machine::new(by_rate(10), now, 0);

    for _ in 0..9 {
        one(&mut row, Outcome::Throttled(None), now);
        one(&mut rate, Outcome::Throttled(None), now);
    }

    assert_eq!(row.state(now), State::Closed);
    assert_eq!(rate.state(now), State::Closed, "nine requests say nothing");
    one(&mut rate, Outcome::Throttled(None), now);
    assert!(matches!(rate.state(now), State::Open { .. }));
}

#[test]
fn the_rate_forgets_what_is_older_than_the_window() {
    let start = Instant::now();
    let mut machine = Machine::new(by_rate(10), start, 0);
    for _ in 0..9 {
        one(&mut machine, Outcome::Failure, start);
    }

    one(&mut machine, Outcome::Failure, start + Duration::from_secs(11));

    assert_eq!(machine.state(start + Duration::from_secs(11)), State::Closed);
}

#[test]
fn the_rate_adds_up_over_the_buckets_of_the_window() {
    let start = Instant::now();
    let mut machine = Machine::new(by_rate(10), start, 0);
    for second in 0..9 {
        one(&mut machine, Outcome::Failure, start + Duration::from_secs(second));
    }

    one(&mut machine, Outcome::Failure, start + Duration::from_secs(9));

    assert!(matches!(machine.state(start + Duration::from_secs(9)), State::Open { .. }));
}

#[test]
fn each_failed_probe_doubles_the_wait_until_the_longest() {
    let mut now = Instant::now();
    let mut machine = Machine::new(in_a_row(1), now, 0);
    one(&mut machine, Outcome::Failure, now);
    let mut waits = Vec::new();

    for _ in 0..5 {
        let State::Open { until } = machine.state(now) else { panic!("closed by a failed probe") };
        waits.push((until - now).as_secs());
        now = until;
        one(&mut machine, Outcome::Failure, now);
    }

    assert_eq!(waits, [1, 2, 4, 8, 8]);
}

#[test]
fn a_throttled_probe_stays_open_for_as_long_as_it_was_told_within_bounds() {
    for (told, waits) in [(0, 1), (5, 5), (3600, 8)] {
        let start = Instant::now();
        let mut machine = Machine::new(in_a_row(1), start, 0);
        one(&mut machine, Outcome::Failure, start);
        let later = start + Duration::from_secs(1);

        one(&mut machine, Outcome::Throttled(Some(Duration::from_secs(told))), later);

        assert_eq!(machine.state(later), State::Open { until: later + Duration::from_secs(waits) });
    }
}

#[test]
fn a_slow_failure_from_before_does_not_open_what_has_just_closed() {
    let start = Instant::now();
    let mut machine = Machine::new(in_a_row(1), start, 0);
    let slow = machine.ask(start).unwrap();
    one(&mut machine, Outcome::Failure, start);
    let later = start + Duration::from_secs(1);
    one(&mut machine, Outcome::Success, later);

    machine.settle(slow, Some(Outcome::Failure), later);

    assert_eq!(machine.state(later), State::Closed);
}

#[test]
fn all_probes_must_succeed_before_it_closes() {
    let start = Instant::now();
    let mut machine = Machine::new(Settings { probes: 2, ..in_a_row(1) }, start, 0);
    one(&mut machine, Outcome::Failure, start);
    let later = start + Duration::from_secs(1);

    one(&mut machine, Outcome::Success, later);
    assert_eq!(machine.state(later), State::HalfOpen);
    one(&mut machine, Outcome::Success, later);

    assert_eq!(machine.state(later), State::Closed);
}

#[derive(Clone, Debug)]
enum Move {
    Ask,
    Settle(usize, Option<Outcome>),
    Pass(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Success),
        3 => Just(Outcome::Failure),
        1 => proptest::option::of(0u64..20_000).prop_map(|ms| Outcome::Throttled(ms.map(Duration::from_millis))),
    ];
    let one = prop_oneof![
        3 => Just(Move::Ask),
        3 => (any::<usize>(), proptest::option::weighted(0.9, outcome)).prop_map(|(n, o)| Move::Settle(n, o)),
        1 => (0u64..5_000).prop_map(Move::Pass),
    ];
    proptest::collection::vec(one, 0..200)
}

/// What a run shows: the state after each move.
fn play(settings: Settings, moves: &[Move], seed: u64) -> Result<Vec<String>, TestCaseError> {
    let start = Instant::now();
    let mut now = start;
    let mut machine = Machine::new(settings, now, seed);
    let mut held: Vec<(Ticket, bool)> = Vec::new();
    let mut shown = Vec::new();
    for step in moves {
        let before = machine.state(now);
        match step {
            Move::Pass(ms) => now += Duration::from_millis(*ms),
            Move::Ask => match (before, machine.ask(now)) {
                (State::Open { .. }, Ok(_)) => prop_assert!(false, "an open breaker let a request pass"),
                (State::Closed, Err(_)) => prop_assert!(false, "a closed breaker refused a request"),
                (_, Ok(ticket)) => held.push((ticket, before == State::HalfOpen)),
                (_, Err(_)) => {}
            },
            Move::Settle(which, outcome) if !held.is_empty() => {
                let (ticket, _) = held.swap_remove(which % held.len());
                machine.settle(ticket, *outcome, now);
            }
            Move::Settle(..) => {}
        }
        if let State::Open { until } = machine.state(now) {
            prop_assert!(until - now <= Duration::from_secs(8), "stays open longer than the longest wait");
        }
        let probes =
            held.iter().filter(|(ticket, probe)| *probe && ticket.stretch == machine.stretch).count();
        prop_assert!(probes <= settings.probes as usize, "{probes} probes at once");
        shown.push(match machine.state(now) {
            State::Open { until } => format!("open until {:?}", until - start),
            other => format!("{other:?}"),
        });
    }
    Ok(shown)
}

proptest! {
    #[test]
    fn in_any_order_an_open_breaker_is_shut_and_probes_are_bounded(
        moves in moves(), failures in 0u32..4, probes in 1u32..4, rated in any::<bool>(), seed in any::<u64>(),
    ) {
        let success_rate = rated.then(|| Rate { least_requests: 5, ..Rate::default() });
        let settings =
            Settings { consecutive_failures: failures, success_rate, probes, backoff: backoff(Jitter::Full) };

        let first = play(settings, &moves, seed)?;
        let second = play(settings, &moves, seed)?;

        prop_assert_eq!(first, second, "the same seed and moves");
    }

    #[test]
    fn it_never_stays_open_once_the_neighbour_is_well(seed in any::<u64>(), failures in 1usize..50) {
        let mut now = Instant::now();
        let settings = Settings { backoff: backoff(Jitter::Equal), ..in_a_row(2) };
        let mut machine = Machine::new(settings, now, seed);
        for _ in 0..failures {
            if let Ok(ticket) = machine.ask(now) {
                machine.settle(ticket, Some(Outcome::Failure), now);
            }
            now += Duration::from_millis(700);
        }

        now += Duration::from_secs(8);
        one(&mut machine, Outcome::Success, now);

        prop_assert_eq!(machine.state(now), State::Closed);
    }
}
