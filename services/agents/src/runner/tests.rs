use model::{Outcome, StepKind, Timestamp, deployment::StopKind, step::Stage};

use super::*;
use crate::deploy::tests::{World, job, scale};

struct Bench {
    world: World,
    runner: Runner,
    _folder: tempfile::TempDir,
}

fn bench() -> Bench {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let journal = Journal::open(folder.path()).unwrap();
    let runner = Runner::new(Arc::clone(&world.engine), journal, Counts::new(&chassis::Metrics::default()));
    Bench { world, runner, _folder: folder }
}

impl Bench {
    async fn run(&self, job: StepJob) -> std::result::Result<(), Fault> {
        self.world.beside(self.runner.on_step(job)).await
    }

    fn reports(&self) -> Vec<(String, Option<Outcome>)> {
        let reports = self.world.store.with(|shared| shared.reports.clone());
        reports.into_iter().map(|(id, report)| (id, report.result.map(|result| result.outcome))).collect()
    }
}

fn stop(below: u64, kind: StopKind) -> StepStop {
    let fence = model::Fence { lock: 1, epoch: below };
    StepStop { deployment: model::DeploymentId::derived("test"), step: None, below: fence, kind }
}

#[tokio::test(start_paused = true)]
async fn a_long_step_says_that_it_started_and_a_short_one_does_not() {
    let bench = bench();

    bench.run(scale(1, "two", 1)).await.unwrap();
    bench.run(scale(2, "one", 0)).await.unwrap();

    assert_eq!(
        bench.reports(),
        [
            ("key-1:1:1.1:started".to_owned(), None),
            ("key-1:1:1.1:succeeded".to_owned(), Some(Outcome::Succeeded)),
            ("key-2:1:1.2:succeeded".to_owned(), Some(Outcome::Succeeded)),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_time_is_over_is_dropped() {
    let bench = bench();
    let mut late = scale(1, "two", 1);
    late.until = Timestamp(1);

    bench.run(late).await.unwrap();

    assert!(bench.reports().is_empty());
    assert!(bench.world.platform.ledger().writes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_step_stops_and_says_nothing() {
    let bench = bench();
    bench.world.platform.script(|script| script.set_never_ready(&"web".parse().unwrap(), None, true));
    let work = bench.run(scale(4, "two", 1));
    let cancel = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        bench.runner.on_stop(stop(4, StopKind::Cancel));
        tokio::time::sleep(Duration::from_secs(1)).await;
        bench.runner.on_stop(stop(5, StopKind::Cancel));
    };
    let began = Instant::now();

    let (ended, ()) = tokio::join!(work, cancel);

    ended.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(2), "its own fence is not below itself");
    assert_eq!(bench.reports(), [("key-4:1:1.4:started".to_owned(), None)]);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_comes_after_its_stop_is_not_begun() {
    let bench = bench();
    bench.runner.on_stop(stop(9, StopKind::Cancel));

    bench.run(scale(4, "two", 1)).await.unwrap();

    assert!(bench.world.platform.ledger().writes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_report_that_is_not_taken_brings_the_job_back_and_the_effect_is_not_repeated() {
    let bench = bench();
    let job = scale(1, "one", 0);
    bench.world.store.with(|shared| shared.reports_fail = 1);

    let first = bench.run(job.clone()).await;
    bench.world.platform.script(|script| script.lost = true);
    let second = bench.run(job).await;

    assert!(first.is_err());
    assert!(second.is_ok());
    assert_eq!(bench.reports(), [("key-1:1:1.1:succeeded".to_owned(), Some(Outcome::Succeeded))]);
}

#[tokio::test(start_paused = true)]
async fn the_same_attempt_under_a_higher_fence_is_another_one() {
    let bench = bench();
    let first = scale(1, "one", 0);
    let mut again = scale(2, "one", 0);
    again.idem_key.clone_from(&first.idem_key);

    bench.run(first).await.unwrap();
    bench.world.platform.script(|script| script.lost = true);
    bench.run(again).await.unwrap();

    let outcomes: Vec<_> = bench.reports().into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::Succeeded), Some(Outcome::Errored)]);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_no_agent_knows_fails_loudly() {
    let bench = bench();
    let mut job = job(Stage::Execute, 1, StepKind::Review);
    job.step.agent = model::step::Agent::Toolsmith;

    bench.run(job).await.unwrap();

    let report = bench.world.store.with(|shared| shared.reports[0].1.clone());
    let result = report.result.unwrap();
    assert_eq!(result.outcome, Outcome::Failed);
    assert!(result.reason.starts_with("not implemented AGT-03"), "{}", result.reason);
}

#[tokio::test(start_paused = true)]
async fn progress_is_shown_at_most_once_a_second() {
    let bench = bench();
    bench.world.platform.script(|script| script.set_never_ready(&"web".parse().unwrap(), None, true));

    bench.run(scale(1, "two", 1)).await.unwrap();

    let shown = bench.world.store.with(|shared| shared.progress.len());
    assert!((3..=7).contains(&shown), "{shown} in five seconds");
}

#[tokio::test(start_paused = true)]
async fn old_steps_leave_the_journal_and_young_ones_stay() {
    let bench = bench();
    bench.run(scale(1, "one", 0)).await.unwrap();

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
