//! Experts that are late or down, and those who stand in for them. Order is shown by gates, not by clocks.

use emulators::{Fault, Rule, Vendor};
use futures::StreamExt;
use model::Span;
use providers::{
    Class,
    hedge::{Hedging, Seat, ask_seat, fan_out},
};

use super::*;

fn seat(circle: &Circle, name: &str, fallback: Option<&str>) -> Seat {
    Seat {
        expert: circle.get(&token(name)).unwrap().clone(),
        fallback: fallback.map(|name| circle.get(&token(name)).unwrap().clone()),
        ask: question(),
        steward: None,
    }
}

fn held(vendor: Vendor, gate: &str) -> Rule {
    Rule { vendor: Some(vendor), ..always(&[Fault::Hold { gate: gate.into() }]) }
}

/// Whoever is unknown is late at once.
const AT_ONCE: Hedging = Hedging {
    times_p95: 1.5,
    least_answers: 10,
    unknown_after: Some(Span::millis(1)),
    at_least: Span::millis(1),
};

#[tokio::test]
async fn all_are_asked_before_the_first_answers() {
    let rules = Vendor::ALL.map(|vendor| held(vendor, "all")).to_vec();
    let emulator = emulator(rules).await;
    let circle = circle(&emulator, "");
    let seats: Vec<Seat> = EXPERTS.iter().map(|(name, _)| seat(&circle, name, None)).collect();
    let all = seats.len();

    let answers = tokio::spawn(fan_out(seats, Hedging::default()).collect::<Vec<_>>());
    soon(emulator.until(|counts| counts.open == all)).await;
    emulator.release("all");
    let answers = soon(answers).await.unwrap();

    assert_eq!(emulator.counts().peak, all);
    assert!(answers.iter().all(|answer| answer.result.is_ok()), "{answers:?}");
}

#[tokio::test]
async fn answers_come_as_they_happen_and_leaving_cancels_the_rest() {
    let emulator = emulator(vec![held(Vendor::Anthropic, "late")]).await;
    let circle = circle(&emulator, "");
    let mut answers = Box::pin(fan_out(
        vec![seat(&circle, "anthropic", None), seat(&circle, "gemini", None)],
        Hedging::default(),
    ));

    let first = soon(answers.next()).await.unwrap();
    soon(emulator.until(|counts| counts.asked == 2)).await;
    drop(answers);

    assert_eq!(first.seat.name, token("gemini"));
    soon(emulator.until(|counts| counts.abandoned == 1 && counts.open == 0)).await;
}

#[tokio::test]
async fn another_family_is_asked_when_one_is_late_and_the_late_one_is_cancelled() {
    let emulator = emulator(vec![held(Vendor::Anthropic, "late")]).await;
    let circle = circle(&emulator, "");

    let outcome = soon(ask_seat(&seat(&circle, "anthropic", Some("gemini")), &AT_ONCE)).await;

    assert!(outcome.result.is_ok());
    assert_eq!((outcome.seat.name, outcome.by.name), (token("anthropic"), token("gemini")));
    assert_eq!(outcome.abandoned.unwrap().name, token("anthropic"));
    soon(emulator.until(|counts| counts.abandoned == 1)).await;
}

#[tokio::test]
async fn a_late_answer_wins_when_the_stand_in_is_later() {
    let emulator = emulator(vec![held(Vendor::Anthropic, "late"), held(Vendor::Gemini, "later")]).await;
    let circle = circle(&emulator, "");
    let seat = seat(&circle, "anthropic", Some("gemini"));

    let outcome = tokio::spawn(async move { ask_seat(&seat, &AT_ONCE).await });
    soon(emulator.until(|counts| counts.open == 2)).await;
    emulator.release("late");
    let outcome = soon(outcome).await.unwrap();

    assert_eq!(outcome.by.name, token("anthropic"));
    assert_eq!(outcome.abandoned.unwrap().name, token("gemini"));
}

