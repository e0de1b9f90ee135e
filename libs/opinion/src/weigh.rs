//! Ballots into one opinion, in one pass.

use std::{cell::RefCell, collections::BTreeMap};

use model::expert::{Action, Advice, Answer, AnswerStatus, Ballot, Opinion, Stance};

use crate::{
    facts::Facts,
    first_day,
    judge::{self, Cause, Signals, answers_needed, judge},
    panel::{Panel, Said, Tally, Without, vote_of},
    policy::{Policy, STATES},
    rank,
    record::Records,
    vector::Scratch,
};

mod dissent;
mod numbers;

/// Stances that are votes, by their place in the counts.
const VOTES: [Stance; 3] = [Stance::Approve, Stance::Reject, Stance::NeedsChange];
/// Strategies that are ranked, the most careful first: it wins a tie.
const STRATEGIES: [Advice; 4] = [Advice::Canary, Advice::BlueGreen, Advice::Rolling, Advice::Recreate];

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Makes one opinion of the ballots. The same for any order of the ballots; late ones are not looked at. Always gives
/// an opinion, with finite numbers, whatever the ballots and records hold; the policy should have been
/// [checked](Policy::check).
pub fn weigh(facts: &Facts, ballots: &[Ballot], records: &Records, policy: &Policy) -> Opinion {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => weigh_with(facts, ballots, records, policy, &mut scratch),
        Err(_) => weigh_with(facts, ballots, records, policy, &mut Scratch::default()),
    })
}

fn weigh_with(
    facts: &Facts,
    ballots: &[Ballot],
    records: &Records,
    policy: &Policy,
    scratch: &mut Scratch,
) -> Opinion {
    let seated = judge::seated(ballots);
    let panel = Panel::of_ballots(&seated, records, policy);
    let said = Panel::said(&seated);
    let tally = panel.tally(&said);
    let texts = dissent::compare(&seated, policy, scratch);
    let signals = Signals {
        asked: seated.len() as u32,
        gate_failed: !facts.failed_gates.is_empty(),
        blocked: seated.iter().any(|ballot| judge::blocks(ballot, facts)),
        dictated: texts.dictated.is_some(),
        risk: facts.risk,
    };
    let (action, cause) = judge(&panel, &said, &tally, signals, policy);
    let weights = panel.weights(&said, tally.temper);
    let shares = panel.shares(&said);
    let vote_share = share_of(&seated, |_| 1.0);
    let agreements = panel.agreements();
    let agreement_share = share_of(&seated, |place| agreements[place]);
    let answers: Vec<(&Answer, f64)> =
        seated.iter().zip(&shares).filter(|(_, share)| **share > 0.0).filter_map(answer_of).collect();
    let (strategies, strategies_by_borda) = strategies(&answers);
    let mut alarms = texts.alarms(&seated);
    alarms.extend(disagreement(&vote_share, &agreement_share));
    alarms.extend(unusable(&seated));
    if strategies.first() != strategies_by_borda.first() {
        alarms.push("the orders of strategies by Kemeny and by Borda begin differently".to_owned());
    }
    let dissent = texts.dissent(&seated, &shares, leading(&tally, &vote_share));
    Opinion {
        action,
        reason: reason(cause, facts, &seated, &tally, policy, records.cases.len()),
        cause: cause.as_str().to_owned(),
        posterior: by_state(&tally.posterior),
        untempered: by_state(&panel.naive(&said)),
        expected_loss: losses(&tally),
        tempering: tally.temper,
        vote_share,
        agreement_share,
        votes: tally.votes,
        effective_votes: tally.effective_votes,
        correlation: (policy.correlation_across, policy.correlation_within),
        entropy: entropy(&seated),
        turns_without: turns(&panel, &said, &tally, &seated, facts, signals),
        weights: names(&seated).zip(weights).collect(),
        canary_steps_pct: numbers::canary_steps(&answers, policy),
        bake_minutes: numbers::bake_minutes(&answers, policy),
        strategies,
        strategies_by_borda,
        dissent,
        alarms,
    }
}

fn answer_of<'a>((ballot, share): (&&'a Ballot, &f64)) -> Option<(&'a Answer, f64)> {
    ballot.answer.as_ref().map(|answer| (answer, *share))
}

fn names<'a>(seated: &'a [&Ballot]) -> impl Iterator<Item = String> + 'a {
    seated.iter().map(|ballot| ballot.expert.name.to_string())
}

fn by_state(values: &[f64; 3]) -> BTreeMap<String, f64> {
    STATES.iter().map(|state| (*state).to_owned()).zip(*values).collect()
}

