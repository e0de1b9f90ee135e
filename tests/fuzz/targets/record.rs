//! Whatever lies in a journal, reading a record ends; what was read is written and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::{Event, Record, target::TargetEvent};
use wire::Message;

fn round<M: Message + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(value) = M::decode(bytes) else { return };
    assert_eq!(M::decode(&value.encode()).unwrap(), value);
}

fuzz_target!(|bytes: &[u8]| {
    round::<Record<Event>>(bytes);
    round::<Record<TargetEvent>>(bytes);
});
