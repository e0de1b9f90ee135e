use super::*;
use crate::{Hash, SigningKey};

const ORIGIN: &str = "example.com/log";

fn key(name: &str, kind: KeyKind, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, kind, [seed; 32]).unwrap()
}

fn log() -> SigningKey {
    key(ORIGIN, KeyKind::Ed25519, 1)
}

fn witness(number: u8) -> SigningKey {
    let kind = if number.is_multiple_of(2) { KeyKind::MlDsa44 } else { KeyKind::Ed25519Cosigner };
    key(&format!("w{number}.example"), kind, 10 + number)
}

fn signed(witnesses: &[u8]) -> SignedCheckpoint {
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 5, root: Hash([5; 32]) };
    let keys: Vec<SigningKey> =
        std::iter::once(log()).chain(witnesses.iter().map(|number| witness(*number))).collect();
    SignedCheckpoint::sign(checkpoint, &keys, 100).unwrap()
}

fn with(rest: &str) -> String {
    let mut text = format!("# whom to trust\n\nlog {}\n", log().verifying_key());
    for number in 1..=5 {
        text.push_str(&format!(
            "  witness\tW{number} {} https://w{number}.example\n",
            witness(number).verifying_key()
        ));
    }
    text + rest
}

fn policy(rest: &str) -> Policy {
    with(rest).parse().unwrap()
}

#[test]
fn a_quorum_of_groups_is_counted_as_written() {
    let nested = policy("group X 2 W1 W2 W3\ngroup Y any W4 W5\ngroup all-of all X Y\nquorum all-of\n");

    for (witnesses, enough) in [
        (&[1, 2, 4][..], true),
        (&[1, 3, 5], true),
        (&[1, 2, 3, 4, 5], true),
        (&[1, 2, 3], false),
        (&[1, 4, 5], false),
        (&[], false),
    ] {
        assert_eq!(nested.check(&signed(witnesses)).is_ok(), enough, "{witnesses:?}");
    }
    let error = nested.check(&signed(&[1])).unwrap_err().to_string();
    assert!(error.contains("lacks the quorum all-of: cosigned by W1"), "{error}");
}

#[test]
fn without_a_quorum_the_logs_signature_is_still_needed() {
    let none = policy("quorum none\n");
    let checkpoint = signed(&[]).unverified().clone();
    let stranger = SignedCheckpoint::sign(checkpoint, &[witness(1)], 100).unwrap();

    assert_eq!(none.check(&signed(&[2])).unwrap().witnesses[0].name, "W2");
    assert!(none.check(&stranger).is_err());
}

#[test]
fn a_wrong_signature_of_a_known_witness_spoils_the_checkpoint() {
    let mut signed = signed(&[1]);
    let mut broken = signed.note().signatures[1].clone();
    broken.bytes[20] ^= 1;
    signed.add([broken]);

    assert!(policy("quorum none\n").check(&signed).is_err());
}

#[test]
fn a_policy_that_could_be_misread_is_refused() {
    let log = log().verifying_key().to_string();
    let one = witness(1).verifying_key().to_string();
    for (text, why) in [
        (with(""), "no line `quorum`"),
        (with("quorum none\nquorum none\n"), "second line `quorum`"),
        (with("quorum W9\n"), "W9 is not defined above"),
        (with("group G 0 W1\nquorum G\n"), "0 of 1 members"),
        (with("group G 2 W1\nquorum G\n"), "2 of 1 members"),
        (with("group G all\nquorum none\n"), "0 of 0 members"),
        (with("group G any W1 W1\nquorum G\n"), "W1 is a member twice"),
        (with("group G any W1\ngroup H any W1\nquorum H\n"), "W1 is a member twice"),
        (with("group W1 any W2\nquorum W1\n"), "the name W1 is taken"),
        (with("witness none w+0+A\nquorum none\n"), "line 9"),
        (with(&format!("log {log}\nquorum none\n")), "stands here twice"),
        (with(&format!("witness W9 {one}\nquorum none\n")), "stands here twice"),
        (with(&format!("log {one}\nquorum none\n")), "a log does not sign with a witness's kind"),
        (with("witnesss W9\nquorum none\n"), "not a line of a policy"),
        (with("quorum\u{a0}none\n"), "not a line of a policy"),
        ("quorum none\n".to_owned(), "no line `log`"),
        (String::new(), "no line `quorum`"),
    ] {
        let error = text.parse::<Policy>().unwrap_err().to_string();
        assert!(error.contains(why), "{error:?} does not say {why:?}");
    }
}
