//! Bytes that somebody else sent: whatever they are, reading them ends, and nothing is valid but what was signed.

#[path = "../../../ledger/tests/damage.rs"]
mod damage;

use std::sync::LazyLock;

use certificate::{Certificate, bundle::Bundle, dsse::Envelope, trust::Ready, verify, verify::check};
use proptest::prelude::*;

use crate::{
    fixture::{NOW, Office},
    log::{Log, logged},
};
use damage::{damaged, damages};

/// A certificate with the log's proof, and who believes it.
static WORLD: LazyLock<(Certificate, Ready)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (office, log) = (Office::open(), Log::new());
    (runtime.block_on(logged(&office, &log)).0, log.trust(&office))
});

/// Valid only when it says the same: JSON may be spelled in more than one way.
fn says_nothing_else(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (whole, trust) = &*WORLD;
    match verify(bytes, trust, NOW) {
        Ok(_) => prop_assert_eq!(&serde_json::from_slice::<Certificate>(bytes).unwrap(), whole),
        Err(problems) => prop_assert!(problems.iter().all(|problem| !problem.field.is_empty())),
    }
    Ok(())
}

#[test]
fn what_the_others_are_made_from_is_valid() {
    let (whole, trust) = &*WORLD;

    assert!(verify(&whole.to_bytes(), trust, NOW).unwrap().log.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = serde_json::from_slice::<Envelope>(&bytes).map(|envelope| envelope.bytes());
        let _ = serde_json::from_slice::<Bundle>(&bytes);
        let _ = certificate::Trust::read(&String::from_utf8_lossy(&bytes)).map(|trust| trust.ready().is_ok());

        prop_assert!(verify(&bytes, &WORLD.1, NOW).is_err());
    }

    #[test]
    fn a_damaged_certificate_says_nothing_else(damage in damages()) {
        says_nothing_else(&damaged(&WORLD.0.to_bytes(), &damage))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Behind the JSON: the bytes of payloads, signatures, documents and proofs, so that damage gets to their readers.
    #[test]
    fn a_certificate_with_a_damaged_part_is_not_valid(part in 0..9usize, damage in damages()) {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let (whole, trust) = &*WORLD;
        let mut changed = whole.clone();
        let text = |text: &mut String| *text = String::from_utf8_lossy(&damaged(text.as_bytes(), &damage)).into_owned();
        let within = |text: &mut String| *text = STANDARD.encode(damaged(&STANDARD.decode(&*text).unwrap(), &damage));
        let (envelope, log) = (&mut changed.bundle.dsse_envelope, changed.log.as_mut().unwrap());
        match part {
            0 => within(&mut envelope.payload),
            1 => within(&mut envelope.signatures[0].sig),
            2 => within(&mut changed.vsa.payload),
            3 => within(&mut changed.vsa.signatures[1].sig),
            4 => text(&mut envelope.signatures[0].keyid),
            5 => text(&mut changed.documents.spec),
            6 => text(changed.documents.plan.as_mut().unwrap()),
            7 => text(&mut log.entry),
            _ => text(&mut log.proof),
        }

        let problems = check(&changed, trust, NOW);

        // The order of a proof's signatures, and those of strangers, are nobody's word.
        prop_assert!(problems.is_err() || changed == *whole || part == 8, "part {}", part);
        if part == 8 && problems.is_ok() {
            let read = |certificate: &Certificate| -> ledger::ProofFile {
                certificate.log.as_ref().unwrap().proof.parse().unwrap()
            };
            let (had, has) = (read(whole), read(&changed));
            prop_assert_eq!((had.index, &had.hashes), (has.index, &has.hashes));
            prop_assert_eq!(had.checkpoint.unverified(), has.checkpoint.unverified());
        }
    }
}
