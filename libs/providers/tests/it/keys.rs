//! Keys stay where they belong.

use emulators::{Fault, Script};
use providers::KeySource;

use super::*;

const KEY: &str = "sk-test-0123456789";

#[tokio::test]
async fn a_key_is_sent_in_its_header_only() {
    let emulator = emulator(vec![]).await;
    let circle = circle(&emulator, "");

    for (name, vendor) in EXPERTS {
        emulator.forget_requests();
        soon(expert(&circle, name).ask(&question())).await.unwrap();
        let request = emulator.requests().pop().unwrap();

        let sent = format!("{request:?}");
        assert!(!sent.contains(KEY), "{name}: {sent}");
        let header = if vendor == Vendor::Gemini { "x-goog-api-key" } else { "authorization" };
        assert!(request.headers.contains_key(header), "{name}");
    }
}

#[tokio::test]
async fn a_vendor_that_repeats_the_key_does_not_make_us_repeat_it() {
    let parameter = Fault::Parameter { name: format!("Bearer {KEY}") };
    let emulator = emulator(vec![always(&[parameter])]).await;
    let circle = circle(&emulator, "");

    for (name, _) in EXPERTS {
        let failure = soon(expert(&circle, name).ask(&question())).await.unwrap_err();

        let shown = format!("{failure} {failure:?}");
        assert!(!shown.contains(KEY) && shown.contains("***"), "{name}: {shown}");
    }
}

#[tokio::test]
async fn who_has_no_key_is_left_out_with_the_reason() {
    let emulator = emulator(vec![]).await;
    let mut catalogue = catalogue(&emulator, "");
    let gemini = catalogue.providers.get_mut(&token("gemini")).unwrap();
    gemini.key = Some(KeySource::File("/nowhere".into()));

    let circle = Circle::open(&catalogue, |source| match source {
        KeySource::Env(name) => Ok(Secret::new(format!("{KEY}-{name}"))),
        KeySource::File(path) => Err(format!("{} cannot be read", path.display())),
    })
    .unwrap();

    assert!(circle.get(&token("gemini")).is_none());
    assert_eq!(circle.missing()[&token("gemini")], "/nowhere cannot be read");
    assert_eq!(circle.panel().count(), EXPERTS.len() - 1);
}

#[tokio::test]
async fn a_question_does_not_reach_the_logs_by_debug_output_of_the_circle() {
    let emulator = emulator(vec![]).await;
    emulator.play(Scenario {
        answer: Script { text: Some("{nonce}".into()), ..Script::default() },
        ..Default::default()
    });
    let circle = circle(&emulator, "");

    let reply = soon(expert(&circle, "ollama").ask(&question())).await.unwrap();

    assert_eq!(reply.text, "n0nce-77");
    assert!(!format!("{:?}", circle.catalogue()).contains(KEY));
}