#[tokio::test]
async fn another_family_answers_for_one_that_is_down() {
    let down = Rule { vendor: Some(Vendor::Anthropic), ..always(&[Fault::Status { code: 500 }]) };
    let emulator = emulator(vec![down]).await;
    let circle = circle(&emulator, "");

    let outcome = soon(ask_seat(&seat(&circle, "anthropic", Some("gemini")), &Hedging::default())).await;

    assert_eq!(outcome.by.name, token("gemini"));
    assert_eq!(outcome.instead.unwrap().class, Class::Upstream);
    assert!(outcome.result.is_ok());
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_nobody_else_is_asked() {
    let emulator = emulator(vec![always(&[Fault::Refusal])]).await;
    let circle = circle(&emulator, "");

    let outcome = soon(ask_seat(&seat(&circle, "openai-chat", Some("gemini")), &Hedging::default())).await;

    assert_eq!(outcome.result.unwrap().stop, providers::Stop::Refused);
    assert_eq!(emulator.counts().asked, 1);
}

#[tokio::test]
async fn a_late_refusal_is_an_answer_too() {
    let refuses = Rule {
        vendor: Some(Vendor::Openrouter),
        ..always(&[Fault::Hold { gate: "late".into() }, Fault::Moderation])
    };
    let emulator = emulator(vec![refuses, held(Vendor::Gemini, "later")]).await;
    let circle = circle(&emulator, "");
    let seat = seat(&circle, "openrouter", Some("gemini"));

    let outcome = tokio::spawn(async move { ask_seat(&seat, &AT_ONCE).await });
    soon(emulator.until(|counts| counts.open == 2)).await;
    emulator.release("late");
    let outcome = soon(outcome).await.unwrap();

    assert_eq!(outcome.result.unwrap_err().class, Class::Blocked);
    assert_eq!(outcome.abandoned.unwrap().name, token("gemini"));
}

#[tokio::test]
async fn both_down_is_told_with_both_reasons() {
    let down = |vendor, fault: Fault| Rule { vendor: Some(vendor), ..always(&[fault]) };
    let rules = vec![down(Vendor::Anthropic, Fault::Quota), down(Vendor::Gemini, Fault::Overloaded)];
    let emulator = emulator(rules).await;
    let circle = circle(&emulator, "");

    let outcome = soon(ask_seat(&seat(&circle, "anthropic", Some("gemini")), &Hedging::default())).await;

    assert_eq!(outcome.instead.unwrap().class, Class::Quota);
    assert_eq!(outcome.result.unwrap_err().class, Class::Overloaded);
}

#[tokio::test]
async fn nobody_is_late_before_one_and_a_half_times_its_usual_time() {
    let emulator = emulator(vec![]).await;
    let circle = circle(&emulator, "");
    let expert = expert(&circle, "ollama");
    let hedging = Hedging { at_least: Span::millis(1), ..Hedging::default() };
    assert_eq!(hedging.patience(expert), None, "nothing is known yet");

    let past = expert.latencies().unwrap();
    for _ in 0..20 {
        past.note(Duration::from_millis(200));
    }

    assert_eq!(hedging.patience(expert), Some(Duration::from_millis(300)));
}

#[tokio::test]
async fn a_fallback_of_a_family_that_sits_on_the_panel_already_is_not_asked() {
    let emulator = emulator(vec![]).await;
    let mut catalogue = catalogue(&emulator, "");
    let claude = catalogue.experts.get_mut(&token("anthropic")).unwrap();
    claude.fallback = Some(token("gemini"));
    let circle = open(&catalogue);

    let free = circle.fallback(&token("anthropic"), &[token("anthropic"), token("deepseek")]);
    let taken = circle.fallback(&token("anthropic"), &[token("anthropic"), token("gemini")]);

    assert_eq!(free.unwrap().who().name, token("gemini"));
    assert!(taken.is_none());
}
