use model::{
    Outcome, Span, StepKind, Timestamp,
    deployment::{StepState, StopKind},
    step::Stage,
};

use super::*;
use crate::deploy::tests::{World, job, scale};

struct Bench {
    world: World,
    runner: Runner,
    _loop: JoinSet<Result<()>>,
    _folder: tempfile::TempDir,
}

fn bench() -> Bench {
    bench_on(World::new())
}

fn bench_on(world: World) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let (runner, running) = runner_in(&world, folder.path());
    let mut alone = JoinSet::new();
    alone.spawn(running.run());
    Bench { world, runner, _loop: alone, _folder: folder }
}

pub(crate) fn runner_in(world: &World, folder: &std::path::Path) -> (Runner, Running) {
    let journal = Journal::open(folder).unwrap();
    Runner::new(Arc::clone(&world.engine), journal, Counts::new(&chassis::Metrics::default()))
}

pub(crate) fn about(job: &StepJob, hold: Duration) -> StepQuestion {
    StepQuestion {
        deployment: job.deployment.clone(),
        step: job.step.id.clone(),
        attempt: job.attempt,
        idem_key: job.idem_key.clone(),
        fence: job.fence,
        hold: Span(hold),
    }
}

/// Hands a step over and asks how it goes until it no longer runs, as an owner does.
pub(crate) async fn carried(runner: &Runner, job: &StepJob) -> StepState {
    let mut answer = runner.offer(job.clone()).await.unwrap();
    while answer.state == StepState::Running {
        answer = runner.ask(about(job, Duration::from_secs(2))).await.unwrap();
    }
    answer.state
}

fn outcome(state: &StepState) -> Option<Outcome> {
    match state {
        StepState::Ended(result) => Some(result.outcome),
        _ => None,
    }
}

impl Bench {
    async fn run(&self, job: StepJob) -> StepState {
        self.world.beside(carried(&self.runner, &job)).await
    }

    fn never_ready(&self) {
        self.world.platform.script(|script| script.set_never_ready(&"web".parse().unwrap(), None, true));
    }
}

fn stop(below: u64, kind: StopKind) -> StepStop {
    let fence = model::Fence { lock: 1, epoch: below };
    StepStop { deployment: model::DeploymentId::derived("test"), step: None, below: fence, kind }
}

