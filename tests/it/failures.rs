//! What goes wrong ends as documented: the verdict, the kind of cause, a text that names the thing; the old release
//! serves, nothing is lost, the lock is free.

use std::{fs, time::Duration};

use code_tests::cluster::{Cluster, Counts, Setting, at_once, canary, submit, told};
use model::{
    Code, DeploymentId, Verdict,
    command::{Action, TargetAction},
    deployment::CauseKind,
    view::DeploymentView,
};
use platform::ScriptedPlatform;
use serde_json::{Value, json};

const RATE: u32 = 100;

/// 1.0.0 serves under load while `change`d 2.0.0 is tried; it must be taken back without a lost request.
async fn is_taken_back(kind: CauseKind, change: impl FnOnce(&mut Value)) -> DeploymentView {
    let (view, counts) = is_taken_back_counted(kind, change).await;
    assert_eq!((counts.failed(), counts.ended), (0, counts.sent), "{counts:?}");
    view
}

async fn is_taken_back_counted(kind: CauseKind, change: impl FnOnce(&mut Value)) -> (DeploymentView, Counts) {
    let cluster = Cluster::start().await;
    cluster.promote(&cluster.shop("1.0.0", canary())).await;
    let load = cluster.load(RATE);
    load.wait_for(10).await;
    let mut spec = cluster.shop("2.0.0", canary());
    change(&mut spec);

    let view = cluster.deploy(&spec).await;
    let back = load.wait_for(20).await;
    let counts = load.end().await;

    assert_eq!(view.summary.verdict, Some(Verdict::RolledBack), "{}", told(&view));
    assert_eq!(view.cause.as_ref().map(|cause| cause.kind), Some(kind), "{}", told(&view));
    assert_eq!(back.failed(), 0, "{back:?}");
    cluster.is_back_on("process", "1.0.0").await;
    assert_eq!(cluster.drift("process").await.drifts, []);
    (view, counts)
}

