//! Counts the approvals of a journal again, with the code that the orchestrator counted with.

use approval::{About, Ballot, Vote, in_words, touches_secrets};
use model::{
    DeploymentSpec, Digest, Principal, Timestamp,
    approval::{Decision, Signature, Signed, Terms},
};

use crate::rules::Gap;

/// What was signed, and what of it does not hold.
#[derive(Default)]
pub(super) struct Ballots {
    ballot: Option<Ballot>,
    counted: Vec<(Vote, Signed)>,
    gaps: Vec<Gap>,
    went_on: bool,
}

impl Ballots {
    /// Approvals are waited for, under these terms. True when what was approved before is void.
    pub(super) fn open(
        &mut self,
        terms: Option<&Terms>,
        spec: &DeploymentSpec,
        before: Option<&DeploymentSpec>,
    ) -> bool {
        if terms == self.ballot.as_ref().map(Ballot::terms) {
            return false;
        }
        self.counted.clear();
        let touched = touches_secrets(spec, before);
        self.ballot = terms.map(|terms| Ballot::open(terms, touched, self.ballot.as_ref()));
        true
    }

    fn add(&mut self, text: String) {
        self.gaps.push(Gap { field: "approvals".to_owned(), text });
    }

    /// Counts an approval or a denial of a plan; false when it counts for nothing.
    pub(super) fn count(
        &mut self,
        about: Option<&About<'_>>,
        decision: Decision,
        (by, plan): (&Principal, &Digest),
        signed: Option<&Signed>,
        at: Timestamp,
    ) -> bool {
        let why = match (&mut self.ballot, signed, about) {
            (None, None, _) if matches!(by, Principal::Signer { .. }) => {
                format!("{by} is said to have signed, and no signature is there")
            }
            (None, None, _) => return true,
            (None, Some(_), _) => format!("{by} signed where no signers were in force"),
            (Some(_), None, _) => format!("{by} did not sign where signatures were waited for"),
            (Some(_), _, None) => format!("{by} signed before there was a plan"),
            (Some(_), _, Some(about)) if about.plan.digest() != *plan => {
                format!("what {by} signed is recorded under another plan")
            }
            (Some(ballot), Some(signed), Some(about)) => match ballot.examine(about, signed, decision, at) {
                Ok(vote) if vote.by != *by => format!("{} signed what is said to be of {by}", vote.by),
                Ok(vote) => {
                    ballot.count(vote.clone());
                    self.counted.retain(|(before, _)| before.by != vote.by);
                    self.counted.push((vote, signed.clone()));
                    return true;
                }
                Err(refusal) => format!("{by}: {refusal}"),
            },
        };
        self.add(why);
        false
    }

    /// The deployment went on: then nothing may have been missing.
    pub(super) fn go_on(&mut self, at: Timestamp) {
        if std::mem::replace(&mut self.went_on, true) {
            return;
        }
        let missing = self.ballot.as_ref().map(|ballot| ballot.missing(at)).unwrap_or_default();
        missing.into_iter().for_each(|missing| self.add(format!("signed approvals are missing: {missing}")));
    }

    pub(super) fn gaps(&self) -> Vec<Gap> {
        let waits = (self.ballot.is_some() && !self.went_on).then(|| Gap {
            field: "approvals".to_owned(),
            text: "signed approvals were waited for, and nothing says that it went on".to_owned(),
        });
        self.gaps.iter().cloned().chain(waits).collect()
    }

    pub(super) fn requirement(&self) -> Option<String> {
        self.ballot.as_ref().map(|ballot| in_words(ballot.terms()))
    }

    pub(super) fn key_of(&self, by: &Principal) -> Option<&str> {
        self.counted.iter().find(|(vote, _)| vote.by == *by).map(|(vote, _)| vote.key.as_str())
    }

    pub(super) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let Some(ballot) = &self.ballot else { return Vec::new() };
        let mut files =
            vec![("approvals/allowed_signers".to_owned(), ballot.terms().signers.clone().into_bytes())];
        for (at, (_, signed)) in self.counted.iter().enumerate() {
            let Signature::Sshsig(signature) = &signed.signature;
            let place = at + 1;
            files.push((format!("approvals/{place}/approval.json"), signed.statement.clone().into_bytes()));
            files.push((format!("approvals/{place}/approval.sig"), signature.clone().into_bytes()));
        }
        files
    }
}
