//! Who may do what: four eyes, N of M, and what only the engine says.

use super::*;

const GATED: &str = r#"{
  "apiVersion": "code/v1", "name": "shop", "target": "scripted",
  "modules": [{"name": "web", "version": "VERSION", "run": {"command": ["web", "VERSION"]}, "replicas": 2}],
  "gates": {"approvals": {"required": 2, "from": FROM}}
}"#;

/// A release that waits for two approvals, in a world where 1.0.0 runs.
fn waiting(from: &str) -> (World, Deployment, Action) {
    let mut world = World::with_v1();
    let mut two = world.submit(&GATED.replace("VERSION", "2.0.0").replace("FROM", from), "two");
    world.until_phase(&mut two, Phase::AwaitingApproval);
    let plan = two.change.digest.clone().unwrap();
    (world, two, Action::Approve { plan, signed: None })
}

#[test]
fn whoever_approves_twice_counts_once() {
    let (mut world, mut two, approve) = waiting("[]");

    world.command_by("bob", &mut two, approve.clone()).unwrap();
    world.command_by("bob", &mut two, approve.clone()).unwrap();
    let again = decide::on_command(
        &two,
        &Command { deployment: two.id.clone(), expect: None, action: approve.clone() },
        &person("bob"),
        world.context(),
    );

    assert_eq!(again.unwrap(), vec![], "a second time is written");
    assert_eq!(two.clearance.approvals.len(), 1);
    assert_eq!(advance(&two, world.context()), vec![], "one person is taken for two");
    world.command_by("eve", &mut two, approve).unwrap();
    world.run(&mut two);
    assert_eq!(two.ending.verdict, Some(Verdict::Promoted), "{:?}", two.ending.cause);
}

#[test]
fn a_journal_that_has_an_approval_twice_has_one() {
    let (world, mut two, _) = waiting("[]");
    let approved =
        Event::Approved { by: person("bob"), plan: two.change.digest.clone().unwrap(), signed: None };

    world.fold(&mut two, vec![approved.clone(), approved]);

    assert_eq!(two.clearance.approvals.len(), 1);
    assert_eq!(advance(&two, world.context()), vec![]);
}

#[test]
fn nobody_approves_what_they_asked_for() {
    let (mut world, mut two, approve) = waiting("[]");

    let fault = world.command_by("ann", &mut two, approve).unwrap_err();

    assert_eq!(fault.code, model::Code::Denied);
    assert_eq!(fault.message, format!("ann (unauthenticated) asked for {} and so cannot approve it", two.id));
    assert!(two.clearance.approvals.is_empty());
}

