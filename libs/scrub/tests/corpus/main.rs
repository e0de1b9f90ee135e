//! How many secrets are found, and how many harmless texts are taken for one, on texts of both kinds in `data`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod measure;

use std::path::{Path, PathBuf};

use measure::{corpus, measure};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

#[test]
fn at_least_98_of_100_secrets_are_masked_and_at_most_1_of_100_harmless_texts_changed() {
    let found = measure(&data());

    for text in &found.missed {
        println!("missed: {text}");
    }
    for text in &found.wrong {
        println!("wrong: {text}");
    }
    println!(
        "{} secrets, recall {:.1} %; {} harmless texts, false positives {:.1} %",
        found.secrets,
        found.recall() * 100.0,
        found.harmless,
        found.alarms() * 100.0
    );
    let all = found.secrets + found.harmless;
    assert!(all >= 400 && found.harmless * 10 >= all * 4, "{all} texts, {} of them harmless", found.harmless);
    assert!(corpus(&data(), "secrets.txt").iter().all(|case| !case.secret.trim().is_empty()));
    assert!(found.recall() >= 0.98, "recall {:.4}", found.recall());
    assert!(found.alarms() <= 0.01, "false positives {:.4}", found.alarms());
}

#[test]
fn scrubbing_the_corpus_twice_is_scrubbing_it_once() {
    for case in corpus(&data(), "secrets.txt").iter().chain(&corpus(&data(), "harmless.txt")) {
        let once = scrub::scrub(&case.text).text;

        assert_eq!(scrub::scrub(&once).text, once);
    }
}

#[test]
fn a_json_document_stays_one() {
    for case in corpus(&data(), "secrets.txt") {
        if serde_json::from_str::<serde_json::Value>(&case.text).is_ok() {
            let once = scrub::scrub(&case.text).text;

            assert!(serde_json::from_str::<serde_json::Value>(&once).is_ok(), "{once}");
        }
    }
}
