//! Answers in pieces that break off.

use emulators::{Fault, Vendor};
use futures::StreamExt;
use providers::{Class, Piece};

use super::*;

/// The texts that were handed out, and how it ended.
async fn streamed(expert: &dyn Expert) -> (String, Result<(), providers::Failure>) {
    let mut pieces = match soon(expert.stream(&question())).await {
        Ok(pieces) => pieces,
        Err(failure) => return (String::new(), Err(failure)),
    };
    let mut text = String::new();
    while let Some(piece) = soon(pieces.next()).await {
        match piece {
            Ok(Piece::Text(more)) => text.push_str(&more),
            Ok(Piece::End(_)) => return (text, Ok(())),
            Err(failure) => return (text, Err(failure)),
        }
    }
    panic!("the stream ended without an end");
}

#[tokio::test]
async fn once_text_was_handed_out_it_is_never_asked_again() {
    for fault in [
        Fault::Cut { after: 9 },
        Fault::EndEarly { after: 9 },
        Fault::CutInCharacter,
        Fault::ErrorAfter { events: 9 },
    ] {
        let emulator = emulator(vec![first(1, std::slice::from_ref(&fault))]).await;
        let circle = circle(&emulator, "");
        for (name, _) in EXPERTS {
            emulator.play(emulators::Scenario {
                rules: vec![first(1, std::slice::from_ref(&fault))],
                ..Default::default()
            });
            emulator.forget_requests();

            let (text, end) = streamed(expert(&circle, name)).await;

            let failure = end.expect_err(name);
            assert!(!text.is_empty(), "{name} {fault:?}");
            assert!(
                matches!(failure.class, Class::Malformed | Class::Upstream | Class::Overloaded),
                "{name} {fault:?}: {failure}"
            );
            assert_eq!((emulator.requests().len(), failure.tries), (1, 1), "{name} {fault:?}");
        }
    }
}

#[tokio::test]
async fn before_the_first_text_it_is_asked_again() {
    for fault in [Fault::Cut { after: 0 }, Fault::ErrorInOk, Fault::Overloaded, Fault::Status { code: 500 }] {
        let emulator = emulator(vec![]).await;
        let circle = circle(&emulator, "");
        for (name, _) in EXPERTS {
            emulator.play(emulators::Scenario {
                rules: vec![first(1, std::slice::from_ref(&fault))],
                ..Default::default()
            });
            emulator.forget_requests();

            let (text, end) = streamed(expert(&circle, name)).await;

            assert_eq!(end, Ok(()), "{name} {fault:?}");
            assert_eq!(read(&text).nonce, "n0nce-77", "{name} {fault:?}");
            assert_eq!(emulator.requests().len(), 2, "{name} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_reader_who_leaves_ends_the_question() {
    let emulator = emulator(vec![always(&[Fault::Stall { after: 9 }])]).await;
    let circle = circle(&emulator, "concurrency = 1\nqueue = 0");
    let expert = expert(&circle, "anthropic");
    let mut pieces = soon(expert.stream(&question())).await.unwrap();
    soon(pieces.next()).await.unwrap().unwrap();
    let busy = soon(expert.ask(&question())).await.unwrap_err();

    drop(pieces);

    assert_eq!(busy.class, Class::Busy);
    soon(emulator.until(|counts| counts.abandoned == 1)).await;
    assert!(soon(expert.stream(&question())).await.is_ok(), "its place is free again");
}

#[tokio::test]
async fn half_a_sentence_is_handed_out_as_it_comes() {
    let emulator = emulator(vec![always(&[Fault::Stall { after: 12 }])]).await;
    let circle = circle(&emulator, "");

    for (name, vendor) in EXPERTS {
        let mut pieces = soon(expert(&circle, name).stream(&question())).await.unwrap();
        let piece = soon(pieces.next()).await.unwrap().unwrap();

        assert!(matches!(piece, Piece::Text(_)), "{name} of {vendor:?}: {piece:?}");
    }
    assert_eq!(Vendor::ALL.len(), 6);
}
