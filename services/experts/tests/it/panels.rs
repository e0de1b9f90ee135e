//! Models on the panel: all at once, early stop, late answers, stand-ins, money, doors.

use bus::{Told, subjects};
use emulators::Fault;
use experts::config::{PlugIn, When};
use futures::StreamExt;
use model::{
    Span,
    expert::{Action, AnswerStatus, AskingStep, ConsultationsRequest, Question, Stance, TestRequest},
};
use serde_json::json;
use testkit::eventually;

use crate::stage::{
    MODELS, PATIENCE, STAND_IN, Setting, Stage, assert_status, fails, of, question, says, token, waits,
};

#[tokio::test]
async fn all_are_asked_before_any_has_answered() {
    let held = MODELS.map(|(name, _, _)| waits(name, Stance::Approve)).to_vec();
    let stage = Stage::models(5, held).await;
    let asked = stage.ask(question("all"));
    tokio::pin!(asked);

    // All five wait at their gates at the same time: whoever asked one after the other would never get here.
    tokio::select! {
        _ = &mut asked => panic!("an opinion without a single answer"),
        () = stage.vendors.until(|counts| counts.open == 5) => {}
    }
    MODELS.iter().for_each(|(name, _, _)| stage.vendors.release(name));
    let consultation = asked.await;

    assert_eq!(consultation.opinion.votes, 5);
    assert_eq!(consultation.opinion.action, Action::Approve, "{:#?}", consultation.opinion);
    assert_eq!(stage.vendors.counts().peak, 5);
}

#[tokio::test]
async fn watchers_hear_who_is_asked_and_who_answers_in_order() {
    let stage = Stage::models(2, Vec::new()).await;
    let mut heard = stage.nats.bus.listen(&subjects::experts::PROGRESS, Some("watched")).await.unwrap();

    stage.ask(question("watched")).await;

    let mut steps = Vec::new();
    while let Some(said) = heard.next().await {
        let progress = said.message;
        let over = matches!(progress.step, AskingStep::Formed { .. });
        steps.push(progress);
        if over {
            break;
        }
    }
    let asked = steps.iter().filter(|one| one.step == AskingStep::Asked {}).count();
    let answered = steps.iter().filter(|one| matches!(one.step, AskingStep::Answered { .. })).count();
    assert_eq!((asked, answered), (2, 2));
    assert!(steps[..2].iter().all(|one| one.step == AskingStep::Asked {}), "{steps:#?}");
    assert!(steps.windows(2).all(|pair| pair[0].at_ms <= pair[1].at_ms));
}

#[tokio::test]
async fn who_cannot_change_the_action_is_not_waited_for() {
    let mut rules = vec![waits("lla", Stance::Approve)];
    rules.extend(MODELS[..4].iter().map(|(name, _, _)| says(name, Stance::Reject)));
    let stage = Stage::models(5, rules).await;

    let consultation = stage.ask(question("early")).await;

    assert_eq!(consultation.opinion.action, Action::Reject, "{:#?}", consultation.opinion);
    assert_status(&consultation, "lla", AnswerStatus::Timeout);
    assert!(of(&consultation, "lla").reason.contains("not waited for"));
    stage.vendors.until(|counts| counts.abandoned == 1).await;
}

#[tokio::test]
async fn an_answer_after_the_deadline_is_taken_down_and_changes_nothing() {
    let rules = vec![waits("gus", Stance::Reject)];
    let stage = Stage::models(3, rules).await;
    let asked = Question { deadline_ms: 3000, ..question("late") };
    let consultation = stage.ask(asked).await;

    assert_status(&consultation, "gus", AnswerStatus::Timeout);
    let action = consultation.opinion.action;
    stage.vendors.release("gus");
    let shown = eventually("the late answer is taken down", PATIENCE, || async {
        let shown = stage.show("late").await;
        if shown.late.is_empty() { Err("no late answer".to_owned()) } else { Ok(shown) }
    })
    .await;

    assert!(shown.late[0].late);
    assert_eq!(shown.late[0].answer.as_ref().unwrap().verdict, Stance::Reject);
    assert_eq!(shown.consultation.unwrap().opinion.action, action);
}

