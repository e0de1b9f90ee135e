//! Breaker, bulkhead, retry budget, cancel, deadline, cache.

use emulators::{Fault, Rule, Vendor, WaitForm};
use model::Digest;
use providers::Class;

use super::*;

#[tokio::test]
async fn who_fails_too_often_is_not_asked_for_a_while() {
    let emulator = emulator(vec![always(&[Fault::Status { code: 500 }])]).await;
    let circle = circle(&emulator, "retries = 0\nbreaker_failures = 3\nbreaker_wait = \"1h\"");
    let expert = expert(&circle, "gemini");

    let mut classes = Vec::new();
    for _ in 0..5 {
        classes.push(soon(expert.ask(&question())).await.unwrap_err().class);
    }

    use Class::{CircuitOpen, Upstream};
    assert_eq!(classes, [Upstream, Upstream, Upstream, CircuitOpen, CircuitOpen]);
    assert_eq!(emulator.counts().asked, 3);
}

#[tokio::test]
async fn the_breaker_of_one_model_leaves_the_others_alone_and_closes_again() {
    let down = Rule { vendor: Some(Vendor::Gemini), ..first(1, &[Fault::Overloaded]) };
    let emulator = emulator(vec![down]).await;
    let circle = circle(&emulator, "retries = 0\nbreaker_failures = 1\nbreaker_wait = \"20ms\"");
    let gemini = expert(&circle, "gemini");
    soon(gemini.ask(&question())).await.unwrap_err();

    assert!(soon(expert(&circle, "deepseek").ask(&question())).await.is_ok());
    let again = soon(async {
        loop {
            match gemini.ask(&question()).await {
                Err(failure) if failure.class == Class::CircuitOpen => {
                    tokio::time::sleep(failure.wait.unwrap()).await
                }
                other => return other,
            }
        }
    })
    .await;

    assert!(again.is_ok());
}

#[tokio::test]
async fn bad_questions_do_not_open_the_breaker() {
    let emulator = emulator(vec![first(20, &[Fault::ContextTooLong])]).await;
    let circle = circle(&emulator, "breaker_failures = 2");
    let expert = expert(&circle, "anthropic");

    for _ in 0..20 {
        assert_eq!(soon(expert.ask(&question())).await.unwrap_err().class, Class::ContextTooLong);
    }

    assert!(soon(expert.ask(&question())).await.is_ok());
}

