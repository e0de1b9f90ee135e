use model::Outcome;

use super::*;

async fn both(world: &World) {
    world.run(&scale(1, "one", 2)).await;
    world.run(&scale(2, "two", 2)).await;
    assert_eq!(world.run(&weight(3, 0, false)).await.outcome, Outcome::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn shares_are_in_force_everywhere_and_counted_when_the_step_ends() {
    let world = World::new();
    both(&world).await;

    let result = world.run(&weight(4, 20, true)).await;

    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    assert_eq!(result.gates[0].gate, "traffic-share");
    assert_eq!(result.gates[0].measured, Some(20.0));
    assert!(result.gates[0].samples >= 100);
    assert_eq!(world.table().weights.of(&revision(&spec("two"))), 20);
}

#[tokio::test(start_paused = true)]
async fn a_data_plane_that_sends_elsewhere_is_found_out_with_both_numbers() {
    let mut world = World::new();
    both(&world).await;
    world.plane.shares = Some([(revision(&spec("two")), 60), (revision(&spec("one")), 40)].into());

    let result = world.run(&weight(4, 20, true)).await;

    assert_eq!(result.outcome, Outcome::Errored);
    assert!(
        result.reason.starts_with("60 % of ") && result.reason.ends_with("20 % should"),
        "{}",
        result.reason
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_data_plane_no_share_counts_as_set() {
    let mut world = World::new();
    world.run(&scale(1, "one", 1)).await;
    world.plane.absent = true;
    tokio::time::sleep(crate::counts::SILENT * 2).await;

    let result = world.run(&weight(2, 0, false)).await;

    assert_eq!((result.outcome, result.reason.as_str()), (Outcome::Errored, "no data plane answers"));
}

#[tokio::test(start_paused = true)]
async fn a_data_plane_that_stays_behind_is_named() {
    let mut world = World::new();
    world.plane.deaf = true;
    let result = world
        .beside(async {
            let ctx = Ctx::new(Arc::clone(&world.engine), Stop::default());
            agents::run(&scale(1, "one", 1), &ctx, false).await.unwrap();
            // It has taken up the first table.
            tokio::time::sleep(Duration::from_secs(1)).await;
            agents::run(&weight(2, 0, false), &ctx, false).await.unwrap_or_else(StepResult::from)
        })
        .await;

    assert_eq!(result.outcome, Outcome::Errored);
    assert!(
        result.reason.starts_with("data plane rep-9 has version 1000002 of the routes of web"),
        "{}",
        result.reason
    );
}

#[tokio::test(start_paused = true)]
async fn a_table_whose_port_is_not_open_is_not_in_force() {
    let mut world = World::new();
    world.run(&scale(1, "one", 1)).await;
    world.plane.closed = Some("cannot listen on 127.0.0.1:8080: Address already in use".to_owned());

    let result = world.run(&weight(2, 0, false)).await;

    assert_eq!(result.outcome, Outcome::Errored);
    let wanted = "clients of web cannot come in at data plane rep-9: cannot listen on 127.0.0.1:8080";
    assert!(result.reason.starts_with(wanted), "{}", result.reason);
}

#[tokio::test(start_paused = true)]
async fn of_several_data_planes_on_one_host_the_one_that_has_the_port_is_named() {
    let mut world = World::new();
    world.run(&scale(1, "one", 1)).await;
    world.plane.closed = Some("cannot listen on 127.0.0.1:8080: Address already in use".to_owned());
    let target = spec("one").target_id();
    let other = async {
        let heard = world.engine.traffic.of(&target).await.unwrap();
        // As often as a data plane counts; the time is the test's own.
        let mut pace = tokio::time::interval(Duration::from_millis(250));
        for at in 1.. {
            pace.tick().await;
            heard.hear(model::route::TrafficCount {
                plane: "rep-8".to_owned(),
                target: target.clone(),
                module: web(),
                version: u64::MAX,
                at: model::Timestamp(at),
                revisions: std::collections::BTreeMap::new(),
                unroutable: 0,
                closed: None,
            });
        }
    };

    let job = weight(2, 0, false);

    let result = tokio::select! {
        result = world.run(&job) => Box::new(result),
        () = other => unreachable!("it counts for ever"),
    };

    assert!(
        result.reason.contains("Address already in use; data plane rep-8 has it open"),
        "{}",
        result.reason
    );
}

#[tokio::test(start_paused = true)]
async fn shares_that_clients_do_not_meet_are_not_in_force() {
    let world = World::new();
    both(&world).await;
    let table = world.table();
    let met = |key: &str, version: u64, revision: Option<Revision>, instance: Option<&str>| Met {
        status: 502,
        route: Some((key.to_owned(), version)),
        revision,
        instance: instance.map(str::to_owned),
        full: false,
    };
    let one = Some(revision(&spec("one")));
    let stranger = Some("stranger".parse().unwrap());

    for (met, said) in [
        (Met { status: 200, ..Met::default() }, "something else answers there with 200"),
        (Met { status: 503, full: true, ..Met::default() }, "the data plane takes no more connections there"),
        (
            met("dev--process--blog.site", 9, one.clone(), Some("i")),
            "routes of dev--process--blog.site answer",
        ),
        (met(&key(), table.version - 1, one.clone(), Some("i")), "of its routes answers, not"),
        (met(&key(), u64::MAX, one, None), "the data plane answers 502 itself"),
        (met(&key(), u64::MAX, stranger, Some("i")), "revision stranger answers, which has no share"),
    ] {
        *world.door.instead.lock().unwrap() = Some(met);
        let result = world.run(&weight(4, 20, false)).await;
        assert_eq!(result.outcome, Outcome::Errored, "{said}: {result:?}");
        assert!(
            result.reason.starts_with("clients of web do not reach it at port 8080"),
            "{}",
            result.reason
        );
        assert!(result.reason.contains(said), "{}", result.reason);
    }
    *world.door.instead.lock().unwrap() = None;
    assert_eq!(world.run(&weight(4, 20, false)).await.outcome, Outcome::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_revision_without_a_healthy_instance_gets_no_traffic() {
    let world = World::new();
    world.run(&scale(1, "one", 1)).await;
    world.run(&weight(2, 0, false)).await;
    let before = world.table();

    let result = world.run(&weight(3, 50, false)).await;

    assert_eq!(result.outcome, Outcome::Errored);
    assert!(
        result.reason.contains("has no healthy instance, it gets no 50 % of the traffic"),
        "{}",
        result.reason
    );
    assert_eq!(world.table(), before);
}

#[tokio::test(start_paused = true)]
async fn instances_that_died_meanwhile_do_not_count_as_healthy() {
    let world = World::new();
    both(&world).await;
    let target = spec("two").target_id();
    for slot in 0..2 {
        let id = platform::instance_id(&target, &web(), &revision(&spec("two")), slot);
        world.platform.crash(&target, &id, 1);
    }

    let result = world.run(&weight(4, 100, false)).await;

    assert_eq!(result.outcome, Outcome::Errored);
    assert_eq!(world.table().weights.of(&revision(&spec("two"))), 0);
}

#[tokio::test(start_paused = true)]
async fn on_the_way_back_the_shares_wait_for_the_old_instances() {
    let world = World::new();
    world.run(&scale(1, "two", 1)).await;
    let mut shares = weight(2, 0, false);
    let mut instances = scale(2, "one", 2);
    (shares.step.stage, instances.step.stage) = (Stage::Rollback, Stage::Rollback);
    let ctx = Ctx::new(Arc::clone(&world.engine), Stop::default());

    let (shares, instances) = world
        .beside(async {
            tokio::join!(agents::run(&shares, &ctx, false), agents::run(&instances, &ctx, false))
        })
        .await;

    assert_eq!(shares.unwrap().outcome, Outcome::Succeeded);
    assert_eq!(instances.unwrap().outcome, Outcome::Succeeded);
    assert_eq!(world.table().weights, Weights::all_to(revision(&spec("one"))));
}