#[tokio::test(start_paused = true)]
async fn a_short_step_is_told_of_by_the_answer_to_who_hands_it_over_and_a_long_one_is_asked_for() {
    let bench = bench();

    let (long, short) = (scale(1, "two", 1), scale(2, "one", 0));
    let first = bench.world.beside(bench.runner.offer(long.clone())).await.unwrap();
    let end = bench.run(long).await;
    let quick = bench.world.beside(bench.runner.offer(short)).await.unwrap();

    assert_eq!((first.state, first.runner.as_str()), (StepState::Running, "rep-1"));
    assert_eq!(outcome(&end), Some(Outcome::Succeeded));
    assert_eq!(outcome(&quick.state), Some(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_nobody_fetches_is_a_fact_for_the_audit_log() {
    let bench = bench();
    let (fetched, untold) = (scale(1, "two", 1), scale(2, "two", 2));
    bench.run(fetched).await;
    let first = bench.world.beside(bench.runner.offer(untold.clone())).await.unwrap();
    assert_eq!(first.state, StepState::Running);

    let noted = || async {
        let noted = bench.world.store.with(|shared| shared.noted.clone());
        if noted.is_empty() { Err("nothing is noted") } else { Ok(noted) }
    };
    let noted = bench.world.beside(testkit::eventually("a fact", Duration::from_secs(90), noted)).await;

    assert_eq!(noted.len(), 1, "{noted:?}");
    let (subject, detail) = (&noted[0].subject, &noted[0].detail);
    assert_eq!((noted[0].action.as_str(), subject.as_str()), ("step.untold", untold.deployment.as_str()));
    assert_eq!((detail["step"].as_str(), detail["outcome"].as_str()), (Some("s02-step"), Some("succeeded")));
    // Told or not, it is still known to whoever asks.
    let state = bench.runner.ask(about(&untold, Duration::from_secs(1))).await.unwrap().state;
    assert_eq!(outcome(&state), Some(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_time_is_over_is_dropped() {
    let bench = bench();
    let mut late = scale(1, "two", 1);
    late.until = Timestamp(1);

    let state = bench.run(late).await;

    assert_eq!(state, StepState::Dropped);
    assert!(bench.world.platform.ledger().writes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_step_stops_and_its_own_fence_is_not_below_itself() {
    let bench = bench();
    bench.never_ready();
    let work = bench.run(scale(4, "two", 1));
    let cancel = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        bench.runner.stop(stop(4, StopKind::Cancel)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        bench.runner.stop(stop(5, StopKind::Cancel)).await;
    };
    let began = Instant::now();

    let (state, ()) = tokio::join!(work, cancel);

    assert_eq!(state, StepState::Dropped);
    assert_eq!(began.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_comes_after_its_stop_is_not_begun() {
    let bench = bench();
    bench.runner.stop(stop(9, StopKind::Cancel)).await;

    let state = bench.run(scale(4, "two", 1)).await;

    assert_eq!(state, StepState::Dropped);
    assert!(bench.world.platform.ledger().writes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_step_that_ended_is_told_of_as_often_as_it_is_asked_for_and_its_effect_is_not_repeated() {
    let bench = bench();
    let job = scale(1, "one", 0);

    let first = bench.run(job.clone()).await;
    bench.world.platform.script(|script| script.lost = true);
    let again = bench.run(job.clone()).await;
    let asked = bench.runner.ask(about(&job, Duration::ZERO)).await.unwrap();

    assert_eq!(outcome(&first), Some(Outcome::Succeeded));
    assert_eq!((&again, &asked.state), (&first, &first));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_handed_over_while_it_runs_is_joined_and_not_run_beside_itself() {
    let bench = bench();
    let job = scale(1, "two", 2);

    let (one, other) = tokio::join!(bench.run(job.clone()), carried(&bench.runner, &job));

    assert_eq!(one, other);
    assert_eq!(bench.world.platform.ledger().writes.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_begins_anew_on_its_disk_knows_what_ended_and_not_what_was_cut_short() {
    let bench = bench();
    let (ended, cut) = (scale(1, "one", 0), scale(2, "two", 1));
    bench.run(ended.clone()).await;
    bench.never_ready();
    bench.runner.offer(cut.clone()).await.unwrap();
    let Bench { world, _loop: mut alone, _folder: folder, .. } = bench;
    alone.shutdown().await;

    let (runner, running) = runner_in(&world, folder.path());
    alone.spawn(running.run());

    let found = runner.seek(about(&ended, Duration::ZERO)).await.unwrap();
    assert_eq!(outcome(&found.state), Some(Outcome::Succeeded));
    assert_eq!(runner.seek(about(&cut, Duration::ZERO)).await, None);
    let asked = runner.ask(about(&cut, Duration::from_secs(1))).await.unwrap();
    assert_eq!(asked.state, StepState::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_lane_runs_as_many_as_it_may_and_takes_a_bounded_number_beyond() {
    let at_once = [("deployer".to_owned(), 2)].into();
    let config = crate::config::AgentsConfig { concurrency: at_once, ..Default::default() };
    let bench = bench_on(World::with(config));
    bench.never_ready();
    let many = (0..machine::WAITING + 3).map(|number| {
        let job = StepJob { idem_key: format!("key-{number}"), ..scale(1, "two", 1) };
        bench.runner.offer(job)
    });

    let outcomes = futures::future::join_all(many).await;

    let refused: Vec<_> = outcomes.into_iter().filter_map(std::result::Result::err).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].code, Code::Overloaded);
    let instances = bench.world.platform.ledger().writes.len();
    assert!(instances <= 2, "{instances} steps did something");
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_leaves_takes_nothing_new_and_tells_how_what_ran_has_ended() {
    let bench = bench();
    let running = scale(1, "two", 1);
    bench.world.beside(bench.runner.offer(running.clone())).await.unwrap();

    let leave = bench.runner.leave();
    let rest = async {
        tokio::task::yield_now().await;
        let refused = bench.runner.offer(scale(2, "one", 0)).await.unwrap_err();
        (refused.code, bench.runner.ask(about(&running, Duration::from_secs(9))).await.unwrap())
    };
    let (_, (code, answer)) = bench.world.beside(async { tokio::join!(leave, rest) }).await;

    assert_eq!(code, Code::Unavailable);
    assert_eq!(outcome(&answer.state), Some(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn the_same_attempt_under_a_higher_fence_is_another_one() {
    let bench = bench();
    let first = scale(1, "one", 0);
    let mut again = scale(2, "one", 0);
    again.idem_key.clone_from(&first.idem_key);

    let one = bench.run(first).await;
    bench.world.platform.script(|script| script.lost = true);
    let other = bench.run(again).await;

    assert_eq!([outcome(&one), outcome(&other)], [Some(Outcome::Succeeded), Some(Outcome::Errored)]);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_no_agent_knows_fails_loudly() {
    let bench = bench();
    let mut job = job(Stage::Execute, 1, StepKind::Review);
    job.step.agent = model::step::Agent::Toolsmith;

    let StepState::Ended(result) = bench.run(job).await else { panic!("it did not end") };

    assert_eq!(result.outcome, Outcome::Failed);
    assert!(result.reason.starts_with("not implemented AGT-03"), "{}", result.reason);
}

#[tokio::test(start_paused = true)]
async fn progress_is_shown_at_most_once_a_second() {
    let bench = bench();
    bench.never_ready();

    bench.run(scale(1, "two", 1)).await;

    let shown = bench.world.store.with(|shared| shared.progress.len());
    assert!((3..=7).contains(&shown), "{shown} in five seconds");
}

#[tokio::test(start_paused = true)]
async fn old_steps_leave_the_journal_and_young_ones_stay() {
    let bench = bench();
    bench.run(scale(1, "one", 0)).await;

    let young =
        bench.runner.journal.forget(Timestamp(1_000_000 + 60_000), Duration::from_secs(3600)).await.unwrap();
    let old = bench
        .runner
        .journal
        .forget(Timestamp(1_000_000 + 7_200_000), Duration::from_secs(3600))
        .await
        .unwrap();

    assert_eq!((young, old), (0, 1));
}

#[test]
fn only_the_worst_findings_of_very_many_travel() {
    let mut result = StepResult::new(Outcome::Succeeded, "many");
    for number in 0..300 {
        let severity = if number == 299 { model::Severity::Critical } else { model::Severity::Low };
        result.findings.push(agents::finding("a/b", severity, None, number.to_string()));
    }

    let trimmed = trimmed(result);

    assert_eq!(trimmed.findings.len(), model::limits::FINDINGS);
    assert_eq!(trimmed.findings[0].severity, model::Severity::Critical);
    assert!(trimmed.reason.contains("300 findings"));
}
