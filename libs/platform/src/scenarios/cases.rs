//! The scenarios. Each has a target of its own; what it leaves is swept by [`super::run`].

use std::{sync::Arc, time::Duration};

use ground::Clock;
use model::{Code, Fence, spec::Volume};

use super::stage::{Program, Stage, fence};
use crate::{
    Error, Instance, Platform, Prober, State,
    health::{Health, Reason},
};

const GRACE: Duration = Duration::from_secs(5);

fn has_exited(instance: &Instance) -> bool {
    matches!(instance.state, State::Exited { .. })
}

/// Starting twice gives the same running instance.
pub async fn a_start_is_idempotent(stage: Arc<Stage>) {
    let platform = stage.fixture.open().await;
    let order = stage.order(stage.fixture.module(Program::Serve));

    let first = platform.start(&order).await.unwrap();
    let second = platform.start(&order).await.unwrap();

    assert_eq!(first.handle, second.handle);
    assert_eq!(second.restarts, 0);
    assert_eq!(second.deployment, stage.deployment);
    assert_eq!(platform.observe(&stage.target).await.unwrap().len(), 1);
    assert!(second.address(None).is_some());
}

/// What one driver object started, another observes, starts no second time and stops.
pub async fn a_new_driver_finds_what_an_old_one_started(stage: Arc<Stage>) {
    let before = stage.fixture.open().await;
    let order = stage.order(stage.fixture.module(Program::Serve));
    let started = before.start(&order).await.unwrap();
    drop(before);

    let after = stage.fixture.open().await;
    let seen = stage.seen(&*after, &order).await.expect("the instance is found");
    let again = after.start(&order).await.unwrap();

    assert_eq!(seen, again);
    assert_eq!((&seen.handle, &seen.addresses), (&started.handle, &started.addresses));
    assert!(seen.is_running());
    after.stop(&stage.target, &started.id, order.fence, GRACE).await.unwrap();
    assert_eq!(after.observe(&stage.target).await.unwrap(), []);
}

/// Stopping what is not there, or stopping twice, is fine.
pub async fn a_stop_is_idempotent(stage: Arc<Stage>) {
    let platform = stage.fixture.open().await;
    let order = stage.order(stage.fixture.module(Program::Serve));
    platform.stop(&stage.target, &order.id(), order.fence, GRACE).await.unwrap();
    let started = platform.start(&order).await.unwrap();

    platform.stop(&stage.target, &started.id, order.fence, GRACE).await.unwrap();
    platform.stop(&stage.target, &started.id, order.fence, GRACE).await.unwrap();

    assert_eq!(platform.observe(&stage.target).await.unwrap(), []);
    let logs = platform.logs(&stage.target, &started.id, 10).await.unwrap_err();
    assert_eq!(logs.code(), Code::NotFound);
}

/// A stale owner changes nothing, whichever driver object it uses.
pub async fn a_lower_fence_is_refused(stage: Arc<Stage>) {
    let platform = stage.fixture.open().await;
    let mut order = stage.order(stage.fixture.module(Program::Serve));
    order.fence = fence(2);
    let started = platform.start(&order).await.unwrap();
    let stale = Fence { lock: 1, epoch: 9 };
    let mut stale_order = order.clone();
    (stale_order.fence, stale_order.slot) = (stale, 1);

    for driver in [Arc::clone(&platform), stage.fixture.open().await] {
        let start = driver.start(&stale_order).await.unwrap_err();
        let stop = driver.stop(&stage.target, &started.id, stale, GRACE).await.unwrap_err();

        assert!(matches!((&start, &stop), (Error::Fence(_), Error::Fence(_))), "{start} {stop}");
        assert_eq!(start.code(), Code::Conflict);
    }
    let seen = platform.observe(&stage.target).await.unwrap();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].is_running());
    platform.stop(&stage.target, &started.id, fence(3), GRACE).await.unwrap();
}

