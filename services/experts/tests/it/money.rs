//! Answers that are asked for once more, and money that does not stay set aside.

use bus::subjects;
use emulators::{Fault, Rule};
use futures::StreamExt;
use model::{
    Span,
    expert::{
        Action, AnswerStatus, AskingStep, BreakerView, ExpertView, ExpertsReply, ExpertsRequest, Question,
        Stance,
    },
};
use testkit::eventually;

use crate::stage::{
    MODELS, PATIENCE, STAND_IN, Setting, Stage, assert_status, fails, of, question, says, waits,
};

/// This fault so many times, then an approval in schema.
fn at_first(model: &str, fault: Fault, times: u32) -> Rule {
    Rule { times: Some(times), ..fails(model, fault) }
}

fn asked(stage: &Stage, model: &str) -> usize {
    stage.vendors.requests().iter().filter(|request| request.model == model).count()
}

async fn list(stage: &Stage) -> ExpertsReply {
    stage.call(&subjects::experts::LIST, &ExpertsRequest {}).await.unwrap()
}

async fn expert(stage: &Stage, name: &str) -> ExpertView {
    list(stage).await.experts.into_iter().find(|one| one.expert.name.as_str() == name).unwrap()
}

#[tokio::test]
async fn an_answer_out_of_schema_is_asked_for_once_more_and_told_what_was_wrong() {
    let stage = Stage::models(2, vec![at_first("ole-1", Fault::OutOfSchema, 1)]).await;
    let mut heard = stage.nats.bus.listen(&subjects::experts::PROGRESS, Some("again")).await.unwrap();

    let consultation = stage.ask(question("again")).await;

    assert_status(&consultation, "ole", AnswerStatus::Ok);
    let ballot = of(&consultation, "ole");
    assert!(
        ballot.reason.starts_with("asked again, because the answer does not fit the schema"),
        "{ballot:#?}"
    );
    assert_eq!((consultation.opinion.votes, asked(&stage, "ole-1")), (2, 2));
    let bodies: Vec<String> = stage
        .vendors
        .requests()
        .iter()
        .filter(|request| request.model == "ole-1")
        .map(|request| request.body.to_string())
        .collect();
    assert!(
        !bodies[0].contains("could not be used") && bodies[1].contains("could not be used"),
        "{bodies:?}"
    );
    assert!(bodies[1].contains("does not fit the schema"), "{bodies:?}");
    // Both are paid.
    let alone = of(&consultation, "ann").usage;
    assert!(ballot.usage.output_tokens > alone.output_tokens / 2, "{ballot:#?}");
    let mut steps = Vec::new();
    while let Some(said) = heard.next().await {
        let progress = said.message;
        if matches!(progress.step, AskingStep::Formed { .. }) {
            break;
        }
        steps.push(progress.step);
    }
    assert!(steps.iter().any(|step| matches!(step, AskingStep::AskedAgain { .. })), "{steps:?}");
}

#[tokio::test]
async fn the_second_answer_is_the_last_one() {
    let stage = Stage::models(2, vec![fails("ole-1", Fault::WrongNonce)]).await;

    let consultation = stage.ask(question("twice")).await;

    let ballot = of(&consultation, "ole");
    assert_eq!(ballot.status, AnswerStatus::SchemaInvalid, "{ballot:#?}");
    assert_eq!(
        ballot.reason,
        "asked again, because the answer echoes another nonce; the answer echoes another nonce"
    );
    assert_eq!(asked(&stage, "ole-1"), 2);
}

#[tokio::test]
async fn nobody_is_asked_again_without_money_for_it() {
    let stage = Stage::models(2, vec![at_first("ole-1", Fault::OutOfSchema, 1)]).await;
    let first = stage.ask(question("measure")).await;
    assert_status(&first, "ole", AnswerStatus::Ok);
    stage.play(vec![fails("ole-1", Fault::OutOfSchema), fails("ann-1", Fault::Hold { gate: "ann".into() })]);
    // Enough for both to be asked, and with one of them still writing not for a third time.
    let most = |name: &str| of(&first, name).usage.input_tokens + 2 * 1000;
    let purse = (most("ann") + most("ole")) * 5 / 4;

    let question = Question { budget_micro_usd: Some(purse), ..question("poor") };
    let asking = stage.ask(question);
    tokio::pin!(asking);
    tokio::select! {
        _ = &mut asking => panic!("an opinion without the one that waits"),
        () = stage.vendors.until(|counts| counts.asked == 5 && counts.open == 1) => {}
    }
    stage.vendors.release("ann");
    let consultation = asking.await;

    assert_status(&consultation, "ann", AnswerStatus::Ok);
    assert_status(&consultation, "ole", AnswerStatus::SchemaInvalid);
    assert_eq!(asked(&stage, "ole-1"), 3, "{:#?}", of(&consultation, "ole"));
}

