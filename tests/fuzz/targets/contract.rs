//! Whatever a service serves as its OpenAPI document, reading and comparing it ends; a refusal says why; a remark in it
//! is no change.
#![no_main]

use contract::{Document, compare};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(root) = serde_json::from_slice::<Value>(bytes) else { return };
    let mut remarked = root.clone();
    let Some(document) = remarked.as_object_mut() else { return };
    document.insert("x-remark".to_owned(), Value::Bool(true));
    match (Document::of(root), Document::of(remarked)) {
        (Ok(old), Ok(new)) => {
            for report in [compare(&old, &new, "2026-01-31"), compare(&new, &old, "2026-01-31")] {
                assert_eq!(report.breaks().count(), 0, "{report:?}");
            }
        }
        (Err(old), Err(new)) => assert_eq!(old.to_string(), new.to_string()),
        (old, new) => panic!("{old:?} {new:?}"),
    }
});
