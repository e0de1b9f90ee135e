//! One attempt of a step on its way to a runner and back, as its owner sees it.
//!
//! Nothing of it is durable: the attempt stands in the journal, and whoever owns the deployment begins the errand anew. A
//! question or an answer that is lost is asked for again. Nothing is counted: an attempt may be handed over as often as
//! its runners die, until it ends or its deadline comes.

use std::time::Duration;

use ground::{Backoff, Jitter};
use model::{
    DeploymentId, Fence, Outcome, StepId,
    deployment::{StepAnswer, StepQuestion, StepReport, StepState as Goes},
    step::StepResult,
};

use super::{Bug, Said};
use crate::heart::state::StepState;

/// How long a lane may take to say who has taken a step.
pub const OFFER: Duration = Duration::from_secs(1);
/// How long runners may take to say that they have a step; silence means that nobody does.
pub const FIND: Duration = Duration::from_millis(400);
/// For how long a runner holds a question while the step runs.
pub const HOLD: Duration = Duration::from_secs(2);
/// A runner that gave no sign of life for so long is given up, and the step is handed to its lane again.
pub const SILENT: Duration = Duration::from_secs(5);
/// A step that still runs after so long is noted as started, so that a new owner asks its runner first.
pub const STARTED: Duration = Duration::from_millis(500);
/// The ends of one wave that come within this time are one record. The next wave waits for all of them anyway, and an end
/// that is not journalled yet can be asked for again.
const GATHER: Duration = Duration::from_millis(200);
/// How soon a runner that could not be reached is asked again.
const AGAIN: Duration = Duration::from_millis(250);
/// A runner holds its answer; one that does not is asked no more often than this.
const PACE: Duration = Duration::from_millis(100);
/// A lane that has no room, or nobody, is asked no less often than this.
const OFFER_AGAIN: Duration = Duration::from_secs(1);
/// How soon a step that nobody took is offered again, and later and later.
const REFUSED: Backoff = Backoff::new(Duration::from_millis(50), OFFER_AGAIN, Jitter::None);

/// What is asked next, or was asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// The lane takes it.
    Offer,
    /// Any runner says whether it has it.
    Find,
    /// The runner that has it says how it goes.
    Ask(String),
}

#[derive(Clone, Debug, PartialEq)]
enum Stand {
    /// This is asked at that time.
    Wait(Next, Duration),
    /// This was asked then.
    Out(Next, Duration),
    /// It ended so; heard then.
    Ended(Box<StepReport>, Duration),
}

/// One attempt under way. Times are those of the monotonic clock.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Errand {
    pub(super) attempt: u32,
    pub(super) fence: Fence,
    stand: Stand,
    /// The question that is out; answers to earlier ones are not heard.
    call: u64,
    /// Who has it, since when, and when it last gave a sign of life.
    runner: Option<(String, Duration, Duration)>,
    /// Offers so far; they only make the waits longer.
    offers: u32,
}

impl Errand {
    /// An attempt of ours goes to its lane; one that another owner may have handed over is looked for first.
    pub(super) fn new(
        attempt: u32,
        fence: Fence,
        runner: Option<&String>,
        ours: bool,
        now: Duration,
    ) -> Errand {
        let next = match runner {
            Some(runner) => Next::Ask(runner.clone()),
            None if ours => Next::Offer,
            None => Next::Find,
        };
        let runner = runner.map(|runner| (runner.clone(), now, now));
        Errand { attempt, fence, stand: Stand::Wait(next, now), call: 0, runner, offers: 0 }
    }

    /// What is to be asked now; from then on it is out under this number.
    pub(super) fn due(&mut self, call: u64, now: Duration, bug: Option<Bug>) -> Option<Next> {
        let Stand::Wait(next, at) = &self.stand else { return None };
        if *at > now {
            return None;
        }
        let next = next.clone();
        if bug == Some(Bug::GiveUp) && self.offers >= 3 && next == Next::Offer {
            self.stand = Stand::Wait(next, Duration::MAX);
            return None;
        }
        self.offers += u32::from(next == Next::Offer);
        self.call = call;
        self.stand = Stand::Out(next.clone(), now);
        Some(next)
    }

