//! A whole engine with experts and a consensus worker: advice on a plan, the gate that requires an approval, and a panel
//! that is not there.

use code_tests::cluster::{Cluster, Setting, at_once, told};
use model::{
    Event, Verdict,
    deployment::CauseKind,
    expert::{Action, ConsultationRequest, ExpertsRequest},
    view::DeploymentView,
};
use serde_json::{Value, json};
use testkit::eventually;

async fn cluster() -> Cluster {
    Cluster::with(Setting { experts: true, ..Setting::default() }).await
}

/// A release that five rules have nothing against.
fn careful(cluster: &Cluster, version: &str, gate: &str) -> Value {
    let mut spec = cluster.shop(version, at_once());
    spec["modules"][0]["resources"] = json!({"cpu": "200m", "memory": "128Mi"});
    spec["gates"] = json!({"experts": gate});
    spec
}

/// The same with a step that cannot be undone, and that nobody has to approve.
fn risky(cluster: &Cluster, version: &str, gate: &str) -> Value {
    let mut spec = careful(cluster, version, gate);
    spec["hooks"] = json!([
        {"name": "drop-column", "when": "beforePromotion", "command": ["true"], "irreversible": true, "timeout": "10s"}
    ]);
    spec
}

#[track_caller]
fn assert_advised(view: &DeploymentView, action: Action) {
    let advice = view.advice.as_ref().unwrap_or_else(|| panic!("no advice:\n{}", told(view)));
    assert_eq!(advice.action, action, "{advice:#?}");
    assert_eq!((advice.source.as_str(), advice.voices.len()), ("rules", 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_required_approval_is_given_to_a_careful_release_and_recorded() {
    let cluster = cluster().await;
    cluster.promote(&careful(&cluster, "1.0.0", "off")).await;

    let view = cluster.promote(&careful(&cluster, "2.0.0", "require")).await;

    assert_advised(&view, Action::Approve);
    let names: Vec<&str> = cluster
        .history(&view.summary.deployment)
        .await
        .iter()
        .flat_map(|record| &record.events)
        .map(Event::name)
        .filter(|name| name.starts_with("advi") || *name == "locked")
        .collect();
    assert_eq!(names, ["advice_asked", "advised", "locked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_required_approval_that_is_not_given_holds_the_release_back_with_the_reason() {
    let cluster = cluster().await;
    cluster.promote(&careful(&cluster, "1.0.0", "off")).await;

    let view = cluster.deploy(&risky(&cluster, "2.0.0", "require")).await;

    assert_eq!(view.summary.verdict, Some(Verdict::Rejected), "{}", told(&view));
    assert_eq!(view.cause.as_ref().unwrap().kind, CauseKind::Advice);
    assert!(view.explanation.headline.contains("no way back"), "{}", view.explanation.headline);
    assert!(!view.explanation.headline.contains("voted"), "the votes stand with the advice");
    let advice = view.advice.as_ref().unwrap();
    assert!(advice.reason.contains("rollback-safety found something blocking"), "{}", advice.reason);
    assert_eq!(advice.turns_without["rollback-safety"], Action::Approve, "{advice:#?}");
    let said = view.explanation.details.join("\n");
    assert!(said.contains("rollback-safety") && said.contains("codectl experts history"), "{said}");
    cluster.is_back_on("process", "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_advice_against_a_release_is_recorded_and_does_not_stop_it() {
    let cluster = cluster().await;
    cluster.promote(&careful(&cluster, "1.0.0", "off")).await;

    let view = cluster.promote(&risky(&cluster, "2.0.0", "advise")).await;

    assert_ne!(view.advice.as_ref().unwrap().action, Action::Approve);
    cluster.is_served_by("2.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_plan_shows_the_advice_before_anyone_decides() {
    let cluster = cluster().await;
    cluster.promote(&careful(&cluster, "1.0.0", "off")).await;

    let plan = cluster.plan(&risky(&cluster, "2.0.0", "require")).await;
    let quiet = cluster.plan(&careful(&cluster, "2.0.0", "off")).await;

    let advice = plan.advice.unwrap();
    assert_ne!(advice.action, Action::Approve);
    assert!(
        plan.obstacles.iter().any(|one| one.contains("experts must approve and do not")),
        "{:?}",
        plan.obstacles
    );
    assert_eq!(quiet.advice, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_panel_that_is_not_there_never_blocks_advice_and_never_approves() {
    let mut cluster = Cluster::with(Setting { advice: Some("2s"), ..Setting::default() }).await;
    let advised = careful(&cluster, "1.0.0", "advise");

    let first = cluster.promote(&advised).await;
    let required = cluster.deploy(&careful(&cluster, "2.0.0", "require")).await;

    assert_eq!(first.advice, None);
    assert_eq!(required.cause.as_ref().unwrap().kind, CauseKind::Advice, "{}", told(&required));
    assert!(
        required.explanation.headline.contains("no opinion came within 2s"),
        "{}",
        required.explanation.headline
    );

    // Once they are there, what waits in their queue is too old, and the next release is judged.
    cluster.start_experts().await;
    let again = cluster.promote(&careful(&cluster, "2.0.1", "require")).await;
    assert_advised(&again, Action::Approve);
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_how_a_release_ends_is_noted_with_the_advice_on_it() {
    let cluster = cluster().await;
    let view = cluster.promote(&careful(&cluster, "1.0.0", "advise")).await;
    let question = view.advice.unwrap().question;

    let shown = eventually("the end is noted", code_tests::cluster::PATIENCE, || async {
        let request = ConsultationRequest { question: question.clone() };
        let bus = &cluster.nats.bus;
        let shown = bus
            .call(&bus::subjects::experts::SHOW, &request, code_tests::cluster::ASK)
            .await
            .map_err(|error| error.to_string())?;
        if shown.line.outcome.is_some() { Ok(shown) } else { Err("no outcome yet".to_owned()) }
    })
    .await;

    assert_eq!(shown.line.outcome, Some(Verdict::Promoted));
    let list =
        cluster.nats.bus.call(&bus::subjects::experts::LIST, &ExpertsRequest {}, code_tests::cluster::ASK);
    let list = list.await.unwrap();
    assert!(list.experts.iter().all(|one| one.outcomes == 1 && one.right == Some(1.0)), "{list:#?}");
}
