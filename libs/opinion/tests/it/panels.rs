//! The failure cases of a panel, each as a property.

use model::expert::{Action, AnswerStatus, Ballot, Opinion, Stance};
use opinion::{Facts, Policy, Records, Risk, State, can_missing_change, weigh};
use proptest::prelude::*;

use crate::circle::{Random, answer, ballot, blocking, expert, failed, saying, seasoned};

fn opinion(ballots: &[Ballot]) -> Opinion {
    weigh(&Facts::default(), ballots, &Records::default(), &Policy::default())
}

fn numbers(opinion: &Opinion) -> Vec<f64> {
    let maps = [
        &opinion.posterior,
        &opinion.untempered,
        &opinion.expected_loss,
        &opinion.vote_share,
        &opinion.agreement_share,
        &opinion.weights,
    ];
    let single = [opinion.tempering, opinion.effective_votes, opinion.entropy];
    maps.into_iter().flat_map(|map| map.values().copied()).chain(single).collect()
}

#[test]
fn two_families_that_agree_approve_and_show_what_they_are_worth() {
    let opinion = opinion(&[ballot("a", "x", Stance::Approve), ballot("b", "y", Stance::Approve)]);

    assert_eq!(opinion.action, Action::Approve, "{}", opinion.reason);
    assert!((opinion.effective_votes - 2.0 / 1.5).abs() < 1e-9);
    assert!((opinion.posterior["safe"] - 0.857).abs() < 0.001, "{:?}", opinion.posterior);
    assert!(opinion.reason.contains("safe 86 % (57 to 96 % by 0 known outcomes)"), "{}", opinion.reason);
    assert_eq!(opinion.correlation, (0.5, 0.65));
}

#[test]
fn unanimous_families_claim_on_the_first_day_what_a_beta_binomial_says() {
    for (families, share) in [(2, 0.857), (3, 0.884), (5, 0.912), (9, 0.936)] {
        let names: Vec<String> = (0..families).map(|at| format!("e{at}")).collect();
        let approve: Vec<Ballot> = names.iter().map(|name| ballot(name, name, Stance::Approve)).collect();
        let reject: Vec<Ballot> = names.iter().map(|name| ballot(name, name, Stance::Reject)).collect();

        let (safe, not_safe) = (opinion(&approve).posterior["safe"], opinion(&reject).posterior["unsafe"]);

        assert!(
            (safe - share).abs() < 0.001 && (not_safe - share).abs() < 0.001,
            "{families}: {safe} {not_safe}"
        );
    }
}

#[test]
fn nobody_and_one_expert_are_no_quorum() {
    assert_eq!(opinion(&[]).action, Action::NoQuorum);
    assert_eq!(opinion(&[ballot("a", "x", Stance::Approve)]).action, Action::NoQuorum);
}

#[test]
fn when_all_abstain_there_is_no_opinion() {
    let ballots = [ballot("a", "x", Stance::Abstain), ballot("b", "y", Stance::Abstain)];

    let opinion = opinion(&ballots);

    assert_eq!((opinion.action, opinion.cause.as_str()), (Action::NoQuorum, "all_abstained"));
}

#[test]
fn one_family_alone_never_approves_but_rules_may() {
    let of = |family: &str| ["a", "b", "c"].map(|name| ballot(name, family, Stance::Approve));

    assert_eq!(opinion(&of("x")).cause, "one_family");
    assert_eq!(opinion(&of("rules")).action, Action::Approve);
    assert_eq!(opinion(&of("rulesque")).cause, "one_family");
}

#[test]
fn two_families_that_contradict_each_other_do_not_approve() {
    let opinion = opinion(&[ballot("a", "x", Stance::Approve), ballot("b", "y", Stance::Reject)]);

    assert_ne!(opinion.action, Action::Approve);
    assert!(opinion.entropy > 0.5);
    assert_eq!(opinion.dissent.len(), 1);
}

#[test]
fn failures_are_missing_and_never_a_no() {
    let mut ballots = vec![ballot("a", "x", Stance::Approve), ballot("b", "y", Stance::Approve)];
    let all = opinion(&ballots);
    ballots.push(failed("c", "z", AnswerStatus::Timeout));
    ballots.push(failed("d", "w", AnswerStatus::RateLimited));
    let half = opinion(&ballots);
    ballots.push(failed("e", "v", AnswerStatus::Refused));
    let less = opinion(&ballots);

    assert_eq!(half.action, Action::Approve);
    assert_eq!(half.posterior, all.posterior);
    assert_eq!(less.action, Action::NoQuorum);
    assert_eq!(less.reason, "2 of 3 answers needed (1 rate limited, 1 refused, 1 timeout)");
}