#[tokio::test]
async fn a_stand_in_answers_beside_who_is_late_and_instead_of_who_fails() {
    for (fault, word) in
        [(Fault::Hold { gate: "ann".into() }, "beside ann"), (Fault::Status { code: 500 }, "in place of ann")]
    {
        let setting =
            Setting { models: 2, catalogue: STAND_IN, each: "", rules: vec![fails("ann-1", fault)] };
        let stage = Stage::with(Setting { each: "fallback = \"sub\"", ..setting }, |_| {}).await;

        let consultation = stage.ask(question("hedged")).await;

        let stand_in = of(&consultation, "sub");
        assert_eq!(stand_in.status, AnswerStatus::Ok, "{stand_in:#?}");
        assert!(stand_in.reason.contains(word), "{stand_in:#?}");
        assert_eq!(consultation.opinion.votes, 2);
    }
}

#[tokio::test]
async fn who_fails_too_often_is_not_asked_for_a_while() {
    let stage = Stage::with(
        Setting {
            models: 3,
            each: "breaker_failures = 2\nbreaker_wait = \"10m\"",
            rules: vec![
                fails("dee-1", Fault::Status { code: 500 }),
                fails("gus-1", Fault::Status { code: 500 }),
            ],
            ..Setting::default()
        },
        |config| config.early_stop = false,
    )
    .await;

    for round in 0..2 {
        let consultation = stage.ask(question(&format!("round-{round}"))).await;
        assert_status(&consultation, "gus", AnswerStatus::ProviderError);
    }
    let consultation = stage.ask(question("round-3")).await;

    assert_status(&consultation, "gus", AnswerStatus::CircuitOpen);
    assert_status(&consultation, "ann", AnswerStatus::Ok);
    let asked = stage.vendors.requests().iter().filter(|request| request.model == "gus-1").count();
    assert_eq!(asked, 2);
}

#[tokio::test]
async fn what_no_budget_has_is_not_spent_and_the_account_survives_a_restart() {
    let budgets = "[budgets]\nquestion_micro_usd = 1000000\nday_micro_usd = 9000\n";
    let setting = Setting { models: 2, catalogue: budgets, ..Setting::default() };
    let mut stage = Stage::with(setting, |_| {}).await;

    let first = stage.ask(question("first")).await;
    stage.start().await;
    let mut spent_up = None;
    for number in 0..40 {
        let next = stage.ask(question(&format!("next-{number}"))).await;
        if next.ballots.iter().all(|ballot| ballot.status == AnswerStatus::Quota) {
            spent_up = Some(next);
            break;
        }
    }

    assert_eq!(first.opinion.votes, 2);
    assert!(first.cost_micro_usd > 0);
    let spent_up = spent_up.expect("a budget of a hundredth of a dollar lasts for ever");
    assert_eq!(spent_up.opinion.action, Action::NoQuorum);
    assert_eq!(spent_up.cost_micro_usd, 0);
    let list = stage.call(&subjects::experts::LIST, &model::expert::ExpertsRequest {}).await.unwrap();
    assert!(list.spent_micro_usd > first.cost_micro_usd && list.spent_micro_usd <= 9000, "{list:#?}");
    assert_eq!(list.callers.keys().map(String::as_str).collect::<Vec<_>>(), ["unauthenticated:test"]);
}

#[tokio::test]
async fn a_question_with_a_small_purse_asks_only_whom_it_can_pay() {
    let stage = Stage::models(2, Vec::new()).await;
    let broke = Question { budget_micro_usd: Some(1), ..question("broke") };

    let consultation = stage.ask(broke).await;

    assert!(consultation.ballots.iter().all(|ballot| ballot.status == AnswerStatus::Quota));
    assert!(stage.vendors.requests().is_empty());
}

#[tokio::test]
async fn the_same_question_is_answered_from_the_cache_unless_a_fresh_answer_is_wanted() {
    let stage = Stage::models(2, Vec::new()).await;
    let plain = |id: &str| Question { fresh: false, ..question(id) };

    let first = stage.ask(plain("one")).await;
    let second = stage.ask(plain("two")).await;
    let fresh = stage.ask(question("three")).await;

    let cached =
        |one: &model::expert::Consultation| one.ballots.iter().filter(|ballot| ballot.cached).count();
    assert_eq!((cached(&first), cached(&second), cached(&fresh)), (0, 2, 0));
    assert_eq!(second.opinion.votes, 2, "{:#?}", second.ballots);
    assert_eq!(second.cost_micro_usd, 0);
    assert_eq!(stage.vendors.requests().len(), 4);
}

