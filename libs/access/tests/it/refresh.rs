use std::time::Duration;

use access::{ApiKey, Families, GRACE, KeyKind, REFRESH_AT_MOST, RefreshEvent, RefreshRefused, Rotation};
use model::Timestamp;
use proptest::prelude::*;

use crate::directory::at;

/// What a replica answers, with the journal that all replicas have.
#[derive(Default)]
struct Engine {
    events: Vec<RefreshEvent>,
}

impl Engine {
    fn rotation() -> Rotation {
        Rotation::new(&[7; 32])
    }

    fn now(&self) -> Families {
        Families::replay(&self.events)
    }

    fn begin(&mut self, now: Timestamp) -> ApiKey {
        let token = ApiKey::new(KeyKind::Refresh).unwrap();
        self.events.extend(self.now().begin(&token, now));
        token
    }

    fn keep(&mut self, event: RefreshEvent) {
        let text = serde_json::to_string(&event).unwrap();
        self.events.push(serde_json::from_str(&text).unwrap());
    }

    fn refresh(&mut self, token: &ApiKey, now: Timestamp) -> Result<ApiKey, RefreshRefused> {
        match self.now().refresh(token, &Engine::rotation(), now) {
            Ok(answer) => {
                if let Some(event) = answer.event {
                    self.keep(event);
                }
                Ok(answer.token)
            }
            Err(RefreshRefused::Reused(event)) => {
                self.keep(event.clone());
                Err(RefreshRefused::Reused(event))
            }
            Err(other) => Err(other),
        }
    }
}

#[test]
fn a_token_is_changed_for_the_next_one_and_that_is_good_too() {
    let mut engine = Engine::default();
    let mut token = engine.begin(at(0));
    for day in 0..29 {
        let next = engine.refresh(&token, at(day * 86_400)).unwrap();
        assert_ne!(next, token);
        assert_eq!(next.id(), token.id());
        assert_eq!(ApiKey::parse(next.text().reveal()).unwrap(), next);
        token = next;
    }
    assert_eq!(engine.refresh(&token, at(REFRESH_AT_MOST.as_secs())), Err(RefreshRefused::Old));
}

#[test]
fn whoever_did_not_hear_the_answer_asks_again_and_hears_the_same() {
    let mut engine = Engine::default();
    let token = engine.begin(at(0));
    let next = engine.refresh(&token, at(1)).unwrap();
    let written = engine.events.len();

    assert_eq!(engine.refresh(&token, at(1 + GRACE.as_secs())).unwrap(), next);
    assert_eq!(engine.refresh(&token, at(0)).unwrap(), next, "by a clock that is behind");
    assert_eq!(engine.events.len(), written);
}

#[test]
fn a_token_that_was_used_ends_the_family_after_the_grace() {
    let mut engine = Engine::default();
    let token = engine.begin(at(0));
    let next = engine.refresh(&token, at(1)).unwrap();

    let reused = engine.refresh(&token, at(2 + GRACE.as_secs()));

    assert!(matches!(reused, Err(RefreshRefused::Reused(RefreshEvent::Revoked { reused: true, .. }))));
    assert_eq!(engine.refresh(&next, at(50)), Err(RefreshRefused::Unknown));
}

#[test]
fn a_token_before_the_last_one_ends_the_family_at_once() {
    let mut engine = Engine::default();
    let token = engine.begin(at(0));
    let next = engine.refresh(&token, at(1)).unwrap();
    engine.refresh(&next, at(2)).unwrap();

    assert!(matches!(engine.refresh(&token, at(3)), Err(RefreshRefused::Reused(_))));
}

#[test]
fn a_token_that_is_made_up_ends_nobodys_family() {
    let mut engine = Engine::default();
    let token = engine.begin(at(0));
    let text = token.text().reveal();
    // Another one of the same family, with its check right.
    let guessed = ApiKey::new(KeyKind::Refresh).unwrap();
    let guessed = format!("code_ref_{}_{}", token.id(), &guessed.text().reveal()[18..48]);
    let check = ApiKey::parse(&format!("{guessed}000000"));
    assert!(check.is_err(), "a guess has to get its check right too");

    assert_eq!(engine.refresh(&ApiKey::new(KeyKind::Refresh).unwrap(), at(1)), Err(RefreshRefused::Unknown));
    let other = by_another_key(&token);
    assert_eq!(engine.refresh(&other, at(1)), Err(RefreshRefused::Unknown));
    assert!(engine.refresh(&ApiKey::parse(text).unwrap(), at(2)).is_ok());
}

/// What another key would have made of a token, got by asking with that key.
fn by_another_key(token: &ApiKey) -> ApiKey {
    let families = Families::replay(&Families::default().begin(token, at(0)));
    families.refresh(token, &Rotation::new(&[8; 32]), at(0)).unwrap().token
}

