//! The heart: which revision a request goes to, and which of its instances. Values in, values out.
//!
//! The percentages of a table become [`SLOTS`] slots, each owned by one revision. A request is drawn to a slot by
//! chance; a client with the sticky cookie always comes to the slot its cookie hashes to. When weights change,
//! slots change hands one by one and only as many as the change asks for, so a client that was moved to the canary
//! stays there for as long as the canary's weight does not shrink.

use std::collections::BTreeMap;

use hyper::{
    HeaderMap,
    header::{COOKIE, HeaderName},
};
use model::{
    plan::Revision,
    route::{RouteTable, Weights},
};

/// One slot per percent, so that a table's shares are met exactly.
pub const SLOTS: usize = 100;

/// Why a table cannot be put in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTable {
    /// The shares do not sum to 100.
    #[error("the shares of {module} sum to {sum}, not to 100: {weights}")]
    Shares {
        /// The module.
        module: String,
        /// What they sum to.
        sum: u32,
        /// The shares.
        weights: String,
    },
    /// A pin names no header.
    #[error("the pin of {module} reads {from:?}, which is neither a header nor cookie:<name>")]
    Pin {
        /// The module.
        module: String,
        /// What it reads.
        from: String,
    },
    /// Nothing can be answered in no time.
    #[error("the request timeout of {module} is zero")]
    Timeout {
        /// The module.
        module: String,
    },
    /// The sticky cookie's name would break the header it stands in.
    #[error("{name:?} cannot be the name of a cookie")]
    Cookie {
        /// The name.
        name: String,
    },
}

/// Why a request goes nowhere. The text is shown to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unroutable {
    /// The table shares out nothing.
    #[error("no revision has a share of the traffic")]
    NoShares,
    /// Every revision with a share is without instances.
    #[error("no revision with a share of the traffic has a healthy instance")]
    NoInstances,
    /// A pin matched, and its revision has no instances: the exception is kept, not quietly undone.
    #[error("revision {0} was asked for by a pin and has no healthy instance")]
    PinnedWithout(Revision),
}

/// What the choice may look at.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    headers: &'a HeaderMap,
}

impl<'a> RequestFacts<'a> {
    /// The facts of a request with these headers.
    pub fn new(headers: &'a HeaderMap) -> Self {
        RequestFacts { headers }
    }

    fn header_is(&self, name: &HeaderName, value: &str) -> bool {
        self.headers.get_all(name).iter().any(|found| found.as_bytes() == value.as_bytes())
    }

    /// The first cookie of this name, without quotes. Read as bytes: a neighbour's value need not be ASCII.
    fn cookie(&self, name: &str) -> Option<&'a [u8]> {
        let lines = self.headers.get_all(COOKIE).iter();
        lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).find_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            (pair[..at].trim_ascii() == name.as_bytes()).then(|| unquoted(pair[at + 1..].trim_ascii()))
        })
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Index into [`Router::revisions`].
    pub revision: usize,
    /// The client has no sticky cookie yet: give it this value.
    pub set_cookie: Option<u64>,
}

/// The value of a sticky cookie as it is written: 16 hex digits.
pub fn cookie_text(value: u64) -> String {
    format!("{value:016x}")
}

#[derive(Clone, Debug)]
enum Source {
    Header(HeaderName),
    Cookie(String),
}

#[derive(Clone, Debug)]
struct Rule {
    source: Source,
    value: String,
    revision: usize,
}

/// What one table means, made ready for the hot path.
#[derive(Clone, Debug)]
pub struct Router {
    revisions: Vec<Revision>,
    live: Vec<bool>,
    /// Owner of each slot, by index; empty when nothing is shared out.
    slots: Vec<u16>,
    /// The owners of the slots whose owner has instances.
    live_slots: Vec<u16>,
    pins: Vec<Rule>,
    sticky: Option<String>,
}

impl Router {
    /// The router of a table. `before` is who owned the slots so far ([`Router::owners`]); without it the slots are
    /// dealt in order of the revisions' names. With one or two revisions the outcome is the same for every history;
    /// with more it depends on `before`, which is the price of moving nobody who need not move.
    pub fn new(table: &RouteTable, before: &[Revision]) -> Result<Router, BadTable> {
        if !table.weights.is_valid() {
            return Err(BadTable::Shares {
                module: table.module.to_string(),
                sum: table.weights.0.values().map(|share| u32::from(*share)).sum(),
                weights: table.weights.to_string(),
            });
        }
        if table.request_timeout.0.is_zero() {
            return Err(BadTable::Timeout { module: table.module.to_string() });
        }
        let mut index: BTreeMap<&Revision, usize> = BTreeMap::new();
        let named = table
            .endpoints
            .keys()
            .chain(table.weights.0.keys())
            .chain(table.pins.iter().map(|pin| &pin.revision));
        for revision in named {
            index.entry(revision).or_default();
        }
        index.values_mut().enumerate().for_each(|(at, place)| *place = at);
        let place = |revision: &Revision| index.get(revision).copied().unwrap_or_default();

        let live: Vec<bool> = index
            .keys()
            .map(|revision| table.endpoints.get(*revision).is_some_and(|all| !all.is_empty()))
            .collect();
        let slots: Vec<u16> = deal(&table.weights, before).iter().map(|owner| place(owner) as u16).collect();
        let live_slots = slots.iter().copied().filter(|owner| live[usize::from(*owner)]).collect();
        let pins = table.pins.iter().map(|pin| {
            let bad = || BadTable::Pin { module: table.module.to_string(), from: pin.source.clone() };
            let source = match pin.source.strip_prefix("cookie:") {
                Some("") => return Err(bad()),
                Some(name) => Source::Cookie(name.to_owned()),
                None => Source::Header(HeaderName::try_from(pin.source.as_str()).map_err(|_| bad())?),
            };
            Ok(Rule { source, value: pin.value.clone(), revision: place(&pin.revision) })
        });
        let pins = pins.collect::<Result<_, _>>()?;
        // A cookie's name is a token just as a header's is (RFC 6265 section 4.1.1).
        if let Some(name) = table.sticky_cookie.as_deref().filter(|name| HeaderName::try_from(*name).is_err())
        {
            return Err(BadTable::Cookie { name: name.to_owned() });
        }
        let revisions = index.into_keys().cloned().collect();
        Ok(Router { revisions, live, slots, live_slots, pins, sticky: table.sticky_cookie.clone() })
    }

