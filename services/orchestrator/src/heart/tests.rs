//! The heart without any shell: events go in, events come out.

use model::{
    DeploymentId, DeploymentSpec, Event, Outcome, Phase, Record, ReplicaId, StepKind, Timestamp, Verdict,
    command::{Action, Command, Submit},
    deployment::{CauseKind, Mode, StepReport},
    step::{Stage, StepResult},
};

use super::{
    Context,
    decide::{self, advance},
    effects::{Effect, effects},
    state::Deployment,
    target::Target,
};

const CANARY: &str = r#"{
  "apiVersion": "code/v1", "name": "shop", "target": "scripted",
  "modules": [{
    "name": "web", "version": "VERSION", "run": {"command": ["web", "VERSION"]}, "replicas": 4,
    "expose": {"listen": 8080}, "ports": [{"name": "http"}],
    "analysis": {"metrics": [{"name": "errors", "provider": {"errorRate": {}}, "success": "< 0.05"}], "duration": "10s"}
  }],
  "strategy": {"canary": {"steps": [{"setWeight": 10}, {"pause": {"duration": "30s"}}, {"setWeight": 50}, {"pause": {}}]}}
}"#;

/// A world of one replica and obedient agents.
struct World {
    now: Timestamp,
    me: ReplicaId,
    target: Target,
    bad: Option<&'static str>,
}

impl World {
    fn new() -> World {
        World {
            now: Timestamp(1_000_000),
            me: ReplicaId::derived("me"),
            target: Target::default(),
            bad: None,
        }
    }

    fn context(&self) -> Context<'_> {
        Context { now: self.now, me: &self.me, target: &self.target }
    }

    fn submit(&self, document: &str, id: &str) -> Deployment {
        let spec: DeploymentSpec = serde_json::from_str(document).unwrap();
        let submit = Submit {
            document: String::new(),
            initiator: "ann".into(),
            request_id: None,
            plan: None,
            force: None,
            mode: Mode::Apply,
        };
        let id = DeploymentId::derived(id);
        let record = Record {
            id: id.to_string(),
            version: 1,
            writer: self.me.to_string(),
            at: self.now,
            trace: None,
            events: vec![decide::receive(&submit, spec)],
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

    fn perform(&mut self, state: &mut Deployment, effect: Effect) -> bool {
        match effect {
            Effect::Send(job) => {
                if matches!(job.step.kind, StepKind::Analyse { background: true, .. }) && self.bad.is_none() {
                    return false;
                }
                let bad = self.bad.is_some_and(|bad| job.step.id.as_str().contains(bad));
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
            Effect::Ask(_) => false,
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
        let command = Command { deployment: state.id.clone(), expect: None, by: "bob".into(), action };
        let events = decide::on_command(state, &command, self.context())?;
        self.fold(state, events);
        Ok(())
    }

    /// The first release, promoted.
    fn with_v1() -> World {
        let mut world = World::new();
        let mut first = world.submit(&CANARY.replace("VERSION", "1.0.0"), "one");
        world.run(&mut first);
        assert_eq!(first.verdict, Some(Verdict::Promoted), "{:?}", first.cause);
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

    assert_eq!(second.verdict, Some(Verdict::Promoted), "{:?}", second.cause);
    assert_eq!(world.target.snapshot.unwrap().deployment, second.id);
}

#[test]
fn a_gate_that_fails_at_any_step_rolls_back_and_quarantines() {
    let mut world = World::with_v1();
    let first = world.target.snapshot.clone();
    world.bad = Some("watch-web");
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");

    world.run(&mut second);

    assert_eq!(second.verdict, Some(Verdict::RolledBack));
    assert_eq!(second.cause.as_ref().unwrap().kind, CauseKind::Failed);
    assert_eq!(world.target.snapshot, first);
    assert!(world.target.quarantined.contains_key(&second.spec_digest));
    assert_eq!(world.target.holder, None);

    world.bad = None;
    let mut again = world.submit(&CANARY.replace("VERSION", "2.0.0"), "again");
    world.run(&mut again);
    assert_eq!(again.verdict, Some(Verdict::Rejected));
    assert_eq!(again.cause.unwrap().kind, CauseKind::Quarantined);
}

#[test]
fn a_person_who_stays_silent_means_rollback() {
    let mut world = World::with_v1();
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.run(&mut second);

    world.now = world.now.plus(std::time::Duration::from_secs(24 * 3600));
    world.run(&mut second);

    assert_eq!(second.verdict, Some(Verdict::RolledBack));
    assert_eq!(second.cause.unwrap().kind, CauseKind::Deadline);
}

#[test]
fn a_failed_check_rejects_before_anything_is_touched() {
    let mut world = World::with_v1();
    world.bad = Some("security-review");
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");

    world.run(&mut second);

    assert_eq!(second.verdict, Some(Verdict::Rejected));
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
    assert_eq!(second.verdict, Some(Verdict::RolledBack));
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
        by: "bob".into(),
        action: Action::Promote { full: false },
    };

    let events = decide::on_command(&second, &promote(&second), world.context()).unwrap();
    world.fold(&mut second, events);
    let fault = decide::on_command(&second, &promote(&second), world.context()).unwrap_err();

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
