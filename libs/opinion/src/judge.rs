//! From pooled votes to an action: quorum, gates, findings, suspicion, fragility, in this order.

use model::expert::{Action, Ballot, ExpertId, Weight};

use crate::{
    facts::Facts,
    panel::{Panel, Said, Tally, Without, is_valid},
    policy::{Policy, Risk},
    record::Records,
};

/// Why it is this action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    LeastLoss,
    FailedGate,
    BlockingFinding,
    Dictated,
    Fragile,
    TooFewAnswers,
    AllAbstained,
    OneFamily,
}

impl Cause {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Cause::LeastLoss => "least_loss",
            Cause::FailedGate => "failed_gate",
            Cause::BlockingFinding => "blocking_finding",
            Cause::Dictated => "dictated",
            Cause::Fragile => "fragile",
            Cause::TooFewAnswers => "too_few_answers",
            Cause::AllAbstained => "all_abstained",
            Cause::OneFamily => "one_family",
        }
    }
}

/// What is known beside the votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signals {
    /// Experts that were asked, each counted once.
    pub asked: u32,
    pub gate_failed: bool,
    /// A blocking finding whose evidence is real.
    pub blocked: bool,
    /// The same text from several families, in favour.
    pub dictated: bool,
    pub risk: Risk,
}

pub(crate) fn answers_needed(asked: u32, policy: &Policy) -> u32 {
    let share = if policy.quorum_share.is_finite() { policy.quorum_share.clamp(0.0, 1.0) } else { 1.0 };
    policy.quorum_answers.max((f64::from(asked) * share).ceil() as u32)
}

pub(crate) fn judge(
    panel: &Panel,
    said: &[Said],
    tally: &Tally,
    signals: Signals,
    policy: &Policy,
) -> (Action, Cause) {
    if tally.answers < answers_needed(signals.asked, policy) {
        return (Action::NoQuorum, Cause::TooFewAnswers);
    }
    if tally.votes == 0 {
        return (Action::NoQuorum, Cause::AllAbstained);
    }
    if tally.families < policy.quorum_families && !tally.only_rules {
        return (Action::NoQuorum, Cause::OneFamily);
    }
    let (ruled, cause) = rule(tally.action, signals);
    if cause != Cause::LeastLoss {
        return (ruled, cause);
    }
    let decides = matches!(tally.action, Action::Approve | Action::Reject);
    if decides && signals.risk > Risk::Low && is_fragile(panel, said, tally) {
        return (Action::Escalate, Cause::Fragile);
    }
    (tally.action, Cause::LeastLoss)
}

/// What outranks the votes: a failed gate and a dictated approval turn an approval, a blocking finding whose evidence
/// exists leaves nothing milder than a change.
pub(crate) fn rule(voted: Action, signals: Signals) -> (Action, Cause) {
    match voted {
        Action::Approve if signals.gate_failed => (Action::Reject, Cause::FailedGate),
        Action::Approve | Action::NeedsChange if signals.blocked => {
            (Action::NeedsChange, Cause::BlockingFinding)
        }
        Action::Approve if signals.dictated => (Action::Escalate, Cause::Dictated),
        voted => (voted, Cause::LeastLoss),
    }
}

fn is_fragile(panel: &Panel, said: &[Said], tally: &Tally) -> bool {
    left_out(panel, said, tally).any(|without| panel.tally_without(said, without).action != tally.action)
}

/// Everyone whose absence is worth trying: each voter, and each family when there are several.
pub(crate) fn left_out(panel: &Panel, said: &[Said], tally: &Tally) -> impl Iterator<Item = Without> {
    let voted = |place: &usize| matches!(said[*place], Said::Vote(..));
    let alone = tally.votes < 2;
    let voters: Vec<usize> = (0..said.len()).filter(voted).collect();
    let mut families: Vec<u32> = voters.iter().map(|place| panel.family_of(*place)).collect();
    families.sort_unstable();
    families.dedup();
    if families.len() < 2 {
        families.clear();
    }
    let seats = voters.into_iter().map(Without::Seat);
    seats.filter(move |_| !alone).chain(families.into_iter().map(Without::Family))
}

