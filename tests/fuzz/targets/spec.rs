//! Whatever a person submits as a spec, reading it ends; a refusal says why; what was read is read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../reader.rs"]
mod reader;

fuzz_target!(|bytes: &[u8]| {
    reader::tolerate_panics();
    match spec::read_bytes(bytes) {
        Ok(read) => {
            let written = serde_json::to_string(&read.spec).unwrap();
            let again = spec::read(&written).unwrap();
            assert_eq!(again.spec, read.spec);
        }
        Err(fault) => assert!(!fault.message.is_empty() || !fault.complaints.is_empty()),
    }
});
