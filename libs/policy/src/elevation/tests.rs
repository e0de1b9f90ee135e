use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn somebody(text: &str) -> Subject {
    text.parse().unwrap()
}

fn ask(role: &str, minutes: u64) -> Ask {
    Ask {
        role: role.parse().unwrap(),
        on: "acme/shop/prod".parse().unwrap(),
        span: Duration::from_secs(minutes * 60),
        reason: "the shop is down".to_owned(),
        ticket: "OPS-1".to_owned(),
    }
}

fn facts(minutes: u64, factor: Option<u64>) -> Facts {
    Facts {
        now: NOW.plus(Duration::from_secs(minutes * 60)),
        mfa: factor.is_some(),
        factor_age: factor.map(Duration::from_secs),
        ..Facts::default()
    }
}

/// A journal that commands are given to.
#[derive(Default)]
struct Journal(Vec<Event>);

impl Journal {
    fn now(&self) -> Option<Elevation> {
        Elevation::replay(&self.0)
    }

    fn tell(&mut self, command: Command, by: &str, facts: &Facts) -> Result<(), Refused> {
        let events = command.decide(self.now().as_ref(), &somebody(by), facts)?;
        let text = serde_json::to_string(&events).unwrap();
        self.0.extend(serde_json::from_str::<Vec<Event>>(&text).unwrap());
        Ok(())
    }
}

fn review(grant: bool) -> Command {
    Command::Review { grant, reason: "seen".to_owned() }
}

fn close() -> Command {
    Command::Close { finding: "one rollback, nothing else".to_owned() }
}

#[test]
fn what_is_asked_for_is_there_once_somebody_else_grants_it_and_until_its_time() {
    let mut journal = Journal::default();
    journal.tell(Command::Ask(ask("operator", 120)), "user:acme/ann", &facts(0, None)).unwrap();
    assert_eq!(journal.now().unwrap().grant(NOW), None, "nobody has looked at it");
    assert_eq!(
        journal.tell(review(true), "user:acme/ann", &facts(1, None)),
        Err(Refused::Same(Box::new(somebody("user:acme/ann"))))
    );
    assert!(matches!(
        journal.tell(review(true), "user:other/bob", &facts(1, None)),
        Err(Refused::Foreign(..))
    ));

    journal.tell(review(true), "user:acme/bob", &facts(10, None)).unwrap();

    let open = journal.now().unwrap();
    let grant = open.grant(facts(129, None).now).unwrap();
    assert_eq!((grant.role.as_str(), grant.to.to_string().as_str()), ("operator", "user:acme/ann"));
    assert_eq!(open.grant(facts(130, None).now), None, "over at its minute, though nobody noted it");
    assert_eq!(open.due(facts(129, None).now), None);
    journal.0.extend(open.due(facts(131, None).now));
    assert_eq!(journal.now().unwrap().state(), State::Over);
    assert_eq!(
        journal.now().unwrap().grant(facts(11, None).now),
        None,
        "a clock that goes back gives nothing back"
    );
    assert!(!journal.now().unwrap().waits_for_somebody_else());
}

#[test]
fn what_is_refused_stays_refused() {
    let mut journal = Journal::default();
    journal.tell(Command::Ask(ask("operator", 120)), "user:acme/ann", &facts(0, None)).unwrap();
    journal.tell(review(false), "user:acme/bob", &facts(1, None)).unwrap();

    assert_eq!(journal.now().unwrap().state(), State::Refused);
    assert!(matches!(
        journal.tell(review(true), "user:acme/bob", &facts(2, None)),
        Err(Refused::State { .. })
    ));
    assert_eq!(journal.now().unwrap().grant(NOW), None);
}