#[test]
fn a_late_answer_is_not_counted() {
    let mut ballots = vec![ballot("a", "x", Stance::Approve), ballot("b", "y", Stance::Approve)];
    let without = opinion(&ballots);
    let mut late = ballot("c", "z", Stance::Reject);
    late.late = true;
    ballots.push(late);

    let with = opinion(&ballots);

    assert_eq!(with.posterior, without.posterior);
    assert_eq!(with.votes, 2);
}

#[test]
fn an_expert_registered_twice_weighs_once() {
    let mut ballots = vec![
        ballot("a", "x", Stance::Approve),
        ballot("b", "y", Stance::Reject),
        ballot("c", "z", Stance::Reject),
    ];
    let once = opinion(&ballots);
    ballots.push(ballots[0].clone());
    let same_name = opinion(&ballots);
    ballots[3].expert.name = "alias".parse().unwrap();
    let same_version = opinion(&ballots);

    assert_eq!(once.posterior, same_name.posterior);
    assert_eq!(once.posterior, same_version.posterior);
    assert_eq!(once.effective_votes, same_version.effective_votes);
}

#[test]
fn three_wrong_experts_of_one_family_cannot_approve_against_two_others() {
    for records in [Records::default(), seasoned(&circle(), 300, 0.85, 1)] {
        let mut ballots: Vec<Ballot> = ["a", "b", "c"].map(|name| ballot(name, "x", Stance::Approve)).into();
        ballots.push(ballot("d", "y", Stance::Reject));
        ballots.push(ballot("e", "z", Stance::Reject));

        let opinion = weigh(&Facts::default(), &ballots, &records, &Policy::default());

        assert_ne!(opinion.action, Action::Approve, "{}", opinion.reason);
    }
}

fn circle() -> Vec<model::expert::ExpertId> {
    vec![expert("a", "x"), expert("b", "x"), expert("c", "x"), expert("d", "y"), expert("e", "z")]
}

#[test]
fn an_expert_that_always_approves_loses_its_weight() {
    let parrot = expert("parrot", "p");
    let mut random = Random(4);
    let mut records = Records::default();
    let mut weights = Vec::new();
    for case in 0..600 {
        let truth = [State::Safe, State::Unsafe, State::Fixable][random.below(3)];
        let mut one = ballot("parrot", "p", Stance::Approve);
        one.expert = parrot.clone();
        let ballots = [one, ballot("b", "y", Stance::Approve)];
        if case % 200 == 199 {
            let opinion = weigh(&Facts::default(), &ballots, &records, &Policy::default());
            weights.push(opinion.weights["parrot"] / opinion.tempering);
        }
        records.learn(&ballots[..1], truth, &Policy::default());
    }

    assert!(weights.iter().all(|weight| weight.abs() < 0.2), "{weights:?}");
}

#[test]
fn stated_confidence_has_no_effect_before_it_has_proved_itself() {
    let ballots = |confidence: u8| {
        let mut ballots = vec![ballot("a", "x", Stance::Approve), ballot("b", "y", Stance::NeedsChange)];
        ballots[0].answer.as_mut().unwrap().confidence_pct = confidence;
        ballots
    };

    assert_eq!(opinion(&ballots(0)).posterior, opinion(&ballots(100)).posterior);
    assert_eq!(opinion(&ballots(100)).posterior, opinion(&ballots(255)).posterior);
}

#[test]
fn stated_confidence_counts_once_it_has_proved_itself() {
    let mut records = Records::default();
    // Sure when right, unsure when wrong.
    for case in 0..240 {
        let truth = [State::Safe, State::Unsafe, State::Fixable][case % 3];
        let right = case % 4 != 0;
        let vote = if right { case % 3 } else { (case + 1) % 3 };
        let mut one = ballot("a", "x", [Stance::Approve, Stance::Reject, Stance::NeedsChange][vote]);
        one.answer.as_mut().unwrap().confidence_pct = if right { 95 } else { 50 };
        records.learn(&[one], truth, &Policy::default());
    }
    let weight = |confidence: u8| {
        let mut ballots = [ballot("a", "x", Stance::Approve), ballot("b", "y", Stance::Approve)];
        ballots[0].answer.as_mut().unwrap().confidence_pct = confidence;
        weigh(&Facts::default(), &ballots, &records, &Policy::default()).weights["a"]
    };

    assert!(
        weight(95) > weight(80) && weight(80) > weight(50),
        "{} {} {}",
        weight(95),
        weight(80),
        weight(50)
    );
}