#[test]
fn families_are_bounded_and_the_oldest_goes() {
    let mut engine = Engine::default();
    let tokens: Vec<ApiKey> = (0..33).map(|second| engine.begin(at(second))).collect();

    assert_eq!(engine.refresh(&tokens[0], at(40)), Err(RefreshRefused::Unknown));
    assert!(engine.refresh(&tokens[1], at(40)).is_ok());
    let ended = engine.now().revoke(tokens[2].id(), at(41)).unwrap();
    engine.keep(ended);
    assert_eq!(engine.refresh(&tokens[2], at(42)), Err(RefreshRefused::Unknown));
}

#[test]
fn no_event_holds_a_token() {
    let mut engine = Engine::default();
    let token = engine.begin(at(0));
    let next = engine.refresh(&token, at(1)).unwrap();

    let kept = serde_json::to_string(&engine.events).unwrap();

    for secret in [token, next] {
        assert!(!kept.contains(&secret.text().reveal()[18..48]));
    }
}

/// One round of a client that runs several times at once: each asks with the same token, within the grace, of a replica
/// that may not have heard of the others; answers may be lost.
#[derive(Clone, Debug)]
struct Race {
    /// Seconds until the round.
    pause: u64,
    /// When each asks, in milliseconds from the first, whether its replica knows only the journal of before, and whether
    /// its answer is lost.
    asks: Vec<(u64, bool, bool)>,
}

fn race() -> impl Strategy<Value = Race> {
    let ask = (0..=GRACE.as_millis() as u64, any::<bool>(), proptest::bool::weighted(0.3));
    (1..86_400_u64, proptest::collection::vec(ask, 1..5)).prop_map(|(pause, asks)| Race { pause, asks })
}

proptest! {
    // 200 families of 50 rounds: 10^4 races.
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_signed_out_who_did_nothing_wrong(races in proptest::collection::vec(race(), 50)) {
        let mut engine = Engine::default();
        let mut now = at(0);
        let mut held = engine.begin(now);
        for mut race in races {
            now = now.plus(Duration::from_secs(race.pause));
            if now.since(at(0)) + GRACE >= REFRESH_AT_MOST {
                break;
            }
            race.asks.sort();
            let before = engine.now();
            let mut heard = Vec::new();
            let mut first: Option<Timestamp> = None;
            for (offset, is_behind, is_lost) in &race.asks {
                let moment = now.plus(Duration::from_millis(*offset));
                // The grace runs from the first answer that was journalled.
                if first.is_some_and(|first| moment.since(first) > GRACE) {
                    continue;
                }
                // A replica that is behind decides on the old journal, loses the race to append, and decides again.
                if *is_behind {
                    let stale = before.refresh(&held, &Engine::rotation(), moment).unwrap();
                    let told = engine.refresh(&held, moment).unwrap();
                    prop_assert_eq!(&stale.token, &told);
                }
                let told = engine.refresh(&held, moment);
                prop_assert!(told.is_ok(), "{told:?}");
                first.get_or_insert(moment);
                if !is_lost {
                    heard.push(told.unwrap());
                }
            }
            prop_assert!(heard.windows(2).all(|pair| pair[0] == pair[1]), "two answers to one question");
            match heard.pop() {
                Some(next) => held = next,
                // All answers were lost: it asks once more before the grace is over.
                None => held = engine.refresh(&held, first.unwrap()).unwrap(),
            }
            now = now.plus(GRACE);
        }
    }

    #[test]
    fn a_stolen_token_is_found_at_the_next_use(
        rounds in 0_usize..20,
        stolen_in in 0_usize..20,
        thief_first in any::<bool>(),
        later in (GRACE.as_secs() + 1)..86_400,
    ) {
        let mut engine = Engine::default();
        let mut now = at(0);
        let mut held = engine.begin(now);
        let mut stolen = held.clone();
        for round in 0..=rounds {
            if round == stolen_in.min(rounds) {
                stolen = held.clone();
            }
            if round < rounds {
                now = now.plus(Duration::from_secs(600));
                held = engine.refresh(&held, now).unwrap();
            }
        }
        now = now.plus(Duration::from_secs(600));
        let (first, second) = if thief_first { (stolen, held) } else { (held, stolen) };

        let one = engine.refresh(&first, now);
        let two = engine.refresh(&second, now.plus(Duration::from_secs(later)));

        // Whoever comes second finds the token used, or it was used long ago and is found at once; then nothing is good.
        prop_assert!(two.is_err(), "both have gone on: {one:?}, {two:?}");
        let events = engine.events.iter().filter(|event| matches!(event, RefreshEvent::Revoked { reused: true, .. }));
        prop_assert_eq!(events.count(), 1);
        prop_assert!(one.is_err() || engine.refresh(&one.unwrap(), now.plus(Duration::from_secs(later))).is_err());
    }
}