#[test]
fn a_broken_glass_gives_rights_at_once_and_somebody_else_closes_it() {
    let mut journal = Journal::default();
    journal.tell(Command::Ask(ask(BREAK_GLASS, 60)), "user:acme/ann", &facts(0, Some(300))).unwrap();
    assert!(journal.now().unwrap().grant(facts(59, None).now).is_some());
    assert_eq!(journal.now().unwrap().grant(facts(60, None).now), None);
    assert!(journal.now().unwrap().waits_for_somebody_else());

    let own = journal.tell(close(), "user:acme/ann", &facts(61, None));
    journal.tell(close(), "user:acme/bob", &facts(61, None)).unwrap();

    assert_eq!(own, Err(Refused::Same(Box::new(somebody("user:acme/ann")))));
    assert!(matches!(journal.0[2..], [Event::Expired { .. }, Event::Closed { .. }]), "{:?}", journal.0);
    assert!(!journal.now().unwrap().waits_for_somebody_else());
}

#[test]
fn a_glass_that_is_closed_before_its_time_gives_nothing_more() {
    let mut journal = Journal::default();
    journal.tell(Command::Ask(ask(BREAK_GLASS, 60)), "user:acme/ann", &facts(0, Some(0))).unwrap();
    journal.tell(close(), "user:acme/bob", &facts(5, None)).unwrap();

    assert_eq!(journal.now().unwrap().grant(facts(6, None).now), None);
    assert!(matches!(journal.0[2..], [Event::Ended { .. }, Event::Closed { .. }]), "{:?}", journal.0);
}

#[test]
fn what_was_not_asked_for_in_need_is_not_closed() {
    let mut journal = Journal::default();
    journal.tell(Command::Ask(ask("operator", 120)), "user:acme/ann", &facts(0, None)).unwrap();
    journal.tell(review(true), "user:acme/bob", &facts(1, None)).unwrap();

    assert!(matches!(journal.tell(close(), "user:acme/bob", &facts(2, None)), Err(Refused::State { .. })));
    let end = Command::End { reason: "done".to_owned() };
    journal.tell(end, "user:acme/ann", &facts(3, None)).unwrap();
    assert_eq!(journal.now().unwrap().grant(facts(3, None).now), None);
}

#[test]
fn the_glass_is_not_broken_without_all_that_it_takes() {
    let broken = |change: fn(&mut Ask), by: &str, factor: Option<u64>| {
        let mut ask = ask(BREAK_GLASS, 60);
        change(&mut ask);
        Command::Ask(ask).decide(None, &somebody(by), &facts(0, factor)).unwrap_err()
    };
    let ann = "user:acme/ann";

    assert_eq!(broken(|_| (), ann, None), Refused::Factor);
    assert_eq!(broken(|_| (), ann, Some(301)), Refused::Factor);
    assert_eq!(broken(|ask| ask.reason = " ".to_owned(), ann, Some(1)), Refused::Text("reason"));
    assert_eq!(broken(|ask| ask.reason = "a\nb".to_owned(), ann, Some(1)), Refused::Text("reason"));
    assert_eq!(broken(|ask| ask.ticket = String::new(), ann, Some(1)), Refused::Text("ticket"));
    let long = broken(|ask| ask.span = Duration::from_secs(3601), ann, Some(1));
    assert_eq!(long.to_string(), "span: 3601 s; role break-glass is given for 1 to 3600 s");
    assert!(matches!(broken(|ask| ask.span = Duration::ZERO, ann, Some(1)), Refused::Span { .. }));
    assert!(matches!(broken(|_| (), "service-account:acme/ci", Some(1)), Refused::Program(_)));
    assert!(matches!(broken(|_| (), "user:other/eve", Some(1)), Refused::Foreign(..)));
    assert!(matches!(broken(|ask| ask.on = Place::engine(), ann, Some(1)), Refused::Foreign(..)));
}

#[test]
fn nothing_begins_without_an_ask_or_twice() {
    let asked = Event::Asked { by: somebody("user:acme/ann"), ask: ask("operator", 1), at: NOW };
    let elevation = Elevation::replay([&asked]);
    let again = Command::Ask(ask("operator", 1));

    assert_eq!(
        again.decide(elevation.as_ref(), &somebody("user:acme/ann"), &facts(0, None)),
        Err(Refused::Begun)
    );
    assert_eq!(review(true).decide(None, &somebody("user:acme/bob"), &facts(0, None)), Err(Refused::Nothing));
    assert_eq!(Elevation::replay([&Event::Expired { at: NOW }]), None);
}
