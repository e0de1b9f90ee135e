//! How many secrets are found, and how many harmless texts are taken for one, on texts of both kinds in `data`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::{collections::BTreeSet, fs, path::Path};

/// What a line of the corpus says, and which part of it must not be seen.
struct Case {
    text: String,
    secret: String,
}

/// Expands `‹set:length›` into characters by chance, `‹base64=text›` into base64 and `‹›` into nothing.
fn expand(line: &str, seed: u64) -> String {
    let mut chance = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: usize| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        (chance >> 33) as usize % below
    };
    let (mut text, mut rest) = (String::new(), line);
    while let Some((before, after)) = rest.split_once('‹') {
        let (mark, behind) =
            after.split_once('›').unwrap_or_else(|| panic!("{line} has a mark without an end"));
        text.push_str(before);
        rest = behind;
        if let Some(plain) = mark.strip_prefix("base64=") {
            text.push_str(&base64::Engine::encode(&base64::engine::general_purpose::STANDARD, plain));
        } else if let Some((set, length)) = mark.split_once(':') {
            let letters = letters(set);
            text.extend((0..length.parse::<usize>().unwrap()).map(|_| letters[next(letters.len())]));
        }
    }
    text + rest
}

fn letters(set: &str) -> Vec<char> {
    let (upper, lower, digits) = ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789");
    let all = match set {
        "b62" => format!("{upper}{lower}{digits}"),
        "alpha" => format!("{upper}{lower}"),
        "b64" => format!("{upper}{lower}{digits}+/"),
        "b64u" => format!("{upper}{lower}{digits}-_"),
        "b32" => format!("{upper}234567"),
        "up" => format!("{upper}{digits}"),
        "low" => format!("{lower}{digits}"),
        "dig" => digits.to_owned(),
        "hex" => format!("{digits}abcdef"),
        "HEX" => format!("{digits}ABCDEF"),
        other => panic!("there is no set {other}"),
    };
    all.chars().collect()
}

fn corpus(name: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let lines = fs::read_to_string(path).unwrap();
    let lines: BTreeSet<&str> =
        lines.lines().filter(|line| !line.starts_with("# ") && !line.is_empty()).collect();
    let case = |(at, line): (usize, &str)| {
        let text = expand(&line.replace('⏎', "\n"), at as u64 + 1);
        let mut secret = String::new();
        for part in text.split('⟦').skip(1) {
            secret.push_str(part.split_once('⟧').unwrap().0);
            secret.push(' ');
        }
        Case { text: text.replace(['⟦', '⟧'], ""), secret }
    };
    lines.into_iter().enumerate().map(case).collect()
}

/// Whether a word of the secret can still be read, or the first or last half of a long one.
fn shows(scrubbed: &str, secret: &str) -> bool {
    let words =
        secret.split(|letter: char| letter.is_whitespace() || letter == '\\').filter(|word| word.len() >= 4);
    words.into_iter().any(|word| {
        let half = word.char_indices().nth(word.chars().count() / 2).map_or(0, |(at, _)| at);
        scrubbed.contains(word)
            || (word.len() >= 16 && [&word[..half], &word[half..]].iter().any(|half| scrubbed.contains(half)))
    })
}

#[test]
fn at_least_98_of_100_secrets_are_masked_and_at_most_1_of_100_harmless_texts_changed() {
    let (secrets, harmless) = (corpus("secrets.txt"), corpus("harmless.txt"));

    let missed: Vec<&Case> =
        secrets.iter().filter(|case| shows(&scrub::scrub(&case.text).text, &case.secret)).collect();
    let wrong: Vec<&Case> =
        harmless.iter().filter(|case| scrub::scrub(&case.text).text != case.text).collect();

    for case in &missed {
        println!("missed: {}", scrub::scrub(&case.text).text);
    }
    for case in &wrong {
        println!("wrong: {}", scrub::scrub(&case.text).text);
    }
    let recall = 1.0 - missed.len() as f64 / secrets.len() as f64;
    let alarms = wrong.len() as f64 / harmless.len() as f64;
    println!(
        "{} secrets, recall {:.1} %; {} harmless texts, false positives {:.1} %",
        secrets.len(),
        recall * 100.0,
        harmless.len(),
        alarms * 100.0
    );
    let all = secrets.len() + harmless.len();
    assert!(all >= 400 && harmless.len() * 10 >= all * 4, "{all} texts, {} of them harmless", harmless.len());
    assert!(secrets.iter().all(|case| !case.secret.trim().is_empty()));
    assert!(recall >= 0.98, "recall {recall:.4}");
    assert!(alarms <= 0.01, "false positives {alarms:.4}");
}

#[test]
fn scrubbing_the_corpus_twice_is_scrubbing_it_once() {
    for case in corpus("secrets.txt").iter().chain(&corpus("harmless.txt")) {
        let once = scrub::scrub(&case.text).text;

        assert_eq!(scrub::scrub(&once).text, once);
    }
}

#[test]
fn a_json_document_stays_one() {
    for case in corpus("secrets.txt") {
        if serde_json::from_str::<serde_json::Value>(&case.text).is_ok() {
            let once = scrub::scrub(&case.text).text;

            assert!(serde_json::from_str::<serde_json::Value>(&once).is_ok(), "{once}");
        }
    }
}
