//! Those that are over.

use model::{Finding, Severity};

use super::*;

#[test]
fn rolled_back_by_a_gate_names_value_limit_and_what_runs() {
    let mut world = World::new();
    world.answers.insert("analyse", bad_gate());
    let mut two = world.submit("two", "2.0.0", "");
    world.run(&mut two);

    said_is(
        &world.said(&two),
        "
        rolled back: analyse web: errors 30 % of 20 requests, limit < 5 %
          gate: errors failed: measured 0.3, limit < 0.05 (20 samples)
          step: s08-analyse-web, analyse web, attempt 1
          at: 2026-01-01T00:00:30.000Z
          runs again: web 1.0.0 of FIRST
          took: 30.0 s
          the spec is quarantined: it does not run again without a reason
          > cure the release, then codectl apply it
          > codectl retry ID --force REASON  (deploys the same spec again)",
    );
}

#[test]
fn rolled_back_by_a_deadline_names_it() {
    let mut world = World::new();
    world.answers.insert("scale-1", None);
    let mut two = world.submit("two", "2.0.0", "");
    world.run(&mut two);
    let new = two.change.plan.as_ref().unwrap().changes[0].to.clone().unwrap();

    said_is(
        &world.said(&two).replace(new.as_str(), "NEW"),
        "
        rolled back: run 1 × web NEW did not end within 10m
          step: s04-scale-1-web, run 1 × web NEW, attempt 1
          at: 2026-01-01T00:10:00.000Z
          runs again: web 1.0.0 of FIRST
          took: 600.0 s
          the spec is quarantined: it does not run again without a reason
          > cure the release, then codectl apply it
          > codectl retry ID --force REASON  (deploys the same spec again)",
    );
}

#[test]
fn rolled_back_by_an_operator_names_who_and_why_and_quarantines_nothing() {
    let mut world = World::new();
    let mut two = world.submit("two", "2.0.0", "");
    world.settle(&mut two);
    world.command(&mut two, "bob", Action::Abort { reason: "wrong day".into() });
    world.run(&mut two);

    said_is(
        &world.said(&two),
        "
        rolled back: aborted by bob (unauthenticated): wrong day
          at: 2026-01-01T00:00:00.000Z
          runs again: web 1.0.0 of FIRST
          took: 0.0 s
          > codectl retry ID  (deploys the same spec again)",
    );
}

#[test]
fn what_was_found_and_let_pass_is_told_of_a_promotion_too() {
    let mut world = World::new();
    let finding = Finding {
        rule: "validator/no-contract".into(),
        severity: Severity::Medium,
        module: None,
        field: String::new(),
        message: "the contracts of web were not compared: the answer is longer than 16777216 bytes".into(),
        cure: String::new(),
        waived: None,
    };
    let result = StepResult { findings: vec![finding], ..StepResult::new(Outcome::Succeeded, "1 finding") };
    world.answers.insert("validate", Some(result));
    let mut two = world.submit("two", "2.0.0", "");
    world.run(&mut two);
    world.command(&mut two, "bob", Action::Promote { full: true });
    world.run(&mut two);

    let said = world.said(&two);

    assert!(said.contains("found, and let pass: the contracts of web were not compared"), "{said}");
}

#[test]
fn where_nothing_was_rolled_back_it_did_not_turn_back() {
    let mut world = World::new();
    let hooks = r#""hooks": [{"name": "migrate", "when": "beforeDeploy", "command": ["migrate"], "irreversible": true}],"#;
    world.answers.insert("smoke", result(Outcome::Failed, "500 for 200"));
    world.answers.insert("analyse", bad_gate());
    let mut stuck = world.submit("two", "2.0.0", hooks);
    world.run(&mut stuck);

    let said = world.said(&stuck);

    assert_eq!(stuck.phase, Phase::NeedsHuman);
    assert!(said.contains("  it could not go on because: "), "{said}");
    assert!(!said.contains("it turned back because"), "{said}");
}

#[test]
fn superseded_names_who_takes_the_place() {
    let mut world = World::new();
    let mut two = world.submit("two", "2.0.0", "");
    world.settle(&mut two);
    let events = decide::make_way(&two, &DeploymentId::derived("holder"), world.context()).unwrap();
    world.fold(&mut two, events);
    world.run(&mut two);

    said_is(
        &world.said(&two),
        "
        superseded: HOLDER takes its place
          at: 2026-01-01T00:00:00.000Z
          runs again: web 1.0.0 of FIRST
          took: 0.0 s
          > codectl retry ID  (deploys the same spec again)",
    );
}