    /// The clock shows when there is something to ask or to note.
    pub(super) fn wake(&self, noted: Option<&String>) -> Option<Duration> {
        let ask = match &self.stand {
            Stand::Wait(_, at) => Some(*at),
            Stand::Ended(_, at) => Some(*at + GATHER),
            Stand::Out(..) => None,
        };
        let start = self.runner.as_ref().filter(|(name, ..)| noted != Some(name) && !self.has_ended());
        let start = start.map(|(_, since, _)| *since + STARTED);
        ask.into_iter().chain(start).min()
    }

    /// An answer to the question of this number.
    pub(super) fn hear(&mut self, call: u64, said: Said, question: &StepQuestion, now: Duration) {
        let Stand::Out(asked, since) = &self.stand else { return };
        if call != self.call {
            return;
        }
        let (asked, since) = (asked.clone(), *since);
        self.stand = match said {
            Said::Answer(StepAnswer { runner, state: Goes::Ended(result) }) => {
                self.has(&runner, now);
                Stand::Ended(Box::new(report(question, runner, Some(*result))), now)
            }
            Said::Answer(StepAnswer { runner, state: Goes::Running }) => {
                self.has(&runner, now);
                let pace = if matches!(asked, Next::Ask(_)) { PACE } else { Duration::ZERO };
                Stand::Wait(Next::Ask(runner), now.max(since + pace))
            }
            Said::Answer(StepAnswer { state: Goes::Dropped, .. }) => {
                self.runner = None;
                Stand::Wait(Next::Offer, now + OFFER_AGAIN)
            }
            Said::Answer(StepAnswer { state: Goes::Unknown, .. }) => {
                self.runner = None;
                Stand::Wait(Next::Offer, now + self.backoff())
            }
            Said::Refused | Said::Nobody | Said::Silence => self.unheard(asked, &said, now),
        };
    }

    fn unheard(&mut self, asked: Next, said: &Said, now: Duration) -> Stand {
        match asked {
            // A runner may have taken it: it is looked for before it is handed to another.
            Next::Offer if *said == Said::Silence => Stand::Wait(Next::Find, now),
            Next::Offer => Stand::Wait(Next::Offer, now + self.backoff()),
            Next::Find => Stand::Wait(Next::Offer, now),
            Next::Ask(runner) => {
                let heard = self.runner.as_ref().map_or(Duration::ZERO, |(.., heard)| *heard);
                if now.saturating_sub(heard) < SILENT {
                    Stand::Wait(Next::Ask(runner), now + AGAIN)
                } else {
                    self.runner = None;
                    Stand::Wait(Next::Find, now)
                }
            }
        }
    }

    fn has(&mut self, runner: &str, now: Duration) {
        match &mut self.runner {
            Some((name, _, heard)) if name == runner => *heard = now,
            other => *other = Some((runner.to_owned(), now, now)),
        }
    }

    /// Longer after every offer that nobody took.
    fn backoff(&self) -> Duration {
        REFUSED.most(self.offers)
    }

    /// It ended and the journal does not know.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.stand, Stand::Ended(..))
    }

    /// Its end is not to be gathered with others any longer: it is old enough, or not good.
    pub(super) fn presses(&self, now: Duration) -> bool {
        let is_good = |report: &StepReport| {
            report.result.as_ref().is_some_and(|result| result.outcome == Outcome::Succeeded)
        };
        matches!(&self.stand, Stand::Ended(report, at) if now >= *at + GATHER || !is_good(report))
    }

    /// How it ended.
    pub(super) fn end(&self) -> Option<&StepReport> {
        match &self.stand {
            Stand::Ended(report, _) => Some(report),
            Stand::Wait(..) | Stand::Out(..) => None,
        }
    }

    /// It runs, and the journal does not say where.
    pub(super) fn start(
        &self,
        question: &StepQuestion,
        noted: Option<&String>,
        now: Duration,
    ) -> Option<StepReport> {
        let (runner, since, _) = self.runner.as_ref().filter(|_| !self.has_ended())?;
        let is_due = now >= *since + STARTED && noted != Some(runner);
        is_due.then(|| report(question, runner.clone(), None))
    }
}

fn report(question: &StepQuestion, runner: String, result: Option<StepResult>) -> StepReport {
    StepReport {
        deployment: question.deployment.clone(),
        step: question.step.clone(),
        attempt: question.attempt,
        fence: question.fence,
        runner,
        result,
    }
}

