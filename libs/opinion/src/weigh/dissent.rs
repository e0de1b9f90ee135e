//! What the answers' texts tell: who says the same, who says it in suspiciously equal words, and what the minority says.

use model::expert::{Ballot, Dissent, Observation, Stance};

use crate::{
    cluster::{Linkage, clusters, medoid},
    kernel::Kernel,
    panel::{vote, vote_of},
    policy::Policy,
    text,
    vector::{Scratch, similarities},
};

/// Shorter texts are alike by chance.
const TOO_SHORT: usize = 64;
/// Longest quote, in characters.
const QUOTE: usize = 500;
/// Findings that are kept of one group.
const FINDINGS: usize = 32;

/// The compared rationales of those who voted.
pub struct Texts<'a> {
    /// Places of the voters.
    voters: Vec<usize>,
    similar: &'a [f32],
    alike: f32,
    /// Places of two experts of different families whose texts in favour are the same.
    pub dictated: Option<(usize, usize)>,
}

pub fn compare<'a>(seated: &[&Ballot], policy: &Policy, scratch: &'a mut Scratch) -> Texts<'a> {
    let voters: Vec<usize> = (0..seated.len()).filter(|place| vote_of(seated[*place]).is_some()).collect();
    let rationales = voters.iter().map(|place| rationale(seated[*place]));
    let similar = similarities(rationales, Kernel::active(), scratch);
    let threshold = |share: f64| if share.is_finite() { share.clamp(0.0, 1.0) as f32 } else { 1.0 };
    let mut texts = Texts { voters, similar, alike: threshold(policy.alike), dictated: None };
    texts.dictated = texts.dictated_by(seated, policy, threshold(policy.dictated));
    texts
}

fn rationale(ballot: &Ballot) -> &str {
    ballot.answer.as_ref().map_or("", |answer| answer.rationale.as_str())
}

impl Texts<'_> {
    fn dictated_by(&self, seated: &[&Ballot], policy: &Policy, threshold: f32) -> Option<(usize, usize)> {
        let suspicious = |place: &usize| {
            let ballot = seated[*place];
            vote_of(ballot) == vote(Stance::Approve)
                && rationale(ballot).len() >= TOO_SHORT
                && !policy.is_rules(ballot.expert.family.as_str())
        };
        for (a, first) in self.voters.iter().enumerate().filter(|(_, place)| suspicious(place)) {
            for (b, second) in
                self.voters.iter().enumerate().skip(a + 1).filter(|(_, place)| suspicious(place))
            {
                let families = seated[*first].expert.family != seated[*second].expert.family;
                if families && self.similar[a * self.voters.len() + b] >= threshold {
                    return Some((*first, *second));
                }
            }
        }
        None
    }

    pub fn alarms(&self, seated: &[&Ballot]) -> Vec<String> {
        let say = |(a, b): (usize, usize)| {
            let (a, b) = (&seated[a].expert, &seated[b].expert);
            format!(
                "{} ({}) and {} ({}) approve in the same words: something they read may dictate them",
                a.name, a.family, b.name, b.family
            )
        };
        self.dictated.map(say).into_iter().collect()
    }

    /// One group per minority stance and cluster of texts, the larger first.
    pub fn dissent(&self, seated: &[&Ballot], shares: &[f64], leading: Stance) -> Vec<Dissent> {
        let mut groups = Vec::new();
        for stance in [Stance::Reject, Stance::NeedsChange, Stance::Approve] {
            if stance == leading {
                continue;
            }
            let of_stance = |at: &usize| vote_of(seated[self.voters[*at]]) == vote(stance);
            let members: Vec<usize> = (0..self.voters.len()).filter(of_stance).collect();
            for group in self.clusters_of(&members) {
                groups.extend(self.group(seated, shares, stance, &group));
            }
        }
        groups.sort_by_key(|group: &Dissent| std::cmp::Reverse(group.experts.len()));
        groups
    }

    fn clusters_of(&self, members: &[usize]) -> Vec<Vec<usize>> {
        let all = self.voters.len();
        let of = |a: usize, b: usize| self.similar[members[a] * all + members[b]];
        let count = members.len();
        let similar: Vec<f32> = (0..count * count).map(|at| of(at / count, at % count)).collect();
        let groups = clusters(&similar, count, self.alike, Linkage::Average);
        groups.into_iter().map(|group| group.into_iter().map(|one| members[one]).collect()).collect()
    }

    fn group(&self, seated: &[&Ballot], shares: &[f64], stance: Stance, group: &[usize]) -> Option<Dissent> {
        let weight = |at: usize| shares[self.voters[at]];
        let central = medoid(self.similar, self.voters.len(), group, weight)?;
        let quoted = seated[self.voters[central]];
        let mut findings: Vec<Observation> = group
            .iter()
            .filter_map(|at| seated[self.voters[*at]].answer.as_ref())
            .flat_map(|answer| answer.findings.iter().cloned())
            .collect();
        findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.category.cmp(&b.category)));
        findings.dedup();
        findings.truncate(FINDINGS);
        Some(Dissent {
            experts: group.iter().map(|at| seated[self.voters[*at]].expert.name.to_string()).collect(),
            stance,
            quoted: quoted.expert.name.to_string(),
            quote: text::beginning(&text::clean(rationale(quoted)), QUOTE),
            findings,
        })
    }
}