#[test]
fn a_blocking_finding_counts_only_with_real_evidence() {
    let facts = Facts { evidence: vec!["plan".to_owned()], ..Facts::default() };
    let decide = |reference: &str| {
        let ballots = [
            blocking(ballot("a", "x", Stance::Approve), reference),
            ballot("b", "y", Stance::Approve),
            ballot("c", "z", Stance::Approve),
        ];
        weigh(&facts, &ballots, &Records::default(), &Policy::default())
    };

    assert_eq!(decide("plan").action, Action::NeedsChange);
    assert_eq!(decide("plan").cause, "blocking_finding");
    assert!(
        decide("plan")
            .reason
            .contains("a found something blocking whose evidence exists, which outranks all votes")
    );
    assert_eq!(decide("plan").turns_without, [("a".to_owned(), Action::Approve)].into());
    assert_eq!(decide("invented").action, Action::Approve);
    assert_eq!(decide("").action, Action::Approve);
}

#[test]
fn a_failed_gate_outranks_every_vote() {
    let facts = Facts { failed_gates: vec!["signature".to_owned()], ..Facts::default() };
    let ballots = ["a", "b", "c", "d"].map(|name| ballot(name, name, Stance::Approve));

    let opinion = weigh(&facts, &ballots, &Records::default(), &Policy::default());

    assert_eq!((opinion.action, opinion.cause.as_str()), (Action::Reject, "failed_gate"));
}

#[test]
fn what_one_expert_decides_goes_to_a_human_when_much_is_at_stake() {
    let ballots = [ballot("a", "x", Stance::Approve), ballot("b", "y", Stance::Approve)];
    let decide = |risk| {
        let facts = Facts { risk, ..Facts::default() };
        weigh(&facts, &ballots, &Records::default(), &Policy::default())
    };

    assert_eq!(decide(Risk::Low).action, Action::Approve);
    let turns: Vec<String> = decide(Risk::Low).turns_without.into_keys().collect();
    assert_eq!(turns, ["a", "b"]);
    assert_eq!(decide(Risk::High).action, Action::Escalate);
    assert_eq!(decide(Risk::High).cause, "fragile");
}

const DICTATED: &str =
    "The deployment is safe and all checks are green, so it should be approved without any delay.";

#[test]
fn the_same_words_from_two_families_raise_an_alarm_and_do_not_approve() {
    let one = saying(ballot("a", "x", Stance::Approve), DICTATED);
    let other =
        |family: &str| saying(ballot("b", family, Stance::Approve), &DICTATED.replace("any ", "ANY  "));

    let across = opinion(&[one.clone(), other("y"), ballot("c", "z", Stance::Approve)]);
    let within = opinion(&[one, other("x"), ballot("c", "z", Stance::Approve)]);

    assert_eq!(across.cause, "dictated");
    assert_eq!(across.alarms.len(), 1, "{:?}", across.alarms);
    assert_eq!((within.action, within.alarms.len()), (Action::Approve, 0));
}

#[test]
fn rules_may_write_alike() {
    let ballots = ["a", "b"].map(|name| {
        saying(ballot(name, if name == "a" { "rules-slo" } else { "rules-cost" }, Stance::Approve), DICTATED)
    });

    assert_eq!(opinion(&ballots).action, Action::Approve);
}

#[test]
fn dissent_quotes_the_most_central_of_the_minority_by_its_author() {
    let words = [
        "the migration drops a column that the running revision still reads",
        "the migration drops a column that is still read by the running revision",
        "dropping that column breaks the running revision, which still reads the column in the migration",
    ];
    let mut ballots: Vec<Ballot> =
        ["a", "b", "c", "d"].map(|name| ballot(name, name, Stance::Approve)).into();
    for (name, words) in ["e", "f"].iter().zip(words) {
        ballots.push(saying(ballot(name, "w", Stance::Reject), words));
    }
    ballots.push(saying(ballot("g", "v", Stance::NeedsChange), "no alert watches the new queue"));

    let opinion = opinion(&ballots);

    assert_eq!(opinion.dissent.len(), 2, "{:?}", opinion.dissent);
    assert_eq!(opinion.dissent[0].experts, ["e", "f"]);
    assert!(words.contains(&opinion.dissent[0].quote.as_str()));
    assert_eq!(opinion.dissent[1].quoted, "g");
}

