//! Advice on plans: as a job with a report, and at once for a plan that is only looked at.

use std::sync::{Arc, Mutex};

use bus::{WorkRules, subjects};
use experts::heart::decoy;
use model::{
    DeploymentId, DeploymentSpec, Plan, Timestamp,
    command::ReviewReply,
    expert::{Action, AdviceJob, AdviceReport, Matter, Question, Stance},
};
use testkit::eventually;

use crate::stage::{PATIENCE, Setting, Stage, token, waits};

fn matter(question: &Question, until: Timestamp) -> Matter {
    let text = |kind: &str| {
        let found = question.evidence.iter().find(|exhibit| exhibit.kind.as_str() == kind);
        found.unwrap().text.clone()
    };
    let spec: DeploymentSpec = serde_json::from_str(&text("spec")).unwrap();
    let baseline: DeploymentSpec = serde_json::from_str(&text("baseline")).unwrap();
    let plan: Plan = serde_json::from_str(&text("plan")).unwrap();
    Matter {
        question: token(&question.id),
        spec: Box::new(spec),
        baseline: Some(Box::new(baseline)),
        plan: Box::new(plan),
        findings: Vec::new(),
        caller: model::Principal::stated("ann").unwrap(),
        until,
    }
}

fn in_a_minute() -> Timestamp {
    chassis::Clock::system().now().plus(PATIENCE)
}

