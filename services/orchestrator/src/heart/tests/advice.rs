//! Experts and their gate.

use std::time::Duration;

use model::{
    expert::{self, AdviceReport, PlanAdvice},
    spec::GateMode,
};

use super::*;

impl World {
    /// Experts who say this when they are asked; none: they never answer.
    fn with_experts(panel: Option<expert::Action>) -> World {
        World { panel, ..World::with_v1() }
    }

    pub(super) fn consult(&mut self, state: &mut Deployment, job: &model::expert::AdviceJob) -> bool {
        let Some(action) = self.panel else { return false };
        let report = report(state, action);
        assert_eq!(job.matter.plan.digest(), report.plan);
        let events = decide::on_advice(state, &report);
        let any = !events.is_empty();
        if any {
            self.fold(state, events);
        }
        any
    }
}

fn report(state: &Deployment, action: expert::Action) -> AdviceReport {
    let advice = PlanAdvice {
        question: state.id.as_str().parse().unwrap(),
        consultation: None,
        source: "rules".into(),
        action,
        reason: "as the test wants".into(),
        voices: Vec::new(),
        findings: Vec::new(),
        votes: 5,
        effective_votes: 2.0,
        turns_without: Default::default(),
        strategies: Vec::new(),
        canary_steps_pct: Vec::new(),
        bake_minutes: 0,
        cost_micro_usd: 0,
        took_ms: 1,
    };
    AdviceReport { deployment: state.id.clone(), plan: state.change.digest.clone().unwrap(), advice }
}

fn gated(gate: &str) -> String {
    CANARY.replace("VERSION", "2.0.0").replace(
        r#""target": "scripted","#,
        &format!(r#""target": "scripted", "gates": {{"experts": "{gate}"}},"#),
    )
}

/// How a release under this gate ends, given what experts say.
fn end(gate: &str, panel: Option<expert::Action>) -> Deployment {
    let mut world = World::with_experts(panel);
    let mut second = world.submit(&gated(gate), "two");
    world.run(&mut second);
    if second.phase == Phase::Executing {
        world.command(&mut second, Action::Promote { full: true }).unwrap();
        world.run(&mut second);
    }
    second
}

const ALL: [Option<expert::Action>; 6] = [
    None,
    Some(expert::Action::Approve),
    Some(expert::Action::Reject),
    Some(expert::Action::NeedsChange),
    Some(expert::Action::Escalate),
    Some(expert::Action::NoQuorum),
];

#[test]
fn advice_never_blocks_whatever_it_says_or_if_it_says_nothing() {
    for panel in ALL {
        let ended = end("advise", panel);

        assert_eq!(ended.ending.verdict, Some(Verdict::Promoted), "{panel:?}: {:?}", ended.ending.cause);
        assert_eq!(ended.clearance.counsel.is_some(), panel.is_some());
    }
}

#[test]
fn a_required_approval_is_an_approval_and_nothing_else() {
    for panel in ALL {
        let ended = end("require", panel);

        if panel == Some(expert::Action::Approve) {
            assert_eq!(ended.ending.verdict, Some(Verdict::Promoted), "{:?}", ended.ending.cause);
            continue;
        }
        assert_eq!(ended.ending.verdict, Some(Verdict::Rejected), "{panel:?}");
        assert_eq!(ended.ending.cause.as_ref().unwrap().kind, CauseKind::Advice);
        assert!(!ended.has_touched());
    }
}

#[test]
fn the_policy_can_be_stricter_than_the_spec_but_not_milder() {
    let mut world = World::with_experts(Some(expert::Action::Reject));
    world.policy.experts = GateMode::Require;
    let mut mild = world.submit(&gated("off"), "mild");
    world.run(&mut mild);

    world.policy.experts = GateMode::Advise;
    let mut strict = world.submit(&gated("require"), "strict");
    world.run(&mut strict);

    assert_eq!(mild.ending.cause.unwrap().kind, CauseKind::Advice);
    assert_eq!(strict.ending.cause.unwrap().kind, CauseKind::Advice);
}

#[test]
fn the_gate_that_was_journalled_counts_whatever_the_policy_is_later() {
    let mut world = World::with_experts(None);
    world.policy.experts = GateMode::Require;
    let mut second = world.submit(&gated("off"), "two");
    world.until_asked(&mut second);

    world.policy = Policy::default();
    world.run(&mut second);

    assert_eq!(second.ending.cause.unwrap().kind, CauseKind::Advice);
}

#[test]
fn experts_are_not_asked_when_a_check_has_failed() {
    let mut world = World::with_experts(Some(expert::Action::Approve));
    world.bad = Some("security-review");
    let mut second = world.submit(&gated("require"), "two");

    world.run(&mut second);

    assert_eq!(second.ending.verdict, Some(Verdict::Rejected));
    assert_eq!(second.clearance.asked, None);
}

#[test]
fn a_way_back_asks_nobody() {
    let mut world = World::with_experts(Some(expert::Action::Reject));
    world.policy.experts = GateMode::Require;
    let mut back = world.submit(&CANARY.replace("VERSION", "1.0.0"), "back");
    back.mode = Mode::Rollback;

    world.run(&mut back);

    assert_eq!(back.ending.verdict, Some(Verdict::Promoted), "{:?}", back.ending.cause);
    assert_eq!(back.clearance.asked, None);
}

#[test]
fn advice_on_another_plan_or_too_late_changes_nothing() {
    let mut world = World::with_experts(None);
    let mut second = world.submit(&gated("require"), "two");
    world.until_asked(&mut second);

    let mut foreign = report(&second, expert::Action::Approve);
    foreign.plan = model::Digest::of_bytes(b"another plan");
    assert_eq!(decide::on_advice(&second, &foreign), []);

    let approval = report(&second, expert::Action::Approve);
    world.now = world.now.plus(Duration::from_secs(61));
    world.run(&mut second);
    assert_eq!(decide::on_advice(&second, &approval), []);
    assert_eq!(second.ending.verdict, Some(Verdict::Rejected));
}

#[test]
fn the_asking_is_journalled_before_it_is_an_effect() {
    let mut world = World::with_experts(None);
    let mut second = world.submit(&gated("advise"), "two");

    world.until_asked(&mut second);

    let asked = effects(&second, world.context());
    assert!(matches!(asked.as_slice(), [Effect::Advise(job)] if job.deployment == second.id), "{asked:?}");
    assert_eq!(decide::wake_at(&second), second.clearance.asked.map(|inquiry| inquiry.until));
}
