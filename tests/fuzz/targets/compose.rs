//! Whatever a Compose file holds, importing it ends, and what it gives is a spec.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../reader.rs"]
mod reader;

fuzz_target!(|bytes: &[u8]| {
    reader::tolerate_panics();
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match spec::import::compose(text, &Default::default()) {
        Ok(imported) => assert!(spec::read(&imported.spec_yaml).is_ok()),
        Err(fault) => assert!(!fault.message.is_empty() || !fault.complaints.is_empty()),
    }
});
