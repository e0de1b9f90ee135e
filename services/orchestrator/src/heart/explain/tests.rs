//! What a person reads in every state in which a deployment waits or ends. Ids and digests stand as `ID`, `HOLDER`,
//! `FIRST` and `PLAN`; times are counted in seconds from the beginning of the world.

use std::collections::BTreeMap;

use model::{
    DeploymentId, DeploymentSpec, Event, GateResult, Outcome, Phase, Principal, Record, ReplicaId, StepKind,
    Timestamp, Verdict,
    command::{Action, Command, Submit},
    deployment::{Mode, StepReport},
    step::StepResult,
};

use crate::heart::{
    Context, Policy,
    decide::{self, advance},
    effects::{Effect, effects},
    state::Deployment,
    target::{Target, Wish},
};

use super::explain;

mod over;

const SPEC: &str = r#"{
  "apiVersion": "code/v1", "name": "shop", "target": "scripted", EXTRA
  "modules": [{
    "name": "web", "version": "VERSION", "run": {"command": ["web", "VERSION"]}, "replicas": 2,
    "expose": {"listen": 8080}, "ports": [{"name": "http"}]
  }],
  "strategy": {"canary": {"steps": [
    {"setWeight": 10}, {"pause": {"duration": "30s"}},
    {"analysis": {"duration": "10s", "metrics": [{"name": "errors", "provider": {"errorRate": {}}, "success": "< 0.05"}]}},
    {"setWeight": 50}, {"pause": {}}
  ]}}
}"#;

/// Somebody who only says a name.
fn person(name: &str) -> Principal {
    Principal::stated(name).unwrap()
}

const BEGIN: Timestamp = Timestamp(1_767_225_600_000);

/// One replica, one target, and agents that answer as they are told; a step nobody speaks of succeeds.
struct World {
    now: Timestamp,
    me: ReplicaId,
    target: Target,
    /// Answers by a part of the step's id; `None` means that nobody answers.
    answers: BTreeMap<&'static str, Option<StepResult>>,
}

impl World {
    /// With release 1.0.0 promoted by `FIRST`.
    fn new() -> World {
        let me = ReplicaId::derived("me");
        let mut world = World { now: BEGIN, me, target: Target::default(), answers: BTreeMap::new() };
        let mut first = world.submit("first", "1.0.0", "");
        world.run(&mut first);
        assert_eq!(first.ending.verdict, Some(Verdict::Promoted), "{:?}", first.ending.cause);
        world.now = BEGIN;
        world
    }