fn names(view: &DeploymentView, words: &[&str]) {
    let text = told(view);
    for word in words {
        assert!(text.contains(word), "{word:?} is not told:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_never_gets_ready_is_taken_back() {
    let view = is_taken_back(CauseKind::Failed, |spec| {
        spec["modules"][0]["environment"]["GREETER_NEVER_READY"] = "true".into();
        spec["modules"][0]["health"]["healthyDeadline"] = "2s".into();
    })
    .await;

    names(&view, &["is not healthy within 2s", "503"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_ends_again_and_again_is_taken_back() {
    let view = is_taken_back(CauseKind::Failed, |spec| {
        spec["modules"][0]["environment"]["GREETER_CRASH_AFTER"] = "100ms".into();
    })
    .await;

    names(&view, &["ended 3 times", "exit status 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_ends_at_once_is_taken_back_with_its_exit_status() {
    let view = is_taken_back(CauseKind::Failed, |spec| {
        spec["modules"][0]["environment"]["GREETER_EXIT_CODE"] = "3".into();
    })
    .await;

    names(&view, &["exit status 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_with_a_setting_it_refuses_is_taken_back_with_its_own_words() {
    let view = is_taken_back(CauseKind::Failed, |spec| {
        spec["modules"][0]["environment"]["GREETER_LATENCY"] = "soon".into();
    })
    .await;

    names(&view, &["exit status 2"]);
    let findings: Vec<String> =
        view.steps.iter().flat_map(|step| &step.findings).map(|finding| finding.message.clone()).collect();
    let said = findings.iter().any(|message| message.contains("GREETER_LATENCY is \"soon\""));
    assert!(said, "its last lines are not among the findings: {findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_named() {
    let view = is_taken_back(CauseKind::Failed, |spec| {
        spec["modules"][0]["run"]["command"][0] = "/opt/shop/no-such-program".into();
    })
    .await;

    names(&view, &["/opt/shop/no-such-program is not there"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smoke_test_that_fails_is_taken_back_before_there_is_traffic() {
    let view = is_taken_back(CauseKind::Failed, |spec| {
        spec["modules"][0]["smoke"] = json!([{"path": "/no-such-page"}]);
    })
    .await;

    names(&view, &["/no-such-page", "404"]);
    let weighed = view.steps.iter().any(|step| {
        step.id.as_str().starts_with('s') && step.id.as_str().contains("weight") && step.attempt > 0
    });
    assert!(!weighed, "it got traffic:\n{}", told(&view));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_does_not_come_costs_the_release_and_not_the_service() {
    let view = is_taken_back(CauseKind::Deadline, |spec| {
        spec["strategy"] =
            json!({"canary": {"steps": [{"setWeight": 10}, {"pause": {}}, {"setWeight": 50}]}});
        spec["deadlines"]["human"] = "1s".into();
    })
    .await;

    names(&view, &["nobody promoted", "within 1s"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_only_instance_that_dies_in_the_canary_costs_its_share_for_a_while_and_then_the_release() {
    let (view, counts) = is_taken_back_counted(CauseKind::Failed, |spec| {
        spec["strategy"] = json!({"canary": {"steps": [{"setWeight": 10}, {"pause": {"duration": "3s"}}, {"setWeight": 50}]}});
        spec["modules"][0]["environment"]["GREETER_CRASH_AFTER"] = "1500ms".into();
        spec["deadlines"]["step"] = "20s".into();
    })
    .await;

    names(&view, &["ended while it was on trial"]);
    assert_eq!((counts.lost, counts.ended), (0, counts.sent), "{counts:?}");
    assert!(counts.errors * 10 < counts.ended, "more than the share on trial: {counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_does_not_come_rejects_and_touches_nothing() {
    let cluster = Cluster::start().await;
    cluster.promote(&cluster.shop("1.0.0", at_once())).await;
    let mut spec = cluster.shop("2.0.0", canary());
    spec["gates"] = json!({"approvals": {"required": 1}});
    spec["deadlines"]["human"] = "1s".into();

    let view = cluster.deploy(&spec).await;

    assert_eq!(view.summary.verdict, Some(Verdict::Rejected), "{}", told(&view));
    names(&view, &["0 of 1 approvals"]);
    cluster.is_back_on("process", "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_on_the_old_release_without_a_human() {
    let scripted = ScriptedPlatform::new();
    let cluster = Cluster::with(Setting { scripted: Some(scripted.clone()), ..Setting::default() }).await;
    let release = |version: &str| {
        let mut web = cluster.module("web", version);
        web.as_object_mut().unwrap().remove("smoke");
        cluster.release("scripted", vec![web])
    };
    cluster.promote(&release("1.0.0")).await;

    scripted.script(|script| script.disk_full = true);
    let view = cluster.deploy(&release("2.0.0")).await;

    assert_eq!(view.summary.verdict, Some(Verdict::RolledBack), "{}", told(&view));
    assert_eq!(view.cause.as_ref().unwrap().kind, CauseKind::Errored);
    names(&view, &["disk is full"]);
    assert_eq!(cluster.drift("scripted").await.drifts, []);
    assert_eq!(cluster.target("scripted", "ann", TargetAction::Show {}).await.holder, None);
}

/// The same with a real disk, where the test may mount one: root only.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_really_full_ends_on_the_old_release_without_a_human() {
    let mut cluster = Cluster::with(Setting { hands: false, ..Setting::default() }).await;
    let Some(disk) = Disk::mount(&cluster.agents_dir().join("process")) else { return };
    cluster.start_traffic().await;
    cluster.start_agents().await;
    cluster.promote(&cluster.shop("1.0.0", canary())).await;
    let load = cluster.load(RATE);
    load.wait_for(10).await;

    disk.fill();
    let view = cluster.deploy(&cluster.shop("2.0.0", canary())).await;
    let counts = load.end().await;

    assert_eq!(view.summary.verdict, Some(Verdict::RolledBack), "{}", told(&view));
    assert_eq!(view.cause.as_ref().unwrap().kind, CauseKind::Errored);
    names(&view, &["disk is full"]);
    assert_eq!((counts.failed(), counts.ended), (0, counts.sent), "{counts:?}");
    cluster.is_back_on("process", "1.0.0").await;
}

/// A disk of 1 MiB.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(at: &std::path::Path) -> Option<Disk> {
        fs::create_dir_all(at).unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "code-test"])
            .arg(at)
            .output();
        if mount.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Disk(at.to_owned()));
        }
        testkit::skip(&format!("a small disk could not be mounted: {mount:?}"), "run the tests as root");
        None
    }

    fn fill(&self) {
        let filled =
            std::io::copy(&mut std::io::repeat(0), &mut fs::File::create(self.0.join("filler")).unwrap());
        assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_who_race_one_wins_and_the_other_is_told_why() {
    let cluster = Cluster::start().await;
    cluster.promote(&cluster.shop("1.0.0", at_once())).await;
    let strategy = json!({"canary": {"steps": [{"setWeight": 10}, {"pause": {}}, {"setWeight": 50}]}});
    let _load = cluster.load(RATE);
    let id = cluster.submit(&cluster.shop("2.0.0", strategy)).await;
    let seen = cluster.pauses(&id).await.version;

    let abort = Action::Abort { reason: "looks odd".into() };
    let (promoted, aborted) = tokio::join!(
        cluster.command(&id, "ann", Some(seen), Action::Promote { full: false }),
        cluster.command(&id, "bob", Some(seen), abort),
    );
    let view = cluster.closed(&id).await;

    let (winner, told_why) = match (promoted, aborted) {
        (Ok(_), Err(fault)) => (Verdict::Promoted, fault),
        (Err(fault), Ok(_)) => (Verdict::RolledBack, fault),
        both => panic!("not one of them won: {both:?}"),
    };
    assert_eq!(told_why.code, Code::Conflict);
    assert!(told_why.message.contains(&format!("and not at {seen}")), "{}", told_why.message);
    assert_eq!(view.summary.verdict, Some(winner), "{}", told(&view));
}

/// Nothing of it may reach the journal, and what runs goes on.
async fn is_refused(cluster: &Cluster, document: String, words: &[&str]) {
    let before: Vec<DeploymentId> = cluster.list().await.into_iter().map(|line| line.deployment).collect();

    let fault = cluster.try_submit(&submit(document)).await.unwrap_err();

    assert_eq!(fault.code, Code::Invalid, "{fault:?}");
    let text = format!("{fault} {:?}", fault.complaints);
    for word in words {
        assert!(text.contains(word), "{word:?} is not told: {text}");
    }
    assert!(text.len() < 20_000, "a complaint of {} bytes", text.len());
    let after: Vec<DeploymentId> = cluster.list().await.into_iter().map(|line| line.deployment).collect();
    assert_eq!(after, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_makes_no_sense_is_refused_with_its_place_and_nothing_is_touched() {
    let cluster = Cluster::start().await;
    cluster.promote(&cluster.shop("1.0.0", at_once())).await;
    let shop = |change: fn(&mut Value)| {
        let mut spec = cluster.shop("2.0.0", canary());
        change(&mut spec);
        spec.to_string()
    };

    let circle = {
        let (mut one, mut two) = (cluster.module("one", "1.0.0"), cluster.module("two", "1.0.0"));
        one["dependsOn"] = json!([{"module": "two"}]);
        two["dependsOn"] = json!([{"module": "one"}]);
        cluster.release("process", vec![one, two]).to_string()
    };
    is_refused(&cluster, circle, &["in a circle", "one", "two"]).await;
    is_refused(&cluster, shop(|spec| spec["modules"][0]["replicsa"] = 3.into()), &["replicsa", "replicas"])
        .await;
    is_refused(
        &cluster,
        shop(|spec| spec["modules"][0]["replicas"] = (-2).into()),
        &["modules[0].replicas", "-2"],
    )
    .await;
    is_refused(&cluster, shop(|spec| spec["target"] = "moon".into()), &["moon"]).await;
    is_refused(&cluster, "name: [".into(), &["1"]).await;
    is_refused(&cluster, String::new(), &["empty"]).await;
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
    is_refused(&cluster, bomb.into(), &[]).await;
    is_refused(&cluster, format!("name: {}", "[".repeat(10_000)), &[]).await;
    is_refused(&cluster, format!("name: {}", "x".repeat(600 * 1024)), &["524288"]).await;
    is_refused(&cluster, format!("a: \u{0}\u{7}\nb: !!python/object:os.system {}", "{}"), &[]).await;

    cluster.is_back_on("process", "1.0.0").await;
    assert_eq!(cluster.list().await.len(), 1);
    tokio::time::timeout(Duration::from_secs(60), cluster.promote(&cluster.shop("2.0.0", at_once())))
        .await
        .unwrap();
}
