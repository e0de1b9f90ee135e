use std::collections::BTreeMap;

use hyper::header::HeaderValue;
use model::{
    Fence, Span,
    route::{Endpoint, Pin},
};
use proptest::prelude::*;

use super::*;

fn revision(name: &str) -> Revision {
    name.parse().unwrap()
}

fn table(shares: &[(&str, u8)], with_instances: &[&str]) -> RouteTable {
    let endpoint = |name: &str| Endpoint {
        instance: format!("{name}-1"),
        address: "127.0.0.1:1".into(),
        ports: Default::default(),
    };
    RouteTable {
        target: "dev.process.shop".parse().unwrap(),
        module: "web".parse().unwrap(),
        listen: 0,
        internal: false,
        peers: Default::default(),
        version: 1,
        fence: Fence::default(),
        weights: Weights(shares.iter().map(|(name, share)| (revision(name), *share)).collect()),
        endpoints: with_instances.iter().map(|name| (revision(name), vec![endpoint(name)])).collect(),
        pins: Vec::new(),
        sticky_cookie: None,
        request_timeout: Span::seconds(30),
    }
}

fn chosen(router: &Router, headers: &HeaderMap, random: u64) -> Result<Revision, Unroutable> {
    router
        .choose(RequestFacts::new(headers), random)
        .map(|choice| router.revisions()[choice.revision].clone())
}

fn with(name: &'static str, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())])
}

/// The statistic of the chi-square test of observed counts against shares in percent.
fn chi_square(counts: &BTreeMap<Revision, u64>, shares: &[(&str, u8)]) -> f64 {
    let total = counts.values().sum::<u64>() as f64;
    let against = |(name, share): &(&str, u8)| {
        let expected = total * f64::from(*share) / 100.0;
        (counts.get(&revision(name)).copied().unwrap_or(0) as f64 - expected).powi(2) / expected
    };
    shares.iter().map(against).sum()
}

fn counted(router: &Router, headers: impl Fn(u64) -> HeaderMap, draws: u64) -> BTreeMap<Revision, u64> {
    let mut counts = BTreeMap::new();
    for draw in 0..draws {
        *counts.entry(chosen(router, &headers(draw), mix(draw)).unwrap()).or_insert(0) += 1;
    }
    counts
}

/// 0.999 quantile of chi-square with two degrees of freedom (any table of the distribution).
const LIMIT: f64 = 13.82;

#[test]
fn requests_are_shared_out_by_weight() {
    let shares = [("a", 70), ("b", 25), ("c", 5)];
    let router = Router::new(&table(&shares, &["a", "b", "c"]), &[]).unwrap();

    let counts = counted(&router, |_| HeaderMap::new(), 100_000);

    assert!(chi_square(&counts, &shares) < LIMIT, "{counts:?}");
}

#[test]
fn clients_with_cookies_are_shared_out_by_weight() {
    let shares = [("a", 70), ("b", 25), ("c", 5)];
    let sticky = RouteTable { sticky_cookie: Some("lane".into()), ..table(&shares, &["a", "b", "c"]) };
    let router = Router::new(&sticky, &[]).unwrap();

    let counts = counted(&router, |draw| with("cookie", &format!("x=1; lane=user-{draw}")), 100_000);

    assert!(chi_square(&counts, &shares) < LIMIT, "{counts:?}");
}

#[test]
fn a_new_client_gets_a_cookie_that_brings_it_back_to_where_it_went() {
    let sticky =
        RouteTable { sticky_cookie: Some("lane".into()), ..table(&[("a", 50), ("b", 50)], &["a", "b"]) };
    let router = Router::new(&sticky, &[]).unwrap();

    for draw in 0..1000 {
        let first = router.choose(RequestFacts::new(&HeaderMap::new()), mix(draw)).unwrap();
        let cookie = format!("lane={}", cookie_text(first.set_cookie.unwrap()));
        let second = router.choose(RequestFacts::new(&with("cookie", &cookie)), mix(draw + 7)).unwrap();
        assert_eq!(second, Choice { revision: first.revision, set_cookie: None });
    }
}

#[test]
fn the_share_of_a_revision_without_instances_goes_to_those_that_have_some() {
    let router = Router::new(&table(&[("a", 60), ("b", 20), ("c", 20)], &["a", "b", "z"]), &[]).unwrap();

    let counts = counted(&router, |_| HeaderMap::new(), 100_000);

    assert!(chi_square(&counts, &[("a", 75), ("b", 25)]) < LIMIT, "{counts:?}");
    assert_eq!(counts.len(), 2, "neither the one without instances nor the one without a share");
}

#[test]
fn nothing_to_choose_from_says_why() {
    let none = HeaderMap::new();
    let empty = Router::new(&table(&[], &["a"]), &[]).unwrap();
    let dead = Router::new(&table(&[("a", 100)], &["b"]), &[]).unwrap();

    assert_eq!(chosen(&empty, &none, 1), Err(Unroutable::NoShares));
    assert_eq!(chosen(&dead, &none, 1), Err(Unroutable::NoInstances));
}

