//! What a deployment's end says about the votes on it.

use model::{
    Verdict,
    deployment::{Cause, CauseKind},
};
use opinion::State;

/// What the release turned out to be; none when its end says nothing about it.
///
/// A promotion says that it was safe, a rollback because of a gate that it was not. What an operator aborted, a newer
/// release replaced, or a gate before the change refused has no outcome: experts are not judged by what was never tried.
pub fn truth(verdict: Verdict, cause: Option<&Cause>) -> Option<State> {
    let at_fault = cause.is_some_and(|cause| {
        matches!(
            cause.kind,
            CauseKind::Failed | CauseKind::Errored | CauseKind::Inconclusive | CauseKind::Deadline
        )
    });
    match verdict {
        Verdict::Promoted => Some(State::Safe),
        Verdict::RolledBack | Verdict::NeedsHuman if at_fault => Some(State::Unsafe),
        Verdict::RolledBack
        | Verdict::NeedsHuman
        | Verdict::Superseded
        | Verdict::Rejected
        | Verdict::Cancelled => None,
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    fn ended(verdict: Verdict, kind: CauseKind) -> Option<State> {
        let cause = Cause { kind, step: None, gate: None, text: "x".into(), at: Timestamp(1) };
        truth(verdict, Some(&cause))
    }

    #[test]
    fn only_what_was_tried_teaches() {
        assert_eq!(truth(Verdict::Promoted, None), Some(State::Safe));
        assert_eq!(ended(Verdict::RolledBack, CauseKind::Failed), Some(State::Unsafe));
        assert_eq!(ended(Verdict::NeedsHuman, CauseKind::Deadline), Some(State::Unsafe));
        assert_eq!(ended(Verdict::RolledBack, CauseKind::Operator), None);
        assert_eq!(ended(Verdict::Superseded, CauseKind::Superseded), None);
        assert_eq!(ended(Verdict::Rejected, CauseKind::Advice), None);
    }
}
