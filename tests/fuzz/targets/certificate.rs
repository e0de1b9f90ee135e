//! Whatever is handed in as a certificate or as a trust file, checking it ends, and nobody who trusts no key believes it.
#![no_main]

use certificate::{Trust, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let nobody = Trust::read(r#"{"keys":[],"log":null}"#).unwrap().ready().unwrap();
    let problems = verify(bytes, &nobody, model::Timestamp(0)).err().expect("nobody is trusted");
    assert!(!problems.is_empty());
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(trust) = Trust::read(text) {
            let _ = trust.ready();
        }
    }
});