/// The status of an ended program is observed, its output is kept, and starting it again counts.
pub async fn an_exit_code_is_seen_and_the_next_start_counts(stage: Arc<Stage>) {
    let platform = stage.fixture.open().await;
    let order = stage.order(stage.fixture.module(Program::Exit(7)));
    platform.start(&order).await.unwrap();

    let ended = stage.eventually(&*platform, &order, has_exited).await;
    let logs = platform.logs(&stage.target, &ended.id, 10).await.unwrap();
    let probed = platform.exec(&stage.target, &ended.id, &stage.fixture.command(&["exit", "0"]), GRACE).await;
    let again = platform.start(&order).await.unwrap();

    assert!(matches!(ended.state, State::Exited { code: Some(7), oom: false, .. }), "{:?}", ended.state);
    assert_eq!(ended.restarts, 0);
    assert_eq!(logs.trim(), "sample exit 7");
    assert_eq!(probed.unwrap_err().code(), Code::Conflict);
    assert_eq!(again.restarts, 1);
}

/// Every start after an end is counted, also by a driver object that is new.
pub async fn a_crash_loop_shows_in_the_restarts(stage: Arc<Stage>) {
    let order = stage.order(stage.fixture.module(Program::Exit(1)));

    for expected in 0..3 {
        let platform = stage.fixture.open().await;
        assert_eq!(platform.start(&order).await.unwrap().restarts, expected);
        stage.eventually(&*platform, &order, has_exited).await;
    }
}

/// Of many starts at once, through several driver objects, one makes the instance.
pub async fn concurrent_starts_yield_one_instance(stage: Arc<Stage>) {
    let order = stage.order(stage.fixture.module(Program::Serve));
    let (one, two) = (stage.fixture.open().await, stage.fixture.open().await);

    let started = tokio::join!(
        one.start(&order),
        two.start(&order),
        one.start(&order),
        two.start(&order),
        one.start(&order),
        two.start(&order),
    );

    let (a, b, c, d, e, f) = started;
    let handles: Vec<String> =
        [a, b, c, d, e, f].into_iter().map(|started| started.unwrap().handle).collect();
    assert!(handles.iter().all(|handle| *handle == handles[0]), "{handles:?}");
    let seen = one.observe(&stage.target).await.unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!((&seen[0].handle, seen[0].restarts), (&handles[0], 0));
}

/// A program that runs but never answers is unhealthy after its deadline; one that answers is healthy.
pub async fn an_instance_that_is_never_ready_runs_out_of_time(stage: Arc<Stage>) {
    let platform = stage.fixture.open().await;

    let served = judge(&stage, &*platform, Program::Serve, fence(1)).await;
    let mute = judge(&stage, &*platform, Program::Mute, fence(2)).await;

    assert!(matches!(served, Health::Healthy { .. }), "{served:?}");
    assert!(matches!(mute, Health::Unhealthy { reason: Reason::NeverHealthy { .. } }), "{mute:?}");
}

async fn judge(stage: &Stage, platform: &dyn Platform, program: Program, fence: Fence) -> Health {
    let mut order = stage.order(stage.fixture.module(program));
    order.fence = fence;
    let mut health = order.module.health.clone().unwrap();
    if program == Program::Serve {
        health.healthy_deadline = model::Span::seconds(30);
    }
    let instance = platform.start(&order).await.unwrap();
    let clock = Clock::system();
    let mut prober = Prober::new(&health, clock.now());
    let health = loop {
        let answer = platform.probe(&stage.target, &instance, &health.probe, health.timeout.0).await.unwrap();
        match prober.observe(answer.is_ok(), clock.now()) {
            Health::Starting => tokio::time::sleep(health.interval.0).await,
            judged => break judged,
        }
    };
    platform.stop(&stage.target, &instance.id, fence, Duration::ZERO).await.unwrap();
    health
}

/// Privileged instances and limits that are no limits are refused before anything is made.
pub async fn what_is_never_given_is_refused(stage: Arc<Stage>) {
    let platform = stage.fixture.open().await;
    let mut privileged = stage.order(stage.fixture.module(Program::Serve));
    privileged.module.run.privileged = true;
    let mut endless = stage.order(stage.fixture.module(Program::Serve));
    endless.module.resources.memory = Some("lots".to_owned());

    let (privileged, endless) = (platform.start(&privileged).await, platform.start(&endless).await);

    assert_eq!(privileged.unwrap_err().code(), Code::Denied);
    assert_eq!(endless.unwrap_err().code(), Code::Invalid);
    assert_eq!(platform.observe(&stage.target).await.unwrap(), []);
}

