//! From request to verdict.

use bus::subjects;
use model::{
    Code, Phase, StepKind, Verdict,
    command::{Action, ListRequest, PlanRequest, Submit, TargetAction, TargetCommand},
};
use testkit::nats;

use crate::world::*;

#[tokio::test]
async fn a_release_goes_from_request_to_promoted_and_a_canary_waits_for_the_person() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let _one = orchestrator(&nats).await;
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    assert_eq!(verdict(&nats.bus, &first).await, Verdict::Promoted);

    let second = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    until(&nats.bus, &second, "the canary pauses", waits_in_pause).await;
    command(&nats.bus, &second, Action::Promote { full: false }).await.unwrap();

    assert_eq!(verdict(&nats.bus, &second).await, Verdict::Promoted);
    let list = nats.bus.call(&subjects::orchestrator::LIST, &ListRequest::default(), ASK).await.unwrap();
    let listed: Vec<_> = list.deployments.iter().map(|line| line.deployment.clone()).collect();
    assert_eq!(listed, [second, first]);
}

#[tokio::test]
async fn a_step_that_fails_rolls_back_and_the_spec_is_quarantined_until_forced() {
    let nats = nats().await;
    let one = orchestrator(&nats).await;
    let first = {
        let _agents = agents(&nats.bus, None).await;
        let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
        assert_eq!(verdict(&nats.bus, &first).await, Verdict::Promoted);
        first
    };
    let _agents = agents(&nats.bus, Some("weight-50")).await;

    let second = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    until(&nats.bus, &second, "the canary pauses", waits_in_pause).await;
    command(&nats.bus, &second, Action::Promote { full: false }).await.unwrap();
    assert_eq!(verdict(&nats.bus, &second).await, Verdict::RolledBack);

    let again = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    assert_eq!(verdict(&nats.bus, &again).await, Verdict::Rejected);
    let target =
        TargetCommand { target: "default.scripted.shop".parse().unwrap(), action: TargetAction::Show {} };
    let target = nats.bus.call(&subjects::orchestrator::TARGET, &target, ASK).await.unwrap();
    assert_eq!(target.snapshot.unwrap().deployment, first);
    assert_eq!(target.quarantined.len(), 1);
    assert_eq!(target.holder, None);
    drop(one);
}

#[tokio::test]
async fn a_spec_with_a_secret_is_refused_and_nothing_of_it_is_kept() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let _one = orchestrator(&nats).await;
    let secret = "hunter2hunter2";
    let document =
        shop("1.0.0").replacen("modules:", &format!("labels: {{note: 'db_password={secret}'}}\nmodules:"), 1);

    let refused =
        nats.bus.call(&subjects::orchestrator::SUBMIT, &submit(document.clone()), ASK).await.unwrap_err();
    let plan = PlanRequest { document };
    let unplanned = nats.bus.call(&subjects::orchestrator::PLAN, &plan, ASK).await.unwrap_err();

    for error in [refused, unplanned] {
        let bus::Error::Fault(fault) = error else { panic!("{error:?}") };
        assert_eq!(fault.code, Code::Invalid);
        assert!(fault.complaints[0].field == "labels.note" && fault.complaints[0].line > 1, "{fault:?}");
        assert!(!format!("{fault:?}").contains(secret), "{fault:?}");
    }
    let list = nats.bus.call(&subjects::orchestrator::LIST, &ListRequest::default(), ASK).await.unwrap();
    assert!(list.deployments.is_empty(), "{list:?}");
}

#[tokio::test]
async fn two_deployments_of_one_target_take_turns_and_a_third_supersedes() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let _one = orchestrator(&nats).await;
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    verdict(&nats.bus, &first).await;

    let holder = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    until(&nats.bus, &holder, "the holder pauses", waits_in_pause).await;
    let waiting = ask(&nats.bus, &submit(shop("3.0.0"))).await;
    until(&nats.bus, &waiting, "the second waits", |view| view.summary.phase == Phase::Queued).await;
    let newest = ask(&nats.bus, &submit(format!("{}\nwhenBusy: supersede\n", shop("4.0.0")))).await;

    assert_eq!(verdict(&nats.bus, &holder).await, Verdict::Superseded);
    assert_eq!(verdict(&nats.bus, &waiting).await, Verdict::Superseded);
    until(&nats.bus, &newest, "the newest pauses", waits_in_pause).await;
}

#[tokio::test]
async fn the_same_request_id_is_one_deployment_and_a_bad_spec_says_where() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let _one = orchestrator(&nats).await;
    let keyed = Submit { request_id: Some("build-7".into()), ..submit(shop("1.0.0")) };

    let one = nats.bus.call(&subjects::orchestrator::SUBMIT, &keyed, ASK).await.unwrap();
    let other = nats.bus.call(&subjects::orchestrator::SUBMIT, &keyed, ASK).await.unwrap();
    let bad = submit(shop("1.0.0").replace("replicas: 4", "replicas: 0"));
    let fault = nats.bus.call(&subjects::orchestrator::SUBMIT, &bad, ASK).await.unwrap_err();

    assert_eq!((one.deployment, true), (other.deployment, other.repeated));
    let bus::Error::Fault(fault) = fault else { panic!("{fault}") };
    assert_eq!(fault.code, Code::Invalid);
    assert_eq!((fault.complaints[0].line, fault.complaints[0].field.as_str()), (9, "modules[0].replicas"));
}

#[tokio::test]
async fn a_plan_that_was_seen_is_refused_when_the_target_changed() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let _one = orchestrator(&nats).await;
    let request = PlanRequest { document: shop("2.0.0") };
    let plan = nats.bus.call(&subjects::orchestrator::PLAN, &request, ASK).await.unwrap();
    assert!(
        plan.plan.steps.iter().all(|step| !matches!(step.kind, StepKind::Pause { .. })),
        "a first release has no canary"
    );

    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    verdict(&nats.bus, &first).await;
    let stale = ask(&nats.bus, &Submit { plan: Some(plan.digest), ..submit(shop("2.0.0")) }).await;

    assert_eq!(verdict(&nats.bus, &stale).await, Verdict::Rejected);
}