#[tokio::test]
async fn more_questions_than_places_are_refused_at_once() {
    let emulator = emulator(vec![always(&[Fault::Hold { gate: "g".into() }])]).await;
    let circle = circle(&emulator, "concurrency = 2\nqueue = 1");
    let expert = circle.get(&token("ollama")).unwrap().clone();
    let mut under_way = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let expert = expert.clone();
        under_way.spawn(async move { expert.ask(&question()).await });
    }
    soon(emulator.until(|counts| counts.open == 2)).await;
    // The third stands in line as soon as it was polled.
    let refused = soon(async {
        loop {
            let mut ask = question();
            ask.deadline = tokio::time::Instant::now() + Duration::from_millis(50);
            match expert.ask(&ask).await {
                Err(failure) if failure.class == Class::Busy => return failure,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await;

    emulator.release("g");

    assert_eq!(refused.tries, 0);
    let answers = soon(under_way.join_all()).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(emulator.counts().peak, 2);
}

#[tokio::test]
async fn an_outage_does_not_multiply_the_load() {
    let emulator = emulator(vec![always(&[Fault::Status { code: 503 }])]).await;
    let circle = circle(&emulator, "retries = 5\nbreaker_failures = 0\nconcurrency = 100\nqueue = 1000");
    let expert = expert(&circle, "openai-compatible");

    for _ in 0..100 {
        soon(expert.ask(&question())).await.unwrap_err();
    }

    // A fifth of the questions, and one per second over the window of a minute besides.
    let asked = emulator.counts().asked;
    assert!(asked <= 100 + 20 + 60 + 1, "100 questions were asked {asked} times");
}

#[tokio::test]
async fn a_cancelled_question_ends_at_once() {
    let emulator = emulator(vec![always(&[Fault::Hang])]).await;
    let circle = circle(&emulator, "");
    let ask = question();
    let cancel = ask.cancel.clone();
    let expert = circle.get(&token("openrouter")).unwrap().clone();

    let under_way = tokio::spawn(async move { expert.ask(&ask).await });
    soon(emulator.until(|counts| counts.open == 1)).await;
    cancel.cancel();

    assert_eq!(soon(under_way).await.unwrap().unwrap_err().class, Class::Cancelled);
    soon(emulator.until(|counts| counts.abandoned == 1)).await;
}

#[tokio::test]
async fn a_wait_that_does_not_fit_the_deadline_is_not_begun() {
    let limited = Fault::RateLimit { wait: WaitForm::Seconds, seconds: 90.0 };
    let emulator = emulator(vec![always(&[limited])]).await;
    let circle = circle(&emulator, "");

    let failure = soon(expert(&circle, "anthropic").ask(&question())).await.unwrap_err();

    assert_eq!((failure.class, failure.tries), (Class::RateLimited, 1));
    assert_eq!(failure.wait, Some(Duration::from_secs(90)));
}

#[tokio::test]
async fn a_prompt_that_cannot_fit_is_not_sent() {
    let emulator = emulator(vec![]).await;
    let circle = circle(&emulator, "");
    let ask = Ask::new("", "x".repeat(2_000_000), PATIENCE);

    let failure = soon(expert(&circle, "gemini").ask(&ask)).await.unwrap_err();

    assert_eq!(failure.class, Class::ContextTooLong);
    assert_eq!(emulator.counts().asked, 0);
}

#[tokio::test]
async fn the_same_question_is_answered_from_the_cache_unless_it_is_bypassed() {
    let emulator = emulator(vec![]).await;
    let circle = circle(&emulator, "");
    let expert = expert(&circle, "gemini");
    let mut ask = question();
    ask.cache_key = Some(Digest::of(&"the question without its nonce"));

    let paid = soon(expert.ask(&ask)).await.unwrap();
    let kept = soon(expert.ask(&ask)).await.unwrap();
    let fresh = soon(expert.ask(&question())).await.unwrap();
    let another = soon(crate::expert(&circle, "anthropic").ask(&ask)).await.unwrap();

    assert_eq!((paid.cached, kept.cached, fresh.cached, another.cached), (false, true, false, false));
    assert_eq!((&kept.text, kept.usage.cost_micro_usd), (&paid.text, 0));
    assert_eq!(emulator.counts().asked, 3);
}

#[tokio::test]
async fn the_estimate_is_not_below_what_it_costs() {
    let emulator = emulator(vec![]).await;
    let circle = circle(&emulator, "");

    for (name, _) in EXPERTS {
        let expert = expert(&circle, name);
        let estimate = expert.estimate(&question()).most;
        let cost = soon(expert.ask(&question())).await.unwrap().usage.cost_micro_usd;

        assert!(estimate >= cost && cost > 0, "{name}: {estimate} for {cost}");
    }
}

#[tokio::test]
async fn a_system_text_in_the_vendors_cache_costs_less_from_the_second_question_on() {
    let emulator = emulator(vec![]).await;
    let mut keeping = catalogue(&emulator, "");
    for model in keeping.experts.values_mut() {
        model.prompt_cache = true;
        model.price = toml::from_str("input = 10.0\noutput = 0.1\ncached = 1.0\ncache_write = 12.0").unwrap();
    }
    let circle = open(&keeping);
    let mut ask = question();
    ask.system = "You judge deployments by these rules. ".repeat(100);

    for (name, vendor) in EXPERTS {
        let first = soon(expert(&circle, name).ask(&ask)).await.unwrap().usage;
        let second = soon(expert(&circle, name).ask(&ask)).await.unwrap().usage;

        // Whoever has no such cache, or no way to ask for it, says so by its counts.
        let keeps = vendor != Vendor::Ollama && name != "openai-compatible";
        assert_eq!(second.cached_tokens > 900, keeps, "{name}: {second:?}");
        assert_eq!(second.input_tokens, first.input_tokens, "{name}");
        assert_eq!(second.cost_micro_usd < first.cost_micro_usd / 2, keeps, "{name}: {first:?} {second:?}");
    }
}
