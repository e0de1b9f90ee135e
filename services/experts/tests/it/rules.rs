//! Without a key rules serve, labelled as such; what was asked is kept and can be computed again.

use bus::subjects;
use experts::heart::decoy;
use model::{
    Code,
    expert::{
        Action, ConsultationRequest, ConsultationsRequest, ExpertsRequest, Question, Stance, TestRequest,
    },
};

use crate::stage::{Stage, question, token};

async fn stage() -> Stage {
    Stage::models(0, Vec::new()).await
}

fn good(id: &str) -> Question {
    decoy::good(&token(id), 30_000)
}

fn bad(id: &str) -> Question {
    decoy::bad(&token(id), 30_000)
}

#[tokio::test]
async fn five_rules_approve_a_good_plan_and_hold_back_a_bad_one() {
    let stage = stage().await;

    let (good, bad) = (stage.ask(good("good")).await, stage.ask(bad("bad")).await);

    assert_eq!(good.opinion.action, Action::Approve, "{:#?}", good.opinion);
    assert_eq!((good.ballots.len(), good.opinion.votes), (5, 5));
    assert!(good.ballots.iter().all(|ballot| ballot.expert.family.as_str().starts_with("rules-")));
    assert_ne!(bad.opinion.action, Action::Approve, "{:#?}", bad.opinion);
    assert_eq!(good.cost_micro_usd, 0);
}

#[tokio::test]
async fn asking_again_gives_what_is_recorded_even_after_a_restart() {
    let mut stage = stage().await;
    let first = stage.ask(good("same")).await;

    let again = stage.ask(good("same")).await;
    stage.start().await;
    let after = stage.ask(good("same")).await;

    assert_eq!((&again, &after), (&first, &first));
}

#[tokio::test]
async fn an_id_belongs_to_one_question() {
    let stage = stage().await;
    stage.ask(good("mine")).await;

    assert_eq!(stage.refusal(bad("mine")).await, Code::Conflict);
}

#[tokio::test]
async fn what_rules_cannot_judge_has_no_quorum_and_is_no_rejection() {
    let stage = stage().await;

    let asked = stage.ask(question("free")).await;

    assert_eq!(asked.opinion.action, Action::NoQuorum, "{:#?}", asked.opinion);
}

#[tokio::test]
async fn a_consultation_computed_again_is_the_same() {
    let stage = stage().await;
    stage.ask(bad("replayed")).await;

    let request = ConsultationRequest { question: token("replayed") };
    let replay = stage.call(&subjects::experts::REPLAY, &request).await.unwrap();

    assert!(replay.same, "{replay:#?}");
    assert_eq!(replay.rules.len(), 5);
}

#[tokio::test]
async fn what_was_never_asked_is_not_there() {
    let stage = stage().await;
    let request = ConsultationRequest { question: token("never") };

    let shown = stage.call(&subjects::experts::SHOW, &request).await.unwrap_err();

    assert_eq!(shown.code, Code::NotFound);
}

#[tokio::test]
async fn lists_show_who_can_be_asked_and_what_was() {
    let stage = stage().await;
    stage.ask(good("first")).await;
    stage.ask(bad("second")).await;

    let experts = stage.call(&subjects::experts::LIST, &ExpertsRequest {}).await.unwrap();
    let history = stage.call(&subjects::experts::HISTORY, &ConsultationsRequest::default()).await.unwrap();

    assert!(experts.experts.iter().all(|one| one.provider == "rules" && one.state == "ready"));
    let asked: Vec<&str> = history.consultations.iter().map(|line| line.question.as_str()).collect();
    assert_eq!(asked, ["second", "first"]);
}

#[tokio::test]
async fn the_test_of_all_experts_passes_for_rules() {
    let stage = stage().await;
    let request = TestRequest { expert: None };

    let tested = stage.test(&request).await.unwrap();

    assert_eq!(tested.results.len(), 5);
    assert!(tested.results.iter().all(|one| one.passed), "{tested:#?}");
    assert!(tested.results.iter().filter(|one| one.bad.stance == Some(Stance::Reject)).count() >= 3);
    for one in tested.results {
        let says_why = one.bad.reason.contains("reads one side of a plan");
        assert_eq!(says_why, one.bad.stance == Some(Stance::Approve), "{one:#?}");
    }
}

#[tokio::test]
async fn what_a_test_asked_is_told_from_what_people_asked() {
    let stage = stage().await;
    stage.ask(good("test-mine-good")).await;
    let request = TestRequest { expert: None };
    stage.test(&request).await.unwrap();

    let history = stage.call(&subjects::experts::HISTORY, &ConsultationsRequest::default()).await.unwrap();

    let (tests, asked): (Vec<_>, Vec<_>) =
        history.consultations.iter().map(|line| &line.question).partition(|id| decoy::is_test(id));
    assert_eq!(tests.len(), 2, "{history:#?}");
    assert_eq!(asked, [&token("test-mine-good")]);
}

#[tokio::test]
async fn a_question_that_cannot_be_asked_says_why() {
    let stage = stage().await;
    let mut unknown = question("x");
    unknown.panel = vec![token("nobody-by-this-name")];

    let refusal = stage.call(&subjects::experts::ASK, &unknown).await.unwrap_err();

    assert_eq!(refusal.code, Code::Invalid);
    assert!(refusal.message.contains("there is no expert nobody-by-this-name"), "{refusal}");
    assert_eq!(stage.refusal(Question { text: String::new(), ..question("y") }).await, Code::Invalid);
}
