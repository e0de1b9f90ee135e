//! A spec with a secret in plain text is not taken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use model::Timestamp;
use spec::{admit, read};

/// 2026-03-01T12:00:00Z
const NOW: Timestamp = Timestamp(1_772_366_400_000);

/// Put together here, so that no scanner takes this file for a leak.
fn token() -> String {
    format!("{}_{}", "ghp", "a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6g7H8")
}

fn spec_with(more: &str) -> String {
    format!(
        "apiVersion: code/v1\nname: shop\ntarget: process\nmodules:\n  - name: web\n    run: {{command: [web]}}\n{more}"
    )
}

#[test]
fn a_secret_in_plain_text_is_refused_by_line_and_column_and_never_quoted() {
    let secret = token();
    let cases = [
        (
            "    environment:\n      DB_PASS: hunter2hunter2\n",
            "hunter2hunter2",
            "modules[0].environment.DB_PASS",
            8,
        ),
        (
            &format!("    environment:\n      A: 1\n      NOTE: {secret}\n"),
            &secret,
            "modules[0].environment.NOTE",
            9,
        ),
        (
            "    config:\n      - path: a.ini\n        content: \"[db]\\npwd=swordfish\"\n",
            "swordfish",
            "modules[0].config[0].content",
            9,
        ),
        (&format!("labels:\n  note: {secret}\n"), &secret, "labels.note", 8),
        (
            "hooks:\n  - name: migrate\n    when: beforeDeploy\n    command: [\"psql\", \"postgres://app:s3cr3t99@db/shop\"]\n",
            "s3cr3t99",
            "hooks[0].command",
            10,
        ),
    ];
    for (more, value, field, line) in cases {
        let text = spec_with(more);
        assert!(read(&text).is_ok(), "{:?}", read(&text));

        let fault = admit(&text, NOW).unwrap_err();

        let complaint = &fault.complaints[0];
        assert_eq!((complaint.field.as_str(), complaint.line), (field, line), "{fault:?}");
        assert!(complaint.column > 1 && !complaint.cure.is_empty());
        assert!(!format!("{fault:?}").contains(value), "{fault:?}");
    }
}

#[test]
fn a_waiver_takes_a_value_for_none_until_its_last_day() {
    let text = |until: &str| {
        spec_with(&format!(
            "    environment: {{DB_PASS: hunter2hunter2}}\nwaivers:\n  - {{rule: security/plaintext-secret, module: web, reason: a test database, expires: \"{until}\"}}\n"
        ))
    };

    assert!(admit(&text("2026-03-01"), NOW).is_ok());
    assert!(admit(&text("2026-02-28"), NOW).is_err());
}

#[test]
fn references_and_plain_values_are_admitted() {
    let text = spec_with(
        "    environment:\n      LOG_LEVEL: info\n      TOKEN_URL: \"http://auth:8080/token@v2\"\n      DB_PASSWORD: \"${DB_PASSWORD}\"\n",
    );

    assert_eq!(admit(&text, NOW).unwrap(), read(&text).unwrap());
}