#[tokio::test]
async fn a_job_for_advice_is_reported_to_the_orchestrator_once() {
    let stage = Stage::models(0, Vec::new()).await;
    let reports: Arc<Mutex<Vec<AdviceReport>>> = Arc::default();
    let heard = Arc::clone(&reports);
    let _hearing = stage
        .nats
        .bus
        .work(&subjects::orchestrator::ADVICE, None, WorkRules::default(), move |report: AdviceReport, _| {
            heard.lock().unwrap().push(report);
            std::future::ready(Ok(()))
        })
        .await
        .unwrap();
    let deployment = DeploymentId::new();
    let asked = decoy::bad(&token(deployment.as_str()), 1000);
    let job = AdviceJob { deployment: deployment.clone(), matter: matter(&asked, in_a_minute()) };

    for time in 0..2 {
        let id = format!("asked-{time}");
        stage.nats.bus.send(&subjects::experts::ADVISE, None, &job, &id).await.unwrap();
    }

    let report = eventually("experts report", PATIENCE, || async {
        reports.lock().unwrap().first().cloned().ok_or("nothing yet")
    })
    .await;
    assert_eq!(report.deployment, deployment);
    assert_eq!(report.plan, job.matter.plan.digest());
    assert_ne!(report.advice.action, Action::Approve);
    assert_eq!(report.advice.source, "rules");
    assert_eq!(report.advice.voices.len(), 5);
    assert!(report.advice.findings[0].statement.contains("no way back") || report.advice.findings.len() > 3);
    let shown = stage.show(deployment.as_str()).await;
    assert_eq!(shown.line.consultation, report.advice.consultation);
    // The report has one name, however often it is sent.
    assert_eq!(reports.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_service_that_dies_while_it_asks_is_replaced_and_the_opinion_is_recorded_once() {
    let mut stage =
        Stage::models(2, vec![waits("ann", Stance::Approve), waits("ole", Stance::Approve)]).await;
    let reports: Arc<Mutex<Vec<AdviceReport>>> = Arc::default();
    let heard = Arc::clone(&reports);
    let _hearing = stage
        .nats
        .bus
        .work(&subjects::orchestrator::ADVICE, None, WorkRules::default(), move |report: AdviceReport, _| {
            heard.lock().unwrap().push(report);
            std::future::ready(Ok(()))
        })
        .await
        .unwrap();
    let deployment = DeploymentId::new();
    let asked = decoy::good(&token(deployment.as_str()), 1000);
    let job = AdviceJob { deployment: deployment.clone(), matter: matter(&asked, in_a_minute()) };
    stage.nats.bus.send(&subjects::experts::ADVISE, None, &job, "asked").await.unwrap();
    stage.vendors.until(|counts| counts.open == 2).await;

    stage.service.take().unwrap().crash();
    stage.vendors.until(|counts| counts.abandoned == 2).await;
    assert!(reports.lock().unwrap().is_empty());
    stage.play(Vec::new());
    stage.start().await;

    let report = eventually("experts report", PATIENCE, || async {
        reports.lock().unwrap().first().cloned().ok_or("nothing yet")
    })
    .await;
    assert_eq!((report.deployment.clone(), report.advice.votes), (deployment.clone(), 2));
    let shown = stage.show(deployment.as_str()).await;
    assert_eq!(shown.line.consultation, report.advice.consultation);
}

#[tokio::test]
async fn nobody_is_asked_when_nobody_waits_any_more() {
    let stage = Stage::models(2, Vec::new()).await;
    let deployment = DeploymentId::new();
    let asked = decoy::good(&token(deployment.as_str()), 1000);
    let job = AdviceJob { deployment, matter: matter(&asked, Timestamp(1)) };
    stage.nats.bus.send(&subjects::experts::ADVISE, None, &job, "stale").await.unwrap();

    // A later job on the same lane is done, so the stale one was.
    let other = DeploymentId::new();
    let asked = decoy::good(&token(other.as_str()), 1000);
    let next = AdviceJob { deployment: other.clone(), matter: matter(&asked, in_a_minute()) };
    stage.nats.bus.send(&subjects::experts::ADVISE, None, &next, "next").await.unwrap();
    eventually("the next one is asked", PATIENCE, || async {
        let asked = stage.vendors.requests().len();
        if asked == 2 { Ok(()) } else { Err(format!("{asked} questions")) }
    })
    .await;
}

#[tokio::test]
async fn a_plan_that_is_only_looked_at_is_asked_about_once() {
    // In production a single family must not decide: two would be fragile.
    let stage = Stage::models(5, Vec::new()).await;
    let asked = matter(&decoy::good(&token("plan-1"), 1000), in_a_minute());

    let first = stage.call(&subjects::experts::ADVISE_NOW, &asked).await.unwrap();
    let again = stage.call(&subjects::experts::ADVISE_NOW, &asked).await.unwrap();

    assert_eq!(first, again);
    assert_eq!((first.action, first.source.as_str()), (Action::Approve, "models"));
    assert_eq!(stage.vendors.requests().len(), 5);
}

#[tokio::test]
async fn a_check_that_failed_outranks_votes_that_approve() {
    let stage = Stage::models(5, Vec::new()).await;
    let mut asked = matter(&decoy::good(&token("plan-3"), 1000), in_a_minute());
    asked.findings = vec![ReviewReply {
        agent: "security".to_owned(),
        passed: false,
        summary: "an image that can move".to_owned(),
        findings: Vec::new(),
    }];

    let advice = stage.call(&subjects::experts::ADVISE_NOW, &asked).await.unwrap();

    assert_eq!(advice.action, Action::Reject);
    assert!(advice.reason.contains("failed: security: an image that can move"), "{}", advice.reason);
    assert!(stage.vendors.requests()[0].body.to_string().contains("1 checks by agents have failed"));
}

#[tokio::test]
async fn a_plan_too_large_to_be_shown_is_said_to_be_so() {
    let stage = Stage::with(Setting::default(), |config| config.evidence_bytes = 1024).await;
    let asked = matter(&decoy::good(&token("plan-2"), 1000), in_a_minute());

    let advice = stage.call(&subjects::experts::ADVISE_NOW, &asked).await.unwrap();

    assert_eq!(advice.action, Action::NoQuorum);
    let question = stage.show("plan-2").await.consultation.unwrap().question;
    assert!(question.constraints.iter().any(|one| one.contains("is not shown")), "{question:#?}");
}
