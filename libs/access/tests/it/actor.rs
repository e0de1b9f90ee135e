use access::{ACTOR_AT_MOST, Actor, ActorKey, ActorKeys, BadToken};
use aws_lc_rs::signature::Ed25519KeyPair;
use model::{Digest, Timestamp};
use serde_json::{Value, json};

use crate::forge::{changed, encode};

const NOW: Timestamp = Timestamp(1_800_000_000_500);
const SECONDS: i64 = 1_800_000_000;
const BODY: &[u8] = b"a message";
const SUBJECT: &str = "code.v1.rpc.orchestrator.submit";
const SEED: [u8; 32] = [9; 32];

fn actor() -> Actor {
    Actor {
        subject: "user:acme/ann".to_owned(),
        service: "api".to_owned(),
        audience: SUBJECT.to_owned(),
        body: Digest::of_bytes(BODY),
        rights: Digest::of_bytes(b"rights"),
    }
}

fn keys() -> (ActorKey, ActorKeys) {
    let key = ActorKey::from_seed(&SEED).unwrap();
    let mut keys = ActorKeys::default();
    keys.add(key.public(), key.name());
    (key, keys)
}

fn later(seconds: i64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1000)
}

#[test]
fn a_token_says_who_asked_for_exactly_this_message() {
    let (key, keys) = keys();
    let token = key.sign(&actor(), NOW).unwrap();

    assert_eq!(keys.verify(&token, SUBJECT, BODY, NOW), Ok(actor()));
    assert_eq!(keys.verify(&token, SUBJECT, b"a massage", NOW), Err(BadToken::Claim("bd")));
    let other = "code.v1.rpc.orchestrator.command";
    assert_eq!(keys.verify(&token, other, BODY, NOW), Err(BadToken::Claim("aud")));
}

#[test]
fn a_token_is_good_for_a_minute() {
    let (key, keys) = keys();
    let token = key.sign(&actor(), NOW).unwrap();
    let most = i64::try_from(ACTOR_AT_MOST.as_secs()).unwrap();

    assert!(keys.verify(&token, SUBJECT, BODY, later(most - 1)).is_ok());
    assert_eq!(keys.verify(&token, SUBJECT, BODY, later(most)), Err(BadToken::Time("exp")));
    assert!(keys.verify(&token, SUBJECT, BODY, later(-30)).is_ok());
    assert_eq!(keys.verify(&token, SUBJECT, BODY, later(-31)), Err(BadToken::Time("iat")));
}

#[test]
fn a_key_that_is_taken_away_or_made_anew_is_another_one() {
    let (key, mut keys) = keys();
    let token = key.sign(&actor(), NOW).unwrap();
    let (fresh, seed) = ActorKey::new().unwrap();
    let again = ActorKey::from_seed(seed.as_ref().try_into().unwrap()).unwrap();

    assert_eq!(fresh.name(), again.name());
    assert_ne!(fresh.name(), key.name());
    assert_eq!(keys.verify(&fresh.sign(&actor(), NOW).unwrap(), SUBJECT, BODY, NOW), Err(BadToken::Key));
    keys.remove(key.name());
    assert_eq!(keys.verify(&token, SUBJECT, BODY, NOW), Err(BadToken::Key));
}

/// Signed with the real key, so that nothing but the rule itself can refuse it.
fn signed(header: &Value, claims: &str) -> String {
    let message = format!("{}.{}", encode(header.to_string()), encode(claims));
    let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
    let signature = encode(pair.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

#[test]
fn a_token_that_says_too_little_or_something_else_is_not_taken() {
    let (key, keys) = keys();
    let header = json!({"alg": "EdDSA", "typ": "actor+jwt", "kid": key.name()});
    let claims = json!({
        "iss": "code", "sub": "user:acme/ann", "act": {"sub": "api"}, "aud": SUBJECT, "iat": SECONDS, "exp": SECONDS + 60,
        "bd": Digest::of_bytes(BODY), "pol": Digest::of_bytes(b"rights"),
    });
    let verify = |header: &Value, changes: Value| {
        keys.verify(&signed(header, &changed(claims.clone(), changes)), SUBJECT, BODY, NOW)
    };
    assert_eq!(verify(&header, json!({})), Ok(actor()));

    for changes in [
        json!({"iss": "https://issuer.example"}),
        json!({"iss": null}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"act": null}),
        json!({"act": "api"}),
        json!({"act": {"sub": ""}}),
        json!({"act": {}}),
        json!({"aud": [SUBJECT]}),
        json!({"aud": "code.v1.rpc.orchestrator.>"}),
        json!({"aud": null}),
        json!({"bd": null}),
        json!({"bd": ""}),
        json!({"bd": Digest::of_bytes(b"")}),
        json!({"pol": null}),
        json!({"pol": "sha256:12"}),
        json!({"exp": SECONDS + 61}),
        json!({"iat": SECONDS - 1}),
        json!({"exp": null}),
        json!({"iat": null}),
        json!({"nbf": SECONDS + 31}),
    ] {
        assert!(verify(&header, changes.clone()).is_err(), "{changes}");
    }
    for (field, value) in [
        ("typ", json!("JWT")),
        ("typ", json!("at+jwt")),
        ("alg", json!("none")),
        ("alg", json!("ES256")),
        ("kid", json!("x")),
        ("crit", json!(["exp"])),
    ] {
        let mut changed = header.clone();
        changed[field] = value;
        assert!(verify(&changed, json!({})).is_err(), "{changed}");
    }
}
