//! The committed schema is the schema of the types.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::Path;

#[test]
fn the_committed_schema_is_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec.schema.json");
    let expected = serde_json::to_string_pretty(&spec::schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }

    let committed = std::fs::read_to_string(&path).unwrap_or_default();

    assert!(committed == expected, "docs/spec.schema.json is out of date: run this test with UPDATE=1");
}
