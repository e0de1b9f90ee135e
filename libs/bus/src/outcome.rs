//! The one table that says what becomes of a message, by the code of its fault alone.

use std::time::Duration;

use ground::{Backoff, Jitter};
use model::{Code, Fault};

/// Waits for what is asked for to come into being.
const NOT_THERE_YET: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(16), Jitter::None);

/// What becomes of a delivered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Done: never again.
    Done,
    /// Again, after this time.
    Again(Duration),
    /// Never: a dead letter.
    Dead,
}

/// `deliveries` counts from 1 and includes this one; the message is dead when `max_deliver` of them have failed.
pub(crate) fn fate(
    outcome: &Result<(), Fault>,
    deliveries: u64,
    max_deliver: u64,
    backoff: &[Duration],
) -> Fate {
    let Err(fault) = outcome else { return Fate::Done };
    if deliveries >= max_deliver {
        return Fate::Dead;
    }
    match fault.code {
        Code::Invalid | Code::Denied => Fate::Dead,
        Code::Conflict => Fate::Again(Duration::ZERO),
        Code::NotFound => Fate::Again(NOT_THERE_YET.wait(u32::try_from(deliveries).unwrap_or(u32::MAX))),
        Code::Overloaded | Code::Unavailable | Code::Timeout | Code::Internal => {
            let at = usize::try_from(deliveries.saturating_sub(1)).unwrap_or(usize::MAX);
            Fate::Again(backoff.get(at).or(backoff.last()).copied().unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(code: Code, deliveries: u64) -> Fate {
        let backoff = [1, 5, 15].map(Duration::from_secs);
        fate(&Err(Fault::new(code, "x")), deliveries, 5, &backoff)
    }

    fn again(seconds: u64) -> Fate {
        Fate::Again(Duration::from_secs(seconds))
    }

    #[test]
    fn what_can_never_succeed_is_dead_at_once() {
        assert_eq!(after(Code::Invalid, 1), Fate::Dead);
        assert_eq!(after(Code::Denied, 1), Fate::Dead);
    }

    #[test]
    fn what_is_not_there_yet_is_waited_for_ever_longer() {
        assert_eq!([1, 2, 3, 4].map(|n| after(Code::NotFound, n)), [again(2), again(4), again(8), again(16)]);
    }

    #[test]
    fn a_lost_race_is_run_again_at_once() {
        assert_eq!(after(Code::Conflict, 1), again(0));
    }

    #[test]
    fn trouble_backs_off_and_the_last_delay_stays() {
        assert_eq!(
            [1, 2, 3, 4].map(|n| after(Code::Unavailable, n)),
            [again(1), again(5), again(15), again(15)]
        );
    }

    #[test]
    fn the_fifth_failure_is_the_last_whatever_its_code() {
        for code in [Code::NotFound, Code::Conflict, Code::Overloaded, Code::Timeout, Code::Internal] {
            assert_eq!(after(code, 5), Fate::Dead);
        }
    }

    #[test]
    fn success_on_the_fifth_delivery_is_success() {
        assert_eq!(fate(&Ok(()), 5, 5, &[]), Fate::Done);
    }
}