#[tokio::test]
async fn who_is_not_waited_for_keeps_only_the_price_of_its_prompt() {
    let mut rules = vec![waits("lla", Stance::Approve)];
    rules.extend(MODELS[..4].iter().map(|(name, _, _)| says(name, Stance::Reject)));
    let stage = Stage::models(5, rules).await;

    let consultation = stage.ask(question("early")).await;

    assert_eq!(consultation.opinion.action, Action::Reject);
    let silent = expert(&stage, "lla").await;
    // 1000 tokens of output at two millionths were set aside as well.
    assert!((100..2000).contains(&silent.spent_today_micro_usd), "{silent:#?}");
    let all = list(&stage).await;
    assert_eq!(all.spent_micro_usd, all.experts.iter().map(|one| one.spent_today_micro_usd).sum::<u64>());
    for ballot in consultation.ballots.iter().filter(|ballot| ballot.status == AnswerStatus::Ok) {
        let one = expert(&stage, ballot.expert.name.as_str()).await;
        assert_eq!(
            (one.asked_today, one.spent_today_micro_usd),
            (1, ballot.usage.cost_micro_usd),
            "{one:#?}"
        );
    }
}

#[tokio::test]
async fn who_is_cut_off_by_the_end_of_the_service_is_not_paid_in_full() {
    let mut stage =
        Stage::models(2, vec![waits("ann", Stance::Approve), waits("ole", Stance::Approve)]).await;
    let bus = stage.nats.bus.clone();
    let cut = question("cut");
    let asking = bus.call(&subjects::experts::ASK, &cut, PATIENCE);
    tokio::pin!(asking);
    tokio::select! {
        _ = &mut asking => panic!("an opinion without a single answer"),
        () = stage.vendors.until(|counts| counts.open == 2) => {}
    }
    let before = list(&stage).await.spent_micro_usd;

    stage.service.take().unwrap().stop(PATIENCE).await;
    stage.start().await;

    let after = list(&stage).await.spent_micro_usd;
    // 1000 tokens of output at two millionths each; what is left is the price of the prompts.
    assert!(after > 0);
    assert_eq!(after, before - 2 * 2000);
}

#[tokio::test]
async fn a_stand_in_is_told_of_when_it_is_asked_and_not_when_it_has_answered() {
    let rules = vec![fails("ann-1", Fault::Hold { gate: "ann".into() }), waits("sub-1", Stance::Approve)];
    let setting = Setting { models: 2, catalogue: STAND_IN, each: "fallback = \"sub\"", rules };
    let stage = Stage::with(setting, |_| {}).await;
    let mut heard = stage.nats.bus.listen(&subjects::experts::PROGRESS, Some("hedged")).await.unwrap();

    let asking = stage.ask(question("hedged"));
    tokio::pin!(asking);
    // Both are silent: whoever only told of it afterwards would wait for ever.
    loop {
        tokio::select! {
            _ = &mut asking => panic!("an opinion while two are held"),
            Some(said) = heard.next() => {
                let progress = said.message;
                let who = progress.expert.map(|expert| expert.name.to_string());
                if progress.step == (AskingStep::Hedged { stand_in: "sub".into() }) && who.as_deref() == Some("ann") {
                    break;
                }
            }
        }
    }
    stage.vendors.release("sub-1");
    let consultation = asking.await;

    assert!(of(&consultation, "sub").reason.contains("beside ann"));
    // The one that was left writing may be charged by its vendor for what it read.
    let left = expert(&stage, "ann").await;
    assert!((1, 100) <= (left.asked_today, left.spent_today_micro_usd), "{left:#?}");
}

#[tokio::test]
async fn the_list_shows_breakers_and_the_last_failure_in_words() {
    let setting = Setting {
        models: 2,
        each: "breaker_failures = 1\nbreaker_wait = \"10m\"",
        rules: vec![fails("ole-1", Fault::Status { code: 500 })],
        ..Setting::default()
    };
    let stage = Stage::with(setting, |config| config.late = Span::seconds(0)).await;
    assert_eq!(expert(&stage, "ole").await.breaker, Some(BreakerView::Closed {}));

    stage.ask(question("down")).await;

    let down = eventually("the breaker opens", PATIENCE, || async {
        let down = expert(&stage, "ole").await;
        if matches!(down.breaker, Some(BreakerView::Open { .. })) {
            Ok(down)
        } else {
            Err(format!("{down:?}"))
        }
    })
    .await;
    assert!(down.last_failure.as_ref().unwrap().text.starts_with("the provider failed"), "{down:#?}");
    assert_eq!((down.asked_today, expert(&stage, "reliability").await.breaker), (1, None));
    assert_eq!(expert(&stage, "ann").await.last_failure, None);
}
