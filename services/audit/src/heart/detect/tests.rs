use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;

use super::*;

fn act(actor: &str, action: &str, subject: &str, at: i64) -> AuditRecord {
    AuditRecord {
        source: "gateway".to_owned(),
        counter: 1,
        ..AuditRecord::new(Timestamp(at), actor, action, subject, AuditOutcome::Done)
    }
}

const HOUR: i64 = 3600 * 1000;
const MINUTE: i64 = 60 * 1000;

/// Sixty days of twelve people and some robots at work, with attacks in between; each record says what it is.
///
/// People work 7:00 to 18:00 UTC with their own beginning, err now and then (up to three denials in a row), come back
/// late in one evening of a hundred for anything they do by day, and have bad days with up to three rollbacks in an hour. What is labelled is what
/// was planted; everything that a rule says elsewhere is a false alarm.
fn replay(seed: u64) -> Vec<(AuditRecord, Option<&'static str>)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut acts: Vec<(AuditRecord, Option<&'static str>)> = Vec::new();
    let begins: Vec<i64> = (0..12).map(|_| random.random_range(6..9)).collect();
    for day in 0..60i64 {
        let midnight = day * 24 * HOUR;
        for (number, begin) in begins.iter().enumerate() {
            let person = format!("person-{number}");
            for _ in 0..random.random_range(5..25) {
                let at = midnight + random.random_range(begin * HOUR..(begin + 10) * HOUR);
                let kind = ["deployment.received", "deployment.approved", "spec.read", "certificate.read"];
                let kind = kind[random.random_range(0..kind.len())];
                acts.push((act(&person, kind, &format!("dep-{}", random.random_range(0..500)), at), None));
            }
            if random.random_bool(0.2) {
                let at = midnight + begin * HOUR + random.random_range(0..8 * HOUR);
                for slip in 0..random.random_range(1..4) {
                    let mut slip = act(&person, "login.tried", &person, at + slip * 5000);
                    slip.outcome = AuditOutcome::Denied;
                    acts.push((slip, None));
                }
            }
            if random.random_bool(0.01) {
                let kind = ["deployment.received", "deployment.approved", "spec.read", "certificate.read"];
                let kind = kind[random.random_range(0..kind.len())];
                acts.push((act(&person, kind, "dep-1", midnight + 20 * HOUR), None));
            }
        }
        if random.random_bool(0.3) {
            let at = midnight + random.random_range(8..16) * HOUR;
            for number in 0..random.random_range(1..4) {
                acts.push((
                    act(
                        "rep-1",
                        "deployment.rollback_began",
                        &format!("dep-{number}"),
                        at + number * 9 * MINUTE,
                    ),
                    None,
                ));
            }
        }
        if random.random_bool(0.3) {
            let mut granted = act("person-0", "role.granted", "person-5", midnight + 9 * HOUR);
            granted.detail = json!({ "role": "reader" });
            acts.push((granted, None));
        }
    }
    plant(&mut acts, &mut random);
    acts.sort_by_key(|(record, _)| record.at);
    acts
}

