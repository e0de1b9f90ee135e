use model::{
    Timestamp,
    audit::{AuditOutcome, AuditRecord},
};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn entry(actor: &str, action: &str, reason: &str) -> AuditEntry {
    let record = AuditRecord {
        source: "LOG_deployment_1".to_owned(),
        counter: 9,
        reason: Some(reason.to_owned()),
        cause: Some("dep-1:3".to_owned()),
        detail: serde_json::json!({ "a": 1 }),
        ..AuditRecord::new(Timestamp(1_750_000_000_123), actor, action, "dep-1", AuditOutcome::Denied)
    };
    AuditEntry { index: 41, record }
}

fn json(format: Format, entry: &AuditEntry) -> Value {
    serde_json::from_str(&line(format, "code.internal/audit", entry)).unwrap()
}

#[test]
fn a_cloudevent_has_what_every_cloudevent_must_have() {
    let event = json(Format::CloudEvents, &entry("ada", "deployment.approved", "because"));

    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], "dev.code.audit.deployment.approved");
    assert_eq!(event["id"], "code.internal/audit/41");
    assert_eq!(event["time"], "2025-06-15T15:06:40.123Z");
    assert_eq!(event["data"]["class_uid"], 6003);
    // Attribute names are lower-case letters and digits.
    let plain = |name: &String| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    assert!(event.as_object().unwrap().keys().all(plain));
}

#[test]
fn an_ocsf_event_adds_up_and_keeps_what_it_does_not_map() {
    for action in ["deployment.approved", "deployment.promoted", "alert.brute-force", "login.tried", "x.y"] {
        let event = json(Format::Ocsf, &entry("ada", action, "because"));

        let number = |name: &str| event[name].as_u64().unwrap();
        assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"), "{action}");
        assert_eq!(number("class_uid") / 1000, number("category_uid"), "{action}");
        assert_eq!(event["metadata"]["version"], "1.6.0");
        assert_eq!(event["status_id"], 2);
        assert_eq!(event["unmapped"]["cause"], "dep-1:3");
    }
}

#[test]
fn a_cef_line_is_spelled_as_the_format_says() {
    let text = line(Format::Cef, "code.internal/audit", &entry("a|b=c\\d", "x.y", "two\nlines=1"));

    assert!(text.starts_with("CEF:0|CODE|audit|"), "{text}");
    assert!(text.contains("|x.y|x.y denied|6|rt=1750000000123 externalId=41 suser=a|b\\=c\\\\d "), "{text}");
    assert!(text.ends_with("reason=two\\nlines\\=1"), "{text}");
}

/// Header fields, then keys and values.
type Parts = (Vec<String>, Vec<(String, String)>);

/// Reads a line of CEF back, as a collector does: header fields, then keys and values.
fn read_cef(line: &str) -> Option<Parts> {
    let (mut head, mut field, mut chars) = (Vec::new(), String::new(), line.chars());
    while head.len() < 7 {
        match chars.next()? {
            '\\' => field.push(chars.next()?),
            '|' => head.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    let rest: Vec<char> = chars.collect();
    // A key stands before each equal sign that is not escaped.
    let equals: Vec<usize> = (0..rest.len())
        .filter(|at| {
            rest[*at] == '=' && rest[..*at].iter().rev().take_while(|c| **c == '\\').count() % 2 == 0
        })
        .collect();
    let start = |at: usize| rest[..at].iter().rposition(|c| *c == ' ').map_or(0, |blank| blank + 1);
    let mut pairs = Vec::new();
    for (number, at) in equals.iter().enumerate() {
        let end = equals.get(number + 1).map_or(rest.len(), |next| start(*next).saturating_sub(1));
        let value: String = rest[at + 1..end].iter().collect();
        let value =
            value.replace("\\\\", "\u{1}").replace("\\=", "=").replace("\\n", "\n").replace("\\r", "\r");
        pairs.push((rest[start(*at)..*at].iter().collect(), value.replace('\u{1}', "\\")));
    }
    Some((head, pairs))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_fact_says_ends_a_line_or_a_field(actor in "[^\u{1}]{1,40}", action in "[^\u{1}]{1,40}", reason in "[^\u{1}]{0,80}") {
        let entry = entry(&actor, &action, &reason);
        for format in Format::ALL {
            let text = line(format, "code.internal/audit", &entry);
            prop_assert!(!text.contains(['\n', '\r']), "{format}: {text}");
        }

        let (head, pairs) = read_cef(&line(Format::Cef, "code.internal/audit", &entry)).unwrap();
        prop_assert_eq!(&head[4], &action.replace(['\r', '\n'], " "));
        let value = |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
        prop_assert_eq!(value("suser"), Some(actor.clone()));
        prop_assert_eq!(value("reason"), Some(reason.clone()));
        let whole = json(Format::Jsonl, &entry);
        prop_assert_eq!(whole["record"]["actor"].as_str(), Some(actor.as_str()));
    }
}
