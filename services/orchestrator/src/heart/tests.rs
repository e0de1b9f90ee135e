//! The heart without any shell: events go in, events come out.

use model::{
    DeploymentId, DeploymentSpec, Event, Outcome, Phase, Principal, Record, ReplicaId, StepKind, Timestamp,
    Verdict,
    command::{Action, Command, Submit},
    deployment::{CauseKind, Mode, StepReport},
    step::{Stage, StepResult},
    target::Hold,
};

use super::{
    Context, Policy,
    decide::{self, advance},
    effects::{Effect, effects},
    state::Deployment,
    target::{Target, Wish},
};

mod advice;
mod asked;
mod lost;
mod people;
mod plans;
mod previews;
mod signed;
mod watched;

const CANARY: &str = r#"{
  "apiVersion": "code/v1", "name": "shop", "target": "scripted",
  "modules": [{
    "name": "web", "version": "VERSION", "run": {"command": ["web", "VERSION"]}, "replicas": 4,
    "expose": {"listen": 8080}, "ports": [{"name": "http"}],
    "analysis": {"metrics": [{"name": "errors", "provider": {"errorRate": {}}, "success": "< 0.05"}], "duration": "10s"}
  }],
  "strategy": {"canary": {"steps": [{"setWeight": 10}, {"pause": {"duration": "30s"}}, {"setWeight": 50}, {"pause": {}}]}}
}"#;

/// Somebody who only says a name.
fn person(name: &str) -> Principal {
    Principal::stated(name).unwrap()
}

/// A world of one replica and obedient agents.
struct World {
    now: Timestamp,
    me: ReplicaId,
    target: Target,
    bad: Option<&'static str>,
    policy: Policy,
    approvals: Option<approval::Rulebook>,
    panel: Option<model::expert::Action>,
}

impl World {
    fn new() -> World {
        World {
            now: Timestamp(1_000_000),
            me: ReplicaId::derived("me"),
            target: Target::default(),
            bad: None,
            policy: Policy::default(),
            approvals: None,
            panel: None,
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            now: self.now,
            me: &self.me,
            target: &self.target,
            policy: self.policy,
            approvals: self.approvals.as_ref(),
        }
    }

    fn submit(&self, document: &str, id: &str) -> Deployment {
        let spec: DeploymentSpec = serde_json::from_str(document).unwrap();
        let submit =
            Submit { document: String::new(), request_id: None, plan: None, force: None, mode: Mode::Apply };
        let id = DeploymentId::derived(id);
        let record = Record {
            id: id.to_string(),
            version: 1,
            writer: self.me.to_string(),
            at: self.now,
            trace: None,
            events: vec![decide::receive(&submit, &person("ann"), spec)],
        };
        Deployment::begin(&record, 1).unwrap()
    }

    fn fold(&self, state: &mut Deployment, events: Vec<Event>) {
        let (version, seq) = (state.version + 1, state.seq + 1);
        let record = Record {
            id: state.id.to_string(),
            version,
            writer: self.me.to_string(),
            at: self.now,
            trace: None,
            events,
        };
        state.fold(&record, seq).unwrap();
    }

    /// Runs until the deployment is over or waits for a person; time passes when nothing else happens.
    fn run(&mut self, state: &mut Deployment) {
        for _ in 0..1000 {
            let events = advance(state, self.context());
            let moved = !events.is_empty();
            if moved {
                self.fold(state, events);
            }
            let mut acted = false;
            for effect in effects(state, self.context()) {
                acted |= self.perform(state, effect);
            }
            if state.is_closed() || state.phase == Phase::NeedsHuman {
                return;
            }
            if !moved && !acted {
                if waits_for_person(state) {
                    return;
                }
                self.now = decide::wake_at(state).unwrap_or_else(|| panic!("stuck in {}", state.phase));
            }
        }
        panic!("never ended: {:?}", state.phase);
    }

    /// Runs until experts are asked.
    fn until_asked(&mut self, state: &mut Deployment) {
        while state.clearance.asked.is_none() {
            let events = advance(state, self.context());
            if !events.is_empty() {
                self.fold(state, events);
            }
            for effect in effects(state, self.context()) {
                self.perform(state, effect);
            }
        }
    }