fn losses(tally: &Tally) -> BTreeMap<String, f64> {
    let actions = ["escalate", "needs_change", "reject", "approve"];
    actions.iter().map(|action| (*action).to_owned()).zip(tally.losses).collect()
}

/// Share of each stance, votes counted by this weight. Empty without votes.
fn share_of(seated: &[&Ballot], weight: impl Fn(usize) -> f64) -> BTreeMap<String, f64> {
    let mut sums = [0.0; 3];
    for (place, ballot) in seated.iter().enumerate() {
        if let Some(vote) = vote_of(ballot) {
            sums[vote] += weight(place);
        }
    }
    let total: f64 = sums.iter().sum();
    if total <= 0.0 {
        return BTreeMap::new();
    }
    let shares = VOTES.iter().zip(sums).filter(|(_, sum)| *sum > 0.0);
    shares.map(|(stance, sum)| (stance.as_str().to_owned(), sum / total)).collect()
}

/// The stance with the largest share; none when several have it.
fn plurality(shares: &BTreeMap<String, f64>) -> Option<&str> {
    let most = shares.values().copied().fold(0.0, f64::max);
    let mut first = shares.iter().filter(|(_, share)| (**share - most).abs() < 1e-9);
    match (first.next(), first.next()) {
        (Some((stance, _)), None) => Some(stance),
        _ => None,
    }
}

/// The stance of the majority, or with a tie the one that the posterior leans to. Everything else is dissent.
fn leading(tally: &Tally, shares: &BTreeMap<String, f64>) -> Stance {
    if let Some(stance) = VOTES.into_iter().find(|stance| Some(stance.as_str()) == plurality(shares)) {
        return stance;
    }
    let most = tally.posterior.iter().copied().fold(0.0, f64::max);
    let state = tally.posterior.iter().position(|one| *one == most).unwrap_or(0);
    VOTES[state]
}

fn disagreement(plain: &BTreeMap<String, f64>, agreeing: &BTreeMap<String, f64>) -> Option<String> {
    let (plain, agreeing) = (plurality(plain)?, plurality(agreeing)?);
    (plain != agreeing)
        .then(|| format!("most votes are {plain}, weighted by past agreement they are {agreeing}"))
}

fn unusable(seated: &[&Ballot]) -> impl Iterator<Item = String> {
    let voted = seated.iter().filter(|ballot| vote_of(ballot).is_some());
    voted.filter_map(|ballot| {
        let answer = ballot.answer.as_ref()?;
        let bad = !answer.canary_steps_pct.is_empty() && !numbers::usable(answer);
        bad.then(|| format!("{} recommends canary shares that do not grow from 1 to 100", ballot.expert.name))
    })
}

/// Entropy of the votes, normalised by that of three equal shares.
fn entropy(seated: &[&Ballot]) -> f64 {
    let mut votes = [0.0f64; 3];
    for vote in seated.iter().filter_map(|ballot| vote_of(ballot)) {
        votes[vote] += 1.0;
    }
    let total: f64 = votes.iter().sum();
    let parts = votes.iter().filter(|one| **one > 0.0).map(|one| one / total);
    let nats: f64 = parts.map(|part| part * -part.ln()).sum();
    (nats / 3f64.ln()).clamp(0.0, 1.0).abs()
}

/// What votes and findings would come to without each voter and each family of several, where it is something else.
fn turns(
    panel: &Panel,
    said: &[Said],
    tally: &Tally,
    seated: &[&Ballot],
    facts: &Facts,
    signals: Signals,
) -> BTreeMap<String, Action> {
    // The same words from two families are no longer that without one of them.
    let signals = Signals { dictated: false, ..signals };
    let (now, _) = judge::rule(tally.action, signals);
    let blocking: Vec<bool> = seated.iter().map(|ballot| judge::blocks(ballot, facts)).collect();
    let members = |family: u32| (0..seated.len()).filter(move |place| panel.family_of(*place) == family);
    let mut turns = BTreeMap::new();
    for without in judge::left_out(panel, said, tally) {
        let (name, is_out): (String, Box<dyn Fn(usize) -> bool>) = match without {
            Without::Nobody => continue,
            Without::Seat(out) => (seated[out].expert.name.to_string(), Box::new(move |place| place == out)),
            // Of a family of one its member is named.
            Without::Family(out) if members(out).count() < 2 => continue,
            Without::Family(out) => {
                let Some(member) = members(out).next() else { continue };
                let name = format!("family {}", seated[member].expert.family);
                (name, Box::new(move |place| panel.family_of(place) == out))
            }
        };
        let blocked = blocking.iter().enumerate().any(|(place, blocks)| *blocks && !is_out(place));
        let voted = panel.tally_without(said, without).action;
        let (then, _) = judge::rule(voted, Signals { blocked, ..signals });
        if then != now {
            turns.insert(name, then);
        }
    }
    turns
}