/// What is set aside for an instance is taken from what is free: its request, not its limit. Other scenarios share the
/// machine, so this looks at bounds that hold whatever they do.
pub async fn capacity_counts_what_is_reserved(stage: Arc<Stage>) {
    let platform = stage.fixture.open().await;
    let mut order = stage.order(stage.fixture.module(Program::Serve));
    order.module.resources.request.cpu = Some("250m".to_owned());
    platform.start(&order).await.unwrap();

    let with = platform.capacity().await.unwrap();

    let reserved = order.module.resources.memory_bytes().unwrap();
    assert!(with.cpu_millis >= 1000 && with.memory_bytes > reserved, "{with:?}");
    assert!(with.free_cpu_millis <= with.cpu_millis - 250, "{with:?}");
    assert!(with.free_memory_bytes <= with.memory_bytes - reserved, "{with:?}");
}

/// A command beside the instance gives its status.
pub async fn commands_run_beside_the_instance(stage: Arc<Stage>) {
    let platform = stage.fixture.open().await;
    let order = stage.order(stage.fixture.module(Program::Serve));
    let id = platform.start(&order).await.unwrap().id;
    let run =
        async |words: &[&str]| platform.exec(&stage.target, &id, &stage.fixture.command(words), GRACE).await;

    assert_eq!(run(&["exit", "0"]).await.unwrap(), 0);
    assert_eq!(run(&["exit", "3"]).await.unwrap(), 3);
    let absent = platform.exec(&stage.target, "no-such-instance-0", &["x".to_owned()], GRACE).await;
    assert_eq!(absent.unwrap_err().code(), Code::NotFound);
}

/// What runs for one target is invisible and untouchable under another.
pub async fn targets_do_not_see_each_other(stage: Arc<Stage>) {
    let platform = stage.fixture.open().await;
    let order = stage.order(stage.fixture.module(Program::Serve));
    let started = platform.start(&order).await.unwrap();
    let mut other = stage.target.clone();
    other.environment = "other".parse().unwrap();

    platform.stop(&other, &started.id, fence(9), GRACE).await.unwrap();

    assert_eq!(platform.observe(&other).await.unwrap(), []);
    assert!(stage.seen(&*platform, &order).await.unwrap().is_running());
}

/// The instance finds what it was given, and nothing of the engine's own environment.
pub async fn configuration_environment_and_secrets_arrive(stage: Arc<Stage>) {
    let platform = stage.fixture.open().await;
    let order = stage.order(stage.fixture.module(Program::Serve));
    let instance = platform.start(&order).await.unwrap();
    let address = instance.address(Some(&"http".parse().unwrap())).unwrap();
    let get = async |path: &str| stage.get(address, path).await.1;

    let port = get("/env/PORT").await;
    assert_eq!(get("/env/PORT_HTTP").await, port);
    assert_eq!(get("/env/GREETING").await, format!("hello on {port}"));
    assert_eq!(get("/env/TOKEN").await, "hush");
    assert_eq!(get("/env/CODE_PEER_AUTH_API").await, "127.0.0.1:7");
    assert_eq!(get("/env/CODE_INSTANCE").await, instance.id);
    assert_eq!(get("/env/CODE_TARGET").await, stage.target.to_string());
    assert_eq!(get("/env/CODE_MODULE").await, "web");
    assert_eq!(get("/env/CODE_REVISION").await, order.revision.to_string());
    assert_eq!(get("/env/CODE_DEPLOYMENT").await, stage.deployment.to_string());
    assert_eq!(get("/config/etc/sample/app.conf").await, "colour = green\n");
    assert_eq!(stage.get(address, "/env/CARGO_MANIFEST_DIR").await.0, 404, "{}", get("/names").await);
}

