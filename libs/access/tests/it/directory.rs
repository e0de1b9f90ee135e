use std::time::Duration;

use access::{ApiKey, Directory, Event, Factor, KeyKind, Link, Member, RecoveryCodes, Refused, Scopes};
use ground::Secret;
use model::Timestamp;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);

pub fn at(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

pub fn member(text: &str) -> Member {
    text.parse().unwrap()
}

/// A directory with its journal, which is written and read again at each step.
#[derive(Default)]
pub struct Journal {
    pub directory: Directory,
    pub events: Vec<Event>,
}

impl Journal {
    pub fn tell(&mut self, event: Result<Event, Refused>) -> Result<(), Refused> {
        let text = serde_json::to_string(&event?).unwrap();
        let event: Event = serde_json::from_str(&text).unwrap();
        self.directory.apply(&event);
        self.events.push(event);
        assert_eq!(Directory::replay(&self.events), self.directory);
        Ok(())
    }

    pub fn with(members: &[&str]) -> Journal {
        let mut journal = Journal::default();
        for one in members {
            let added = journal.directory.add_member(member(one), NOW);
            journal.tell(added).unwrap();
        }
        journal
    }

    pub fn key(&mut self, of: &str, kind: KeyKind, seconds: u64) -> Result<ApiKey, Refused> {
        let key = ApiKey::new(kind).unwrap();
        let (scopes, until) = (Scopes::new(["deployment.*"]), at(seconds).plus(DAY));
        let issued = self.directory.issue_key(&member(of), &key, scopes, until, at(seconds));
        self.tell(issued)?;
        Ok(key)
    }
}

#[test]
fn the_first_person_comes_by_a_link_that_is_good_once() {
    let mut journal = Journal::default();
    let link = Link::new().unwrap();
    let founded = journal.directory.found("acme".parse().unwrap(), &link, NOW);
    journal.tell(founded).unwrap();
    assert_eq!(journal.directory.members().count(), 0, "nobody is there by default");
    let wrong = Secret::new(Link::new().unwrap().text().reveal());
    assert_eq!(journal.directory.first_run(&wrong, member("user:ann"), at(1)), Err(Refused::Link));
    assert_eq!(journal.directory.first_run(link.text(), member("user:ann"), at(3600)), Err(Refused::Link));
    assert!(journal.directory.first_run(link.text(), member("service-account:ci"), at(1)).is_err());

    let first = journal.directory.first_run(link.text(), member("user:ann"), at(3599));
    journal.tell(first).unwrap();

    assert_eq!(journal.directory.first_run(link.text(), member("user:eve"), at(3599)), Err(Refused::Link));
    assert!(journal.directory.found("other".parse().unwrap(), &link, at(1)).is_err());
    assert_eq!(journal.directory.members().count(), 1);
}

#[test]
fn a_key_is_good_until_its_end_and_for_its_owner_only() {
    let mut journal = Journal::with(&["user:ann"]);
    let key = journal.key("user:ann", KeyKind::Personal, 0).unwrap();

    let known = journal.directory.key(&key, at(0)).unwrap();
    assert_eq!(known.member, member("user:ann"));
    assert!(known.scopes.cover("deployment.view") && !known.scopes.cover("policy.change"));
    assert!(journal.directory.key(&key, Timestamp(NOW.plus(DAY).0 - 1)).is_some());
    assert!(journal.directory.key(&key, NOW.plus(DAY)).is_none(), "over");
    assert!(journal.directory.key(&ApiKey::new(KeyKind::Personal).unwrap(), at(0)).is_none(), "made up");
    let revoked = journal.directory.revoke_key(key.id(), at(1));
    journal.tell(revoked).unwrap();
    assert!(journal.directory.key(&key, at(1)).is_none());
    assert!(journal.directory.revoke_key(key.id(), at(2)).is_err());
}

#[test]
fn no_key_is_good_for_ever_and_of_one_member_two_are_good_at_once() {
    let mut journal = Journal::with(&["user:ann", "service-account:ci"]);
    let key = ApiKey::new(KeyKind::Personal).unwrap();
    let issue = |until, scopes: &[&str], of: &str| {
        journal.directory.issue_key(&member(of), &key, Scopes::new(scopes.iter().copied()), until, NOW)
    };
    let scopes = ["deployment.view"];

    assert!(issue(NOW.plus(DAY * 365), &scopes, "user:ann").is_ok());
    for until in [Timestamp(NOW.plus(DAY * 365).0 + 1), Timestamp(i64::MAX), NOW, Timestamp(0)] {
        assert_eq!(issue(until, &scopes, "user:ann"), Err(Refused::Until(until)));
    }
    assert_eq!(issue(at(1), &[], "user:ann"), Err(Refused::Scopes));
    assert_eq!(issue(at(1), &["*"], "user:ann"), Err(Refused::Scopes));
    assert!(matches!(issue(at(1), &scopes, "service-account:ci"), Err(Refused::Kind { .. })));
    assert!(matches!(issue(at(1), &scopes, "user:bob"), Err(Refused::NotThere(_))));

    let first = journal.key("user:ann", KeyKind::Personal, 0).unwrap();
    journal.key("user:ann", KeyKind::Personal, 1).unwrap();
    assert!(matches!(journal.key("user:ann", KeyKind::Personal, 2), Err(Refused::Many { most: 2, .. })));
    let revoked = journal.directory.revoke_key(first.id(), at(3));
    journal.tell(revoked).unwrap();
    journal.key("user:ann", KeyKind::Personal, 4).unwrap();
}

#[test]
fn all_that_somebody_has_is_void_at_once_when_they_are_disabled_or_a_factor_changes() {
    for what in ["disable", "revoke", "factor"] {
        let mut journal = Journal::with(&["user:ann", "user:bob"]);
        let (ann, bob) = (member("user:ann"), member("user:bob"));
        let mine = journal.key("user:ann", KeyKind::Personal, 0).unwrap();
        let other = journal.key("user:bob", KeyKind::Personal, 0).unwrap();

        let event = match what {
            "disable" => journal.directory.disable(&ann, at(10)),
            "revoke" => journal.directory.revoke_all(&ann, at(10)),
            _ => journal.directory.set_factor(&ann, Factor::Totp, at(10)),
        };
        journal.tell(event).unwrap();

        assert!(journal.directory.key(&mine, at(10)).is_none(), "{what}");
        assert!(!journal.directory.stands(&ann, at(0)) && !journal.directory.stands(&ann, at(10)), "{what}");
        assert!(journal.directory.key(&other, at(10)).is_some() && journal.directory.stands(&bob, at(0)));
        if what == "disable" {
            assert!(journal.directory.groups(&ann).is_none());
            assert!(matches!(journal.key("user:ann", KeyKind::Personal, 11), Err(Refused::Disabled(_))));
            let enabled = journal.directory.enable(&ann, at(20));
            journal.tell(enabled).unwrap();
            assert!(journal.directory.key(&mine, at(21)).is_none(), "what was void stays void");
            assert!(journal.directory.add_member(ann.clone(), at(22)).is_err(), "the name is not given away");
        }
        // Also by a clock that went back meanwhile.
        let again = journal.key("user:ann", KeyKind::Personal, 5).unwrap();
        assert!(journal.directory.key(&again, at(30)).is_some(), "{what}");
    }
}

#[test]
fn recovery_codes_and_steps_are_used_once() {
    let mut journal = Journal::with(&["user:ann", "service-account:ci"]);
    let ann = member("user:ann");
    let codes = RecoveryCodes::new().unwrap();
    let made = journal.directory.make_recovery(&ann, &codes);
    journal.tell(made).unwrap();
    assert!(journal.directory.make_recovery(&member("service-account:ci"), &codes).is_err());

    let used = journal.directory.use_recovery(&ann, &codes.texts()[4]);
    journal.tell(used).unwrap();
    assert_eq!(journal.directory.use_recovery(&ann, &codes.texts()[4]), Err(Refused::Code));
    assert_eq!(journal.directory.use_recovery(&ann, &Secret::new("")), Err(Refused::Code));
    assert_eq!(journal.directory.use_recovery(&member("user:eve"), &codes.texts()[5]), Err(Refused::Code));
    assert_eq!(journal.directory.recovery_codes(&ann), 9);
    let made = journal.directory.make_recovery(&ann, &RecoveryCodes::new().unwrap());
    journal.tell(made).unwrap();
    assert_eq!(
        journal.directory.use_recovery(&ann, &codes.texts()[5]),
        Err(Refused::Code),
        "the old ones are void"
    );

    let step = journal.directory.use_step(&ann, 100);
    journal.tell(step).unwrap();
    assert_eq!(journal.directory.use_step(&ann, 100), Err(Refused::Code));
    assert_eq!(journal.directory.use_step(&ann, 99), Err(Refused::Code));
    assert!(journal.directory.use_step(&ann, 101).is_ok());
}

#[test]
fn places_and_groups_are_added_once() {
    let mut journal = Journal::with(&["user:ann"]);
    let (ann, token) = (member("user:ann"), |text: &str| text.parse().unwrap());
    let project = journal.directory.add_project(token("shop"));
    journal.tell(project).unwrap();
    let environment = journal.directory.add_environment(token("shop"), token("prod"));
    journal.tell(environment).unwrap();
    let joined = journal.directory.join(&ann, token("sre"));
    journal.tell(joined).unwrap();

    assert!(journal.directory.add_project(token("shop")).is_err());
    assert!(journal.directory.add_environment(token("shop"), token("prod")).is_err());
    assert!(journal.directory.add_environment(token("blog"), token("prod")).is_err());
    assert!(journal.directory.join(&ann, token("sre")).is_err());
    assert!(journal.directory.groups(&ann).unwrap().contains("sre"));
    let left = journal.directory.leave(&ann, token("sre"));
    journal.tell(left).unwrap();
    assert!(journal.directory.groups(&ann).unwrap().is_empty());
    assert!(journal.directory.leave(&ann, token("sre")).is_err());
}

/// Whoever reads the journal learns nothing that they could sign in with.
#[test]
fn no_event_holds_a_secret() {
    let mut journal = Journal::with(&["user:ann"]);
    let ann = member("user:ann");
    let (link, codes) = (Link::new().unwrap(), RecoveryCodes::new().unwrap());
    let founded = journal.directory.found("acme".parse().unwrap(), &link, NOW);
    journal.tell(founded).unwrap();
    let key = journal.key("user:ann", KeyKind::Personal, 0).unwrap();
    let factor = journal.directory.set_factor(&ann, Factor::Password, NOW);
    journal.tell(factor).unwrap();
    let made = journal.directory.make_recovery(&ann, &codes);
    journal.tell(made).unwrap();
    let used = journal.directory.use_recovery(&ann, &codes.texts()[0]);
    journal.tell(used).unwrap();

    let text = serde_json::to_string(&journal.events).unwrap() + &format!("{:?}", journal.directory);
    let mut secrets = vec![link.text().reveal().to_owned(), key.text().reveal()[18..].to_owned()];
    secrets.extend(codes.texts().iter().map(|code| code.reveal().to_owned()));
    for secret in secrets {
        assert!(!text.contains(&secret) && !text.contains(&secret.replace('-', "")), "{secret}");
    }
}
