//! A whole engine, end to end: order, drift, locks, approvals, the way to an older release.

use std::collections::BTreeMap;

use code_tests::cluster::{Cluster, Setting, at_once, canary, rolling, steps_begun, submit, told};
use model::{
    Code, Digest, Phase, Principal, Verdict,
    command::{Action, Submit, TargetAction},
    deployment::{CauseKind, Mode},
};
use platform::{
    ScriptedPlatform,
    scripted::{Effect, WriteKind},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn modules_of_a_release_move_in_the_order_of_their_dependencies() {
    let cluster = Cluster::start().await;
    let release = |version: &str| {
        let (mut web, mut api, data) =
            (cluster.web(version), cluster.module("api", version), cluster.module("data", version));
        web["dependsOn"] = json!([{"module": "api", "version": ">=1"}]);
        api["dependsOn"] = json!([{"module": "data"}]);
        let mut spec = cluster.release("process", vec![web, data, api]);
        spec["strategy"] = at_once();
        spec
    };

    for version in ["1.0.0", "2.0.0"] {
        let view = cluster.promote(&release(version)).await;

        let begun = steps_begun(&cluster.history(&view.summary.deployment).await);
        let first = |module: &str| {
            let starts = [format!("scale-2-{module}"), format!("roll-2-{module}")];
            let position =
                begun.iter().position(|step| starts.iter().any(|ending| step.as_str().ends_with(ending)));
            position.unwrap_or_else(|| panic!("{module} never started: {begun:?}"))
        };
        assert!(first("data") < first("api") && first("api") < first("web"), "{begun:?}");
    }
    assert_eq!(cluster.started_twice(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_killed_by_hand_is_found_as_drift_and_put_right_by_the_next_apply() {
    let cluster = Cluster::start().await;
    let spec = cluster.shop("1.0.0", at_once());
    cluster.promote(&spec).await;
    assert_eq!(cluster.drift("process").await.drifts, []);

    kill_one_instance(&cluster);
    let drifts = cluster.drift("process").await.drifts;

    let texts: Vec<&str> = drifts.iter().map(|drift| drift.text.as_str()).collect();
    assert!(
        texts.iter().any(|text| text.starts_with("1 instances of web") && text.ends_with("2 should")),
        "{texts:?}"
    );
    assert!(texts.iter().any(|text| text.ends_with("has ended with exit status 137")), "{texts:?}");
    assert!(drifts.iter().all(|drift| drift.module.as_str() == "web"), "{drifts:?}");
    assert_eq!(
        cluster.versions(20).await,
        BTreeMap::from([("1.0.0".to_owned(), 20)]),
        "the other one serves"
    );

    cluster.promote(&cluster.shop("2.0.0", at_once())).await;
    assert_eq!(cluster.drift("process").await.drifts, []);
}

/// With -9, by the process id that the instance itself wrote down.
fn kill_one_instance(cluster: &Cluster) {
    let text = std::fs::read_to_string(cluster.ledger_file()).unwrap();
    let pid = text.lines().next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    for _ in 0..500 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("process {pid} is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_a_person_holds_takes_nothing_until_it_is_let_go() {
    let cluster = Cluster::start().await;
    cluster.promote(&cluster.shop("1.0.0", at_once())).await;
    let reason = "looking at the logs".to_owned();
    cluster.target("process", "bob", TargetAction::Hold { reason }).await;

    let id = cluster.submit(&cluster.shop("2.0.0", at_once())).await;
    let queued = cluster
        .until(&id, "it waits for the lock and says why", |view| {
            view.summary.phase == Phase::Queued && told(view).contains("looking at the logs")
        })
        .await;
    assert!(told(&queued).contains("bob"), "{}", told(&queued));
    cluster.is_served_by("1.0.0").await;
    cluster.target("process", "bob", TargetAction::Unhold {}).await;

    let view = cluster.closed(&id).await;
    assert_eq!(view.summary.verdict, Some(Verdict::Promoted), "{}", told(&view));
    cluster.is_back_on("process", "2.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_counts_for_exactly_one_plan_and_not_from_who_asked() {
    let cluster = Cluster::start().await;
    cluster.promote(&cluster.shop("1.0.0", at_once())).await;
    let mut spec = cluster.shop("2.0.0", canary());
    spec["gates"] = json!({"approvals": {"required": 1, "from": ["bob", "eve"]}});
    let _load = cluster.load(100);
    let id = cluster.submit(&spec).await;
    let waiting = cluster
        .until(&id, "it waits for approval", |view| view.summary.phase == Phase::AwaitingApproval)
        .await;
    let (plan, _) = waiting.plan.clone().unwrap();
    assert!(
        waiting.explanation.unblocked_by.iter().any(|line| line.contains(&plan.to_string())),
        "{:?}",
        waiting.explanation
    );

    let approve = |plan: &Digest| Action::Approve { plan: plan.clone(), signed: None };
    let own = cluster.command(&id, "ann", None, approve(&plan)).await.unwrap_err();
    let stranger = cluster.command(&id, "mallory", None, approve(&plan)).await.unwrap_err();
    let other = Digest::of_bytes(b"another plan");
    let wrong = cluster.command(&id, "bob", None, approve(&other)).await.unwrap_err();
    cluster.is_served_by("1.0.0").await;
    cluster.command(&id, "bob", None, approve(&plan)).await.unwrap();
    let view = cluster.closed(&id).await;

    assert_eq!((own.code, stranger.code, wrong.code), (Code::Denied, Code::Denied, Code::Conflict));
    assert!(
        wrong.message.contains(&plan.to_string()) && wrong.message.contains(&other.to_string()),
        "{wrong}"
    );
    assert_eq!(view.summary.verdict, Some(Verdict::Promoted), "{}", told(&view));
    assert_eq!(view.approvals, [Principal::stated("bob").unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_release_comes_back_without_gates_and_without_a_lost_request() {
    let cluster = Cluster::start().await;
    // Gates that let it through once do not hold up the way back to it.
    let mut old = cluster.shop("1.0.0", json!({"canary": {"steps": [{"setWeight": 10}, {"pause": {}}]}}));
    old["gates"] = json!({"approvals": {"required": 1}});
    let first = cluster.submit(&old).await;
    let waiting = cluster
        .until(&first, "it waits for approval", |view| view.summary.phase == Phase::AwaitingApproval)
        .await;
    let (plan, _) = waiting.plan.unwrap();
    cluster.command(&first, "bob", None, Action::Approve { plan, signed: None }).await.unwrap();
    cluster.closed(&first).await;
    cluster.promote(&cluster.shop("2.0.0", at_once())).await;
    let load = cluster.load(100);
    load.wait_for(20).await;

    let back = |document: String| Submit { mode: Mode::Rollback, ..submit(document) };
    let id = cluster.try_submit(&back(old.to_string())).await.unwrap();
    let view = cluster.closed(&id).await;
    let never = cluster.try_submit(&back(cluster.shop("0.9.0", at_once()).to_string())).await.unwrap();
    let never = cluster.closed(&never).await;
    load.wait_for(50).await;
    let counts = load.end().await;

    assert_eq!(
        (view.summary.verdict, view.mode),
        (Some(Verdict::Promoted), Mode::Rollback),
        "{}",
        told(&view)
    );
    assert!(view.steps.iter().all(|step| !step.id.as_str().contains("pause")), "{}", told(&view));
    assert_eq!(never.summary.verdict, Some(Verdict::Rejected), "gates are passed by: {}", told(&never));
    assert_eq!((counts.failed(), counts.ended), (0, counts.sent), "{counts:?}");
    cluster.is_back_on("process", "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_release_no_longer_names_goes_and_what_changes_only_in_number_is_not_restarted() {
    let cluster = Cluster::start().await;
    let two = cluster.release("process", vec![cluster.web("1.0.0"), cluster.module("helper", "1.0.0")]);
    cluster.promote(&two).await;
    let mut one = cluster.release("process", vec![cluster.web("1.0.0")]);
    one["modules"][0]["replicas"] = 3.into();

    cluster.promote(&one).await;

    assert_eq!(cluster.drift("process").await.drifts, []);
    assert_eq!(cluster.started_twice(), Vec::<String>::new());
    let text = std::fs::read_to_string(cluster.ledger_file()).unwrap();
    let (starts, stops) = (text.matches("start ").count(), text.matches("stop ").count());
    assert_eq!((starts, stops), (5, 2), "{text}");
    cluster.is_back_on("process", "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_the_same_again_changes_nothing() {
    let cluster = Cluster::start().await;
    let spec = cluster.shop("1.0.0", canary());
    cluster.promote(&spec).await;
    let before = std::fs::read_to_string(cluster.ledger_file()).unwrap();

    let view = cluster.promote(&spec).await;

    let (_, plan) = view.plan.unwrap();
    assert!(plan.is_no_op());
    assert_eq!(std::fs::read_to_string(cluster.ledger_file()).unwrap(), before);
    cluster.is_back_on("process", "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_without_routes_is_rolled_without_a_moment_of_fewer_instances() {
    let scripted = ScriptedPlatform::new();
    let cluster = Cluster::with(Setting { scripted: Some(scripted.clone()), ..Setting::default() }).await;
    let release = |version: &str| {
        let mut helper = cluster.module("helper", version);
        helper.as_object_mut().unwrap().remove("smoke");
        let mut spec = cluster.release("scripted", vec![helper]);
        spec["strategy"] = rolling();
        spec
    };
    cluster.promote(&release("1.0.0")).await;
    let begun = scripted.ledger().writes.len();

    cluster.promote(&release("2.0.0")).await;

    let mut runs = 2_i32;
    for write in scripted.ledger().writes.iter().skip(begun).filter(|write| write.effect == Effect::Done) {
        runs += if write.kind == WriteKind::Start { 1 } else { -1 };
        assert!((2..=3).contains(&runs), "{runs} run after {write:?}: {:?}", scripted.ledger().writes);
    }
    assert_eq!((runs, scripted.ledger().duplicates()), (2, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_step_that_cannot_be_undone_a_person_is_called_and_the_lock_is_kept_until_then() {
    let cluster = Cluster::start().await;
    cluster.promote(&cluster.shop("1.0.0", at_once())).await;
    let mut spec = cluster.shop("2.0.0", at_once());
    spec["hooks"] = json!([{
        "name": "migrate", "when": "beforeDeploy", "command": ["/bin/sh", "-c", "exit 0"], "timeout": "10s", "irreversible": true,
    }]);
    spec["modules"][0]["environment"]["GREETER_EXIT_CODE"] = "3".into();
    let id = cluster.submit(&spec).await;

    let stuck =
        cluster.until(&id, "a person is called", |view| view.summary.phase == Phase::NeedsHuman).await;

    assert_eq!(stuck.summary.verdict, Some(Verdict::NeedsHuman));
    assert!(
        told(&stuck).contains("cannot be undone") && told(&stuck).contains("exit status 3"),
        "{}",
        told(&stuck)
    );
    let target = cluster.target("process", "ann", TargetAction::Show {}).await;
    assert_eq!(target.holder.map(|(holder, _)| holder), Some(id.clone()));
    let reason = "the table is back by hand".to_owned();
    cluster.command(&id, "bob", None, Action::Close { reason }).await.unwrap();
    let view = cluster.closed(&id).await;
    assert_eq!(view.summary.verdict, Some(Verdict::NeedsHuman), "{}", told(&view));
    assert_eq!(view.cause.unwrap().kind, CauseKind::Operator);
    assert_eq!(cluster.target("process", "ann", TargetAction::Show {}).await.holder, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_reaches_the_instance_and_no_journal_plan_or_file_of_the_engine() {
    let secrets = tempfile::tempdir().unwrap();
    std::fs::write(secrets.path().join("password"), "k7-very-hidden-9q").unwrap();
    let cluster =
        Cluster::with(Setting { secrets_dir: Some(secrets.path().to_owned()), ..Setting::default() }).await;
    let mut spec = cluster.shop("1.0.0", at_once());
    spec["modules"][0]["secrets"] = json!([{"name": "GREETER_VERSION", "from": {"file": "password"}}]);
    spec["modules"][0]["environment"].as_object_mut().unwrap().remove("GREETER_VERSION");

    let view = cluster.promote(&spec).await;

    assert_eq!(cluster.versions(10).await, BTreeMap::from([("k7-very-hidden-9q".to_owned(), 10)]));
    let said = format!("{view:?} {:?}", cluster.history(&view.summary.deployment).await);
    assert!(!said.contains("very-hidden"));
    // What the instance itself says of it, as this one does at its start, is its own affair.
    for folder in [cluster.folder(), cluster.nats.folder()] {
        let found = std::process::Command::new("grep")
            .args(["-rla", "--exclude=output.log", "very-hidden"])
            .arg(folder)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "files that hold it");
    }
}
