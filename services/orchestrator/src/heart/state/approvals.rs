//! Folds approvals. One that is signed is verified again here: a record that nobody signed counts for nothing, whoever
//! wrote it.

use approval::{About, Ballot, Refusal, Vote, touches_secrets};
use model::{
    Principal, Timestamp,
    approval::{Decision, Signed, Terms},
};

use super::Deployment;

impl Deployment {
    /// Approvals are waited for from here, under these terms. Other ones than before void what was given.
    pub(super) fn wait_under(&mut self, terms: Option<&Terms>) {
        if terms == self.clearance.ballot.as_ref().map(Ballot::terms) {
            return;
        }
        let ballot = terms.map(|terms| self.ballot(terms));
        self.clearance.approvals.clear();
        self.clearance.ballot = ballot;
    }

    /// A ballot under these terms, on which nobody voted yet.
    pub fn ballot(&self, terms: &Terms) -> Ballot {
        let before = self.change.baseline.as_ref().map(|snapshot| &snapshot.spec);
        Ballot::open(terms, touches_secrets(&self.spec, before), self.clearance.ballot.as_ref())
    }

    pub(super) fn approved(&mut self, by: &Principal, signed: Option<&Signed>, at: Timestamp) {
        match (&self.clearance.ballot, signed) {
            (None, None) => _ = self.clearance.approvals.insert(by.clone()),
            (Some(_), Some(signed)) => {
                if let Some(vote) = self.counted(signed, Decision::Approve, by, at) {
                    self.clearance.approvals.insert(vote);
                }
            }
            (None, Some(_)) | (Some(_), None) => {}
        }
    }

    pub(super) fn denied(&mut self, by: &Principal, reason: &str, signed: Option<&Signed>, at: Timestamp) {
        let is_sound = match (&self.clearance.ballot, signed) {
            (None, None) => true,
            (Some(_), Some(signed)) => self.counted(signed, Decision::Deny, by, at).is_some(),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if is_sound {
            self.clearance.denied.get_or_insert_with(|| (by.clone(), reason.to_owned()));
        }
    }

    /// Counts it when it is what the record says, and holds.
    fn counted(
        &mut self,
        signed: &Signed,
        decision: Decision,
        by: &Principal,
        at: Timestamp,
    ) -> Option<Principal> {
        let vote = self.examine(signed, decision, at)?.ok().filter(|vote| vote.by == *by)?;
        let by = vote.by.clone();
        self.clearance.ballot.as_mut()?.count(vote);
        Some(by)
    }

    /// Holds what somebody signed against the plan and the terms. None: nothing is waited for.
    pub fn examine(
        &self,
        signed: &Signed,
        decision: Decision,
        at: Timestamp,
    ) -> Option<Result<Vote, Refusal>> {
        let (ballot, plan) = (self.clearance.ballot.as_ref()?, self.change.plan.as_ref()?);
        let (target, modules) = (self.spec.target_id(), self.spec.versions());
        let about = About {
            deployment: self.id.as_str(),
            target: &target,
            initiator: &self.initiator,
            modules: &modules,
            plan,
        };
        Some(ballot.examine(&about, signed, decision, at))
    }
}