    /// Runs until the deployment is in this phase, and no further.
    fn until_phase(&mut self, state: &mut Deployment, phase: Phase) {
        for _ in 0..1000 {
            if state.phase == phase {
                return;
            }
            let events = decide::advance(state, self.context());
            if !events.is_empty() {
                self.fold(state, events);
            }
            if state.phase == phase {
                return;
            }
            for effect in effects(state, self.context()) {
                self.perform(state, effect);
            }
        }
        panic!("never {phase}: {}", state.phase);
    }

    /// Writes down what follows by itself.
    fn until_idle(&self, state: &mut Deployment) {
        let events = advance(state, self.context());
        if !events.is_empty() {
            self.fold(state, events);
        }
    }

    /// Runs until the deployment waits for the lock.
    fn until_queued(&mut self, state: &mut Deployment) {
        while !self.target.knows(&state.id) {
            let events = advance(state, self.context());
            if !events.is_empty() {
                self.fold(state, events);
            }
            for effect in effects(state, self.context()) {
                self.perform(state, effect);
            }
        }
    }

    fn perform(&mut self, state: &mut Deployment, effect: Effect) -> bool {
        match effect {
            Effect::Send(job) => {
                let bad = self.bad.is_some_and(|bad| job.step.id.as_str().contains(bad));
                if job.step.kind.is_background() && !bad {
                    return false;
                }
                let outcome = if bad { Outcome::Failed } else { Outcome::Succeeded };
                self.report(state, &job.step.id, job.attempt, outcome)
            }
            Effect::Stop(stop) => match stop.step {
                Some(step) => self.report(state, &step, state.state_of(&step).attempt, Outcome::Succeeded),
                None => false,
            },
            Effect::Wish(wish) => {
                let events = self.target.decide(&wish, self.now).unwrap();
                events.iter().for_each(|event| self.target.evolve(event));
                !events.is_empty()
            }
            Effect::MakeWay(_) => false,
            Effect::Advise(job) => self.consult(state, &job),
        }
    }

    fn report(
        &mut self,
        state: &mut Deployment,
        step: &model::StepId,
        attempt: u32,
        outcome: Outcome,
    ) -> bool {
        let report = StepReport {
            deployment: state.id.clone(),
            step: step.clone(),
            attempt,
            fence: state.state_of(step).fence,
            runner: "runner".into(),
            result: Some(StepResult::new(outcome, "as the world wants")),
        };
        let events = decide::on_report(state, &report);
        let any = !events.is_empty();
        if any {
            self.fold(state, events);
        }
        any
    }

    fn command(&mut self, state: &mut Deployment, action: Action) -> Result<(), model::Fault> {
        self.command_by("bob", state, action)
    }

    fn command_by(&mut self, by: &str, state: &mut Deployment, action: Action) -> Result<(), model::Fault> {
        let command = Command { deployment: state.id.clone(), expect: None, action };
        let events = decide::on_command(state, &command, &person(by), self.context())?;
        self.fold(state, events);
        Ok(())
    }

    /// The first release, promoted.
    fn with_v1() -> World {
        let mut world = World::new();
        let mut first = world.submit(&CANARY.replace("VERSION", "1.0.0"), "one");
        world.run(&mut first);
        assert_eq!(first.ending.verdict, Some(Verdict::Promoted), "{:?}", first.ending.cause);
        world
    }
}

fn waits_for_person(state: &Deployment) -> bool {
    state.all_steps().any(|step| {
        matches!(step.kind, StepKind::Pause { duration: None }) && state.state_of(&step.id).is_open()
    }) || state.phase == Phase::AwaitingApproval
}

#[test]
fn the_first_deployment_skips_the_canary_and_is_promoted() {
    let world = World::with_v1();

    assert_eq!(world.target.holder, None);
    assert_eq!(world.target.snapshot.unwrap().spec.modules[0].version, "1.0.0");
}

