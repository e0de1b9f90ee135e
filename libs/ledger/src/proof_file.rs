//! `tlog-proof` files: everything to check offline that an entry is in a log.

use std::{fmt, str::FromStr};

use serde::Serialize;

use crate::{Error, InclusionProof, Policy, SignedCheckpoint, leaf_hash, policy::Trust, text};

const WHAT: &str = "proof file";
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^64 leaves is not higher.
const MAX_HASHES: usize = 64;

/// A [C2SP tlog-proof](https://c2sp.org/tlog-proof).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// Not covered by anything: never trust it.
    pub extra: Option<Vec<u8>>,
    /// Where the entry stands.
    pub index: u64,
    /// From the leaf's sibling up to the root's child.
    pub hashes: Vec<crate::Hash>,
    /// The log's state in which it stands there.
    pub checkpoint: SignedCheckpoint,
}

/// What a proof showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proven {
    /// Which log.
    pub origin: String,
    /// Where the entry stands.
    pub index: u64,
    /// How many entries the log had.
    pub size: u64,
    /// The root over them.
    pub root: crate::Hash,
    /// Who vouches for it.
    pub trust: Trust,
}

impl ProofFile {
    /// The proof of an entry under a checkpoint of the same size.
    pub fn new(proof: InclusionProof, checkpoint: SignedCheckpoint) -> ProofFile {
        ProofFile { extra: None, index: proof.index, hashes: proof.hashes, checkpoint }
    }

    /// The entry is in the log, as far as the policy trusts who says so.
    pub fn check(&self, entry: &[u8], policy: &Policy) -> Result<Proven, Error> {
        let trust = policy.check(&self.checkpoint)?;
        let checkpoint = self.checkpoint.unverified();
        let proof = InclusionProof { index: self.index, size: checkpoint.size, hashes: self.hashes.clone() };
        proof.verify(&leaf_hash(entry), &checkpoint.root)?;
        Ok(Proven {
            origin: checkpoint.origin.clone(),
            index: self.index,
            size: checkpoint.size,
            root: checkpoint.root,
            trust,
        })
    }
}

impl FromStr for ProofFile {
    type Err = Error;

    fn from_str(file: &str) -> Result<ProofFile, Error> {
        let bad = |why: &str| Error::format(WHAT, why);
        let (head, checkpoint) =
            file.split_once("\n\n").ok_or_else(|| bad("no blank line before the checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(bad("it does not begin with c2sp.org/tlog-proof@v1"));
        }
        let mut extra = None;
        if let Some(data) = lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            extra = Some(text::from_base64(WHAT, data)?);
            lines.next();
        }
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .ok_or_else(|| bad("no line `index`"))?;
        let index = text::decimal(WHAT, index)?;
        let hashes = lines.map(|line| text::hash(WHAT, line)).collect::<Result<Vec<_>, _>>()?;
        if hashes.len() > MAX_HASHES {
            return Err(bad("it has more than 64 hashes"));
        }
        Ok(ProofFile { extra, index, hashes, checkpoint: checkpoint.parse()? })
    }
}

impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", text::base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Note, VerifyingKey, witness::AddCheckpoint};

    /// Texts that look like what is expected.
    fn near() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("c2sp.org/tlog-proof@v1\n".to_owned()),
            Just("index 7\n".to_owned()),
            Just("extra YQ==\n".to_owned()),
            Just("old 0\n".to_owned()),
            Just("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n".to_owned()),
            Just("\n".to_owned()),
            Just("\u{2014} a AAAAAAA=\n".to_owned()),
            Just("quorum none\n".to_owned()),
            Just("group g 1 a\n".to_owned()),
            Just("log a+00000000+AQ==\n".to_owned()),
            "\\PC{0,20}",
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_breaks_a_reader(text in near()) {
            let _ = text.parse::<VerifyingKey>();
            let _ = text.parse::<Policy>();
            let _ = text.parse::<AddCheckpoint>();
            // What is read is written as it was.
            if let Ok(proof) = text.parse::<ProofFile>() {
                prop_assert_eq!(proof.to_string(), text.clone());
            }
            if let Ok(note) = text.parse::<Note>() {
                prop_assert_eq!(note.to_string(), text);
            }
        }
    }
}