fn plant(acts: &mut Vec<(AuditRecord, Option<&'static str>)>, random: &mut StdRng) {
    for attack in 0..40i64 {
        let day = 20 + attack;
        let midnight = day * 24 * HOUR;
        // Guessing passwords: six to twenty tries, two to eight seconds apart; the label is on the fifth.
        let (mut at, mallory) = (midnight + random.random_range(0..24 * HOUR), format!("mallory-{attack}"));
        for number in 0..random.random_range(6..20) {
            let mut guess = act(&mallory, "login.tried", &format!("victim-{attack}"), at);
            guess.outcome = AuditOutcome::Denied;
            acts.push((guess, (number == 4).then_some("brute-force")));
            at += random.random_range(2000..8000);
        }
        // A stolen key after it was revoked.
        let key = format!("key-{attack}");
        acts.push((act("person-1", "key.revoked", &key, midnight + 10 * HOUR), None));
        let mut used = act(
            "rep-9",
            "deployment.received",
            "dep-x",
            midnight + 10 * HOUR + random.random_range(1..3 * HOUR),
        );
        used.detail = json!({ "key": key });
        acts.push((used, Some("revoked-key")));
        // Someone gives themselves or a friend more than they had.
        let friend = format!("friend-{attack}");
        let mut granted = act("person-2", "role.granted", &friend, midnight + 11 * HOUR);
        granted.detail = json!({ "role": "admin" });
        acts.push((granted, None));
        acts.push((
            act(&friend, "deployment.approved", "dep-y", midnight + 11 * HOUR + 5 * MINUTE),
            Some("privilege-jump"),
        ));
        // In the middle of the night.
        let person = format!("person-{}", attack % 12);
        let at = midnight + random.random_range(HOUR..3 * HOUR);
        acts.push((act(&person, "deployment.approved", "dep-z", at), Some("unusual-hour")));
        // A bad release, again and again; the label is on the fourth.
        if attack % 4 == 0 {
            let at = midnight + 17 * HOUR + 30 * MINUTE;
            for number in 0..4 {
                acts.push((
                    act("rep-1", "deployment.rollback_began", "dep-w", at + number * 6 * MINUTE),
                    (number == 3).then_some("many-rollbacks"),
                ));
            }
        }
    }
}

#[derive(Debug, Default)]
struct Score {
    planted: u32,
    found: u32,
    false_alarms: u32,
}

fn score(seed: u64) -> (BTreeMap<&'static str, Score>, usize) {
    let acts = replay(seed);
    let mut detector = Detector::new(Rules::default());
    let mut scores: BTreeMap<&'static str, Score> = BTreeMap::new();
    for (record, label) in &acts {
        let alerts = detector.see(record);
        if let Some(label) = label {
            let score = scores.entry(label).or_default();
            score.planted += 1;
            score.found += u32::from(alerts.iter().any(|alert| alert.rule == *label));
        }
        for alert in alerts.iter().filter(|alert| Some(alert.rule) != *label) {
            // The rest of an attack that was found, such as the sixteenth guess, is no false alarm.
            let same = alert.actor.starts_with("mallory");
            scores.entry(alert.rule).or_default().false_alarms += u32::from(!same);
        }
    }
    (scores, acts.len())
}

#[test]
fn what_was_planted_is_found_and_little_else() {
    let (mut total, mut acts) = (BTreeMap::<&str, Score>::new(), 0);
    for seed in 1..=5 {
        let (scores, count) = score(seed);
        acts += count;
        for (rule, one) in scores {
            let sum = total.entry(rule).or_default();
            sum.planted += one.planted;
            sum.found += one.found;
            sum.false_alarms += one.false_alarms;
        }
    }
    for (rule, Score { planted, found, false_alarms }) in &total {
        println!("{rule}: {found} of {planted} found, {false_alarms} false alarms in {acts} acts");
    }

    assert_eq!(total.len(), 5);
    for (rule, score) in &total {
        assert!(f64::from(score.found) >= 0.95 * f64::from(score.planted), "{rule}: {score:?}");
        assert!(f64::from(score.false_alarms) <= 0.001 * acts as f64, "{rule}: {score:?}");
    }
}

#[test]
fn three_mistyped_passwords_are_no_attack() {
    let mut detector = Detector::new(Rules::default());
    let alerts: usize = (0..3)
        .map(|number| {
            let mut slip = act("ada", "login.tried", "ada", number * 1000);
            slip.outcome = AuditOutcome::Denied;
            detector.see(&slip).len()
        })
        .sum();

    assert_eq!(alerts, 0);
}

#[test]
fn reading_through_one_night_does_not_make_the_night_usual() {
    let mut detector = Detector::new(Rules::default());
    for day in 0..30 {
        assert_eq!(detector.see(&act("ada", "deployment.received", "dep-1", day * DAY + 9 * HOUR)), []);
    }
    let night = 30 * DAY + 2 * HOUR;
    assert_eq!(detector.see(&act("ada", "spec.read", "dep-1", night)), []);

    let alerts = detector.see(&act("ada", "deployment.approved", "dep-1", night + 10 * MINUTE));

    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].reason, "ada acts around 2:00 UTC on fewer than 3 in 100 of their days, by 30 days");
    // Once is told once.
    assert_eq!(detector.see(&act("ada", "deployment.approved", "dep-2", night + 11 * MINUTE)), []);
}

