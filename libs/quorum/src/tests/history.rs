//! Whether what clients saw can have happened at one moment each (Wing and Gong's search, with Lowe's memory of what was
//! tried).

use std::{collections::HashSet, hash::Hash};

/// One call of a client.
#[derive(Clone, Debug)]
pub(crate) struct Call<I, O> {
    /// When it was made, in any unit that grows.
    pub begun: u64,
    /// When it returned; none when its outcome is unknown: it may have happened at any time since, or never.
    pub ended: Option<u64>,
    pub input: I,
    /// What it returned, if it did.
    pub output: Option<O>,
}

/// What one call does to the state, and what it must return.
pub(crate) type Step<S, I, O> = fn(&S, &I) -> (S, O);

/// What the search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is such an order.
    Explained,
    /// There is none.
    Impossible,
    /// There are too many to try: as good as impossible, since an order that exists is found soon.
    Undecided,
}

/// Most states that are looked at.
const MOST: usize = 1_000_000;

/// Looks for an order.
pub(crate) fn explain<S, I, O>(start: S, calls: &[Call<I, O>], step: Step<S, I, O>) -> Verdict
where
    S: Clone + Eq + Hash,
    O: PartialEq,
{
    let mut calls: Vec<&Call<I, O>> = calls.iter().collect();
    calls.sort_by_key(|call| call.begun);
    let completed = calls.iter().filter(|call| call.ended.is_some()).count();
    let mut tried: HashSet<(Vec<u64>, S)> = HashSet::new();
    let mut stack = vec![(vec![0u64; calls.len().div_ceil(64)], start, 0usize)];
    while let Some((done, state, ended)) = stack.pop() {
        if ended == completed {
            return Verdict::Explained;
        }
        if tried.len() > MOST {
            return Verdict::Undecided;
        }
        let is_done = |at: usize| done[at / 64] >> (at % 64) & 1 == 1;
        // Whoever began after another had returned comes after it.
        let open = || (0..calls.len()).filter(|at| !is_done(*at));
        let limit = open().filter_map(|at| calls[at].ended).min().unwrap_or(u64::MAX);
        let mut next: Vec<usize> = open().take_while(|at| calls[*at].begun <= limit).collect();
        // What returned first is tried first, and what never returned last.
        next.sort_by_key(|at| std::cmp::Reverse(calls[*at].ended.unwrap_or(u64::MAX)));
        for at in next {
            let (next, output) = step(&state, &calls[at].input);
            if calls[at].output.as_ref().is_some_and(|seen| *seen != output) {
                continue;
            }
            let mut with = done.clone();
            with[at / 64] |= 1 << (at % 64);
            if tried.insert((with.clone(), next.clone())) {
                stack.push((with, next, ended + usize::from(calls[at].ended.is_some())));
            }
        }
    }
    Verdict::Impossible
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Do {
        Write(u8),
        Read,
    }

    fn register(state: &u8, what: &Do) -> (u8, u8) {
        match what {
            Do::Write(value) => (*value, 0),
            Do::Read => (*state, *state),
        }
    }

    fn call(begun: u64, ended: Option<u64>, input: Do, output: u8) -> Call<Do, u8> {
        Call { begun, ended, input, output: ended.map(|_| output) }
    }

    #[test]
    fn a_read_of_what_was_overwritten_before_it_began_is_found() {
        let fine = [
            call(0, Some(2), Do::Write(1), 0),
            call(1, Some(5), Do::Write(2), 0),
            call(3, Some(4), Do::Read, 1),
        ];
        let stale = [
            call(0, Some(1), Do::Write(1), 0),
            call(2, Some(3), Do::Write(2), 0),
            call(4, Some(5), Do::Read, 1),
        ];

        assert_eq!(explain(0, &fine, register), Verdict::Explained);
        assert_eq!(explain(0, &stale, register), Verdict::Impossible);
    }

    #[test]
    fn what_is_unknown_may_happen_late_or_never_and_not_twice() {
        let late =
            [call(0, None, Do::Write(1), 0), call(1, Some(2), Do::Read, 0), call(3, Some(4), Do::Read, 1)];
        let twice = [
            call(0, None, Do::Write(1), 0),
            call(1, Some(2), Do::Read, 1),
            call(3, Some(4), Do::Write(2), 0),
            call(5, Some(6), Do::Read, 1),
        ];

        assert_eq!(explain(0, &late, register), Verdict::Explained);
        assert_eq!(explain(0, &twice, register), Verdict::Impossible);
    }

    #[test]
    fn many_calls_of_unknown_outcome_do_not_hold_up_the_search() {
        let unknown = (0..40).map(|at| call(at, None, Do::Write(100 + u8::try_from(at).unwrap()), 0));
        let known = (0..60).map(|at| call(50 + at * 10, Some(65 + at * 10), Do::Write(7), 0));
        let calls: Vec<_> = unknown.chain(known).chain([call(700, Some(710), Do::Read, 7)]).collect();

        assert_eq!(explain(0, &calls, register), Verdict::Explained);
    }

    proptest! {
        #[test]
        fn what_did_happen_in_some_order_is_taken(
            deeds in proptest::collection::vec((0u8..4, 0u64..20, 0u64..20), 1..30),
        ) {
            let mut state = 0;
            let calls: Vec<_> = deeds.iter().zip(1..).map(|((what, before, after), at)| {
                let moment: u64 = at * 20;
                let input = if *what == 0 { Do::Read } else { Do::Write(*what) };
                let (next, output) = register(&state, &input);
                state = next;
                call(moment - before, Some(moment + after), input, output)
            }).collect();

            prop_assert_eq!(explain(0, &calls, register), Verdict::Explained);
        }
    }
}