#[test]
fn a_good_canary_waits_for_the_person_and_is_promoted() {
    let mut world = World::with_v1();
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");

    world.run(&mut second);
    assert_eq!(second.phase, Phase::Executing);
    world.command(&mut second, Action::Promote { full: false }).unwrap();
    world.run(&mut second);

    assert_eq!(second.ending.verdict, Some(Verdict::Promoted), "{:?}", second.ending.cause);
    assert_eq!(world.target.snapshot.unwrap().deployment, second.id);
}

#[test]
fn a_gate_that_fails_at_any_step_rolls_back_and_quarantines() {
    let mut world = World::with_v1();
    let first = world.target.snapshot.clone();
    world.bad = Some("watch-web");
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");

    world.run(&mut second);

    assert_eq!(second.ending.verdict, Some(Verdict::RolledBack));
    assert_eq!(second.ending.cause.as_ref().unwrap().kind, CauseKind::Failed);
    assert_eq!(world.target.snapshot, first);
    assert!(world.target.quarantined.contains_key(&second.spec_digest));
    assert_eq!(world.target.holder, None);

    world.bad = None;
    let mut again = world.submit(&CANARY.replace("VERSION", "2.0.0"), "again");
    world.run(&mut again);
    assert_eq!(again.ending.verdict, Some(Verdict::Rejected));
    assert_eq!(again.ending.cause.unwrap().kind, CauseKind::Quarantined);
}

#[test]
fn refusals_say_states_in_words() {
    let mut world = World::with_v1();
    world.bad = Some("web");
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.run(&mut second);
    assert_eq!(second.phase, Phase::NeedsHuman);

    let refused = world.command(&mut second, Action::Promote { full: false }).unwrap_err();

    assert_eq!(refused.message, format!("{} needs a human: there is nothing to promote", second.id));
    assert_eq!(
        (Phase::RollingBack.to_string(), Verdict::RolledBack.to_string()),
        ("rolling back".into(), "rolled back".into())
    );
}

#[test]
fn a_person_who_stays_silent_means_rollback() {
    let mut world = World::with_v1();
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.run(&mut second);

    world.now = world.now.plus(std::time::Duration::from_secs(24 * 3600));
    world.run(&mut second);

    assert_eq!(second.ending.verdict, Some(Verdict::RolledBack));
    assert_eq!(second.ending.cause.unwrap().kind, CauseKind::Deadline);
}

#[test]
fn a_failed_check_rejects_before_anything_is_touched() {
    let mut world = World::with_v1();
    world.bad = Some("security-review");
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");

    world.run(&mut second);

    assert_eq!(second.ending.verdict, Some(Verdict::Rejected));
    assert!(!second.has_touched());
}

#[test]
fn a_way_back_that_fails_calls_a_human_and_keeps_the_lock() {
    let mut world = World::with_v1();
    world.bad = Some("web");
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");

    world.run(&mut second);
    assert_eq!(second.phase, Phase::NeedsHuman);
    assert!(world.target.holds(&second.id));

    world.bad = None;
    world.command(&mut second, Action::Retry {}).unwrap();
    world.run(&mut second);
    assert_eq!(second.ending.verdict, Some(Verdict::RolledBack));
    assert_eq!(world.target.holder, None);
}

#[test]
fn of_two_commands_with_the_same_revision_one_wins() {
    let mut world = World::with_v1();
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.run(&mut second);
    let seen = Some(second.version);
    let promote = |deployment: &Deployment| Command {
        deployment: deployment.id.clone(),
        expect: seen,
        action: Action::Promote { full: false },
    };

    let events = decide::on_command(&second, &promote(&second), &person("bob"), world.context()).unwrap();
    world.fold(&mut second, events);
    let fault = decide::on_command(&second, &promote(&second), &person("bob"), world.context()).unwrap_err();

    assert_eq!(fault.code, model::Code::Conflict);
}

#[test]
fn every_wave_raises_the_epoch() {
    let mut world = World::with_v1();
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.run(&mut second);

    let mut by_wave: Vec<(u32, u64)> = second
        .stage(Stage::Execute)
        .filter_map(|step| Some((step.wave, second.steps.get(&step.id)?.fence.epoch)))
        .collect();
    by_wave.sort_unstable();

    assert!(by_wave.windows(2).all(|pair| if pair[0].0 == pair[1].0 {
        pair[0].1 == pair[1].1
    } else {
        pair[0].1 < pair[1].1
    }));
}

