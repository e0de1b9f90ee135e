//! Counts the approvals of one deployment.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Digest, Principal, Timestamp,
    approval::{Decision, Given, Signature, Signed, Standing, Terms},
};

use crate::{
    names::NAMESPACE,
    refusal::Refusal,
    rules::{in_words, may, missing},
    signers::Signers,
    sshsig::Sshsig,
    statement::{About, Statement},
};

/// A statement that was verified: who, by which key, what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Who.
    pub by: Principal,
    /// The fingerprint of the key.
    pub key: String,
    /// What was signed.
    pub statement: Statement,
}

/// Who approved under which terms. Knows nothing but what it was given; whoever is given the same counts the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ballot {
    terms: Terms,
    policy: Digest,
    signers: Signers,
    touched: bool,
    votes: BTreeMap<String, Vote>,
    nonces: BTreeSet<String>,
}

impl Ballot {
    /// Nobody has voted yet. `touched`: modules are given other secrets than before. After `before`, whose votes are void,
    /// and whose statements still do not count a second time.
    pub fn open(terms: &Terms, touched: bool, before: Option<&Ballot>) -> Ballot {
        Ballot {
            terms: terms.clone(),
            policy: terms.digest(),
            // Terms whose signers cannot be read are not made by us: then nobody may.
            signers: Signers::read(&terms.signers).unwrap_or_default(),
            touched,
            votes: BTreeMap::new(),
            nonces: before.map(|before| before.nonces.clone()).unwrap_or_default(),
        }
    }

    /// The terms.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Exactly this was counted.
    pub fn has(&self, signed: &Signed) -> bool {
        self.votes.values().any(|vote| vote.statement.text() == signed.statement)
    }

    /// Holds what somebody signed against the terms, the deployment and the time. Counts nothing.
    ///
    /// # Errors
    /// [`Refusal`]: why it does not count.
    pub fn examine(
        &self,
        about: &About<'_>,
        signed: &Signed,
        decision: Decision,
        at: Timestamp,
    ) -> Result<Vote, Refusal> {
        let statement = Statement::read(&signed.statement)?;
        let said = &statement.predicate;
        let who = said.approver.clone();
        if said.decision != decision {
            return Err(Refusal::Decision { found: said.decision, expected: decision });
        }
        statement.is_about(about)?;
        let name = who.parse().map_err(|_| Refusal::MayNot { who: who.clone(), may: self.who_may() })?;
        let by = Principal::Signer { name };
        if by.goes_by_the_name_of(about.initiator) {
            return Err(Refusal::Author(who));
        }
        // Before the policy: whoever is not among them learns that and not that they should sign again.
        if !may(&self.terms, self.touched).contains(who.as_str()) {
            return Err(Refusal::MayNot { who, may: self.who_may() });
        }
        if said.policy != self.policy.to_string() || said.requirement != in_words(&self.terms) {
            return Err(Refusal::Policy { found: said.policy.clone(), expected: self.policy.clone() });
        }
        statement.is_in_time(at, self.terms.lasts)?;
        let key = match &signed.signature {
            Signature::Sshsig(file) => {
                let signature = Sshsig::read(file)?;
                signature.verify(NAMESPACE, signed.statement.as_bytes(), self.terms.verified)?;
                self.signers.allow(&who, &signature.key, at)?;
                signature.key.fingerprint()
            }
        };
        if self.nonces.contains(&said.nonce) {
            return Err(Refusal::Nonce(said.nonce.clone()));
        }
        Ok(Vote { by, key, statement })
    }

    /// Counts what was examined. A person's later approval takes the place of their earlier one.
    pub fn count(&mut self, vote: Vote) {
        let said = &vote.statement.predicate;
        self.nonces.insert(said.nonce.clone());
        if said.decision == Decision::Approve {
            self.votes.insert(said.approver.clone(), vote);
        }
    }

    fn people(&self, now: Timestamp) -> BTreeSet<&str> {
        let counts = self.votes.iter().filter(|(_, vote)| vote.statement.predicate.expires.0 >= now);
        counts.map(|(who, _)| who.as_str()).collect()
    }

    /// What is missing, in words: empty when enough people approved and their approvals still count.
    pub fn missing(&self, now: Timestamp) -> Vec<String> {
        missing(&self.terms, self.touched, &self.people(now))
    }

    /// Nothing is missing.
    pub fn is_met(&self, now: Timestamp) -> bool {
        self.missing(now).is_empty()
    }

    /// What would be missing if everybody who may approved, but for who asked for it: empty when it can be met.
    pub fn out_of_reach(&self, initiator: &Principal) -> Vec<String> {
        let is_other = |who: &&str| {
            let by = who.parse().map(|name| Principal::Signer { name });
            by.is_ok_and(|by| !by.goes_by_the_name_of(initiator))
        };
        let all = may(&self.terms, self.touched).into_iter().filter(is_other).collect();
        missing(&self.terms, self.touched, &all)
    }

    fn who_may(&self) -> String {
        may(&self.terms, self.touched).into_iter().collect::<Vec<_>>().join(", ")
    }

    /// How it stands, for people.
    pub fn standing(&self, now: Timestamp) -> Standing {
        let given = |vote: &Vote| Given {
            by: vote.by.clone(),
            key: vote.key.clone(),
            until: vote.statement.predicate.expires.0,
        };
        Standing {
            policy: self.policy.clone(),
            requirement: in_words(&self.terms),
            lasts: self.terms.lasts,
            given: self.votes.values().map(given).collect(),
            missing: self.missing(now),
            signers: self.terms.signers.clone(),
        }
    }
}