    fn context(&self) -> Context<'_> {
        Context {
            now: self.now,
            me: &self.me,
            target: &self.target,
            policy: Policy::default(),
            approvals: None,
        }
    }

    fn submit(&self, id: &str, version: &str, extra: &str) -> Deployment {
        self.submit_with(id, version, extra, |submit| submit)
    }

    fn submit_with(
        &self,
        id: &str,
        version: &str,
        extra: &str,
        how: impl Fn(Submit) -> Submit,
    ) -> Deployment {
        let document = SPEC.replace("VERSION", version).replace("EXTRA", extra);
        let spec: DeploymentSpec = serde_json::from_str(&document).unwrap();
        let submit = how(Submit { document, request_id: None, plan: None, force: None, mode: Mode::Apply });
        let id = DeploymentId::derived(id);
        let record = self.record(&id, 1, vec![decide::receive(&submit, &person("ann"), spec)]);
        Deployment::begin(&record, 1).unwrap()
    }

    fn record(&self, id: &DeploymentId, version: u64, events: Vec<Event>) -> Record {
        Record { id: id.to_string(), version, writer: self.me.to_string(), at: self.now, trace: None, events }
    }

    fn fold(&self, state: &mut Deployment, events: Vec<Event>) {
        if !events.is_empty() {
            let record = self.record(&state.id.clone(), state.version + 1, events);
            state.fold(&record, state.seq + 1).unwrap();
        }
    }

    /// Goes on until nothing happens without time or a person.
    fn settle(&mut self, state: &mut Deployment) {
        for _ in 0..1000 {
            let events = advance(state, self.context());
            let mut moved = !events.is_empty();
            self.fold(state, events);
            for effect in effects(state, self.context()) {
                moved |= self.perform(state, effect);
            }
            if !moved {
                return;
            }
        }
        panic!("never settles: {:?}", state.phase);
    }

    /// Lets time pass until it is over or waits for a person.
    fn run(&mut self, state: &mut Deployment) {
        for _ in 0..1000 {
            self.settle(state);
            let waits = state.all_steps().any(|step| {
                matches!(step.kind, StepKind::Pause { duration: None }) && state.state_of(&step.id).is_open()
            });
            match decide::wake_at(state).filter(|_| !waits) {
                Some(at) => self.now = at,
                None => return,
            }
        }
        panic!("never ends: {:?}", state.phase);
    }

    fn perform(&mut self, state: &mut Deployment, effect: Effect) -> bool {
        let (step, attempt) = match effect {
            Effect::Send(job) => (job.step.id.clone(), job.attempt),
            Effect::Wish(wish) => return self.wish(&wish),
            Effect::Stop(_) | Effect::MakeWay(_) | Effect::Advise(_) => return false,
        };
        let told = self.answers.iter().find(|(part, _)| step.as_str().contains(**part));
        let result = match told {
            Some((_, None)) => return false,
            Some((_, Some(result))) => result.clone(),
            None => StepResult::new(Outcome::Succeeded, "fine"),
        };
        let report = StepReport {
            deployment: state.id.clone(),
            fence: state.state_of(&step).fence,
            step,
            attempt,
            runner: "runner".into(),
            result: Some(result),
        };
        let events = decide::on_report(state, &report);
        let any = !events.is_empty();
        self.fold(state, events);
        any
    }

    fn wish(&mut self, wish: &Wish) -> bool {
        let events = self.target.decide(wish, self.now).unwrap();
        events.iter().for_each(|event| self.target.evolve(event));
        !events.is_empty()
    }

    fn command(&mut self, state: &mut Deployment, by: &str, action: Action) {
        let command = Command { deployment: state.id.clone(), expect: None, action };
        let events = decide::on_command(state, &command, &person(by), self.context()).unwrap();
        self.fold(state, events);
    }

    /// As a person reads it.
    fn said(&self, state: &Deployment) -> String {
        let said = explain(state, &self.target, self.now);
        let mut lines = vec![said.headline];
        lines.extend(said.details.into_iter().map(|line| format!("  {line}")));
        lines.extend(said.unblocked_by.into_iter().map(|line| format!("  > {line}")));
        if let Some((until, then)) = said.next_deadline {
            lines.push(format!("  ! {until}: {then}"));
        }
        let mut text = lines.join("\n");
        let plan = state.change.digest.as_ref().map(ToString::to_string).unwrap_or("no plan".to_owned());
        for (from, to) in [
            (state.id.to_string(), "ID"),
            (DeploymentId::derived("first").to_string(), "FIRST"),
            (DeploymentId::derived("holder").to_string(), "HOLDER"),
            (plan, "PLAN"),
        ] {
            text = text.replace(&from, to);
        }
        text
    }
}

fn result(outcome: Outcome, reason: &str) -> Option<StepResult> {
    Some(StepResult::new(outcome, reason))
}

fn bad_gate() -> Option<StepResult> {
    let gate = GateResult {
        gate: "errors".into(),
        outcome: Outcome::Failed,
        measured: Some(0.3),
        limit: "< 0.05".into(),
        samples: 20,
        text: "errors 30 % of 20 requests, limit < 5 %".into(),
        at: BEGIN,
        evidence: None,
    };
    let reason = gate.text.clone();
    Some(StepResult { gates: vec![gate], ..StepResult::new(Outcome::Failed, reason) })
}