/// A program that takes more memory than its limit ends.
pub async fn a_memory_limit_is_enforced(stage: Arc<Stage>) {
    let platform = stage.fixture.open().await;
    let within = stage.order(stage.fixture.module(Program::Eat(16)));
    let beyond = stage.order(stage.fixture.module(Program::Eat(512)));
    let within_id = platform.start(&within).await.unwrap().id;
    platform.start(&beyond).await.unwrap();

    let ended = stage.eventually(&*platform, &beyond, has_exited).await;

    assert!(matches!(ended.state, State::Exited { code: Some(1..), .. }), "{:?}", ended.state);
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    while !platform.logs(&stage.target, &within_id, 5).await.unwrap().contains("ate 16 MiB") {
        assert!(tokio::time::Instant::now() < until, "the small one never got its memory");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What does not end when asked is killed after the grace, and so is what it started.
pub async fn a_program_that_ignores_the_end_is_killed_with_its_children(stage: Arc<Stage>) {
    let platform = stage.fixture.open().await;
    let order = stage.order(stage.fixture.module(Program::Brood));
    let id = platform.start(&order).await.unwrap().id;
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    while !platform.logs(&stage.target, &id, 5).await.unwrap().contains("sample deaf") {
        assert!(tokio::time::Instant::now() < until, "the child never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    platform.stop(&stage.target, &id, order.fence, Duration::from_millis(200)).await.unwrap();

    assert_eq!(platform.observe(&stage.target).await.unwrap(), []);
}

/// An image or program that is nowhere is said to be so.
pub async fn a_missing_artefact_is_named(stage: Arc<Stage>) {
    let platform = stage.fixture.open().await;
    let order = stage.order(stage.fixture.missing());

    let refused = platform.start(&order).await.unwrap_err();

    assert!(matches!(refused, Error::ArtefactMissing { .. }), "{refused:?}");
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(platform.observe(&stage.target).await.unwrap(), []);
}

/// A spec cannot reach host folders that were not opened to it.
pub async fn host_folders_outside_the_root_are_refused(stage: Arc<Stage>) {
    let platform = stage.fixture.open().await;
    let mut order = stage.order(stage.fixture.module(Program::Serve));
    let path = "/data".to_owned();
    order.module.volumes = vec![Volume { name: None, host: Some("/etc".to_owned()), path, read_only: true }];

    let refused = platform.start(&order).await.unwrap_err();

    assert_eq!(refused.code(), Code::Denied);
    assert_eq!(platform.observe(&stage.target).await.unwrap(), []);
}

/// A named volume keeps what an instance wrote for the next one.
pub async fn volumes_survive_their_instances(stage: Arc<Stage>) {
    let platform = stage.fixture.open().await;
    let mut order = stage.order(stage.fixture.module(Program::Serve));
    let name = Some("data".parse().unwrap());
    order.module.volumes = vec![Volume { name, host: None, path: "/data".to_owned(), read_only: false }];

    let first = platform.start(&order).await.unwrap();
    let folder = stage.get(first.address(None).unwrap(), "/env/CODE_VOLUME_DATA").await.1;
    let written = stage.get(first.address(None).unwrap(), &format!("/write{folder}/mark")).await;
    platform.stop(&stage.target, &first.id, order.fence, GRACE).await.unwrap();
    let second = platform.start(&order).await.unwrap();
    let read = stage.get(second.address(None).unwrap(), &format!("/file{folder}/mark")).await;

    assert_eq!(written, (200, "written".to_owned()));
    assert_eq!(read, (200, "written".to_owned()));
}

/// Several instances of one revision run side by side.
pub async fn slots_have_addresses_of_their_own(stage: Arc<Stage>) {
    let platform = stage.fixture.open().await;
    let mut addresses = Vec::new();

    for slot in 0..3 {
        let mut order = stage.order(stage.fixture.module(Program::Serve));
        order.slot = slot;
        let instance = platform.start(&order).await.unwrap();
        let address = instance.address(None).unwrap().to_owned();
        assert_eq!(stage.get(&address, "/env/CODE_INSTANCE").await.1, instance.id);
        addresses.push(address);
    }

    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 3);
}
