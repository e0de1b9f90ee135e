//! Free ports for instances.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener},
    ops::RangeInclusive,
};

use crate::{Error, Result};

/// A port of the range that nobody listens on and that is not in `taken`. Begins to look at a place that depends on
/// `name`, so that engines which do not know of each other seldom meet.
pub(super) fn choose(range: &RangeInclusive<u16>, name: &str, taken: &BTreeSet<u16>) -> Result<u16> {
    let (first, count) = (*range.start(), u32::from(range.end().saturating_sub(*range.start())) + 1);
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let begin = (hash % u64::from(count)) as u32;
    for step in 0..count {
        let port = first + ((begin + step) % count) as u16;
        if !taken.contains(&port) && is_free(port) {
            return Ok(port);
        }
    }
    Err(Error::Unavailable {
        platform: "process",
        source: format!("no port of {first} to {} is free", range.end()).into(),
    })
}

/// Nobody listens on it now.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_someone_listens_on_is_passed_over() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();

        assert!(choose(&(port..=port), "x", &BTreeSet::new()).is_err());
        drop(held);
        assert_eq!(choose(&(port..=port), "x", &BTreeSet::new()).unwrap(), port);
        assert!(choose(&(port..=port), "x", &[port].into()).is_err());
    }
}
