//! What should be under way outside while nothing is to be written: errands of steps, effects, and word for the world.

use std::time::Duration;

use model::{Event, Outcome, Phase, StepId, deployment::StepReport, step::StepResult};

use super::{
    Bug, Done, Errand, FIND, HOLD, Moment, OFFER, Output, Question, REST, Replica, Said,
    errand::{Next, question},
};
use crate::heart::{
    effects::{self, Effect},
    target::Wish,
    view,
};

/// How often runners are told again to stop.
const STOP_AGAIN: Duration = Duration::from_secs(1);
/// How often a rival is asked again to make way.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How often the target's journal is written to again that does not show what it should.
const WISH_AGAIN: Duration = Duration::from_millis(250);
/// A question that is held may take so much longer until its answer is given up.
const UNDER_WAY: Duration = Duration::from_secs(1);

impl Replica {
    pub(super) fn tend(&mut self, now: Moment, out: &mut Vec<Output>) {
        if !self.is_ours() {
            self.errands.clear();
            self.done.clear();
            self.effects_at = None;
            return;
        }
        self.tend_errands(now, out);
        self.tend_effects(now, out);
        self.tend_word(now, out);
    }

    /// The world is told of a phase in which the deployment rests; what has passed at once is in the journal.
    fn tend_word(&mut self, now: Moment, out: &mut Vec<Output>) {
        let phase = self.state.phase;
        if self.rests.0 != phase {
            self.rests = (phase, now.mono);
        }
        if self.said != Some(phase) && !self.saying && now.mono >= self.rests.1 + REST {
            (self.said, self.saying) = (Some(phase), true);
            out.push(Output::Say(Box::new(view::summary(&self.state)), self.state.version));
        }
    }

    fn tend_errands(&mut self, now: Moment, out: &mut Vec<Output>) {
        let (state, errands) = (&self.state, &mut self.errands);
        errands.retain(|id, errand| {
            let stand = state.steps.get(id).filter(|stand| stand.is_open());
            stand.is_some_and(|stand| (stand.attempt, stand.fence) == (errand.attempt, errand.fence))
        });
        for (step, stand) in effects::open(state) {
            let ours = self.ours.contains(&(step.id.clone(), stand.attempt, stand.fence));
            if !ours && stand.runner.is_none() && self.bug == Some(Bug::ForgetInherited) {
                continue;
            }
            let begin = || Errand::new(stand.attempt, stand.fence, stand.runner.as_ref(), ours, now.mono);
            let errand = errands.entry(step.id.clone()).or_insert_with(begin);
            let Some(next) = errand.due(self.calls + 1, now.mono, self.bug) else { continue };
            self.calls += 1;
            let (what, patience) = match next {
                Next::Offer => (Question::Offer(Box::new(effects::job(state, step, stand))), OFFER),
                Next::Find => (Question::Find(question(&state.id, &step.id, stand, Duration::ZERO)), FIND),
                Next::Ask(runner) => {
                    (Question::State(runner, question(&state.id, &step.id, stand, HOLD)), HOLD + UNDER_WAY)
                }
            };
            out.push(Output::Call { step: step.id.clone(), call: self.calls, what, patience });
        }
    }

    pub(super) fn heard(&mut self, step: &StepId, call: u64, mut said: Said, now: Moment) {
        let Some(stand) = self.state.steps.get(step) else { return };
        let Some(errand) = self.errands.get_mut(step) else { return };
        if self.bug == Some(Bug::TrustSilence) && said == Said::Silence {
            let state =
                model::deployment::StepState::Ended(Box::new(StepResult::new(Outcome::Succeeded, "")));
            said = Said::Answer(model::deployment::StepAnswer { runner: "nobody".to_owned(), state });
        }
        errand.hear(call, said, &question(&self.state.id, step, stand, HOLD), now.mono);
    }

    /// What runners said that the journal does not have. Ends of a wave are gathered for a moment while others of it are out.
    pub(super) fn reports(&self, now: Duration) -> Vec<StepReport> {
        let open: Vec<_> = effects::open(&self.state)
            .filter_map(|(step, stand)| {
                let errand = self.errands.get(&step.id)?;
                let is_this = (errand.attempt, errand.fence) == (stand.attempt, stand.fence);
                is_this.then_some((step, stand, errand))
            })
            .collect();
        let ended = |wave: u32| {
            let of_wave = || effects::open(&self.state).filter(move |(step, _)| step.wave == wave);
            of_wave().all(|(step, _)| self.errands.get(&step.id).is_some_and(Errand::has_ended))
        };
        let is_due = open
            .iter()
            .any(|(step, _, errand)| errand.has_ended() && (errand.presses(now) || ended(step.wave)));
        let starts = open.iter().filter_map(|(step, stand, errand)| {
            errand.start(&question(&self.state.id, &step.id, stand, HOLD), stand.runner.as_ref(), now)
        });
        let ends = open.iter().filter_map(|(.., errand)| errand.end().filter(|_| is_due).cloned());
        starts.chain(ends).collect()
    }

    fn tend_effects(&mut self, now: Moment, out: &mut Vec<Output>) {
        let mut wanted = effects::others(&self.state, self.context(now));
        let is_early = matches!(self.state.phase, Phase::Promoted | Phase::RolledBack);
        if self.bug == Some(Bug::LeaveEarly) && is_early {
            wanted.push(Effect::Wish(Wish::Leave(self.state.id.clone())));
        }
        let wanted: Vec<_> = wanted.into_iter().map(|effect| (key(&effect), effect)).collect();
        self.done.retain(|key, _| wanted.iter().any(|(wanted, _)| wanted == key));
        let mut next: Option<Duration> = None;
        for (key, effect) in wanted {
            let again = match &effect {
                Effect::Stop(_) => STOP_AGAIN,
                Effect::Wish(_) => WISH_AGAIN,
                Effect::MakeWay(_) => ASK_AGAIN,
                Effect::Send(_) | Effect::Advise(_) => self.rules.resend,
            };
            let before = self.done.get(&key);
            if let Some(done) = before.filter(|done| done.under_way || done.at + again > now.mono) {
                let at = (!done.under_way).then_some(done.at + again);
                next = next.into_iter().chain(at).min();
                continue;
            }
            let times = before.map_or(0, |done| done.times);
            self.done.insert(key.clone(), Done { at: now.mono, times, under_way: true });
            out.push(Output::Effect { key, effect, times });
        }
        self.effects_at = next;
    }

    /// Planted: steps leave before the record that schedules them is durable.
    pub(super) fn send_early(&mut self, events: &[Event], now: Moment, out: &mut Vec<Output>) {
        let mut ahead = self.state.clone();
        events.iter().for_each(|event| ahead.evolve(event, now.wall));
        for (step, stand) in effects::open(&ahead) {
            if !self.state.steps.get(&step.id).is_some_and(|stand| stand.is_open()) {
                let what = Question::Offer(Box::new(effects::job(&ahead, step, stand)));
                out.push(Output::Call { step: step.id.clone(), call: 0, what, patience: OFFER });
            }
        }
    }
}

fn key(effect: &Effect) -> String {
    match effect {
        Effect::Send(job) => format!("send {}", job.step.id),
        Effect::Stop(stop) => format!("stop {:?} {} {:?}", stop.step, stop.below, stop.kind),
        Effect::Wish(wish) => format!("wish {:?}", std::mem::discriminant(wish)),
        Effect::MakeWay(rival) => format!("ask {rival}"),
        Effect::Advise(_) => "advise".to_owned(),
    }
}
