use model::Outcome;
use platform::scripted::WriteKind;

use super::*;

#[tokio::test(start_paused = true)]
async fn instances_are_started_waited_for_and_routed_to_once() {
    let world = World::new();

    let first = world.run(&scale(1, "one", 3)).await;
    let again = world.run(&scale(1, "one", 3)).await;

    assert_eq!(
        (first.outcome, again.outcome),
        (Outcome::Succeeded, Outcome::Succeeded),
        "{first:?} {again:?}"
    );
    assert_eq!(world.platform.ledger().done(WriteKind::Start), 3);
    let table = world.table();
    assert_eq!(table.endpoints[&revision(&spec("one"))].len(), 3);
    assert!(table.weights.0.is_empty(), "nobody is served until the weights are set");
    assert_eq!(table.listen, 8080);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_hangs_is_not_called_well_and_is_started_anew() {
    let world = World::new();
    world.run(&scale(1, "one", 2)).await;
    let target = spec("one").target_id();
    let hung = world.table().endpoints[&revision(&spec("one"))][0].instance.clone();
    world.platform.freeze(&target, &hung);

    let result = world.run(&scale(2, "one", 2)).await;

    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    assert_eq!(world.platform.ledger().done(WriteKind::Stop), 1);
    assert_eq!(world.platform.ledger().done(WriteKind::Start), 3);
    assert_eq!(world.table().endpoints[&revision(&spec("one"))].len(), 2);
    let again = world.run(&scale(3, "one", 2)).await;
    assert_eq!((again.outcome, world.platform.ledger().done(WriteKind::Start)), (Outcome::Succeeded, 3));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_never_ready_fails_the_step_with_its_last_lines() {
    let world = World::new();
    world.platform.script(|script| {
        script.set_never_ready(&web(), None, true);
        script.set_log(&web(), None, &(0..30).map(|line| format!("line {line}\n")).collect::<String>());
    });

    let result = world.run(&scale(1, "two", 2)).await;

    assert_eq!(result.outcome, Outcome::Failed);
    assert!(result.reason.contains("is not healthy within 5s"), "{}", result.reason);
    let shown = &result.findings[0].message;
    assert!(
        shown.contains("line 29") && shown.contains("line 10\n") && !shown.contains("line 9\n"),
        "{shown}"
    );
    assert!(world.table().endpoints.is_empty(), "nothing is routed to what is not well");
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_fails_the_step_soon_and_with_the_exit_status() {
    let world = World::new();
    world.platform.script(|script| script.set_crash(&web(), None, Some((Duration::from_millis(300), 3))));
    let began = tokio::time::Instant::now();

    let result = world.run(&scale(1, "two", 1)).await;

    assert_eq!(result.outcome, Outcome::Failed);
    assert!(result.reason.ends_with("ended 3 times: exit status 3"), "{}", result.reason);
    assert_eq!(result.findings[0].rule, "deploy/crash-loop");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn an_end_before_the_first_look_counts_as_well() {
    let world = World::new();
    world.platform.script(|script| script.set_crash(&web(), None, Some((Duration::from_millis(1), 3))));

    let result = world.run(&scale(1, "two", 1)).await;

    assert!(result.reason.ends_with("ended 3 times: exit status 3"), "{}", result.reason);
    assert_eq!(world.platform.ledger().done(WriteKind::Start), 3);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_nearly_over_ends_with_what_keeps_its_instances_from_being_well() {
    let world = World::new();
    world.platform.script(|script| script.set_never_ready(&web(), None, true));
    let mut job = scale(1, "two", 1);
    job.step.deadline = Span::seconds(3);
    job.until = world.engine.now().plus(Duration::from_secs(3));

    let result = world.run(&job).await;

    assert_eq!(result.outcome, Outcome::Failed);
    assert!(result.reason.contains("is not healthy within 3s: "), "{}", result.reason);
    assert!(result.findings[0].cure.contains("health.probe"), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_is_a_technical_trouble_and_a_missing_image_is_not() {
    let world = World::new();
    world.platform.script(|script| script.fail_next_starts(&web(), None, 1));
    assert_eq!(world.run(&scale(1, "two", 1)).await.outcome, Outcome::Errored);
    world.platform.script(|script| script.set_image_missing(&web(), None, true));
    assert_eq!(world.run(&scale(1, "two", 1)).await.outcome, Outcome::Failed);
}

#[tokio::test(start_paused = true)]
async fn surplus_instances_leave_the_routes_before_they_are_stopped() {
    let world = World::new();
    world.run(&scale(1, "one", 3)).await;
    let routed = world.store.with(|shared| shared.tables.len());

    let result = world.run(&scale(2, "one", 1)).await;

    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    assert_eq!(world.platform.ledger().done(WriteKind::Stop), 2);
    assert_eq!(world.table().endpoints[&revision(&spec("one"))].len(), 1);
    assert!(world.store.with(|shared| shared.tables.len()) > routed);
}

#[tokio::test(start_paused = true)]
async fn a_revision_with_a_share_of_the_traffic_is_not_removed() {
    let world = World::new();
    world.run(&scale(1, "one", 1)).await;
    world.run(&weight(2, 0, false)).await;

    let result = world.run(&scale(3, "one", 0)).await;

    assert_eq!(result.outcome, Outcome::Errored);
    assert!(result.reason.contains("still has 100 % of the traffic"), "{}", result.reason);
    assert_eq!(world.platform.ledger().done(WriteKind::Stop), 0);
}

#[tokio::test(start_paused = true)]
async fn a_module_that_is_no_longer_asked_for_loses_its_traffic_and_then_its_instances() {
    let world = World::new();
    world.run(&scale(1, "one", 2)).await;
    world.run(&weight(2, 0, false)).await;
    let mut job = scale(3, "one", 0);
    job.step.stage = Stage::Finish;
    job.spec.modules[0].name = "other".parse().unwrap();

    let result = world.run(&job).await;

    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    let last = world.store.with(|shared| shared.tables.last().cloned()).unwrap();
    assert!(last.weights.0.is_empty() && last.endpoints.is_empty(), "its traffic ends first");
    assert_eq!(world.store.table(&key()), None, "its port is free again");
    assert_eq!(world.platform.ledger().done(WriteKind::Stop), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stale_owner_changes_nothing() {
    let world = World::new();
    world.run(&scale(5, "one", 1)).await;
    let before = world.table();

    let starts = world.run(&scale(4, "two", 1)).await;
    let weights = world.run(&weight(4, 0, false)).await;

    assert_eq!((starts.outcome, weights.outcome), (Outcome::Errored, Outcome::Errored));
    assert_eq!(world.table(), before);
    assert_eq!(world.platform.ledger().done(WriteKind::Start), 1);
    assert!(world.platform.ledger().out_of_order().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_preview_is_pinned_to_the_revision_on_trial_and_gone_on_the_way_back() {
    let world = World::new();
    world.run(&scale(1, "one", 1)).await;
    assert!(world.table().pins.is_empty());
    world.run(&scale(2, "two", 1)).await;
    assert_eq!(world.table().pins[0].revision, revision(&spec("two")));
    let mut back = scale(3, "one", 1);
    back.step.stage = Stage::Rollback;
    world.run(&back).await;

    assert!(world.table().pins.is_empty());
}