#[test]
fn canary_shares_are_a_careful_quantile_within_policy() {
    let with = |name: &str, steps: &[u16], minutes: u32| {
        let mut one = ballot(name, name, Stance::Approve);
        let answer = one.answer.as_mut().unwrap();
        (answer.canary_steps_pct, answer.bake_minutes) = (steps.to_vec(), minutes);
        one
    };
    let ballots = [
        with("a", &[10, 50, 100], 10),
        with("b", &[5, 20, 100], 20),
        with("c", &[25, 100], 15),
        with("d", &[100], 1_000_000),
        with("e", &[8, 30, 60, 100], 12),
    ];

    let opinion = opinion(&ballots);

    assert_eq!(opinion.canary_steps_pct, [8, 30, 100]);
    assert_eq!(opinion.bake_minutes, 20);
}

#[test]
fn an_early_end_is_sound() {
    let records = seasoned(&circle(), 300, 0.9, 9);
    let policy = Policy::default();
    let facts = Facts::default();
    let stances = [Stance::Approve, Stance::Reject, Stance::NeedsChange, Stance::Abstain];
    let (mut stopped, mut random) = (0, Random(2));
    for _ in 0..300 {
        let mut ballots: Vec<Ballot> = Vec::new();
        for one in circle() {
            let mut made = ballot("x", "x", stances[[0, 1, 1, 1, 2, 3][random.below(6)]]);
            made.expert = one;
            ballots.push(made);
        }
        random.shuffle(&mut ballots);
        let present = 2 + random.below(3);
        let missing: Vec<_> = ballots[present..].iter().map(|one| one.expert.clone()).collect();
        if can_missing_change(&facts, &ballots[..present], &missing, &records, &policy) {
            continue;
        }
        stopped += 1;
        let mut early = ballots[..present].to_vec();
        early.extend(ballots[present..].iter().map(|one| Ballot {
            status: AnswerStatus::Timeout,
            answer: None,
            ..one.clone()
        }));
        let early = weigh(&facts, &early, &records, &policy).action;
        let all = weigh(&facts, &ballots, &records, &policy).action;
        assert_eq!(early, all, "{ballots:?}");
    }
    assert!(stopped > 10, "only {stopped} panels could end early, so nothing was shown");
}

#[test]
fn nothing_missing_changes_nothing() {
    let ballots = [ballot("a", "x", Stance::Approve)];

    assert!(!can_missing_change(&Facts::default(), &ballots, &[], &Records::default(), &Policy::default()));
}

fn any_ballot() -> impl Strategy<Value = Ballot> {
    let names = prop::sample::select(vec!["a", "b", "c", "d", "e", "f"]);
    let families = prop::sample::select(vec!["x", "y", "z", "rules"]);
    let stance =
        prop::sample::select(vec![Stance::Approve, Stance::Reject, Stance::NeedsChange, Stance::Abstain]);
    let status = prop::sample::select(vec![
        AnswerStatus::Ok,
        AnswerStatus::Ok,
        AnswerStatus::Ok,
        AnswerStatus::Abstained,
        AnswerStatus::Timeout,
        AnswerStatus::SchemaInvalid,
    ]);
    let steps = prop::collection::vec(any::<u16>(), 0..6);
    let text = prop::collection::vec(
        prop::sample::select(vec!["safe ", "unsafe ", "\u{202e}", "drop the column ", "42 "]),
        0..40,
    );
    (names, families, stance, status, steps, text, any::<u8>(), any::<u32>(), any::<bool>()).prop_map(
        |(name, family, stance, status, steps, text, confidence, minutes, blocks)| {
            let mut one = ballot(name, family, stance);
            one.status = status;
            let mut answer = answer(stance);
            answer.canary_steps_pct = steps;
            answer.bake_minutes = minutes;
            answer.confidence_pct = confidence;
            answer.rationale = text.concat();
            one.answer = (confidence % 7 != 0).then_some(answer);
            if blocks && one.answer.is_some() { blocking(one, "plan") } else { one }
        },
    )
}

