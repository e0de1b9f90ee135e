//! Every format, when nothing goes wrong.

use emulators::{Fault, Rule, Script, Vendor};
use futures::StreamExt;
use model::expert::Stance;
use providers::{Piece, Stop};

use super::*;

#[tokio::test]
async fn every_format_answers_in_the_closed_schema_whole_and_in_pieces() {
    let emulator = emulator(vec![]).await;
    let circle = circle(&emulator, "");

    for (name, _) in EXPERTS {
        let expert = expert(&circle, name);
        let whole = soon(expert.ask(&question())).await.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let mut pieces = soon(expert.stream(&question())).await.unwrap();
        let (mut streamed, mut end) = (String::new(), None);
        while let Some(piece) = soon(pieces.next()).await {
            match piece.unwrap_or_else(|failure| panic!("{name}: {failure}")) {
                Piece::Text(text) => streamed.push_str(&text),
                Piece::End(reply) => end = Some(reply),
            }
        }
        let end = end.unwrap();

        assert_eq!(read(&whole.text).nonce, "n0nce-77", "{name}");
        assert_eq!((&streamed, &end.text), (&whole.text, &whole.text), "{name}");
        for reply in [&whole, &end] {
            assert_eq!((reply.stop, reply.tries, reply.substituted), (Stop::Complete, 1, false), "{name}");
            assert_eq!(reply.model, format!("{name}-1"));
            let usage = reply.usage;
            assert!(usage.input_tokens > 5 && usage.output_tokens > 5, "{name}: {usage:?}");
            assert_eq!(usage.cost_micro_usd, usage.input_tokens + 2 * usage.output_tokens, "{name}");
        }
    }
}

#[tokio::test]
async fn odd_but_lawful_answers_are_read_like_plain_ones() {
    let odd = [
        vec![Fault::Gzip],
        vec![Fault::WindowsLines],
        vec![Fault::Novelties, Fault::Thinking],
        vec![Fault::Parts],
        vec![Fault::Parts, Fault::Thinking, Fault::Decimals],
        vec![Fault::DuplicateEvent],
        vec![Fault::KeepAlive { times: 5, every_ms: 1 }],
        vec![Fault::Drip { bytes: 7, every_ms: 0 }],
        vec![Fault::NoHeaders],
        vec![Fault::Gzip, Fault::Drip { bytes: 50, every_ms: 0 }, Fault::Novelties, Fault::WindowsLines],
    ];
    let emulator = emulator(vec![]).await;
    let circle = circle(&emulator, "");

    for faults in odd {
        emulator.play(Scenario { rules: vec![always(&faults)], ..Scenario::default() });
        for (name, _) in EXPERTS {
            // Lines of NDJSON are what they are: a mark before them or a line twice is no quirk that exists.
            let lines = name == "ollama";
            if lines && (faults.contains(&Fault::WindowsLines) || faults.contains(&Fault::DuplicateEvent)) {
                continue;
            }
            let expert = expert(&circle, name);
            let whole = soon(expert.ask(&question())).await;
            let last = match soon(expert.stream(&question())).await {
                Ok(pieces) => soon(pieces.collect::<Vec<_>>()).await.pop().unwrap(),
                Err(failure) => Err(failure),
            };

            let whole = whole.unwrap_or_else(|failure| panic!("{name} {faults:?}: {failure}"));
            assert_eq!(read(&whole.text).nonce, "n0nce-77");
            // A first event twice may repeat text where the format has no start event.
            if !(faults.contains(&Fault::DuplicateEvent) && name == "gemini") {
                let Ok(Piece::End(end)) = last else { panic!("{name} {faults:?}: {last:?}") };
                assert_eq!(read(&end.text).nonce, "n0nce-77", "{name} {faults:?}");
            }
        }
    }
}

#[tokio::test]
async fn refusals_and_cut_answers_are_told_from_answers() {
    let emulator = emulator(vec![]).await;
    let circle = circle(&emulator, "");
    let cases = [
        (Fault::Truncated, Stop::Truncated),
        (Fault::Refusal, Stop::Refused),
        (Fault::Filtered, Stop::Refused),
    ];

    for (fault, stop) in cases {
        emulator.play(Scenario { rules: vec![always(std::slice::from_ref(&fault))], ..Scenario::default() });
        for (name, vendor) in EXPERTS {
            // Ollama has no refusals: what its models say is the answer.
            if vendor == Vendor::Ollama && stop == Stop::Refused {
                continue;
            }
            let whole = soon(expert(&circle, name).ask(&question())).await.unwrap();
            let pieces = soon(expert(&circle, name).stream(&question())).await.unwrap();
            let last = soon(pieces.collect::<Vec<_>>()).await.pop();

            assert_eq!(whole.stop, stop, "{name} {fault:?}");
            let Some(Ok(Piece::End(end))) = last else { panic!("{name} {fault:?}: {last:?}") };
            assert_eq!(end.stop, stop, "{name} {fault:?}");
        }
    }
}

#[tokio::test]
async fn another_model_than_was_asked_is_noticed() {
    let other = Fault::OtherModel { name: "cheap-mini".into() };
    let emulator = emulator(vec![always(&[other])]).await;
    let circle = circle(&emulator, "");

    for (name, _) in EXPERTS {
        let reply = soon(expert(&circle, name).ask(&question())).await.unwrap();

        assert!(reply.substituted, "{name} says it was {}", reply.model);
    }
}

#[tokio::test]
async fn verdicts_are_played_by_vendor_and_model() {
    let reject = Rule {
        vendor: Some(Vendor::Gemini),
        answer: Some(Script::verdict(Stance::Reject)),
        ..Rule::default()
    };
    let emulator = emulator(vec![reject]).await;
    let circle = circle(&emulator, "");

    let gemini = soon(expert(&circle, "gemini").ask(&question())).await.unwrap();
    let other = soon(expert(&circle, "deepseek").ask(&question())).await.unwrap();

    assert_eq!(read(&gemini.text).verdict, Stance::Reject);
    assert_eq!(read(&other.text).verdict, Stance::Approve);
}

#[tokio::test]
async fn what_is_configured_is_sent_and_no_sampling_parameter_is() {
    let emulator = emulator(vec![]).await;
    let circle = circle(&emulator, "extra = { metadata = { user_id = \"u\" } }");

    for name in ["anthropic", "openai-chat", "openai-responses"] {
        soon(expert(&circle, name).ask(&question())).await.unwrap();
    }

    for request in emulator.requests() {
        assert_eq!(request.body["metadata"]["user_id"], "u");
        let text = request.body.to_string();
        for word in ["temperature", "top_p", "top_k", "topP", "seed", "penalty"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }
}