#[test]
fn a_pin_reaches_a_revision_without_a_share_by_header_or_cookie() {
    let pin =
        |source: &str, to: &str| Pin { source: source.into(), value: "new".into(), revision: revision(to) };
    let pins = vec![pin("x-preview", "b"), pin("cookie:preview", "b"), pin("x-gone", "gone")];
    let router = Router::new(&RouteTable { pins, ..table(&[("a", 100)], &["a", "b"]) }, &[]).unwrap();

    assert_eq!(chosen(&router, &with("x-preview", "new"), 1), Ok(revision("b")));
    assert_eq!(chosen(&router, &with("x-preview", "old"), 1), Ok(revision("a")));
    assert_eq!(chosen(&router, &with("cookie", "a=b; preview=new"), 1), Ok(revision("b")));
    assert_eq!(chosen(&router, &with("x-gone", "new"), 1), Err(Unroutable::PinnedWithout(revision("gone"))));
}

#[test]
fn tables_that_mean_nothing_are_refused() {
    let pin = Pin { source: "no header".into(), value: String::new(), revision: revision("a") };
    let base = table(&[("a", 100)], &["a"]);

    let shares = Router::new(&table(&[("a", 99)], &["a"]), &[]);
    let pins = Router::new(&RouteTable { pins: vec![pin], ..base.clone() }, &[]);
    let cookie = Router::new(&RouteTable { sticky_cookie: Some("a;b".into()), ..base }, &[]);

    assert!(matches!(shares, Err(BadTable::Shares { sum: 99, .. })));
    assert!(matches!(pins, Err(BadTable::Pin { .. })));
    assert!(matches!(cookie, Err(BadTable::Cookie { .. })));
}

fn some_weights() -> impl Strategy<Value = Weights> {
    proptest::collection::vec(0_u8..5, 100).prop_map(|owners| {
        let mut weights = Weights::default();
        for owner in owners {
            *weights.0.entry(revision(&format!("r{owner}"))).or_insert(0) += 1;
        }
        weights
    })
}

/// Weights that are far from even: most generated shares would otherwise be near 20 each.
fn uneven_weights() -> impl Strategy<Value = Weights> {
    (some_weights(), 0_u8..5, 0_u8..5).prop_map(|(weights, from, to)| {
        let (from, to) = (revision(&format!("r{from}")), revision(&format!("r{to}")));
        let mut shares = weights.0;
        let moved = shares.remove(&from).unwrap_or(0);
        *shares.entry(to).or_insert(0) += moved;
        Weights(shares)
    })
}

proptest! {
    #[test]
    fn a_change_of_weights_moves_only_what_must_move(history in proptest::collection::vec(uneven_weights(), 2..12)) {
        let mut owners = deal(&history[0], &[]);
        for pair in history.windows(2) {
            let after = deal(&pair[1], &owners);
            let moved = owners.iter().zip(&after).filter(|(old, new)| old != new).count();
            let grown: usize = pair[1].0.iter().map(|(name, share)| share.saturating_sub(pair[0].of(name)) as usize).sum();
            prop_assert_eq!(moved, grown);
            for (old, new) in owners.iter().zip(&after) {
                prop_assert!(old == new || pair[1].of(old) < pair[0].of(old), "{} did not shrink and lost a client", old);
            }
            for (name, share) in &pair[1].0 {
                prop_assert_eq!(after.iter().filter(|owner| *owner == name).count(), usize::from(*share));
            }
            owners = after;
        }
    }

    #[test]
    fn with_two_revisions_every_history_ends_alike(steps in proptest::collection::vec(0_u8..=100, 1..20)) {
        let split = |share| Weights::split(revision("new"), share, revision("old"));
        let mut owners = deal(&split(0), &[]);
        for share in &steps {
            owners = deal(&split(*share), &owners);
        }
        prop_assert_eq!(owners, deal(&split(steps[steps.len() - 1]), &[]));
    }

    #[test]
    fn nobody_is_sent_to_a_revision_without_a_share_or_without_instances(
        weights in uneven_weights(), alive in proptest::collection::vec(any::<bool>(), 6), random in any::<u64>(),
        cookie in "[a-z0-9]{0,12}", sticky in any::<bool>(),
    ) {
        let names: Vec<String> = (0..6).map(|at| format!("r{at}")).collect();
        let living: Vec<&str> = names.iter().zip(&alive).filter(|(_, alive)| **alive).map(|(name, _)| name.as_str()).collect();
        let routes = RouteTable {
            weights: weights.clone(), sticky_cookie: sticky.then(|| "lane".to_owned()), ..table(&[], &living)
        };
        let router = Router::new(&routes, &[]).unwrap();
        let possible = living.iter().any(|name| weights.of(&revision(name)) > 0);
        match chosen(&router, &with("cookie", &format!("lane={cookie}")), random) {
            Ok(went) => {
                prop_assert!(weights.of(&went) > 0);
                prop_assert!(living.contains(&went.as_str()));
            }
            Err(_) => prop_assert!(!possible),
        }
    }

    #[test]
    fn an_instance_that_may_not_be_used_is_never_picked(
        usable in proptest::collection::vec(any::<bool>(), 0..9), random in any::<u64>(),
    ) {
        let picked = pick(usable.len(), |at| usable[at], |_| 0, random);
        prop_assert_eq!(picked.is_some(), usable.contains(&true));
        prop_assert!(picked.is_none_or(|at| usable[at]));
    }
}

#[test]
fn of_two_instances_the_one_with_less_to_do_is_picked() {
    for draw in 0..100 {
        assert_eq!(pick(2, |_| true, |at| [7, 3][at], mix(draw)), Some(1));
    }
}
