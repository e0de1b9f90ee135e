//! Whatever a model sends, the parser ends, and what it reads keeps its promises. It must never reach the network.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opinion::{parse::parse, text};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(reading) = parse(bytes, "n1", &["plan"]) {
        let answer = &reading.answer;
        assert_eq!(answer.nonce, "n1");
        assert!(answer.confidence_pct <= 100);
        assert!(!answer.rationale.chars().any(text::deceives));
        for finding in &answer.findings {
            assert!(finding.evidence_ref.is_empty() || finding.evidence_ref == "plan");
        }
        // What was tidied is tidy.
        let again = parse(&serde_json::to_vec(answer).unwrap(), "n1", &["plan"]).unwrap();
        assert_eq!(&again.answer, answer);
        assert!(again.repairs.is_empty());
    }
});