fn said_is(said: &str, expected: &str) {
    let expected: Vec<&str> = expected.trim().lines().collect();
    let indent = expected.iter().skip(1).map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let expected: Vec<String> = expected
        .iter()
        .enumerate()
        .map(|(at, line)| if at == 0 { (*line).to_owned() } else { format!("  {}", &line[indent..]) })
        .collect();
    assert_eq!(said, expected.join("\n"), "\n--- is\n{said}\n--- should be\n{}", expected.join("\n"));
}

#[test]
fn awaiting_approval_names_the_command_and_who_may_type_it() {
    let mut world = World::new();
    let mut two = world.submit("two", "2.0.0", r#""gates": {"approvals": {"required": 2}},"#);
    world.settle(&mut two);
    let plan = two.change.digest.clone().unwrap();
    world.command(&mut two, "bob", Action::Approve { plan, signed: None });

    said_is(
        &world.said(&two),
        "
        waits for people to approve the plan: 1 of 2 did
          approved by bob (unauthenticated)
          > codectl approve ID --plan PLAN  (anyone but ann (unauthenticated), who asked for it)
          ! 2026-01-02T00:00:00.000Z: it is rejected, nothing was touched",
    );
}

#[test]
fn queued_names_the_holder_the_person_and_the_place() {
    let mut world = World::new();
    let mut holder = world.submit("holder", "1.5.0", "");
    world.settle(&mut holder);
    world.wish(&Wish::Hold { by: person("bob"), reason: "friday".into() });
    let mut two = world.submit("two", "2.0.0", "");
    world.settle(&mut two);

    assert_eq!(two.phase, Phase::Queued);
    said_is(
        &world.said(&two),
        "
        waits for the target's lock
          HOLDER holds the lock (token 2)
          bob (unauthenticated) holds the target: friday
          place 1 of 1 in the queue
          > the end of HOLDER: see codectl explain HOLDER
          > codectl lock release default.scripted.shop
          ! 2026-01-02T00:00:00.000Z: it is rejected, nothing was touched",
    );
}

#[test]
fn executing_names_the_step_the_agent_and_the_deadline() {
    let mut world = World::new();
    world.answers.insert("scale", None);
    let mut two = world.submit("two", "2.0.0", "");
    world.settle(&mut two);
    let revision = two.change.plan.as_ref().unwrap().changes[0].to.clone().unwrap();

    said_is(
        &world.said(&two).replace(revision.as_str(), "NEW"),
        "
        the change is under way: run 1 × web NEW
          0 of 9 steps of this part are done
          s04-scale-1-web: run 1 × web NEW: no deployer agent has taken it yet, attempt 1
          ! 2026-01-01T00:10:00.000Z: s04-scale-1-web took too long: it rolls back",
    );
}

#[test]
fn a_step_that_erred_says_so_and_that_it_is_tried_again() {
    let mut world = World::new();
    world.answers.insert("scale", result(Outcome::Errored, "the disk is full"));
    let mut two = world.submit("two", "2.0.0", "");
    world.settle(&mut two);

    said_is(
        &world.said(&two),
        "
        the change is under way
          0 of 9 steps of this part are done
          s04-scale-1-web: attempt 1 erred and is tried again: the disk is full
          ! 2026-01-01T01:00:00.000Z: the deployment took longer than 1h: it rolls back",
    );
}

#[test]
fn a_timed_pause_says_when_it_goes_on() {
    let mut world = World::new();
    let mut two = world.submit("two", "2.0.0", "");
    world.settle(&mut two);

    said_is(
        &world.said(&two),
        "
        pauses 30s before it goes on
          3 of 9 steps of this part are done
          s07-pause pauses 30s
          > time alone
          > codectl promote ID  (ends this pause now)
          ! 2026-01-01T00:00:30.000Z: it goes on by itself",
    );
}

#[test]
fn a_pause_for_a_person_names_the_command_and_the_human_deadline() {
    let mut world = World::new();
    let mut two = world.submit("two", "2.0.0", "");
    world.run(&mut two);
    let promote = format!("codectl promote ID --expect {}", two.version);

    said_is(
        &world.said(&two).replace(&promote, "PROMOTE"),
        "
        waits for a person to let it go on
          6 of 9 steps of this part are done
          s10-pause waits for a person
          > PROMOTE
          ! 2026-01-02T00:00:30.000Z: nobody promoted it: it rolls back",
    );
}

#[test]
fn paused_by_an_operator_names_who_and_how_to_resume() {
    let mut world = World::new();
    let mut two = world.submit("two", "2.0.0", "");
    world.settle(&mut two);
    world.command(&mut two, "bob", Action::Pause {});

    said_is(
        &world.said(&two),
        "
        paused by bob (unauthenticated): nothing new is begun
          3 of 9 steps of this part are done
          s07-pause pauses 30s
          > codectl resume ID
          > time alone
          > codectl promote ID  (ends this pause now)
          ! 2026-01-01T00:00:30.000Z: it goes on by itself",
    );
}

#[test]
fn rolling_back_names_the_gate_the_way_and_when_a_person_is_called() {
    let mut world = World::new();
    world.answers.insert("analyse", bad_gate());
    world.answers.insert("r01", None);
    let mut two = world.submit("two", "2.0.0", "");
    world.settle(&mut two);
    world.now = BEGIN.plus(std::time::Duration::from_secs(30));
    world.settle(&mut two);
    let old = two.change.plan.as_ref().unwrap().changes[0].from.clone().unwrap();

    said_is(
        &world.said(&two).replace(old.as_str(), "OLD"),
        "
        rolling back: analyse web: errors 30 % of 20 requests, limit < 5 %
          gate: errors failed: measured 0.3, limit < 0.05 (20 samples)
          step: s08-analyse-web, analyse web, attempt 1
          at: 2026-01-01T00:00:30.000Z
          back to: web 1.0.0 of FIRST
          1 of 4 steps of this part are done
          r01-weight-100-web: traffic of web to OLD 100%: no deployer agent has taken it yet, attempt 1
          ! 2026-01-01T00:05:30.000Z: a person is called",
    );
}

#[test]
fn needs_human_names_both_causes_and_both_ways_on() {
    let mut world = World::new();
    world.answers.insert("analyse", bad_gate());
    world.answers.insert("r03", result(Outcome::Failed, "web-1 does not end"));
    let mut two = world.submit("two", "2.0.0", "");
    world.run(&mut two);
    assert_eq!(two.phase, Phase::NeedsHuman);
    let new = two.change.plan.as_ref().unwrap().changes[0].to.clone().unwrap();
    let stuck = two.ending.stuck.as_ref().unwrap();
    let (at, attempts) = (stuck.at.to_string(), two.state_of(stuck.step.as_ref().unwrap()).attempt);
    let said = world.said(&two).replace(new.as_str(), "NEW").replace(&at, "THEN");

    said_is(
        &said.replace(&format!("attempt {attempts}"), "attempt LAST"),
        "
        a person must look: remove web NEW: web-1 does not end
          it turned back because: analyse web: errors 30 % of 20 requests, limit < 5 %
          gate: errors failed: measured 0.3, limit < 0.05 (20 samples)
          step: s08-analyse-web, analyse web, attempt 1
          at: 2026-01-01T00:00:30.000Z
          stuck at: r03-scale-0-web, remove web NEW, attempt LAST
          since: THEN
          good release: web 1.0.0 of FIRST
          default.scripted.shop stays locked (token 2) until then
          > codectl retry ID  (tries the way back again)
          > codectl abort ID --close  (once it is set right by hand)",
    );
}

#[test]
fn a_deployment_without_an_owner_says_who_comes() {
    let mut world = World::new();
    let mut two = world.submit("two", "2.0.0", r#""gates": {"approvals": {"required": 1}},"#);
    world.settle(&mut two);
    let events = decide::release(&two, &world.me);
    world.fold(&mut two, events);

    assert!(world.said(&two).contains("nobody drives it; the next orchestrator that looks claims it"));
}