const BACK: std::time::Duration = std::time::Duration::from_secs(3600);

#[test]
fn a_late_report_of_an_earlier_way_back_is_not_taken_for_the_new_one() {
    let mut world = World::with_v1();
    world.bad = Some("web");
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.run(&mut second);
    assert_eq!(second.phase, Phase::NeedsHuman);
    let (step, stand) = second
        .retreat
        .steps
        .iter()
        .find_map(|step| Some((step.id.clone(), second.steps.get(&step.id)?.clone())))
        .unwrap();

    world.command(&mut second, Action::Retry {}).unwrap();
    let events = advance(&second, world.context());
    world.fold(&mut second, events);
    let late = StepReport {
        deployment: second.id.clone(),
        step: step.clone(),
        attempt: second.state_of(&step).attempt,
        fence: stand.fence,
        runner: "runner".into(),
        result: Some(StepResult::new(Outcome::Succeeded, "of the first try")),
    };

    assert!(second.state_of(&step).is_open());
    assert_eq!(decide::on_report(&second, &late), vec![]);
}

#[test]
fn one_that_waited_behind_a_rolled_back_release_of_the_same_spec_is_refused_too() {
    let mut world = World::with_v1();
    world.bad = Some("watch-web");
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    let mut same = world.submit(&CANARY.replace("VERSION", "2.0.0"), "same");
    let events = world.target.decide(&Wish::Hold { by: person("ann"), reason: "later".into() }, world.now);
    events.unwrap().iter().for_each(|event| world.target.evolve(event));
    world.until_queued(&mut second);
    world.until_queued(&mut same);
    let events = world.target.decide(&Wish::Unhold { by: person("ann") }, world.now);
    events.unwrap().iter().for_each(|event| world.target.evolve(event));

    world.run(&mut second);
    world.bad = None;
    world.run(&mut same);

    assert_eq!(second.ending.verdict, Some(Verdict::RolledBack));
    assert_eq!(same.ending.verdict, Some(Verdict::Rejected));
    assert_eq!(same.ending.cause.unwrap().kind, CauseKind::Quarantined);
    assert_eq!(world.target.holder, None);
}

#[test]
fn who_finds_the_queue_full_is_refused() {
    let mut world = World::with_v1();
    world.target.held = Some(Hold { by: person("ann"), reason: "later".into(), at: world.now });
    world.target.queue =
        (0..model::limits::TARGET_QUEUE).map(|n| DeploymentId::derived(&n.to_string())).collect();
    let mut late = world.submit(&CANARY.replace("VERSION", "2.0.0"), "late");

    world.run(&mut late);

    assert_eq!(late.ending.verdict, Some(Verdict::Rejected));
    assert_eq!(late.ending.cause.unwrap().kind, CauseKind::Busy);
}

#[test]
fn without_gates_only_a_release_that_ran_well_is_gone_back_to() {
    let mut world = World::with_v1();
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.run(&mut second);
    world.command(&mut second, Action::Promote { full: false }).unwrap();
    world.run(&mut second);

    let mut back = world.submit(&CANARY.replace("VERSION", "1.0.0"), "back");
    back.mode = Mode::Rollback;
    world.run(&mut back);
    let mut never = world.submit(&CANARY.replace("VERSION", "6.6.6"), "never");
    never.mode = Mode::Rollback;
    world.run(&mut never);

    assert_eq!(back.ending.verdict, Some(Verdict::Promoted), "{:?}", back.ending.cause);
    assert_eq!(never.ending.verdict, Some(Verdict::Rejected));
    assert!(!never.has_touched());
}

