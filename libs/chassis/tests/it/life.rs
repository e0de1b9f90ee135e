//! The life of a process, from its arguments to its exit status.

use std::collections::BTreeSet;

use bus::{Drain, Job};
use model::ReplicaId;
use nix::sys::signal::Signal;

use testkit::{TestNats, nats};

use crate::child::{Child, command, get};

const HOLD: Job<Drain> = Job::new("orchestrator", "advice");

async fn send_job(nats: &TestNats) {
    let job = Drain { replica: ReplicaId::new() };
    nats.bus.send(&HOLD, None, &job, "hold-1").await.unwrap();
}

#[tokio::test]
async fn a_stop_is_not_ready_first_then_finishes_what_is_held_then_ends_well() {
    let nats = nats().await;
    let mut child = Child::start(&nats, &[]);
    child.ready(200).await;
    send_job(&nats).await;
    child.file("started").await;

    child.signal(Signal::SIGTERM);

    let body = child.ready(503).await;
    assert_eq!(body, r#"{"ready":false,"reasons":["orchestrator: stopping"]}"#);
    child.file("handed over").await;
    assert!(!child.has("done"), "the job is held still");
    assert_eq!(child.get("/live").await.0, 200, "stopping is not dying");
    child.write("release");
    assert_eq!(child.exit().await.code(), Some(0), "{}", child.errors());
    assert!(child.has("done"), "what was held was finished");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let nats = nats().await;
    let mut child = Child::start(&nats, &[]);
    child.ready(200).await;
    send_job(&nats).await;
    child.file("started").await;
    child.signal(Signal::SIGTERM);
    child.ready(503).await;

    child.signal(Signal::SIGTERM);

    assert_eq!(child.exit().await.code(), Some(143));
    assert!(!child.has("done"));
}

#[tokio::test]
async fn what_does_not_finish_in_its_grace_is_ended_and_named() {
    let nats = nats().await;
    let mut child = Child::start(&nats, &[("CODE_SHUTDOWN_GRACE", "200ms")]);
    child.ready(200).await;
    send_job(&nats).await;
    child.file("started").await;

    child.signal(Signal::SIGINT);

    assert_eq!(child.exit().await.code(), Some(0));
    assert!(!child.has("done"));
    assert!(child.errors().contains("jobs code.v1.Drain"), "{}", child.errors());
}

#[tokio::test]
async fn a_critical_task_that_fails_ends_the_process_with_1() {
    let nats = nats().await;
    let mut child = Child::start(&nats, &[]);
    child.ready(200).await;

    child.write("fail");

    assert_eq!(child.exit().await.code(), Some(1));
    let errors = child.errors();
    assert!(errors.ends_with("chassis-child: task fragile failed: it broke"), "{errors}");
}

#[tokio::test]
async fn a_service_that_does_not_start_ends_with_1_and_says_why() {
    let nats = nats().await;

    let mut child = Child::start(&nats, &[("CODE_ORCHESTRATOR_REFUSE", "true")]);

    assert_eq!(child.exit().await.code(), Some(1));
    let errors = child.errors();
    assert!(errors.ends_with("chassis-child: orchestrator did not start: told to refuse"), "{errors}");
}

#[tokio::test]
async fn settings_that_cannot_be_used_end_with_78_and_their_cure() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("code.toml");
    std::fs::write(&file, "[orchestrator]\nfolders = \"x\"\n").unwrap();

    let wrong = command(folder.path(), &[]).arg("--config").arg(&file).output().await.unwrap();
    let usage = command(folder.path(), &[]).arg("--confg").output().await.unwrap();

    let text = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(78));
    let expected = format!(
        "chassis-child: {}:2:1: orchestrator.folders: unknown field\n  did you mean folder?\n",
        file.display()
    );
    assert_eq!(text, expected);
    assert_eq!(usage.status.code(), Some(78));
}

#[tokio::test]
async fn a_dump_shows_the_settings_in_force_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("code.toml");
    std::fs::write(&file, "[common]\nlog = \"warn\"\n[orchestrator]\nsecret = \"hunter2\"\n").unwrap();

    let variables = [("CODE_CONFIG", file.to_str().unwrap()), ("CODE_NATS_URL", "nats://nowhere:1")];
    let dumped = command(folder.path(), &variables).arg("--dump-config").output().await.unwrap();

    let text = String::from_utf8(dumped.stdout).unwrap();
    assert_eq!(dumped.status.code(), Some(0));
    for line in [
        "[common]",
        "nats_url = \"nats://nowhere:1\"",
        "log = \"warn\"",
        "[orchestrator]",
        "secret = \"***\"",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn help_names_the_variables() {
    let folder = tempfile::tempdir().unwrap();

    let help = command(folder.path(), &[]).arg("--help").output().await.unwrap();

    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8(help.stdout).unwrap().contains("CODE_ORCHESTRATOR_<FIELD>"));
}

#[tokio::test]
async fn while_nats_is_not_there_it_lives_is_not_ready_and_can_be_stopped() {
    let mut child =
        Child::start_on([("CODE_NATS_URL".to_owned(), "nats://127.0.0.1:9".to_owned())].into(), &[]);

    assert_eq!(child.get("/live").await, (200, "live\n".to_owned()));
    child.ready(503).await;
    child.signal(Signal::SIGTERM);

    assert_eq!(child.exit().await.code(), Some(0), "{}", child.errors());
}

#[tokio::test]
async fn a_nats_that_is_never_there_ends_with_1() {
    let mut child = Child::start_on(
        [("CODE_NATS_URL".to_owned(), "nats://127.0.0.1:9".to_owned())].into(),
        &[("CODE_NATS_PATIENCE", "1s")],
    );

    assert_eq!(child.exit().await.code(), Some(1));
    assert!(child.errors().contains("nats://127.0.0.1:9"), "{}", child.errors());
}

#[tokio::test]
async fn when_nats_is_lost_it_is_not_ready_until_nats_is_back() {
    let mut nats = nats().await;
    let child = Child::start(&nats, &[]);
    child.ready(200).await;

    nats.server.kill9().await.unwrap();
    let body = child.ready(503).await;
    assert!(body.contains("orchestrator: not connected to NATS"), "{body}");
    nats.server.restart().await.unwrap();

    child.ready(200).await;
}

#[tokio::test]
async fn the_metrics_page_is_open_metrics_text() {
    let nats = nats().await;
    let child = Child::start(&nats, &[]);
    child.ready(200).await;

    let (status, text) = get(&child.address().await, "/metrics").await;

    assert_eq!(status, 200);
    check_open_metrics(&text);
    for line in [
        "code_child_held_total{service=\"orchestrator\",outcome=\"good\"} 0",
        "code_bus_connected{service=\"orchestrator\"} 1",
        "code_bus_dropped_total{service=\"orchestrator\"} 0",
        concat!("code_process_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

/// Every sample belongs to the family described above it, no family or series comes twice, and the page is whole.
fn check_open_metrics(text: &str) {
    let (mut families, mut series, mut family) = (BTreeSet::new(), BTreeSet::new(), String::new());
    let body = text.strip_suffix("# EOF\n").expect("the page ends with # EOF");
    for line in body.lines() {
        if let Some(about) = line.strip_prefix("# TYPE ") {
            family = about.split(' ').next().unwrap().to_owned();
            assert!(families.insert(family.clone()), "{family} is described twice");
        } else if !line.starts_with("# ") {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(&family), "{name} stands under {family}");
            assert!(value.parse::<f64>().is_ok(), "{line} has no number");
            assert!(series.insert(name.to_owned()), "{name} comes twice");
        }
    }
    assert!(!series.is_empty());
}
