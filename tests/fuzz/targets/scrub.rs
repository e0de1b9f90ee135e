//! Whatever text leaves the engine, scrubbing it ends, and scrubbing it twice changes nothing more.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let once = scrub::scrub(text).text;
    assert_eq!(scrub::scrub(&once).text, once);
    let seen = scrub::visible(text);
    assert_eq!(scrub::visible(&seen), seen);
});