#[tokio::test]
async fn a_program_behind_a_door_is_an_expert_like_any_other() {
    let door = PlugIn { name: token("oracle"), family: token("oracles"), version: "3".into() };
    let stage = Stage::with(Setting { models: 1, ..Setting::default() }, |config| {
        config.plug_ins = vec![door.clone()];
        config.rules = When::Never;
    })
    .await;
    let answer = |question: serde_json::Value| {
        let nonce = question["user"].as_str().unwrap().lines().next().unwrap().replace("nonce: ", "");
        let answer = json!({
            "nonce": nonce, "verdict": "approve", "confidence_pct": 70, "findings": [], "strategy": "none",
            "strategy_ranking": [], "canary_steps_pct": [], "bake_minutes": 0, "rationale": "the stars say so",
        });
        std::future::ready(Some(answer))
    };
    let _standing =
        stage.nats.bus.stand_behind(&subjects::experts::PLUG_IN, &token("oracle"), answer).await.unwrap();

    let consultation = stage.ask(question("stars")).await;

    assert_status(&consultation, "oracle", AnswerStatus::Ok);
    assert_eq!(consultation.opinion.votes, 2);
}

#[tokio::test]
async fn a_door_with_nobody_behind_is_no_vote_and_no_wait() {
    let door = PlugIn { name: token("oracle"), family: token("oracles"), version: "3".into() };
    let stage = Stage::with(Setting { models: 2, ..Setting::default() }, |config| {
        config.plug_ins = vec![door.clone()];
    })
    .await;

    let consultation = stage.ask(question("silent")).await;

    assert_status(&consultation, "oracle", AnswerStatus::ProviderError);
    assert_eq!(consultation.opinion.votes, 2);
}

#[tokio::test]
async fn one_vendor_alone_never_approves() {
    let stage = Stage::with(
        Setting {
            models: 1,
            catalogue: "[experts.ann2]\nprovider = \"ann\"\nmodel = \"ann-2\"\nfamily = \"anns\"\n\
                        context_tokens = 1000000\nmax_output_tokens = 100\n[experts.ann3]\nprovider = \"ann\"\n\
                        model = \"ann-3\"\nfamily = \"anns\"\ncontext_tokens = 1000000\nmax_output_tokens = 100\n",
            ..Setting::default()
        },
        |config| config.deadline = Span::seconds(60),
    )
    .await;

    let consultation = stage.ask(question("alone")).await;

    assert_eq!(consultation.opinion.votes, 3);
    assert_eq!(consultation.opinion.action, Action::NoQuorum, "{:#?}", consultation.opinion);
}

#[tokio::test]
async fn whoever_goes_away_during_a_test_of_experts_stops_the_asking() {
    let stage = Stage::models(1, vec![waits("ann", Stance::Approve)]).await;
    let request = TestRequest { expert: Some(token("ann")) };

    let mut test = stage.nats.bus.begin(&subjects::experts::TEST, &request, PATIENCE).await.unwrap();
    let first = test.next().await.unwrap();
    stage.vendors.until(|counts| counts.open == 2).await;
    drop(test);

    assert!(matches!(first, Told::Progress(_)), "{first:?}");
    let reasons = eventually("both are over", PATIENCE, async || {
        let request = ConsultationsRequest::default();
        let lines = stage.call(&subjects::experts::HISTORY, &request).await.unwrap().consultations;
        let over: Vec<_> = lines.into_iter().filter(|line| line.consultation.is_some()).collect();
        if over.len() == 2 { Ok(over) } else { Err(format!("{over:?}")) }
    })
    .await;
    for line in reasons {
        let shown = stage.show(line.question.as_str()).await.consultation.unwrap();
        assert_eq!(of(&shown, "ann").reason, "not waited for: nobody wants the answer any more");
    }
    stage.vendors.release("ann");
}