#[test]
fn rejected_by_a_check_names_the_finding_and_its_cure() {
    let mut world = World::new();
    let finding = Finding {
        rule: "security/unpinned-image".into(),
        severity: Severity::High,
        module: None,
        field: "modules[0].run.image".into(),
        message: "nginx:latest is not pinned".into(),
        cure: "write its digest".into(),
        waived: None,
    };
    let refused =
        StepResult { findings: vec![finding], ..StepResult::new(Outcome::Failed, "1 finding blocks") };
    world.answers.insert("security", Some(refused));
    let mut two = world.submit("two", "2.0.0", "");
    world.run(&mut two);

    said_is(&world.said(&two), "
        rejected: security reviews the plan: 1 finding blocks
          step: s03-security-review, security reviews the plan, attempt 1
          finding: high security/unpinned-image: modules[0].run.image: nginx:latest is not pinned; cure: write its digest
          at: 2026-01-01T00:00:00.000Z
          nothing was touched
          took: 0.0 s
          > cure the findings or waive them in the spec, then codectl apply it");
}

#[test]
fn rejected_by_quarantine_names_who_was_rolled_back_and_the_flag() {
    let mut world = World::new();
    world.answers.insert("analyse", bad_gate());
    let mut holder = world.submit("holder", "2.0.0", "");
    world.run(&mut holder);
    world.now = BEGIN;
    let mut two = world.submit("two", "2.0.0", "");
    world.run(&mut two);

    said_is(&world.said(&two), "
        rejected: this spec was rolled back by HOLDER (analyse web: errors 30 % of 20 requests, limit < 5 %); deploy it again with --force and a reason
          at: 2026-01-01T00:00:00.000Z
          nothing was touched
          took: 0.0 s
          the spec is quarantined: it does not run again without a reason
          > cure the release, then codectl apply it
          > codectl retry ID --force REASON  (deploys the same spec again)");
}

#[test]
fn rejected_by_a_changed_plan_says_to_plan_again() {
    let mut world = World::new();
    let seen = "sha256:".to_owned() + &"0".repeat(64);
    let plan = Some(seen.parse().unwrap());
    let mut two = world.submit_with("two", "2.0.0", "", |submit| Submit { plan: plan.clone(), ..submit });
    world.run(&mut two);
    let cause = two.ending.cause.as_ref().unwrap().text.clone();

    assert!(cause.contains(&seen), "{cause}");
    said_is(
        &world.said(&two).replace(&cause, "CAUSE"),
        "
        rejected: CAUSE
          at: 2026-01-01T00:00:00.000Z
          nothing was touched
          took: 0.0 s
          > codectl plan, then codectl apply --plan with the digest it shows",
    );
}

#[test]
fn rejected_by_a_busy_target_names_the_holder() {
    let mut world = World::new();
    let mut holder = world.submit("holder", "1.5.0", "");
    world.settle(&mut holder);
    let mut two = world.submit("two", "2.0.0", r#""whenBusy": "reject","#);
    world.run(&mut two);

    said_is(
        &world.said(&two),
        "
        rejected: HOLDER holds the target and whenBusy is `reject`
          at: 2026-01-01T00:00:00.000Z
          nothing was touched
          took: 0.0 s
          > the end of HOLDER: see codectl explain HOLDER
          > codectl retry ID  (deploys the same spec again)",
    );
}

#[test]
fn promoted_says_what_runs_and_which_gates_held() {
    let mut world = World::new();
    let held = GateResult { outcome: Outcome::Succeeded, ..bad_gate().unwrap().gates[0].clone() };
    let good = StepResult { gates: vec![held], ..StepResult::new(Outcome::Succeeded, "held") };
    world.answers.insert("analyse", Some(good));
    let mut two = world.submit("two", "2.0.0", "");
    world.run(&mut two);
    world.command(&mut two, "bob", Action::Promote { full: false });
    world.run(&mut two);

    said_is(
        &world.said(&two),
        "
        promoted: web 2.0.0 runs
          gate: errors 30 % of 20 requests, limit < 5 %
          took: 30.0 s",
    );
}

#[test]
fn cancelled_says_who_and_that_nothing_was_touched() {
    let mut world = World::new();
    let mut two = world.submit("two", "2.0.0", r#""gates": {"approvals": {"required": 1}},"#);
    world.settle(&mut two);
    world.command(&mut two, "bob", Action::Abort { reason: "not today".into() });
    world.run(&mut two);

    said_is(
        &world.said(&two),
        "
        cancelled: aborted by bob (unauthenticated): not today
          at: 2026-01-01T00:00:00.000Z
          nothing was touched
          took: 0.0 s
          > codectl retry ID  (deploys the same spec again)",
    );
}
