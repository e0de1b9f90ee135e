//! Who has to approve: every rule, by different people within it. Held against trying every way to seat them.

use std::collections::BTreeMap;

use approval::{Ballot, Require, Rulebook, Signers, touches_secrets};
use model::{
    DeploymentSpec, Principal, Span,
    approval::{Clause, Rule, Terms, When},
};
use proptest::prelude::*;
use serde_json::json;

use crate::scene::{NONCE, NOW, Scene, clause, spec, words};

const PEOPLE: [&str; 5] = ["ann", "bob", "cat", "dan", "eve"];

/// Tries every way: is there one person for each place?
fn can_seat(places: &[&[String]], people: &[&str]) -> bool {
    let Some((first, rest)) = places.split_first() else { return true };
    people.iter().enumerate().any(|(at, who)| {
        first.iter().any(|one| one == who) && {
            let mut others = people.to_vec();
            others.remove(at);
            can_seat(rest, &others)
        }
    })
}

fn by_hand(terms: &Terms, touched: bool, people: &[&str]) -> bool {
    terms.rules.iter().all(|rule| {
        let clauses = rule.all.iter().filter(|clause| clause.when.is_none() || touched);
        let places: Vec<&[String]> = clauses
            .flat_map(|clause| std::iter::repeat_n(clause.of.as_slice(), usize::from(clause.count)))
            .collect();
        can_seat(&places, people)
    })
}

prop_compose! {
    fn some_clause()(count in 1..3_u8, of in proptest::sample::subsequence(PEOPLE.to_vec(), 0..5), when in any::<bool>()) -> Clause {
        Clause { when: when.then_some(When::SecretsTouched), ..clause(count, &of) }
    }
}

fn some_terms() -> impl Strategy<Value = Terms> {
    let rule = proptest::collection::vec(some_clause(), 1..4).prop_map(|all| Rule { all });
    proptest::collection::vec(rule, 1..3).prop_map(|rules| Terms {
        rules,
        signers: String::new(),
        lasts: Span::seconds(60),
        verified: false,
    })
}

proptest! {
    /// `out_of_reach` asks the same question as `missing`, of everybody who may: with one left out it answers for every set
    /// of people.
    #[test]
    fn people_are_enough_when_there_is_a_way_to_seat_them(terms in some_terms(), touched in any::<bool>(), out in 0..5_usize) {
        let initiator = Principal::stated(PEOPLE[out]).unwrap();
        let left: Vec<&str> = PEOPLE.into_iter().filter(|who| *who != PEOPLE[out]).collect();
        let ballot = Ballot::open(&terms, touched, None);

        prop_assert_eq!(ballot.out_of_reach(&initiator).is_empty(), by_hand(&terms, touched, &left));
    }
}

#[test]
fn real_approvals_are_counted_as_by_hand_in_every_order() {
    let scene = Scene::new();
    let all = vec![clause(1, &["ann", "bob"]), clause(1, &["ann"]), clause(1, &["bob", "cat"])];
    let terms = scene.terms(&scene.file(), all);
    let orders = [["ann", "bob", "cat"], ["cat", "bob", "ann"], ["bob", "ann", "cat"], ["bob", "cat", "ann"]];

    for order in orders {
        let mut ballot = Ballot::open(&terms, false, None);
        for (at, who) in order.iter().enumerate() {
            let nonce = NONCE.replace("00", &format!("0{at}"));
            let signed = scene.signed(who, &scene.statement(&terms, words(who, &nonce)));
            ballot.count(scene.examine(&ballot, &signed).unwrap());
            assert_eq!(ballot.is_met(NOW), by_hand(&terms, false, &order[..=at]), "{:?}", &order[..=at]);
        }
        assert!(ballot.is_met(NOW), "all three are not enough");
    }
}