/// A question to whoever has the attempt.
pub(super) fn question(
    deployment: &DeploymentId,
    step: &StepId,
    stand: &StepState,
    hold: Duration,
) -> StepQuestion {
    StepQuestion {
        deployment: deployment.clone(),
        step: step.clone(),
        attempt: stand.attempt,
        idem_key: stand.idem_key.clone(),
        fence: stand.fence,
        hold: model::Span(hold),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn about() -> StepQuestion {
        StepQuestion {
            deployment: DeploymentId::derived("shop"),
            step: "s1".parse().unwrap(),
            attempt: 1,
            idem_key: "key".to_owned(),
            fence: Fence { lock: 1, epoch: 2 },
            hold: model::Span(HOLD),
        }
    }

    fn errand(runner: Option<&str>, ours: bool) -> Errand {
        let runner = runner.map(str::to_owned);
        Errand::new(1, about().fence, runner.as_ref(), ours, NOW)
    }

    fn answer(state: Goes) -> Said {
        Said::Answer(StepAnswer { runner: "one".to_owned(), state })
    }

    #[test]
    fn a_step_of_ours_goes_to_its_lane_and_one_of_an_earlier_owner_is_looked_for_first() {
        let due = |mut errand: Errand| errand.due(1, NOW, None);

        assert_eq!(due(errand(None, true)), Some(Next::Offer));
        assert_eq!(due(errand(None, false)), Some(Next::Find));
        assert_eq!(due(errand(Some("one"), false)), Some(Next::Ask("one".to_owned())));
    }

    #[test]
    fn a_question_that_may_have_been_heard_is_followed_by_the_search_for_who_heard_it() {
        let mut errand = errand(None, true);
        errand.due(1, NOW, None);

        errand.hear(1, Said::Silence, &about(), NOW + OFFER);

        assert_eq!(errand.due(2, NOW + OFFER, None), Some(Next::Find));
    }

    #[test]
    fn a_runner_is_given_up_after_five_seconds_without_a_sign_of_life_and_not_before() {
        let mut errand = errand(Some("one"), true);
        let (mut now, mut call) = (NOW, 1);
        while errand.due(call, now, None) == Some(Next::Ask("one".to_owned())) {
            now += AGAIN;
            errand.hear(call, Said::Nobody, &about(), now);
            now += AGAIN;
            call += 1;
        }

        let silent = now - NOW;
        assert!(silent >= SILENT && silent <= SILENT + AGAIN * 3, "{silent:?}");
    }

    #[test]
    fn a_sign_of_life_begins_the_silence_anew() {
        let mut errand = errand(Some("one"), true);
        errand.due(1, NOW, None);
        errand.hear(1, answer(Goes::Running), &about(), NOW + SILENT * 2);
        errand.due(2, NOW + SILENT * 2, None);

        errand.hear(2, Said::Silence, &about(), NOW + SILENT * 3 - AGAIN);

        assert_eq!(errand.due(3, NOW + SILENT * 3, None), Some(Next::Ask("one".to_owned())));
    }

    #[test]
    fn an_answer_to_an_earlier_question_is_not_heard() {
        let mut errand = errand(None, true);
        errand.due(7, NOW, None);

        errand.hear(6, answer(Goes::Ended(Box::new(StepResult::new(Outcome::Succeeded, "")))), &about(), NOW);

        assert!(!errand.has_ended());
    }

    #[test]
    fn nothing_counts_how_often_a_step_is_handed_over() {
        let mut errand = errand(None, true);
        let mut now = NOW;
        for call in 1..1_000 {
            assert_eq!(errand.due(call, now, None), Some(Next::Offer), "call {call}");
            errand.hear(call, answer(Goes::Unknown), &about(), now);
            now += OFFER_AGAIN;
        }
    }

    #[test]
    fn a_step_is_noted_as_started_once_it_runs_for_half_a_second() {
        let mut errand = errand(None, true);
        errand.due(1, NOW, None);
        errand.hear(1, answer(Goes::Running), &about(), NOW);

        assert_eq!(errand.start(&about(), None, NOW + STARTED / 2), None);
        let started = errand.start(&about(), None, NOW + STARTED).unwrap();
        assert_eq!((started.runner.as_str(), started.result), ("one", None));
        assert_eq!(errand.start(&about(), Some(&"one".to_owned()), NOW + STARTED), None);
        assert_eq!(errand.wake(Some(&"one".to_owned())), Some(NOW));
    }
}
