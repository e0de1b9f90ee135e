//! What a table of routes should say. Pure.

use std::collections::BTreeMap;

use model::{
    Fence, Span, TargetId, Timestamp, Token,
    deployment::StepJob,
    plan::Revision,
    route::{Endpoint, Pin, RouteTable, Weights},
    spec::{Module, PortSpec},
};
use platform::Instance;

/// The bound of a request where no client asks.
const UNEXPOSED: Span = Span(std::time::Duration::from_secs(30));

/// A module's first table: nobody is served yet, and no port is open. Its version begins at the time, in milliseconds: a
/// table that comes after one that was removed is newer also for a data plane that never heard of the removal.
pub fn empty(target: &TargetId, module: &Token, now: Timestamp) -> RouteTable {
    RouteTable {
        target: target.clone(),
        module: module.clone(),
        listen: 0,
        internal: true,
        peers: BTreeMap::new(),
        version: now.0.unsigned_abs(),
        fence: Fence::default(),
        weights: Weights::default(),
        endpoints: BTreeMap::new(),
        pins: Vec::new(),
        sticky_cookie: None,
        request_timeout: UNEXPOSED,
    }
}

/// Ports, cookie and bounds as the spec in force says. Where other modules reach it stays as it is.
pub fn describe(table: &mut RouteTable, module: &Module) {
    let expose = module.expose.as_ref();
    table.internal = expose.is_none();
    table.listen = expose.map_or(0, |expose| expose.listen);
    table.sticky_cookie = expose.and_then(|expose| expose.sticky_cookie.clone());
    table.request_timeout = expose.map_or(UNEXPOSED, |expose| expose.request_timeout);
    for (name, peer) in &mut table.peers {
        peer.http = is_http(module, name);
    }
}

/// The port that is meant when none is named: the one that is exposed, else the first.
pub fn main_port(module: &Module) -> Option<&PortSpec> {
    let exposed = module.expose.as_ref().and_then(|expose| expose.port.as_ref());
    module.ports.iter().find(|port| exposed.is_none_or(|name| *name == port.name))
}

/// Whether other modules speak to this port as clients do.
pub fn is_http(module: &Module, port: &Token) -> bool {
    module.expose.is_some() && main_port(module).is_some_and(|main| main.name == *port)
}

/// The preview goes to the revision on trial as long as it has instances; on the way back there is none.
pub fn preview(table: &mut RouteTable, job: &StepJob) {
    table.pins.clear();
    let module = job.spec.module(&table.module).filter(|_| !job.goes_back());
    let Some(module) = module else { return };
    let header = module.expose.as_ref().and_then(|expose| expose.preview_header.as_deref());
    let Some((source, value)) = header.and_then(|header| header.split_once('=')) else { return };
    let revision = module.revision();
    if table.endpoints.get(&revision).is_some_and(|endpoints| !endpoints.is_empty()) {
        let source = source.trim().to_ascii_lowercase();
        table.pins.push(Pin { source, value: value.trim().to_owned(), revision });
    }
}

/// The place where an instance answers what is routed to it.
pub fn endpoint(instance: &Instance, module: &Module) -> Option<Endpoint> {
    let port = module.expose.as_ref().and_then(|expose| expose.port.as_ref());
    let address = instance.address(port)?.to_owned();
    let named = |port: &PortSpec| Some((port.name.clone(), instance.address(Some(&port.name))?.to_owned()));
    let ports = module.ports.iter().filter_map(named).collect();
    Some(Endpoint { instance: instance.id.clone(), address, ports })
}

/// Shares in proportion to how many instances each revision has; a revision that has some gets at least one percent,
/// one that has none gets nothing. Sums to 100 unless nobody has any.
pub fn proportional(counts: &[(Revision, usize)]) -> Weights {
    let counts: BTreeMap<&Revision, u64> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(revision, count)| (revision, *count as u64))
        .collect();
    let total: u64 = counts.values().sum();
    if total == 0 {
        return Weights::default();
    }
    let mut shares: Vec<(Revision, u64, u64)> = counts
        .into_iter()
        .map(|(revision, count)| (revision.clone(), (count * 100 / total).max(1), count * 100 % total))
        .collect();
    // What rounding left over goes to the largest remainders (Hamilton's method).
    let mut left = 100_i64 - shares.iter().map(|(_, share, _)| *share as i64).sum::<i64>();
    while left != 0 {
        shares.sort_by(|one, two| two.2.cmp(&one.2).then(two.1.cmp(&one.1)));
        if left > 0 {
            for share in shares.iter_mut().take(left as usize) {
                share.1 += 1;
            }
        } else if let Some(largest) = shares.iter_mut().max_by_key(|share| share.1) {
            largest.1 = largest.1.saturating_sub(left.unsigned_abs());
        }
        left = 100 - shares.iter().map(|(_, share, _)| *share as i64).sum::<i64>();
    }
    Weights(shares.into_iter().map(|(revision, share, _)| (revision, share.min(100) as u8)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn revision(number: usize) -> Revision {
        format!("r{number}").parse().unwrap()
    }

    #[test]
    fn two_new_of_three_get_two_thirds() {
        let weights = proportional(&[(revision(1), 1), (revision(2), 2)]);

        assert_eq!((weights.of(&revision(1)), weights.of(&revision(2))), (33, 67));
    }

    proptest! {
        #[test]
        fn shares_sum_to_a_hundred_and_nobody_without_instances_has_one(
            counts in prop::collection::vec(0usize..1000, 1..6),
        ) {
            let counts: Vec<_> = counts.into_iter().enumerate().map(|(at, count)| (revision(at), count)).collect();
            let weights = proportional(&counts);

            prop_assert!(weights.is_valid());
            for (revision, count) in &counts {
                prop_assert_eq!(*count > 0, weights.of(revision) > 0);
            }
        }
    }
}
