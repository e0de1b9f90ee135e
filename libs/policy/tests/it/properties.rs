use policy::{Action, Place, Question, Rights, Source, Subject, Verdict, load};
use proptest::prelude::*;

use crate::stage::{GRANTS, facts};

const PEOPLE: [&str; 5] =
    ["user:acme/ann", "user:acme/bob", "user:acme/olga", "service-account:acme/ci", "user:other/eve"];
const PLACES: [&str; 7] = [
    "engine",
    "acme",
    "acme/shop",
    "acme/shop/prod",
    "acme/shop/prod/docker.web",
    "acme/shop/test/docker.web",
    "other/shop/prod/docker.web",
];

/// A policy without its name.
#[derive(Clone, Debug)]
struct Written {
    effect: &'static str,
    scope: String,
    condition: Option<&'static str>,
}

impl Written {
    fn text(&self, name: &str) -> String {
        let condition = self.condition.map(|text| format!(" when {{ {text} }}")).unwrap_or_default();
        format!("@id(\"{name}\")\n@message(\"{name}\")\n{} ({}){condition};\n", self.effect, self.scope)
    }
}

fn scope() -> impl Strategy<Value = String> {
    let principal = prop_oneof![
        Just("principal"),
        Just("principal is User"),
        Just("principal == User::\"acme/ann\""),
        Just("principal in Group::\"acme/reviewers\""),
    ];
    let action = prop_oneof![
        Just("action".to_owned()),
        Just("action in Action::\"steer\"".to_owned()),
        Just("action in [Action::\"look\", Action::\"deploy\"]".to_owned()),
        proptest::sample::select(Action::ALL).prop_filter_map("people do it on targets", |action| {
            let fits = action.on().contains(&policy::Level::Target) && action.who() != policy::Who::Engine;
            fits.then(|| format!("action == Action::\"{action}\""))
        }),
    ];
    // All of these can be asked about, so that no policy is refused for never applying.
    let resource = prop_oneof![
        Just("resource"),
        Just("resource in Organisation::\"acme\""),
        Just("resource in Environment::\"acme/shop/prod\""),
        Just("resource is Target in Project::\"acme/shop\""),
    ];
    (principal, action, resource)
        .prop_map(|(principal, action, resource)| format!("{principal}, {action}, {resource}"))
}

fn condition() -> impl Strategy<Value = Option<&'static str>> {
    proptest::option::of(prop_oneof![
        Just("context.mfa"),
        Just("!context.mfa"),
        Just("context.weekday == 1"),
        Just("context has plan && context.plan.percent > 50"),
        Just("context.labels.contains(\"tier=gold\")"),
    ])
}

fn policies(effects: &'static [&'static str]) -> impl Strategy<Value = Vec<Written>> {
    let one = (proptest::sample::select(effects), scope(), condition());
    let one = one.prop_map(|(effect, scope, condition)| Written { effect, scope, condition });
    proptest::collection::vec(one, 0..6)
}

fn asked() -> impl Strategy<Value = Question> {
    let who = (proptest::sample::select(&PEOPLE[..]), any::<bool>());
    (who, proptest::sample::select(Action::ALL), proptest::sample::select(&PLACES[..]), any::<bool>())
        .prop_map(|((who, member), action, place, mfa)| {
            let mut subject: Subject = who.parse().unwrap();
            if member {
                subject = subject.in_groups(["reviewers".parse().unwrap()]);
            }
            let mut facts = facts();
            facts.mfa = mfa;
            Question { subject, action, place: place.parse::<Place>().unwrap(), facts }
        })
}

