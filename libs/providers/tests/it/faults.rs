//! The twelve ways in which vendors fail: each ends in its class, is retried as that class says, and costs no more
//! tries than allowed.

use emulators::{Fault, WaitForm};
use providers::{Class, Failure, Phase, Stop};

use super::*;

/// Asks every expert while these faults are played; gives what came of it and how often each was asked.
async fn played(
    faults: &[Fault],
    more: &str,
) -> Vec<(&'static str, Result<providers::Reply, Failure>, usize)> {
    let emulator = emulator(vec![always(faults)]).await;
    let circle = circle(&emulator, more);
    let mut all = Vec::new();
    for (name, _) in EXPERTS {
        emulator.forget_requests();
        let result = soon(expert(&circle, name).ask(&question())).await;
        all.push((name, result, emulator.requests().len()));
    }
    all
}

async fn fails(faults: &[Fault], class: Class, tries: usize) {
    for (name, result, asked) in played(faults, "").await {
        let failure = result.expect_err(name);
        assert_eq!((failure.class, asked), (class, tries), "{name} {faults:?}: {failure}");
        assert_eq!(failure.tries as usize, tries, "{name}");
    }
}

#[tokio::test]
async fn a_storm_of_rate_limits_ends_after_the_allowed_tries() {
    for wait in [WaitForm::Decimals, WaitForm::Millis, WaitForm::RetryInfo, WaitForm::Words, WaitForm::Untold]
    {
        // Gemini says it in details only, and only it has them.
        let limited = Fault::RateLimit { wait, seconds: 0.002 };
        fails(&[limited], Class::RateLimited, 3).await;
    }
}

#[tokio::test]
async fn a_passing_rate_limit_costs_a_try_and_no_answer() {
    let limited = Fault::RateLimit { wait: WaitForm::Date, seconds: 0.0 };
    let emulator = emulator(vec![]).await;
    let circle = circle(&emulator, "");

    for (name, _) in EXPERTS {
        emulator
            .play(Scenario { rules: vec![first(2, std::slice::from_ref(&limited))], ..Scenario::default() });
        let reply = soon(expert(&circle, name).ask(&question())).await.unwrap();

        assert_eq!((reply.tries, read(&reply.text).nonce.as_str()), (3, "n0nce-77"), "{name}");
    }
}

#[tokio::test]
async fn a_wait_beyond_reason_is_told_and_not_kept() {
    let today_not = Fault::RateLimit { wait: WaitForm::Seconds, seconds: 1e6 };

    for (name, result, asked) in played(&[today_not], "").await {
        let failure = result.expect_err(name);
        assert_eq!((failure.class, asked), (Class::RateLimited, 1), "{name}");
        assert_eq!(failure.wait, Some(providers::wait::LONGEST), "{name}");
    }
}

#[tokio::test]
async fn used_up_credit_is_never_asked_for_again() {
    fails(&[Fault::Quota], Class::Quota, 1).await;
}

#[tokio::test]
async fn what_cannot_succeed_is_asked_once() {
    let parameter = Fault::Parameter { name: "temperature".into() };
    for (fault, class) in [
        (Fault::UnknownModel, Class::NotFound),
        (Fault::ContextTooLong, Class::ContextTooLong),
        (Fault::TooLarge, Class::ContextTooLong),
        (parameter, Class::BadRequest),
    ] {
        fails(&[fault], class, 1).await;
    }
}

#[tokio::test]
async fn a_wrong_key_is_asked_once() {
    for (name, result, asked) in played(&[Fault::Auth], "").await {
        let failure = result.expect_err(name);
        // Gemini calls a wrong key an invalid argument.
        let class = if name == "gemini" { Class::BadRequest } else { Class::Auth };
        assert_eq!((failure.class, asked), (class, 1), "{name}: {failure}");
    }
}

#[tokio::test]
async fn a_filter_before_the_model_is_a_refusal_and_asked_once() {
    for (name, result, asked) in played(&[Fault::Moderation], "").await {
        if ["anthropic", "openai-chat", "openai-responses", "openrouter", "openai-compatible"].contains(&name)
        {
            assert_eq!((result.expect_err(name).class, asked), (Class::Blocked, 1), "{name}");
        } else {
            assert!(!result.expect_err(name).class.passes(), "{name}");
            assert_eq!(asked, 1, "{name}");
        }
    }
}

#[tokio::test]
async fn failing_servers_are_asked_again() {
    for code in [500, 502, 504, 524] {
        fails(&[Fault::Status { code }], Class::Upstream, 3).await;
    }
    fails(&[Fault::Overloaded], Class::Overloaded, 3).await;
    fails(&[Fault::GatewayPage { code: 502 }], Class::Upstream, 3).await;
    fails(&[Fault::SlowDown], Class::RateLimited, 3).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = emulator(vec![]).await;
    let to = format!("http://{}/openai/v1/chat/completions", elsewhere.address());
    let emulator = emulator(vec![always(&[Fault::Redirect { to }])]).await;
    let circle = circle(&emulator, "retries = 0");

    let failure = soon(expert(&circle, "openai-chat").ask(&question())).await.unwrap_err();

    assert_eq!((failure.class, failure.http), (Class::Upstream, Some(307)));
    assert_eq!(elsewhere.counts().asked, 0);
}

