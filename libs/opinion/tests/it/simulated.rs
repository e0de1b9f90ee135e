//! Panels that err together, drawn from the statistics of 71 language models on one test: error correlation 0.42, and
//! given that two are wrong they say the same in 60 % of the cases.

use model::expert::{Ballot, ExpertId, Stance};
use opinion::{Facts, Policy, Records, State, weigh};

use crate::circle::{Random, ballot, expert};

const STANCES: [Stance; 3] = [Stance::Approve, Stance::Reject, Stance::NeedsChange];
const STATES: [State; 3] = [State::Safe, State::Unsafe, State::Fixable];
const PHI: f64 = 0.42;
const SAME_WRONG: f64 = 0.60;

/// One case: every expert is wrong with chance `1 - right`, each pair with correlation `PHI`.
fn case(panel: &[ExpertId], right: f64, random: &mut Random) -> (State, Vec<Ballot>) {
    let truth = random.below(3);
    // An indicator that copies a common one with chance c has correlation c² with another; the same for which of the
    // two wrong votes it is, where agreement is (1 + c²) / 2.
    let (copies, copies_vote) = (PHI.sqrt(), (2.0 * SAME_WRONG - 1.0).sqrt());
    let common_wrong = random.share() >= right;
    let common_vote = random.below(2);
    let ballots = panel.iter().map(|expert| {
        let wrong = if random.share() < copies { common_wrong } else { random.share() >= right };
        let other = if random.share() < copies_vote { common_vote } else { random.below(2) };
        let vote = if wrong { (truth + 1 + other) % 3 } else { truth };
        Ballot { expert: expert.clone(), ..ballot("x", "x", STANCES[vote]) }
    });
    (STATES[truth], ballots.collect())
}

/// What panels claim on average and how often they are right, after so many cases with a known outcome.
fn claims_and_hits(size: usize, right: f64, known: usize, seed: u64) -> (f64, f64, f64) {
    let panel: Vec<ExpertId> =
        (0..size).map(|at| expert(&format!("e{at}"), &format!("family{at}"))).collect();
    let policy = Policy::default();
    let mut records = Records::default();
    let mut random = Random(seed);
    for _ in 0..known {
        let (truth, ballots) = case(&panel, right, &mut random);
        records.learn(&ballots, truth, &policy);
    }
    const CASES: usize = 3000;
    let (mut claimed, mut naive, mut hits) = (0.0, 0.0, 0.0);
    for _ in 0..CASES {
        let (truth, ballots) = case(&panel, right, &mut random);
        let opinion = weigh(&Facts::default(), &ballots, &records, &policy);
        let top = |shares: &std::collections::BTreeMap<String, f64>| {
            shares
                .iter()
                .map(|(state, share)| (state.clone(), *share))
                .fold((String::new(), 0.0), |best, one| if one.1 > best.1 { one } else { best })
        };
        let (state, share) = top(&opinion.posterior);
        claimed += share / CASES as f64;
        naive += top(&opinion.untempered).1 / CASES as f64;
        hits += f64::from(u8::from(state == opinion::policy::STATES[truth.index()])) / CASES as f64;
    }
    (claimed, naive, hits)
}

#[test]
fn what_correlated_panels_claim_is_how_often_they_are_right() {
    for (size, right) in [(3, 0.75), (5, 0.85), (9, 0.8)] {
        let (claimed, naive, hits) = claims_and_hits(size, right, 300, 12);

        println!(
            "{size} experts, {right} right: claimed {claimed:.3}, untempered {naive:.3}, right {hits:.3}"
        );
        assert!((claimed - hits).abs() <= 0.05, "{size} at {right}: {claimed:.3} against {hits:.3}");
        assert!(naive - hits > claimed - hits, "tempering changed nothing");
    }
}

/// What panels of experts without a record claim, how often they are right, and the calibration error over ten bins.
fn first_day(size: usize, right: f64, seed: u64) -> (f64, f64, f64) {
    let panel: Vec<ExpertId> =
        (0..size).map(|at| expert(&format!("e{at}"), &format!("family{at}"))).collect();
    let (records, policy, mut random) = (Records::default(), Policy::default(), Random(seed));
    const CASES: usize = 4000;
    let (mut claimed, mut hits, mut bins) = (0.0, 0.0, [(0.0, 0.0); 10]);
    for _ in 0..CASES {
        let (truth, ballots) = case(&panel, right, &mut random);
        let posterior = weigh(&Facts::default(), &ballots, &records, &policy).posterior;
        let most = posterior.values().copied().fold(0.0, f64::max);
        let first: Vec<&String> =
            posterior.iter().filter(|(_, share)| **share > most - 1e-9).map(|(state, _)| state).collect();
        let named = first.contains(&&opinion::policy::STATES[truth.index()].to_owned());
        let hit = if named { 1.0 / first.len() as f64 } else { 0.0 };
        claimed += most / CASES as f64;
        hits += hit / CASES as f64;
        let bin = &mut bins[((most * 10.0) as usize).min(9)];
        (bin.0, bin.1) = (bin.0 + most, bin.1 + hit);
    }
    let error = bins.iter().map(|(said, hit): &(f64, f64)| (said - hit).abs()).sum::<f64>() / CASES as f64;
    (claimed, hits, error)
}

#[test]
fn panels_claim_from_the_first_day_how_often_they_are_right() {
    for (size, right) in [(2, 0.8), (3, 0.8), (5, 0.8), (2, 0.75), (3, 0.75), (5, 0.75)] {
        let (claimed, hits, error) = first_day(size, right, 7);

        println!(
            "{size} experts, {right} right: claimed {claimed:.3}, right {hits:.3}, calibration error {error:.3}"
        );
        assert!((claimed - hits).abs() <= 0.06, "{size} at {right}: {claimed:.3} against {hits:.3}");
        assert!(error <= 0.10, "{size} at {right}: {error:.3}");
    }
}

#[test]
fn more_of_the_same_family_do_not_make_it_surer() {
    let decide = |members: usize| {
        let mut ballots: Vec<Ballot> =
            (0..members).map(|at| ballot(&format!("a{at}"), "x", Stance::Approve)).collect();
        ballots.push(ballot("z", "y", Stance::Approve));
        weigh(&Facts::default(), &ballots, &Records::default(), &Policy::default())
    };

    assert!(decide(9).effective_votes < decide(1).effective_votes + 0.5);
    assert!(decide(9).posterior["safe"] < 0.99, "{:?}", decide(9).posterior);
}