fn read(all: &[Written]) -> Rights {
    let texts = all.iter().enumerate().map(|(index, one)| one.text(&format!("p{index}")));
    let text: String = texts.collect();
    let files = [Source::new("grants.toml", GRANTS), Source::new("ours.cedar", text)];
    load(&files).unwrap_or_else(|flaws| panic!("{}", flaws[0]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_forbid_that_applies_wins(all in policies(&["permit", "forbid"]), asked in asked()) {
        let mut with = all.clone();
        with.push(Written { effect: "forbid", scope: "principal, action, resource".to_owned(), condition: None });

        prop_assert!(!read(&with).authorize(&asked).is_allowed());
    }

    #[test]
    fn one_more_forbid_never_widens(all in policies(&["permit", "forbid"]), more in policies(&["forbid"]), asked in asked()) {
        let before = read(&all).authorize(&asked);
        let after = read(&[all, more].concat()).authorize(&asked);

        prop_assert!(before.is_allowed() || !after.is_allowed(), "{before:#?}\n{after:#?}");
        prop_assert_eq!(before.decision == Verdict::NotFound, after.decision == Verdict::NotFound);
    }

    #[test]
    fn one_more_permit_never_narrows(all in policies(&["permit", "forbid"]), more in policies(&["permit"]), asked in asked()) {
        let before = read(&all).authorize(&asked);
        let after = read(&[all, more].concat()).authorize(&asked);

        prop_assert!(!before.is_allowed() || after.is_allowed(), "{before:#?}\n{after:#?}");
    }

    #[test]
    fn the_order_of_policies_and_files_means_nothing(all in policies(&["permit", "forbid"]), asked in asked(), turn in 0_usize..6) {
        let named: Vec<(String, &Written)> = all.iter().enumerate().map(|(index, one)| (format!("p{index}"), one)).collect();
        let forth: String = named.iter().map(|(name, one)| one.text(name)).collect();
        let files = [Source::new("ours.cedar", forth), Source::new("grants.toml", GRANTS)];
        let mut back = named;
        back.reverse();
        if !back.is_empty() {
            let turn = turn % back.len();
            back.rotate_left(turn);
        }
        let mut split = vec![Source::new("grants.toml", GRANTS)];
        split.extend(back.iter().map(|(name, one)| Source::new(format!("{name}.cedar"), one.text(name))));
        let (one, two) = (load(&files).unwrap(), load(&split).unwrap());

        prop_assert_eq!(one.authorize(&asked), two.authorize(&asked));
        prop_assert_eq!(one.digest(), two.digest());
    }

    #[test]
    fn without_a_permit_nothing_is_allowed(all in policies(&["forbid"]), asked in asked()) {
        let text: String = all.iter().enumerate().map(|(index, one)| one.text(&format!("p{index}"))).collect();
        let rights = load(&[Source::new("ours.cedar", text)]).unwrap();
        let decision = rights.authorize(&asked);

        prop_assert!(!decision.is_allowed() || asked.action == Action::AccessRequest, "{decision:#?}");
    }

    #[test]
    fn a_policy_that_errs_allows_nothing(all in policies(&["permit"]), asked in asked()) {
        let mut with = all;
        let errs = Some("context.weekday * 9223372036854775807 > context.weekday + 1 && context.weekday > 1");
        // On a Monday the product fits: errs from Tuesday on.
        with.push(Written { effect: "forbid", scope: "principal, action, resource".to_owned(), condition: errs });
        let rights = read(&with);
        let mut tuesday = asked;
        tuesday.facts.now = tuesday.facts.now.plus(std::time::Duration::from_secs(86_400));

        prop_assert!(!rights.authorize(&tuesday).is_allowed());
    }

    #[test]
    fn an_answer_is_the_same_when_it_is_asked_again(all in policies(&["permit", "forbid"]), asked in proptest::collection::vec(asked(), 1..8)) {
        let rights = read(&all);
        let first: Vec<_> = asked.iter().map(|one| rights.authorize(one)).collect();
        let again: Vec<_> = asked.iter().map(|one| rights.authorize(one)).collect();
        // Asked the other way round of rights that were never asked.
        let fresh = read(&all);
        let mut fresh: Vec<_> = asked.iter().rev().map(|one| fresh.authorize(one)).collect();
        fresh.reverse();

        prop_assert_eq!(&first, &again);
        prop_assert_eq!(&first, &fresh);
    }
}
