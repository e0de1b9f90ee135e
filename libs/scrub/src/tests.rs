use proptest::prelude::*;

use super::*;

#[test]
fn every_shape_is_a_pattern() {
    assert_eq!(shapes::WHOLE.count(), shapes::SHAPES.len());
    assert!(assigned::patterns() && encoded::patterns() && secrets::patterns() && blocks::patterns());
}

/// Put together here, so that no scanner takes this file for a leak.
fn samples() -> Vec<String> {
    let (long, digits) = ("a1B2c3D4e5F6g7H8i9J0".repeat(4), "0123456789ABCDEF");
    vec![
        format!("AKIA{digits}"),
        format!("ghp_{}", &long[..36]),
        format!("github_pat_{}", &long[..60]),
        format!("glpat-{}", &long[..20]),
        format!("xoxb-{}", &long[..24]),
        format!("AIza{}", &long[..35]),
        format!("sk_live_{}", &long[..24]),
        format!("sk-ant-{}", &long[..40]),
        format!("npm_{}", &long[..36]),
        format!("hvs.{}", &long[..24]),
        format!("SU{}", "A2B3C4D5".repeat(7)),
        format!("eyJ{}.eyJ{}.{}", &long[..12], &long[..12], &long[..12]),
        format!("-----BEGIN EC {}-----\nMHcCAQEE\n-----END EC {0}-----", "PRIVATE KEY"),
    ]
}

#[test]
fn known_shapes_are_masked_wherever_they_stand() {
    for secret in samples() {
        for text in [secret.clone(), format!("before {secret} after"), format!("{{\"k\":\"{secret}\"}}")] {
            let scrubbed = scrub(&text);

            assert!(!scrubbed.text.contains(&secret), "{secret} is still in {}", scrubbed.text);
            assert!(!scrubbed.masked.is_empty());
        }
    }
}

#[test]
fn a_value_behind_a_telling_name_is_masked_and_the_name_stays() {
    let cases = [
        ("DB_PASSWORD=hunter22x", "DB_PASSWORD=[masked: value of a telling name]"),
        (r#"{"api_key": "q8w7e6r5"}"#, r#"{"api_key": "[masked: value of a telling name]"}"#),
        ("postgres://app:s3cr3t9@db/shop", "postgres://app:[masked: password in an address]@db/shop"),
        ("Authorization: Bearer abcdefghijklmnop", "Authorization: Bearer [masked: bearer token]"),
        // Two addresses in one word: each has its password.
        (
            "tcp://a:one/0@h1,tcp://b:two/0@h2",
            "tcp://a:[masked: password in an address]@h1,tcp://b:[masked: password in an address]@h2",
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(scrub(text).text, wanted);
    }
}

#[test]
fn a_mask_counts_as_the_word_that_it_replaced() {
    // The first value is a plain word in a sentence, whatever is made of the word after it.
    let text = "passwd=words\tsecret=hunter22x9 more";

    let once = scrub(text).text;

    assert_eq!(once, "passwd=words\tsecret=[masked: value of a telling name] more");
    assert_eq!(scrub("passwd=words\t[masked: value of a telling name]").masked.len(), 0);
}

#[test]
fn references_counts_and_plain_words_stay() {
    for text in [
        "password: ${DB_PASSWORD}",
        "token=$TOKEN",
        "secret: vault:kv/shop",
        r#""input_tokens": 123456"#,
        "tokenize the secrets in this sentence",
        "https://example.org/path?x=1",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "password=********",
    ] {
        let scrubbed = scrub(text);

        assert_eq!((scrubbed.text.as_str(), scrubbed.masked.len()), (text, 0));
    }
}

#[test]
fn what_cannot_be_seen_is_taken_out() {
    let hidden = "ap\u{200b}prove\u{202e} \u{1b}[31mred\u{1b}[0m\u{7} end\u{feff}\n\tnext";

    assert_eq!(visible(hidden), "approve red end\n\tnext");

    // Variation selectors carry any bytes behind one letter; the others are blanks and line ends that are none.
    let selectors: String = (0xe0100..=0xe01ef).chain(0xfe00..=0xfe0f).filter_map(char::from_u32).collect();
    let tags: String = (0xe0000..0xe0fff).filter_map(char::from_u32).collect();
    assert_eq!(visible(&format!("ok{selectors}{tags}\u{3164}\u{ffa0}\u{2800}\u{115f}!")), "ok!");
    assert_eq!(visible("one\u{2028}two\u{2029}three\u{85}four"), "one\ntwo\nthree\nfour");
    assert_eq!(visible("\u{2066}a\u{2069}\u{202a}b\u{61c}\u{200f}c\u{2060}d\u{180e}"), "abcd");
    assert_eq!(visible("Grüße, 東京, é"), "Grüße, 東京, é");
}

proptest! {
    #[test]
    fn scrubbing_twice_is_scrubbing_once(text in "[ -~\n]{0,200}") {
        let once = scrub(&text).text;

        prop_assert_eq!(scrub(&once).text, once.clone());
    }

    #[test]
    fn any_text_can_be_made_visible(text in any::<String>()) {
        let shown = visible(&text).into_owned();

        prop_assert!(!shown.chars().any(deceives));
        let again = visible(&shown);
        prop_assert_eq!(again.as_ref(), shown.as_str());
    }
}