#[test]
fn where_nothing_can_be_undone_a_person_is_called_and_what_is_under_way_is_stopped() {
    let mut world = World::with_v1();
    let hooks = r#""hooks": [{"name": "migrate", "when": "beforeDeploy", "command": ["migrate"], "irreversible": true}],
      "strategy""#;
    let document = CANARY.replace("VERSION", "2.0.0").replace(r#""strategy""#, hooks);
    let mut second = world.submit(&document, "two");
    world.run(&mut second);
    assert_eq!(second.phase, Phase::Executing, "waits for a person");
    world.now = world.now.plus(std::time::Duration::from_secs(24 * 3600));
    world.run(&mut second);

    assert_eq!(second.phase, Phase::NeedsHuman);
    assert_eq!(second.ending.cause.as_ref().map(|cause| cause.kind), Some(CauseKind::Deadline));
    let under_way: Vec<_> = second.steps.values().filter(|stand| stand.is_open()).collect();
    assert!(!under_way.is_empty(), "the background analysis");
    let stops: Vec<_> = effects(&second, world.context())
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Stop(stop) => Some(stop.below),
            _ => None,
        })
        .collect();
    assert!(stops.iter().any(|below| under_way.iter().all(|stand| stand.fence < *below)), "{stops:?}");
    assert!(world.target.quarantined.contains_key(&second.spec_digest));
    assert!(world.command(&mut second, Action::Retry {}).is_err());

    world.command(&mut second, Action::Close { reason: "repaired".into() }).unwrap();
    world.run(&mut second);
    assert_eq!(second.ending.verdict, Some(Verdict::NeedsHuman));
    assert_eq!(world.target.holder, None);
}

#[test]
fn a_pause_is_over_when_the_way_back_begins() {
    let mut world = World::with_v1();
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.run(&mut second);
    world.command(&mut second, Action::Pause {}).unwrap();
    world.command(&mut second, Action::Abort { reason: "enough".into() }).unwrap();

    world.run(&mut second);

    assert_eq!(second.ending.verdict, Some(Verdict::RolledBack), "{:?}", second.ending.stuck);
    assert!(!world.target.quarantined.contains_key(&second.spec_digest), "an operator's abort says nothing");
}

#[test]
fn one_that_is_paused_while_it_is_checked_does_not_wait_for_ever() {
    let mut world = World::with_v1();
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.command(&mut second, Action::Pause {}).unwrap();
    let events = advance(&second, world.context());
    world.fold(&mut second, events);
    assert_eq!(second.phase, Phase::Planned);

    let wakes = decide::wake_at(&second).expect("a deadline");
    assert!(wakes >= world.now.plus(BACK), "a person has time");
    world.now = wakes;
    world.run(&mut second);

    assert_eq!(second.ending.verdict, Some(Verdict::Rejected));
    assert_eq!(second.ending.cause.unwrap().kind, CauseKind::Deadline);
}

#[test]
fn a_full_promotion_does_not_wave_a_failed_background_analysis_through() {
    let mut world = World::with_v1();
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.run(&mut second);
    world.bad = Some("watch-web");
    world.command(&mut second, Action::Promote { full: true }).unwrap();

    world.run(&mut second);

    assert_eq!(second.ending.verdict, Some(Verdict::RolledBack));
}

#[test]
fn a_forced_release_that_is_promoted_lifts_the_quarantine() {
    let mut world = World::with_v1();
    world.bad = Some("watch-web");
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.run(&mut second);
    assert_eq!(world.target.quarantined.len(), 1);

    world.bad = None;
    let mut forced = world.submit(&CANARY.replace("VERSION", "2.0.0"), "forced");
    forced.force = Some("the probe was wrong".into());
    world.run(&mut forced);
    world.command(&mut forced, Action::Promote { full: false }).unwrap();
    world.run(&mut forced);

    assert_eq!(forced.ending.verdict, Some(Verdict::Promoted), "{:?}", forced.ending.cause);
    assert_eq!(world.target.quarantined.len(), 0);
}

#[test]
fn applying_what_runs_again_looks_at_every_module_and_is_never_quarantined() {
    let mut world = World::with_v1();
    let mut again = world.submit(&CANARY.replace("VERSION", "1.0.0"), "again");
    world.run(&mut again);
    assert_eq!(again.ending.verdict, Some(Verdict::Promoted));
    assert!(again.stage(Stage::Execute).any(|step| matches!(step.kind, StepKind::Scale { count: 4, .. })));

    world.bad = Some("validator-validate");
    let mut failing = world.submit(&CANARY.replace("VERSION", "1.0.0"), "failing");
    world.run(&mut failing);

    assert!(world.target.quarantined.is_empty());
}
