//! Bytes as an attacker or a bad disk leaves them. Also read by the tests of certificates.

use proptest::prelude::*;

/// One thing that happens to bytes; places are taken modulo their number.
#[derive(Clone, Debug)]
pub enum Damage {
    Flip { at: usize, bit: u8 },
    Set { at: usize, byte: u8 },
    Cut { at: usize, bytes: usize },
    Insert { at: usize, bytes: Vec<u8> },
    Repeat { from: usize, bytes: usize, at: usize },
}

/// One to three things that happen one after the other.
pub fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let some = || any::<prop::sample::Index>().prop_map(|at| at.index(1 << 20));
    let one = prop_oneof![
        (some(), 0..8u8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        (some(), any::<u8>()).prop_map(|(at, byte)| Damage::Set { at, byte }),
        (some(), 1..200usize).prop_map(|(at, bytes)| Damage::Cut { at, bytes }),
        (some(), prop::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(at, bytes)| Damage::Insert { at, bytes }),
        (some(), 1..200usize, some()).prop_map(|(from, bytes, at)| Damage::Repeat { from, bytes, at }),
    ];
    prop::collection::vec(one, 1..4)
}

/// The bytes after it.
pub fn damaged(whole: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for damage in damages {
        let size = bytes.len();
        if size == 0 {
            break;
        }
        match damage {
            Damage::Flip { at, bit } => bytes[at % size] ^= 1 << bit,
            Damage::Set { at, byte } => bytes[at % size] = *byte,
            Damage::Cut { at, bytes: count } => {
                let at = at % size;
                bytes.drain(at..(at + count).min(size));
            }
            Damage::Insert { at, bytes: more } => {
                let at = at % size;
                bytes.splice(at..at, more.iter().copied());
            }
            Damage::Repeat { from, bytes: count, at } => {
                let (from, at) = (from % size, at % size);
                let more = bytes[from..(from + count).min(size)].to_vec();
                bytes.splice(at..at, more);
            }
        }
    }
    bytes
}