#[tokio::test]
async fn who_never_answers_is_left_at_the_deadline() {
    let emulator = emulator(vec![always(&[Fault::Hang])]).await;
    let circle = circle(&emulator, "");

    for (name, _) in EXPERTS {
        let mut ask = question();
        ask.deadline = tokio::time::Instant::now() + Duration::from_millis(200);
        let failure = soon(expert(&circle, name).ask(&ask)).await.expect_err(name);

        assert_eq!(failure.class, Class::Timeout(Phase::Total), "{name}");
    }
    // On a busy machine a question may not even arrive before its deadline.
    soon(emulator.until(|counts| counts.open == 0)).await;
    assert_eq!(emulator.counts().abandoned, emulator.counts().asked);
}

#[tokio::test]
async fn who_does_not_begin_or_stalls_is_asked_again() {
    let cases = [
        (Fault::Hang, Phase::FirstByte),
        (Fault::Stall { after: 0 }, Phase::Idle),
        (Fault::Stall { after: 1 }, Phase::Idle),
    ];
    for (fault, phase) in cases {
        let emulator = emulator(vec![always(std::slice::from_ref(&fault))]).await;
        let mut catalogue = catalogue(&emulator, "retries = 1");
        for provider in catalogue.providers.values_mut() {
            provider.first_byte_timeout =
                model::Span::millis(if phase == Phase::FirstByte { 150 } else { 30_000 });
            provider.idle_timeout = model::Span::millis(150);
        }
        let circle = open(&catalogue);

        for name in ["anthropic", "ollama"] {
            let failure = soon(expert(&circle, name).ask(&question())).await.expect_err(name);
            assert_eq!((failure.class, failure.tries), (Class::Timeout(phase), 2), "{name} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_slow_drip_is_an_answer_until_the_deadline() {
    let drip = Fault::Drip { bytes: 1, every_ms: 100 };
    let emulator = emulator(vec![always(&[drip])]).await;
    let circle = circle(&emulator, "");
    let mut ask = question();
    ask.deadline = tokio::time::Instant::now() + Duration::from_millis(400);

    let failure = soon(expert(&circle, "deepseek").ask(&ask)).await.unwrap_err();

    assert_eq!(failure.class, Class::Timeout(Phase::Total));
}

#[tokio::test]
async fn signs_of_life_are_no_answer_but_keep_the_wait_alive() {
    let emulator = emulator(vec![always(&[Fault::KeepAlive { times: 40, every_ms: 60 }])]).await;
    let mut catalogue = catalogue(&emulator, "retries = 0");
    for provider in catalogue.providers.values_mut() {
        // Longer than between two signs, even on a busy machine, though shorter than all of them together.
        provider.idle_timeout = model::Span::millis(2000);
    }
    let circle = open(&catalogue);

    let reply = soon(expert(&circle, "deepseek").ask(&question())).await.unwrap();

    assert_eq!(read(&reply.text).nonce, "n0nce-77");
}

#[tokio::test]
async fn malformed_answers_are_asked_for_once_more() {
    for fault in [
        Fault::Blank,
        Fault::NotJson,
        Fault::Cut { after: 0 },
        Fault::EndEarly { after: 0 },
        Fault::CutInCharacter,
    ] {
        // A body that ends at once has no text: with EndEarly it is empty, else it breaks off.
        fails(&[fault], Class::Malformed, 2).await;
    }
}

#[tokio::test]
async fn an_error_in_a_200_is_an_error() {
    for (name, result, asked) in played(&[Fault::ErrorInOk], "").await {
        let failure = result.expect_err(name);
        assert!(matches!(failure.class, Class::Upstream | Class::Overloaded), "{name}: {failure}");
        assert_eq!(asked, 3, "{name}");
    }
}

#[tokio::test]
async fn wrong_answers_in_right_form_are_handed_on_for_the_parser_to_judge() {
    for fault in [Fault::WrongNonce, Fault::OutOfSchema, Fault::Fenced, Fault::HalfAnswer] {
        for (name, result, asked) in played(std::slice::from_ref(&fault), "").await {
            let reply = result.unwrap_or_else(|failure| panic!("{name} {fault:?}: {failure}"));
            assert_eq!((reply.stop, asked), (Stop::Complete, 1), "{name}");
        }
    }
}

#[tokio::test]
async fn four_megabytes_are_read_and_more_than_the_cap_is_not() {
    let emulator = emulator(vec![always(&[Fault::Large { bytes: 4 << 20 }])]).await;
    let wide = circle(&emulator, "");
    let mut narrow = catalogue(&emulator, "");
    for provider in narrow.providers.values_mut() {
        provider.max_body = 1 << 20;
    }
    let narrow = open(&narrow);

    let read = soon(expert(&wide, "gemini").ask(&question())).await.unwrap();
    let failure = soon(expert(&narrow, "gemini").ask(&question())).await.unwrap_err();

    assert!(read.text.len() > 4 << 20);
    assert_eq!((failure.class, failure.tries), (Class::Malformed, 1));
}
