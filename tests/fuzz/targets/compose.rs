//! Whatever a Compose file holds, importing it ends, and what it gives is a spec.
#![no_main]

use std::sync::Once;

use libfuzzer_sys::fuzz_target;

/// The reader of YAML panics on some texts (a tag right before a comma), which `spec` catches and makes a complaint of.
/// The fuzzer's own hook would end the run there; this one ends it for every other panic.
fn tolerate_the_readers_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            if !panic.location().is_some_and(|at| at.file().contains("libyaml-safer")) {
                eprintln!("panicked: {panic}");
                std::process::abort();
            }
        }));
    });
}

fuzz_target!(|bytes: &[u8]| {
    tolerate_the_readers_panics();
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match spec::import::compose(text, &Default::default()) {
        Ok(imported) => assert!(spec::read(&imported.spec_yaml).is_ok()),
        Err(fault) => assert!(!fault.message.is_empty() || !fault.complaints.is_empty()),
    }
});