#[test]
fn nobody_is_judged_by_their_first_days() {
    let mut detector = Detector::new(Rules::default());
    for day in 0..15 {
        for number in 0..50 {
            detector.see(&act("ada", "deployment.received", "dep-1", day * DAY + 9 * HOUR + number));
        }
    }

    assert_eq!(detector.see(&act("ada", "deployment.approved", "dep-1", 15 * DAY + 20 * HOUR)), []);
}

#[test]
fn however_many_names_are_tried_a_bounded_number_is_remembered_and_the_latest_of_them() {
    let mut detector = Detector::new(Rules::default());
    for number in 0..2 * REMEMBERED as i64 + 7 {
        let name = format!("name-{number}");
        let mut denied = act(&name, "login.tried", &name, number);
        denied.outcome = AuditOutcome::Denied;
        detector.see(&denied);
        detector.see(&act("ada", "key.revoked", &name, number));
        detector.see(&act(&name, "spec.read", "dep-1", number * HOUR));
    }

    assert!(detector.denied.len() <= REMEMBERED, "{}", detector.denied.len());
    assert!(detector.revoked.len() <= REMEMBERED && detector.people.len() <= REMEMBERED);
    let mut used = act("rep-9", "deployment.received", "dep-x", 0);
    used.detail = json!({ "key": format!("name-{}", 2 * REMEMBERED) });
    assert_eq!(detector.see(&used).len(), 1);
}

#[test]
fn what_the_rules_wrote_is_not_looked_at_again() {
    let mut detector = Detector::new(Rules { rollbacks: 1, ..Rules::default() });
    let alert = act("audit", "alert.many-rollbacks", "dep-1", 0);

    assert_eq!(detector.see(&alert), []);
}

#[test]
fn two_runners_that_tell_two_ends_of_one_attempt_are_told_of() {
    let ended = |runner: &str, action: &str, attempt: u64, outcome| AuditRecord {
        detail: json!({ "step": "s04-smoke-web", "attempt": attempt }),
        outcome,
        ..act(runner, action, "dep-1", 0)
    };
    let (journal, untold) = ("deployment.step_finished", model::audit::UNTOLD);
    let (well, badly) = (AuditOutcome::Done, AuditOutcome::Failed);
    let alerts = |facts: [(&str, &str, u64, AuditOutcome); 2]| {
        let mut detector = Detector::new(Rules::default());
        let seen = facts
            .map(|(runner, action, attempt, outcome)| detector.see(&ended(runner, action, attempt, outcome)));
        seen.concat().into_iter().map(|alert| (alert.rule, alert.reason)).collect::<Vec<_>>()
    };
    let found = |well: &str, other: &str| {
        let reason =
            format!("s04-smoke-web {well}, whom the journal follows, and {other}: a human must look");
        vec![("contradicting-report", reason)]
    };

    let (one, two) = ("succeeded by rep-1", "did not succeed by rep-2");
    assert_eq!(alerts([("rep-1", journal, 1, well), ("rep-2", untold, 1, badly)]), found(one, two));
    assert_eq!(alerts([("rep-2", untold, 1, badly), ("rep-1", journal, 1, well)]), found(one, two));
    assert_eq!(alerts([("rep-1", journal, 1, well), ("rep-2", untold, 1, well)]), []);
    assert_eq!(alerts([("rep-1", journal, 1, well), ("rep-2", untold, 2, badly)]), []);
    assert_eq!(alerts([("rep-1", journal, 1, badly), ("rep-1", journal, 1, well)]), []);
}
