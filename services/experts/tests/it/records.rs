//! Experts' records learn from how deployments end, each end once.

use bus::subjects;
use experts::heart::decoy;
use model::{
    DeploymentId, Digest, Event, Phase, Record, Timestamp, Verdict,
    deployment::{Cause, CauseKind},
    expert::{ExpertView, ExpertsRequest},
    view::Summary,
};
use testkit::eventually;

use crate::stage::{PATIENCE, Stage, token};

fn closed(deployment: &DeploymentId, verdict: Verdict) -> Summary {
    Summary {
        deployment: deployment.clone(),
        target: "prod.docker.shop".parse().unwrap(),
        spec: Digest::of_bytes(b"x"),
        initiator: model::Principal::stated("ann").unwrap(),
        phase: Phase::Closed,
        verdict: Some(verdict),
        reason: String::new(),
        received: Timestamp(1),
        closed: Some(Timestamp(2)),
        modules: Vec::new(),
    }
}

async fn reliability(stage: &Stage) -> ExpertView {
    let list = stage.call(&subjects::experts::LIST, &ExpertsRequest {}).await.unwrap();
    list.experts.into_iter().find(|one| one.expert.name.as_str() == "reliability").unwrap()
}

#[tokio::test]
async fn an_end_teaches_once_however_often_it_is_heard() {
    let stage = Stage::models(0, Vec::new()).await;
    let deployment = DeploymentId::new();
    stage.ask(decoy::good(&token(deployment.as_str()), 30_000)).await;
    assert_eq!(reliability(&stage).await.outcomes, 0);

    for time in 0..3 {
        let summary = closed(&deployment, Verdict::Promoted);
        let id = format!("closed-{time}");
        stage.nats.bus.say(&subjects::deployment::CLOSED, deployment.as_str(), &summary, &id).await.unwrap();
    }
    // Heard after all of these.
    let last = DeploymentId::new();
    stage.ask(decoy::good(&token(last.as_str()), 30_000)).await;
    let summary = closed(&last, Verdict::Promoted);
    stage.nats.bus.say(&subjects::deployment::CLOSED, last.as_str(), &summary, "last").await.unwrap();
    let expert = eventually("both ends were learnt from", PATIENCE, || async {
        let expert = reliability(&stage).await;
        if expert.outcomes >= 2 { Ok(expert) } else { Err(format!("{expert:?}")) }
    })
    .await;

    assert_eq!((expert.outcomes, expert.right), (2, Some(1.0)));
    assert_eq!(stage.show(deployment.as_str()).await.line.outcome, Some(Verdict::Promoted));
}

/// A rule checks what is in a plan. That traffic showed something else later is what measuring gates are for, and no reason
/// to trust the rule's next check less.
#[tokio::test]
async fn rules_are_shown_how_often_they_were_right_and_weigh_as_before() {
    let stage = Stage::models(0, Vec::new()).await;
    let mut last = None;
    for _ in 0..4 {
        let deployment = DeploymentId::new();
        let asked = stage.ask(decoy::good(&token(deployment.as_str()), 30_000)).await;
        let id = deployment.as_str();
        journal_of_a_failure(&stage, &deployment).await;
        let summary = closed(&deployment, Verdict::RolledBack);
        stage.nats.bus.say(&subjects::deployment::CLOSED, id, &summary, id).await.unwrap();
        last = Some(asked);
    }
    let expert = eventually("all four ends were learnt from", PATIENCE, || async {
        let expert = reliability(&stage).await;
        if expert.outcomes >= 4 { Ok(expert) } else { Err(format!("{expert:?}")) }
    })
    .await;

    let next = stage.ask(decoy::good(&token("next"), 30_000)).await;

    assert_eq!(expert.right, Some(0.0));
    assert_eq!(next.opinion.action, model::expert::Action::Approve, "{:#?}", next.opinion);
    assert_eq!(next.opinion.posterior, last.unwrap().opinion.posterior);
}

/// What once made the rules claim 99 %: three releases that were promoted and one that was rolled back.
#[tokio::test]
async fn after_four_releases_of_which_one_was_rolled_back_five_rules_claim_what_a_beta_binomial_says() {
    let stage = Stage::models(0, Vec::new()).await;
    for verdict in [Verdict::Promoted, Verdict::Promoted, Verdict::RolledBack, Verdict::Promoted] {
        let deployment = DeploymentId::new();
        stage.ask(decoy::good(&token(deployment.as_str()), 30_000)).await;
        if verdict == Verdict::RolledBack {
            journal_of_a_failure(&stage, &deployment).await;
        }
        let (id, summary) = (deployment.as_str(), closed(&deployment, verdict));
        stage.nats.bus.say(&subjects::deployment::CLOSED, id, &summary, id).await.unwrap();
    }
    let expert = eventually("all four ends were learnt from", PATIENCE, || async {
        let expert = reliability(&stage).await;
        if expert.outcomes >= 4 { Ok(expert) } else { Err(format!("{expert:?}")) }
    })
    .await;
    // What is older counts a little less.
    assert!(expert.outcomes == 4 && (expert.right.unwrap() - 0.75).abs() < 0.01, "{expert:?}");

    let opinion = stage.ask(decoy::good(&token("next"), 30_000)).await.opinion;

    let safe = opinion.posterior["safe"];
    assert_eq!((opinion.votes, opinion.vote_share["approve"]), (5, 1.0), "{opinion:#?}");
    // Five votes that err together with a correlation of one half are worth 5 / 3, and claim .912 when they agree.
    assert!((opinion.effective_votes - 5.0 / 3.0).abs() < 1e-9, "{}", opinion.effective_votes);
    assert!((safe - 0.912).abs() < 0.001 && (0.86..=0.94).contains(&safe), "{safe}: {}", opinion.reason);
    let said = format!("safe {:.0} % (", safe * 100.0);
    let (_, width) = opinion.reason.split_once(&said).expect(&opinion.reason);
    let (low, high) =
        width.split_once(" to ").and_then(|(low, rest)| Some((low, rest.split_once(" %")?.0))).unwrap();
    let (low, high): (f64, f64) = (low.parse().unwrap(), high.parse().unwrap());
    assert!(low < 75.0 && (94.0..99.0).contains(&high), "{}", opinion.reason);
}

async fn journal_of_a_failure(stage: &Stage, deployment: &DeploymentId) {
    let cause = Cause {
        kind: CauseKind::Failed,
        step: None,
        gate: None,
        text: "a third of all requests failed".into(),
        at: Timestamp(2),
    };
    let record = Record {
        id: deployment.to_string(),
        version: 1,
        writer: "test".into(),
        at: Timestamp(2),
        trace: None,
        events: vec![Event::Decided { verdict: Verdict::RolledBack, cause: Some(cause) }],
    };
    let journal = &subjects::deployment::JOURNAL;
    stage.nats.bus.append(journal, deployment.as_str(), &record, 0).await.unwrap();
}

#[tokio::test]
async fn what_was_never_tried_teaches_nothing_but_is_noted() {
    let stage = Stage::models(0, Vec::new()).await;
    let deployment = DeploymentId::new();
    stage.ask(decoy::bad(&token(deployment.as_str()), 30_000)).await;

    let summary = closed(&deployment, Verdict::Rejected);
    stage.nats.bus.say(&subjects::deployment::CLOSED, deployment.as_str(), &summary, "closed").await.unwrap();
    eventually("the end is noted", PATIENCE, || async {
        stage.show(deployment.as_str()).await.line.outcome.ok_or("not yet")
    })
    .await;

    assert_eq!(reliability(&stage).await.outcomes, 0);
}