#[test]
fn nobody_fills_two_places_of_a_rule_and_everybody_one_of_each_rule() {
    let scene = Scene::new();
    let one = scene.terms(&scene.file(), vec![clause(1, &["ann"]), clause(1, &["ann", "bob"])]);
    let mut two = scene.terms(&scene.file(), vec![clause(1, &["ann"])]);
    two.rules.push(Rule { all: vec![clause(1, &["ann", "bob"])] });

    for (terms, met) in [(one, false), (two, true)] {
        let mut ballot = Ballot::open(&terms, false, None);
        let signed = scene.signed("ann", &scene.statement(&terms, words("ann", NONCE)));
        ballot.count(scene.examine(&ballot, &signed).unwrap());
        assert_eq!(ballot.is_met(NOW), met, "{:?}", ballot.missing(NOW));
    }
}

fn with_secret(value: &str) -> DeploymentSpec {
    let mut spec = serde_json::to_value(spec()).unwrap();
    spec["modules"][0]["secrets"] = json!([{"name": "KEY", "from": {"file": value} }]);
    serde_json::from_value(spec).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_clause_for_secrets_holds_when_modules_are_given_other_ones() {
    let (none, one, two) = (spec(), with_secret("one"), with_secret("two"));

    assert!(!touches_secrets(&none, None) && !touches_secrets(&one, Some(&one)));
    assert!(touches_secrets(&one, None) && touches_secrets(&one, Some(&none)));
    assert!(touches_secrets(&two, Some(&one)) && touches_secrets(&none, Some(&one)));
}

fn book(
    scene: &Scene,
    groups: &[(&str, &[&str])],
    require: Vec<Require>,
) -> Result<Rulebook, Vec<(String, String)>> {
    let groups: BTreeMap<String, Vec<String>> = groups
        .iter()
        .map(|(name, people)| ((*name).to_owned(), people.iter().map(|who| (*who).to_owned()).collect()))
        .collect();
    let signers = Signers::read(&scene.file()).unwrap();
    Rulebook::new(signers, groups, require, Span::seconds(60), false)
}

#[test]
fn the_operators_rules_are_of_an_environment_and_the_spec_adds_one() {
    let scene = Scene::new();
    let of = |environment: Option<&str>, all| Require { environment: environment.map(str::to_owned), all };
    let require =
        vec![of(Some("prod"), vec![clause(2, &["group:ops"])]), of(Some("test"), vec![clause(1, &[])])];
    let book = book(&scene, &[("ops", &["cat", "bob"])], require).unwrap();
    let mut asked = spec();
    asked.gates.approvals =
        Some(serde_json::from_value(json!({"required": 1, "from": ["ann", "unauthenticated:bob"]})).unwrap());

    let terms = book.terms(&asked).unwrap();
    assert_eq!(approval::in_words(&terms), "2 of bob, cat; 1 of ann");
    assert_eq!(Signers::read(&terms.signers).unwrap().names(), ["ann", "bob", "cat"], "only who may is told");
    assert!(terms.signers.lines().count() == 4, "ann has two keys");
    asked.environment = "dev".parse().unwrap();
    asked.gates.approvals = None;
    assert_eq!(book.terms(&asked), None);
}

#[test]
fn a_rule_that_names_nobody_is_refused_with_field_value_and_cure() {
    let scene = Scene::new();
    let require = |all| vec![Require { environment: None, all }];

    for (groups, all, field, says) in [
        (&[][..], vec![clause(1, &["zoe"])], "require[0].all[0].of", "\"zoe\" has no key"),
        (&[][..], vec![clause(1, &["group:ops"])], "require[0].all[0].of", "no group \"ops\""),
        (&[("ops", &["zoe"][..])][..], vec![clause(1, &[])], "groups.ops", "\"zoe\" has no key"),
        (&[][..], vec![clause(0, &[])], "require[0].all[0].count", "0 is not a number of people"),
        (&[][..], vec![clause(2, &["ann"])], "require[0].all[0]", "asks for 2 people and 1 may"),
        (&[][..], vec![], "require[0].all", "has 0 clauses"),
    ] {
        let wrong = book(&scene, groups, require(all)).unwrap_err();
        assert!(wrong.iter().any(|(at, why)| at == field && why.contains(says)), "{wrong:?}");
    }
}
