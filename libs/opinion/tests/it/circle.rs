//! Makes ballots for tests.

use model::expert::{
    Advice, Answer, AnswerStatus, Ballot, ExpertId, Observation, Stance, Topic, Usage, Weight,
};
use opinion::{Policy, Records, State};

pub fn expert(name: &str, family: &str) -> ExpertId {
    ExpertId {
        name: name.parse().unwrap(),
        family: family.parse().unwrap(),
        version: format!("{family}-{name}-1"),
    }
}

pub fn answer(verdict: Stance) -> Answer {
    Answer {
        nonce: "n".to_owned(),
        verdict,
        confidence_pct: 80,
        findings: Vec::new(),
        strategy: Advice::Canary,
        strategy_ranking: Vec::new(),
        canary_steps_pct: Vec::new(),
        bake_minutes: 0,
        rationale: String::new(),
    }
}

pub fn ballot(name: &str, family: &str, verdict: Stance) -> Ballot {
    let status = if verdict == Stance::Abstain { AnswerStatus::Abstained } else { AnswerStatus::Ok };
    Ballot {
        expert: expert(name, family),
        status,
        answer: Some(answer(verdict)),
        reason: String::new(),
        took_ms: 1,
        usage: Usage::default(),
        prompt: None,
        cached: false,
        late: false,
    }
}

pub fn failed(name: &str, family: &str, status: AnswerStatus) -> Ballot {
    Ballot { status, answer: None, ..ballot(name, family, Stance::Abstain) }
}

pub fn saying(mut ballot: Ballot, rationale: &str) -> Ballot {
    ballot.answer.as_mut().unwrap().rationale = rationale.to_owned();
    ballot
}

pub fn blocking(mut ballot: Ballot, evidence: &str) -> Ballot {
    ballot.answer.as_mut().unwrap().findings.push(Observation {
        category: Topic::DataMigration,
        severity: Weight::Blocking,
        evidence_ref: evidence.to_owned(),
        statement: "drops a column that the old revision reads".to_owned(),
    });
    ballot
}

/// Records after these experts met so many cases of each kind and were right with this chance.
pub fn seasoned(experts: &[ExpertId], cases: usize, right: f64, seed: u64) -> Records {
    let mut random = Random(seed);
    let mut records = Records::default();
    for case in 0..cases {
        let truth = [State::Safe, State::Unsafe, State::Fixable][case % 3];
        let ballots: Vec<Ballot> = experts
            .iter()
            .map(|expert| {
                let vote =
                    if random.share() < right { case % 3 } else { (case % 3 + 1 + random.below(2)) % 3 };
                let mut one = ballot("x", "x", [Stance::Approve, Stance::Reject, Stance::NeedsChange][vote]);
                one.expert = expert.clone();
                one
            })
            .collect();
        records.learn(&ballots, truth, &Policy::default());
    }
    records
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}