#[test]
fn only_people_who_are_named_approve() {
    let (world, two, approve) = waiting(r#"["bob", "unauthenticated:eve"]"#);
    let command = Command { deployment: two.id.clone(), expect: None, action: approve };
    let by = |who: &str| {
        let who = who.parse::<Principal>().unwrap();
        decide::on_command(&two, &command, &who, world.context()).map(|events| events.len())
    };

    assert_eq!(by("unauthenticated:bob"), Ok(1));
    assert_eq!(by("unauthenticated:eve"), Ok(1));
    for who in
        ["unauthenticated:mallory", "unauthenticated:Bob", "event-source:bob", "engine:orchestrator/rep-1"]
    {
        assert_eq!(by(who).unwrap_err().code, model::Code::Denied, "{who}");
    }
}

#[test]
fn a_service_or_an_event_is_no_second_pair_of_eyes() {
    let (world, two, approve) = waiting("[]");
    let command = Command { deployment: two.id.clone(), expect: None, action: approve };

    for who in ["event-source:/ci/shop", "engine:orchestrator/rep-1"] {
        let fault = decide::on_command(&two, &command, &who.parse().unwrap(), world.context()).unwrap_err();
        assert!(fault.code == model::Code::Denied && fault.message.contains("is no person"), "{fault}");
    }
}

#[test]
fn a_name_that_reads_like_the_engine_supersedes_nothing() {
    let mut world = World::with_v1();
    let mut two = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.run(&mut two);
    let claim = format!("superseded-by:{}", DeploymentId::derived("three"));

    world.command_by(&claim, &mut two, Action::Abort { reason: "let me in".into() }).unwrap();

    let cause = two.ending.cause.clone().unwrap();
    assert_eq!(cause.kind, CauseKind::Operator);
    assert_eq!(cause.text, format!("aborted by {claim} (unauthenticated): let me in"));
    world.run(&mut two);
    assert_eq!(two.ending.verdict, Some(Verdict::RolledBack));
}

#[test]
fn what_the_engine_tells_to_make_way_ends_superseded() {
    let mut world = World::with_v1();
    let (two, three) =
        (world.submit(&CANARY.replace("VERSION", "2.0.0"), "two"), DeploymentId::derived("three"));
    let (mut early, mut late) = (two.clone(), two);

    let events = decide::make_way(&early, &three, world.context()).unwrap();
    world.fold(&mut early, events);
    world.run(&mut late);
    let events = decide::make_way(&late, &three, world.context()).unwrap();
    world.fold(&mut late, events);
    world.run(&mut late);

    assert_eq!(early.ending.verdict, Some(Verdict::Superseded));
    assert_eq!(late.ending.verdict, Some(Verdict::Superseded));
    assert_eq!(late.ending.cause.as_ref().unwrap().text, format!("{three} takes its place"));
    assert!(decide::make_way(&late, &three, world.context()).is_err(), "it is over");
}

#[test]
fn no_runner_says_that_a_step_needs_not_be_done() {
    let mut world = World::with_v1();
    let mut two = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.until_phase(&mut two, Phase::Executing);
    let events = advance(&two, world.context());
    world.fold(&mut two, events);
    let (step, stand) = two.steps.iter().find(|(_, stand)| stand.is_open()).unwrap();
    let result = StepResult {
        skipped_by: Some(person("eve")),
        ..StepResult::new(Outcome::Succeeded, "skipped: promoted in full by eve")
    };
    let report = StepReport {
        deployment: two.id.clone(),
        step: step.clone(),
        attempt: stand.attempt,
        fence: stand.fence,
        runner: "runner".into(),
        result: Some(result),
    };

    let events = decide::on_report(&two, &report);

    assert!(
        matches!(&events[..], [Event::StepFinished { result, .. }] if result.skipped_by.is_none()),
        "{events:?}"
    );
}

#[test]
fn whoever_promotes_in_full_stands_at_every_step_that_was_skipped() {
    let mut world = World::with_v1();
    let mut two = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.run(&mut two);

    world.command_by("bob", &mut two, Action::Promote { full: true }).unwrap();
    world.run(&mut two);

    let skipped: Vec<_> =
        two.steps.values().filter_map(|stand| stand.result.as_ref()?.0.skipped_by.clone()).collect();
    assert_eq!(two.ending.verdict, Some(Verdict::Promoted));
    assert!(!skipped.is_empty() && skipped.iter().all(|by| *by == person("bob")), "{skipped:?}");
}

/// What another release that was promoted meanwhile makes of a plan that was made before the lock.
fn planned_before_another(approved: bool) -> (World, Deployment) {
    let (mut world, mut two, approve) = waiting("[]");
    if approved {
        world.command_by("bob", &mut two, approve.clone()).unwrap();
        world.command_by("eve", &mut two, approve).unwrap();
    } else {
        two = world.submit(&CANARY.replace("VERSION", "2.0.0"), "plain");
    }
    world.until_phase(&mut two, Phase::Queued);
    let mut between = world.submit(&CANARY.replace("VERSION", "1.5.0"), "between");
    world.run(&mut between);
    world.command_by("bob", &mut between, Action::Promote { full: true }).unwrap();
    world.run(&mut between);
    assert_eq!(between.ending.verdict, Some(Verdict::Promoted), "{:?}", between.ending.cause);
    (world, two)
}

#[test]
fn a_plan_from_before_the_lock_is_made_anew_from_what_runs_then() {
    let (mut world, mut two) = planned_before_another(false);
    let before = two.change.digest.clone();

    world.run(&mut two);

    assert_ne!(two.change.digest, before);
    let starts_from = two.change.plan.as_ref().and_then(|plan| plan.baseline.clone());
    assert_eq!(starts_from, two.change.baseline.as_ref().map(|snapshot| snapshot.digest()));
    assert_eq!(two.change.baseline.as_ref().unwrap().deployment, DeploymentId::derived("between"));
}

#[test]
fn a_plan_that_was_approved_before_another_release_is_not_done() {
    let (mut world, mut two) = planned_before_another(true);

    world.run(&mut two);

    assert_eq!(two.ending.verdict, Some(Verdict::Rejected));
    assert_eq!(two.ending.cause.as_ref().unwrap().kind, CauseKind::PlanChanged);
    assert!(!two.has_touched());
}