    /// Every revision the table names, in order of name.
    pub fn revisions(&self) -> &[Revision] {
        &self.revisions
    }

    /// Who owns each slot: [`SLOTS`] names, or none. To be handed to the next [`Router::new`].
    pub fn owners(&self) -> Vec<Revision> {
        self.slots.iter().map(|owner| self.revisions[usize::from(*owner)].clone()).collect()
    }

    /// Name of the sticky cookie.
    pub fn sticky(&self) -> Option<&str> {
        self.sticky.as_deref()
    }

    /// Where this request goes. `random` is drawn anew for every request and decides whatever the request itself
    /// leaves open. A revision without instances gets nothing, its share goes to those that have some; a revision
    /// without a share gets nothing unless pinned.
    pub fn choose(&self, facts: RequestFacts<'_>, random: u64) -> Result<Choice, Unroutable> {
        for pin in &self.pins {
            let matches = match &pin.source {
                Source::Header(name) => facts.header_is(name, &pin.value),
                Source::Cookie(name) => facts.cookie(name) == Some(pin.value.as_bytes()),
            };
            if matches && self.live[pin.revision] {
                return Ok(Choice { revision: pin.revision, set_cookie: None });
            }
            if matches {
                return Err(Unroutable::PinnedWithout(self.revisions[pin.revision].clone()));
            }
        }
        if self.slots.is_empty() {
            return Err(Unroutable::NoShares);
        }
        if self.live_slots.is_empty() {
            return Err(Unroutable::NoInstances);
        }
        let (draw, set_cookie) = match self.sticky.as_deref() {
            None => (random, None),
            Some(name) => match facts.cookie(name) {
                Some(value) => (hash(value), None),
                None => (hash(cookie_text(random).as_bytes()), Some(random)),
            },
        };
        let owner = self.slots[below(draw, SLOTS)];
        if self.live[usize::from(owner)] {
            return Ok(Choice { revision: usize::from(owner), set_cookie });
        }
        let owner = self.live_slots[below(mix(draw), self.live_slots.len())];
        Ok(Choice { revision: usize::from(owner), set_cookie })
    }
}

/// Shares the slots out. Whoever keeps or gains weight keeps every slot it had.
fn deal(weights: &Weights, before: &[Revision]) -> Vec<Revision> {
    let asked = |revision: &Revision| usize::from(weights.of(revision));
    let sharing: Vec<&Revision> = weights.0.keys().filter(|revision| asked(revision) > 0).collect();
    if before.len() != SLOTS {
        let dealt =
            sharing.iter().flat_map(|revision| std::iter::repeat_n((*revision).clone(), asked(revision)));
        return dealt.collect();
    }
    if sharing.is_empty() {
        return Vec::new();
    }
    let mut slots = before.to_vec();
    let held =
        |slots: &[Revision], revision: &Revision| slots.iter().filter(|owner| *owner == revision).count();
    for taker in sharing {
        let mut missing = asked(taker).saturating_sub(held(&slots, taker));
        let mut givers: Vec<Revision> = slots.clone();
        givers.sort();
        givers.dedup();
        for giver in givers {
            let spare = held(&slots, &giver).saturating_sub(asked(&giver)).min(missing);
            missing -= spare;
            // The lower name holds the lower end. So with two revisions the slots between them move to and fro in
            // the same order, and every history of the same weights ends alike.
            let owned = slots.iter_mut().filter(|owner| **owner == giver);
            if *taker < giver {
                owned.take(spare).for_each(|owner| *owner = taker.clone());
            } else {
                owned.rev().take(spare).for_each(|owner| *owner = taker.clone());
            }
        }
    }
    slots
}

/// FNV-1a, then mixed, because its high bits alone are poor for short texts. Part of the contract: every data plane
/// and every version must place a cookie alike.
fn hash(bytes: &[u8]) -> u64 {
    mix(bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A uniform draw from 0 to `bound - 1` (Lemire's multiplication).
fn below(draw: u64, bound: usize) -> usize {
    ((u128::from(draw) * bound as u128) >> 64) as usize
}

/// The instance that takes a request: of two drawn by chance the one with fewer requests in flight (the power of two
/// choices). `usable` says whether an instance may be taken at all; none usable gives none.
pub fn pick(
    instances: usize,
    usable: impl Fn(usize) -> bool,
    in_flight: impl Fn(usize) -> u32,
    random: u64,
) -> Option<usize> {
    if instances == 0 {
        return None;
    }
    let lighter = |one: usize, other: usize| if in_flight(other) < in_flight(one) { other } else { one };
    let one = below(random, instances);
    let other = (one + 1 + below(mix(random), instances.max(2) - 1)) % instances;
    if usable(one) && usable(other) {
        return Some(lighter(one, other));
    }
    let left: Vec<usize> = (0..instances).filter(|at| usable(*at)).collect();
    let drawn = |random: u64| left.get(below(random, left.len())).copied();
    Some(lighter(drawn(random)?, drawn(mix(mix(random)))?))
}

#[cfg(test)]
mod tests;
