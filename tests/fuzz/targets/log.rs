//! Whatever is handed in as a part of the audit log, reading it ends; what was read is written and read again as the same.
#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use ledger::{Checkpoint, Note, Policy, ProofFile, SignedCheckpoint, VerifyingKey};
use libfuzzer_sys::fuzz_target;

fn round<T: FromStr + Display>(text: &str) {
    let Ok(value) = text.parse::<T>() else { return };
    let written = value.to_string();
    let again = written.parse::<T>().ok().expect("what was written is read").to_string();
    assert_eq!(again, written);
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    round::<Checkpoint>(text);
    round::<Note>(text);
    round::<SignedCheckpoint>(text);
    round::<ProofFile>(text);
    round::<VerifyingKey>(text);
    let _ = text.parse::<Policy>();
});