/// Ballots that count, in an order that does not depend on that of their arrival. Of two by one name the more careful
/// one stands, so that registering twice gains nothing.
pub(crate) fn seated(ballots: &[Ballot]) -> Vec<&Ballot> {
    let careful = |ballot: &Ballot| {
        let vote = ballot.answer.as_ref().filter(|_| is_valid(ballot)).map(|answer| answer.verdict);
        match vote.and_then(crate::panel::vote) {
            Some(1) => 0,
            Some(2) => 1,
            Some(_) => 2,
            None if vote.is_some() => 3,
            None => 4,
        }
    };
    let mut seated: Vec<&Ballot> = ballots.iter().collect();
    let key = |ballot: &Ballot| {
        let confidence = ballot.answer.as_ref().map_or(0, |answer| answer.confidence_pct);
        (careful(ballot), confidence)
    };
    seated.sort_by(|a, b| {
        a.expert.name.cmp(&b.expert.name).then_with(|| {
            // Rare: only for two ballots by one name.
            key(a)
                .cmp(&key(b))
                .then_with(|| model::digest::canonical_json(a).cmp(&model::digest::canonical_json(b)))
        })
    });
    seated.dedup_by(|later, first| later.expert.name == first.expert.name);
    seated
}

/// Whether a ballot holds a blocking finding whose evidence the question really carries.
pub(crate) fn blocks(ballot: &Ballot, facts: &Facts) -> bool {
    is_valid(ballot)
        && ballot.answer.iter().flat_map(|answer| &answer.findings).any(|finding| {
            finding.severity == Weight::Blocking && facts.evidence.contains(&finding.evidence_ref)
        })
}

/// Completions that are tried at most; beyond, the missing are said to matter.
const TRIED: usize = 50_000;

/// Whether the answers still missing could change the action, so that waiting for them is worth it. Every completion is
/// tried: each missing expert silent, abstaining, or voting anything with any stated confidence that its record knows.
/// An approval always waits, since anyone may still bring a blocking finding.
pub fn can_missing_change(
    facts: &Facts,
    ballots: &[Ballot],
    missing: &[ExpertId],
    records: &Records,
    policy: &Policy,
) -> bool {
    let present = seated(ballots);
    let missing: Vec<&ExpertId> =
        missing.iter().filter(|one| present.iter().all(|ballot| ballot.expert.name != one.name)).collect();
    if missing.is_empty() {
        return false;
    }
    let experts: Vec<&ExpertId> =
        present.iter().map(|ballot| &ballot.expert).chain(missing.iter().copied()).collect();
    let panel = Panel::new(&experts, records, policy);
    let mut said = Panel::said(&present);
    said.resize(experts.len(), Said::Nothing);
    let signals = Signals {
        asked: experts.len() as u32,
        gate_failed: !facts.failed_gates.is_empty(),
        blocked: present.iter().any(|ballot| blocks(ballot, facts)),
        dictated: false,
        risk: facts.risk,
    };
    let action = |said: &[Said]| judge(&panel, said, &panel.tally(said), signals, policy).0;
    let now = action(&said);
    if now == Action::Approve {
        return true;
    }
    let options: Vec<Vec<Said>> = (present.len()..experts.len()).map(|place| panel.options(place)).collect();
    let completions = options.iter().try_fold(1usize, |all, one| all.checked_mul(one.len()));
    let Some(completions) = completions.filter(|all| *all <= TRIED) else { return true };
    for completion in 0..completions {
        let mut rest = completion;
        for (place, options) in options.iter().enumerate() {
            said[present.len() + place] = options[rest % options.len()];
            rest /= options.len();
        }
        if action(&said) != now {
            return true;
        }
    }
    false
}