fn any_facts() -> impl Strategy<Value = Facts> {
    (any::<bool>(), any::<bool>(), prop::sample::select(vec![Risk::Low, Risk::Medium, Risk::High])).prop_map(
        |(evidence, gate, risk)| Facts {
            evidence: if evidence { vec!["plan".to_owned()] } else { Vec::new() },
            failed_gates: if gate { vec!["policy".to_owned()] } else { Vec::new() },
            risk,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_order_of_ballots_does_not_matter(
        ballots in prop::collection::vec(any_ballot(), 0..12), facts in any_facts(), seed in any::<u64>(),
    ) {
        let mut other = ballots.clone();
        Random(seed).shuffle(&mut other);
        let policy = Policy::default();

        prop_assert_eq!(
            weigh(&facts, &ballots, &Records::default(), &policy),
            weigh(&facts, &other, &Records::default(), &policy)
        );
    }

    #[test]
    fn every_number_is_finite_and_shares_sum_to_one(
        ballots in prop::collection::vec(any_ballot(), 0..12), facts in any_facts(),
        prior in prop::array::uniform3(prop::sample::select(vec![0.0, 1e-300, 1.0, 1e300, f64::NAN, f64::INFINITY, -1.0])),
        counts in prop::sample::select(vec![0.0, 1.0, 1e6, 1e300, f64::NAN, f64::INFINITY, -5.0]),
        temper in prop::sample::select(vec![None, Some(0.03), Some(f64::NAN), Some(f64::INFINITY), Some(-1.0)]),
    ) {
        let mut policy = Policy::default();
        (policy.prior.safe, policy.prior.not_safe, policy.prior.fixable) = (prior[0], prior[1], prior[2]);
        let mut records = Records { temper, ..Records::default() };
        for ballot in &ballots {
            let family = records.families.entry(ballot.expert.family.to_string()).or_default();
            let record = family.entry(ballot.expert.version.clone()).or_default();
            record.counts = [[counts; 3]; 3];
            record.by_confidence = [[[counts; 3]; 3]; 3];
            (record.agreed, record.compared) = (counts, 1.0);
        }

        let opinion = weigh(&facts, &ballots, &records, &policy);

        prop_assert!(numbers(&opinion).iter().all(|one| one.is_finite()), "{:?}", opinion);
        for shares in [&opinion.posterior, &opinion.untempered] {
            prop_assert!((shares.values().sum::<f64>() - 1.0).abs() < 1e-9);
        }
        for shares in [&opinion.vote_share, &opinion.agreement_share] {
            prop_assert!(shares.is_empty() || (shares.values().sum::<f64>() - 1.0).abs() < 1e-9);
        }
        prop_assert!((0.0..=1.0).contains(&opinion.entropy));
        prop_assert!(opinion.effective_votes <= f64::from(opinion.votes) + 1e-9);
    }

    #[test]
    fn recommendations_stay_within_policy(ballots in prop::collection::vec(any_ballot(), 0..12)) {
        let policy = Policy::default();

        let opinion = opinion(&ballots);

        let steps = &opinion.canary_steps_pct;
        prop_assert!(!steps.is_empty() && steps.len() <= usize::from(policy.canary_steps_at_most));
        prop_assert!(steps[0] <= policy.canary_first_at_most);
        prop_assert!(steps.windows(2).all(|pair| pair[0] < pair[1]) && steps.iter().all(|one| (1..=100).contains(one)));
        prop_assert!((policy.bake_at_least..=policy.bake_at_most).contains(&opinion.bake_minutes));
    }

    #[test]
    fn an_approval_has_a_quorum_two_families_and_nothing_against_it(
        ballots in prop::collection::vec(any_ballot(), 0..12), facts in any_facts(),
    ) {
        let opinion = weigh(&facts, &ballots, &Records::default(), &Policy::default());

        if opinion.action == Action::Approve {
            prop_assert!(facts.failed_gates.is_empty());
            prop_assert!(opinion.votes >= 2 || ballots.iter().any(|one| one.status == AnswerStatus::Abstained));
            // 8 times the chance of harm and 3 times that of a cure are less than that of all being well.
            prop_assert!(opinion.posterior["unsafe"] < 1.0 / 9.0);
            prop_assert!(facts.risk == Risk::Low || opinion.turns_without.is_empty());
        }
    }
}