/// Kemeny's and Borda's order of the strategies that anyone named.
fn strategies(answers: &[(&Answer, f64)]) -> (Vec<Advice>, Vec<Advice>) {
    let place = |advice: &Advice| STRATEGIES.iter().position(|one| one == advice);
    let rankings: Vec<(Vec<usize>, f64)> = answers
        .iter()
        .map(|(answer, weight)| {
            let ranked: Vec<usize> = answer.strategy_ranking.iter().take(32).filter_map(place).collect();
            let single = || place(&answer.strategy).into_iter().collect();
            (if ranked.is_empty() { single() } else { ranked }, *weight)
        })
        .collect();
    let before = rank::preferences(STRATEGIES.len(), &rankings);
    let named = |one: &usize| rankings.iter().any(|(ranking, _)| ranking.contains(one));
    let advice = |order: Vec<usize>| order.into_iter().filter(named).map(|one| STRATEGIES[one]).collect();
    (advice(rank::kemeny(&before).unwrap_or_default()), advice(rank::borda(&before)))
}

fn reason(
    cause: Cause,
    facts: &Facts,
    seated: &[&Ballot],
    tally: &Tally,
    policy: &Policy,
    known: usize,
) -> String {
    match cause {
        Cause::LeastLoss => {
            let [escalate, change, reject, approve] = tally.losses;
            let losses = match tally.action {
                Action::Approve => format!("approving has the least expected loss, {approve:.2}"),
                other => {
                    let least = escalate.min(change).min(reject);
                    format!("{} loses least, {least:.2}; approving {approve:.2}", verb(other))
                }
            };
            format!("{}; {losses}", votes(seated, tally, known))
        }
        Cause::FailedGate => format!("the votes approve, but failed: {}", facts.failed_gates.join(", ")),
        Cause::BlockingFinding => {
            let blocking = seated.iter().filter(|ballot| judge::blocks(ballot, facts));
            let names: Vec<&str> = blocking.map(|ballot| ballot.expert.name.as_str()).collect();
            let names = names.join(", ");
            format!(
                "{names} found something blocking whose evidence exists, which outranks all votes ({})",
                votes(seated, tally, known)
            )
        }
        Cause::Dictated => "the votes approve, but with the same text from several families".to_owned(),
        Cause::Fragile => "a single expert or family decides it, which the risk does not allow".to_owned(),
        Cause::TooFewAnswers => {
            let needed = answers_needed(seated.len() as u32, policy);
            match tally.answers {
                0 => format!("nobody answered, {needed} answers are needed{}", failures(seated)),
                some => format!("{some} of {needed} answers needed{}", failures(seated)),
            }
        }
        Cause::AllAbstained => "everyone who answered abstained".to_owned(),
        Cause::OneFamily => {
            format!(
                "votes of {} families, {} are needed{}",
                tally.families,
                policy.quorum_families,
                failures(seated)
            )
        }
    }
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::Approve => "approving",
        Action::Reject => "rejecting",
        Action::NeedsChange => "asking for a change",
        Action::Escalate | Action::NoQuorum => "asking a human",
    }
}

/// What the votes come to, and how far that may be off with so many known outcomes.
fn votes(seated: &[&Ballot], tally: &Tally, known: usize) -> String {
    let [safe, unsound, fixable] = tally.posterior.map(|one| one * 100.0);
    let (low, high) = first_day::width(tally.posterior[0], known);
    let outcomes = if known == 1 { "outcome" } else { "outcomes" };
    format!(
        "{} of {} voted, worth {:.1} votes: safe {safe:.0} % ({:.0} to {:.0} % by {known} known {outcomes}), \
         unsafe {unsound:.0} %, fixable {fixable:.0} %",
        tally.votes,
        seated.len(),
        tally.effective_votes,
        low * 100.0,
        high * 100.0,
    )
}

/// How often each kind of failure kept an expert from answering.
fn failures(seated: &[&Ballot]) -> String {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for ballot in seated.iter().filter(|ballot| !crate::panel::is_valid(ballot)) {
        let what = match ballot.status {
            _ if ballot.late => "late",
            AnswerStatus::Ok | AnswerStatus::Abstained => "without an answer",
            failure => failure.as_str(),
        };
        *counts.entry(what).or_default() += 1;
    }
    let parts: Vec<String> =
        counts.iter().map(|(status, count)| format!("{count} {}", status.replace('_', " "))).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

/// Whether an opinion lets a deployment go on.
pub fn approves(opinion: &Opinion) -> bool {
    opinion.action == Action::Approve
}
