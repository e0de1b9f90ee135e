use model::{Outcome, spec::Hook};
use sandbox::Missing;

use super::*;
use crate::config::{HookProfile, HookSettings};

fn hook(script: &str, timeout: Span, irreversible: bool) -> StepJob {
    let mut job = job(Stage::Execute, 1, StepKind::Hook { index: 0 });
    let command = ["/bin/sh", "-c", script].map(str::to_owned).into();
    let when = model::spec::HookPoint::BeforeDeploy;
    job.spec.hooks.push(Hook { name: "migrate".parse().unwrap(), when, command, timeout, irreversible });
    job
}

async fn run(world: &World, job: &StepJob, again: bool) -> StepResult {
    let ctx = Ctx::new(Arc::clone(&world.engine), Stop::default());
    agents::run(job, &ctx, again).await.unwrap_or_else(StepResult::from)
}

const LONG: Span = Span::seconds(20);

#[tokio::test]
async fn the_exit_status_decides() {
    let world = World::new();
    for (script, outcome) in [
        ("exit 0", Outcome::Succeeded),
        ("exit 75", Outcome::Errored),
        ("echo broken >&2; exit 1", Outcome::Failed),
        ("kill -9 $$", Outcome::Failed),
        (
            r#"test "$CODE_HOOK" = migrate && test "$CODE_PHASE" = execute && test -n "$CODE_DEPLOYMENT" && test -z "$HOME""#,
            Outcome::Succeeded,
        ),
    ] {
        let result = run(&world, &hook(script, LONG, false), false).await;
        assert_eq!(result.outcome, outcome, "{script}: {}", result.reason);
    }
    let failed = run(&world, &hook("echo broken >&2; exit 1", LONG, false), false).await;
    assert!(failed.findings[0].message.ends_with("its last lines:\nbroken"), "{failed:?}");
}

#[tokio::test]
async fn a_hook_that_takes_too_long_is_ended_with_all_it_started() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let script = format!("(sleep 2; touch {}) & wait", mark.display());

    let result = run(&world, &hook(&script, Span::millis(200), false), false).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;

    assert_eq!(result.outcome, Outcome::Failed);
    assert_eq!(result.reason, "hook migrate took longer than 200ms");
    assert!(!mark.exists(), "what the hook started went on");
}

#[tokio::test]
async fn a_hook_that_cannot_be_undone_is_run_at_most_once_by_anyone() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let job = hook(&format!("echo x >> {}; exit 75", mark.display()), LONG, true);

    let first = run(&world, &job, false).await;
    let elsewhere = run(&world, &job, false).await;
    // The end of the deployment's journal was lost: the step is begun anew under another key.
    let anew = run(&world, &StepJob { idem_key: "key-2".to_owned(), ..job.clone() }, false).await;
    let after_a_crash = run(&World::new(), &job, true).await;

    let ends = [&first, &elsewhere, &anew, &after_a_crash].map(|result| result.outcome);
    assert_eq!(ends, [Outcome::Errored; 4]);
    for later in [elsewhere, anew, after_a_crash] {
        assert!(later.reason.contains("a person must look"), "{}", later.reason);
    }
    assert_eq!(std::fs::read_to_string(mark).unwrap(), "x\n");
}

#[tokio::test]
async fn a_hook_that_can_be_undone_is_run_again_after_a_crash() {
    let result = run(&World::new(), &hook("exit 0", LONG, false), true).await;

    assert_eq!(result.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn what_a_hook_wrote_is_told_however_it_ended() {
    let world = World::new();
    let told = async |script: &str, timeout| {
        let result = run(&world, &hook(script, timeout, false), false).await;
        result.findings.into_iter().map(|found| (found.severity, found.message)).collect::<Vec<_>>()
    };

    let well = told("echo migrated 3 tables", LONG).await;
    assert_eq!(
        well,
        [(model::Severity::Info, "hook migrate ended well; its last lines:\nmigrated 3 tables".to_owned())]
    );
    assert!(told("exit 0", LONG).await.is_empty());
    let late = told("echo waiting for the lock; sleep 20", Span::seconds(1)).await;
    assert!(late[0].1.ends_with("its last lines:\nwaiting for the lock"), "{late:?}");
    let silent = told("exit 3", LONG).await;
    assert!(silent[0].1.ends_with("; it wrote nothing"), "{silent:?}");
}

#[tokio::test]
async fn a_contained_hook_writes_in_its_own_folder_only_which_goes_with_it() {
    let (state, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hooks = HookSettings { profile: HookProfile::Contained, ..HookSettings::default() };
    let unenforced = Missing::Refused;
    let world = World::with(AgentsConfig {
        state_dir: state.path().to_owned(),
        hooks: HookSettings { unenforced, ..hooks },
        ..AgentsConfig::default()
    });
    let mark = outside.path().join("mark");
    let script = format!("echo in > \"$TMPDIR/a\" && cat a && pwd; echo out > {} || exit 7", mark.display());

    let result = run(&world, &hook(&script, LONG, false), false).await;

    assert_eq!(result.reason, "hook migrate ended with exit status 7", "{result:?}");
    assert!(!mark.exists());
    let told = &result.findings[0].message;
    assert!(told.contains("last lines:\nin\n"), "{told}");
    let left: Vec<_> = std::fs::read_dir(state.path().join("hooks")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn an_offline_hook_reaches_nobody_and_a_guarded_one_does() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!("bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}' || exit 7");
    let under = async |profile: HookProfile| {
        let hooks = HookSettings { profile, ..HookSettings::default() };
        let world = World::with(AgentsConfig { hooks, ..AgentsConfig::default() });
        run(&world, &hook(&connect, LONG, false), false).await.outcome
    };

    assert_eq!(under(HookProfile::Guarded).await, Outcome::Succeeded);
    assert_eq!(under(HookProfile::Offline).await, Outcome::Failed);
}

#[tokio::test]
async fn a_hook_whose_program_is_not_there_is_refused_by_name() {
    let mut job = hook("exit 0", LONG, false);
    job.spec.hooks[0].command = vec!["no-such-program".to_owned()];

    let result = run(&World::new(), &job, false).await;

    assert_eq!(result.outcome, Outcome::Failed);
    assert!(result.reason.starts_with("hook migrate: cannot run no-such-program: "), "{}", result.reason);
}
