use std::time::Duration;

use access::{ABSOLUTE, IDLE, SessionEvent, SessionId, SessionRefused, Sessions};
use model::Timestamp;

use crate::directory::at;

/// The sessions of Ann, with their journal.
#[derive(Default)]
struct Journal(Vec<SessionEvent>);

impl Journal {
    fn now(&self) -> Sessions {
        Sessions::replay(&self.0)
    }

    fn tell(&mut self, events: impl IntoIterator<Item = SessionEvent>) {
        for event in events {
            let text = serde_json::to_string(&event).unwrap();
            self.0.push(serde_json::from_str(&text).unwrap());
        }
    }

    fn begin(&mut self, mfa: bool, now: Timestamp) -> SessionId {
        let id = SessionId::new().unwrap();
        let events = self.now().begin(&id, mfa, "laptop", now).unwrap();
        self.tell(events);
        id
    }
}

#[test]
fn a_session_that_is_used_goes_on_and_one_that_is_not_is_over() {
    let mut journal = Journal::default();
    let id = journal.begin(false, at(0));

    let mut now = at(0);
    while now < at(ABSOLUTE.as_secs()) {
        let (live, noted) = journal.now().check(&id, now).unwrap();
        assert!(!live.mfa && live.factor_age.is_none() && !live.is_fresh());
        journal.tell(noted);
        now = now.plus(IDLE - Duration::from_millis(1));
    }
    assert_eq!(journal.now().check(&id, at(ABSOLUTE.as_secs())), Err(SessionRefused::Old));

    let id = journal.begin(false, at(0));
    assert!(journal.now().check(&id, Timestamp(at(IDLE.as_secs()).0 - 1)).is_ok());
    assert_eq!(journal.now().check(&id, at(IDLE.as_secs())), Err(SessionRefused::Idle));
}

#[test]
fn that_it_is_used_is_not_noted_at_each_click() {
    let mut journal = Journal::default();
    let id = journal.begin(false, at(0));

    let noted = (1..=600).filter(|second| {
        let (_, noted) = journal.now().check(&id, at(*second)).unwrap();
        journal.tell(noted.clone());
        noted.is_some()
    });

    assert_eq!(noted.count(), 10);
}

#[test]
fn a_second_factor_is_fresh_for_five_minutes_and_gives_the_session_another_id() {
    let mut journal = Journal::default();
    let before = journal.begin(true, at(0));
    assert!(journal.now().check(&before, at(300)).unwrap().0.is_fresh());
    let (stale, _) = journal.now().check(&before, at(301)).unwrap();
    assert!(stale.mfa && !stale.is_fresh());

    let after = SessionId::new().unwrap();
    let event = journal.now().step_up(&before, &after, at(400)).unwrap();
    journal.tell([event]);

    assert_eq!(journal.now().check(&before, at(400)), Err(SessionRefused::Unknown));
    let (live, _) = journal.now().check(&after, at(410)).unwrap();
    assert!(live.is_fresh());
    assert_eq!(live.login_age, Duration::from_secs(410), "it is as old as before");
    assert_eq!(journal.now().check(&after, at(ABSOLUTE.as_secs())), Err(SessionRefused::Old));
    let late = journal.now().step_up(&after, &SessionId::new().unwrap(), at(400 + IDLE.as_secs()));
    assert_eq!(late, Err(SessionRefused::Idle));
}

#[test]
fn an_id_from_before_the_login_is_worth_nothing_nor_one_after_the_end() {
    let mut journal = Journal::default();
    let planted = SessionId::typed("planted-by-somebody");
    let id = journal.begin(true, at(0));

    assert_eq!(journal.now().check(&planted, at(1)), Err(SessionRefused::Unknown));
    let ended = journal.now().end(&id.digest(), at(2)).unwrap();
    journal.tell([ended]);
    assert_eq!(journal.now().check(&id, at(2)), Err(SessionRefused::Unknown));
    assert!(journal.now().end(&id.digest(), at(3)).is_err());
}

#[test]
fn there_are_so_many_at_most_and_the_one_that_was_used_least_lately_goes() {
    let mut journal = Journal::default();
    let ids: Vec<SessionId> = (0..33).map(|second| journal.begin(false, at(second))).collect();

    assert_eq!(journal.now().list().count(), 32);
    assert_eq!(journal.now().check(&ids[0], at(40)), Err(SessionRefused::Unknown));
    assert!(journal.now().check(&ids[1], at(40)).is_ok());
    assert!(journal.now().begin(&ids[0], false, "two\nlines", at(50)).is_err());
}

#[test]
fn nothing_that_is_kept_or_shown_lets_anybody_in() {
    let mut journal = Journal::default();
    let id = journal.begin(true, at(0));

    let kept = serde_json::to_string(&journal.0).unwrap() + &format!("{:?} {id:?}", journal.now());

    assert!(!kept.contains(id.text().reveal()));
}
