//! A plan as a question, and a consultation as advice on it.

use std::collections::BTreeMap;

use model::{
    Digest, Token,
    expert::{
        AnswerStatus, Ballot, Concern, Consultation, Exhibit, Matter, PlanAdvice, Question, Topic, Voice,
        Weight,
    },
};
use opinion::Risk;

use super::question::beginning;

/// Most findings in advice.
const FINDINGS: usize = 20;
/// Longest statement and reason in advice, in characters.
const STATEMENT: usize = 300;
const REASONS: usize = 160;

/// The question about a plan. Exhibits that do not fit together are left out, the largest first, and that is said.
pub fn question(matter: &Matter, deadline_ms: u64, evidence_bytes: usize) -> Question {
    let exhibit = |name: &str, text: Option<String>| {
        let id: Token = name.parse().ok()?;
        Some(Exhibit { kind: id.clone(), id, text: text? })
    };
    let json = |value: &dyn erased::Json| Some(value.json());
    let mut evidence: Vec<Exhibit> = [
        exhibit("spec", json(&*matter.spec)),
        exhibit("plan", json(&*matter.plan)),
        exhibit("baseline", matter.baseline.as_deref().and_then(|baseline| json(baseline))),
        exhibit("findings", json(&matter.findings)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut constraints = vec![
        "a rollback returns to the baseline; what cannot be undone needs a person".to_owned(),
        match failed_gates(matter).len() {
            0 => "checks by agents have passed; their findings are the exhibit `findings`".to_owned(),
            failed => {
                format!("{failed} checks by agents have failed; their findings are the exhibit `findings`")
            }
        },
    ];
    while evidence.iter().map(|exhibit| exhibit.text.len()).sum::<usize>() > evidence_bytes {
        let largest = (0..evidence.len()).max_by_key(|place| evidence[*place].text.len());
        let Some(gone) = largest.map(|place| evidence.remove(place)) else { break };
        constraints.push(format!(
            "the exhibit {} is not shown: {} bytes are too much",
            gone.id,
            gone.text.len()
        ));
    }
    let spec = &matter.spec;
    let modules: Vec<String> =
        spec.modules.iter().map(|module| format!("{} {}", module.name, module.version)).collect();
    Question {
        id: matter.question.to_string(),
        text: format!(
            "Should the deployment of {} ({}) to {} go on as planned? Judge strategy, security configuration, scaling \
             and performance, and the way back.",
            spec.name,
            beginning(&modules.join(", "), 200),
            spec.target_id()
        ),
        evidence,
        constraints,
        deadline_ms,
        budget_micro_usd: None,
        panel: Vec::new(),
        fresh: false,
    }
}

/// JSON of values of different types.
mod erased {
    pub trait Json {
        fn json(&self) -> String;
    }

    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> String {
            serde_json::to_string(self).unwrap_or_default()
        }
    }
}

/// How much is at stake: a single voice must not decide on production.
pub fn risk(environment: &str) -> Risk {
    let is_production =
        environment == "prod" || environment == "live" || environment.starts_with("production");
    if is_production { Risk::Medium } else { Risk::Low }
}

/// The checks that would refuse the plan, as `agent: why`. A deployment is asked about only after all have passed; a
/// plan that is looked at may be asked about with some failed.
pub fn failed_gates(matter: &Matter) -> Vec<String> {
    let failed = matter.findings.iter().filter(|review| !review.passed);
    failed.map(|review| format!("{}: {}", review.agent, review.summary)).collect()
}

/// What goes into the journal.
pub fn advice(consultation: &Consultation, stored: Option<Digest>, question: Token) -> PlanAdvice {
    let opinion = &consultation.opinion;
    PlanAdvice {
        question,
        consultation: stored,
        source: source(&consultation.ballots),
        action: opinion.action,
        reason: beginning(&opinion.reason, STATEMENT),
        voices: consultation.ballots.iter().filter(|ballot| !ballot.late).map(voice).collect(),
        findings: concerns(&consultation.ballots),
        votes: opinion.votes,
        effective_votes: opinion.effective_votes,
        turns_without: opinion.turns_without.clone(),
        strategies: opinion.strategies.clone(),
        canary_steps_pct: opinion.canary_steps_pct.clone(),
        bake_minutes: opinion.bake_minutes,
        cost_micro_usd: consultation.cost_micro_usd,
        took_ms: consultation.took_ms,
    }
}

/// Whether rules answered, models, or both.
pub fn source(ballots: &[Ballot]) -> String {
    let answered = |ballot: &&Ballot| matches!(ballot.status, AnswerStatus::Ok | AnswerStatus::Abstained);
    let is_rule = |ballot: &Ballot| ballot.expert.family.as_str().starts_with("rules");
    let rules = ballots.iter().filter(answered).any(is_rule);
    let models = ballots.iter().filter(answered).any(|ballot| !is_rule(ballot));
    match (rules, models) {
        (true, true) => "rules and models",
        (true, false) => "rules",
        (false, true) => "models",
        (false, false) => "nobody",
    }
    .to_owned()
}

fn voice(ballot: &Ballot) -> Voice {
    let text = ballot.answer.as_ref().map_or(&ballot.reason, |answer| &answer.rationale);
    Voice {
        expert: ballot.expert.name.clone(),
        family: ballot.expert.family.clone(),
        status: ballot.status,
        stance: ballot.answer.as_ref().map(|answer| answer.verdict),
        text: beginning(text, REASONS),
    }
}

/// The same finding by several experts is one with several names; the most serious first, then what most found.
fn concerns(ballots: &[Ballot]) -> Vec<Concern> {
    let mut found: BTreeMap<(Topic, String, String), (Weight, Vec<Token>)> = BTreeMap::new();
    let valid = ballots.iter().filter(|ballot| ballot.status == AnswerStatus::Ok && !ballot.late);
    for ballot in valid {
        for finding in ballot.answer.iter().flat_map(|answer| &answer.findings) {
            let key =
                (finding.category, finding.evidence_ref.clone(), beginning(&finding.statement, STATEMENT));
            let (weight, experts) = found.entry(key).or_insert((finding.severity, Vec::new()));
            *weight = (*weight).max(finding.severity);
            if !experts.contains(&ballot.expert.name) {
                experts.push(ballot.expert.name.clone());
            }
        }
    }
    let mut concerns: Vec<Concern> = found
        .into_iter()
        .map(|((topic, evidence, statement), (weight, experts))| Concern {
            topic,
            weight,
            evidence,
            statement,
            experts,
        })
        .collect();
    concerns.sort_by_key(|concern| std::cmp::Reverse((concern.weight, concern.experts.len())));
    concerns.truncate(FINDINGS);
    concerns
}
