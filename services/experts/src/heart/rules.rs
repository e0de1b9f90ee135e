//! Experts that are rules, not models: deterministic checks that answer in the same closed schema.
//!
//! They serve when no model is configured, and are labelled wherever they appear: family `rules-<name>`, source
//! `rules`. Each looks at another side of the plan, so each is a family of its own; what they share is that they see
//! only what is in the spec, the plan and the findings. The same question gives the same answer for ever, which
//! `codectl experts replay` checks.

mod capacity;
mod cost;
mod reliability;
mod rollback;
mod security;

use model::{
    DeploymentSpec, Plan,
    command::ReviewReply,
    expert::{Advice, Answer, ExpertId, Observation, Question, Stance, Topic, Weight},
    plan::{Change, ModuleChange},
    spec::Module,
};

/// Raised when a rule answers otherwise than before: its record begins anew.
const VERSION: &str = "1";
/// What rules say about how sure they are. Not used before outcomes have calibrated it.
const CONFIDENCE: u8 = 80;
/// Most findings of one rule expert; the rest is counted.
const MOST: usize = 20;

/// One expert that is a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Health checks, gates, replicas, gaps.
    Reliability,
    /// Waivers, rights, new doors.
    Security,
    /// Limits, replicas, what is left while instances move.
    Capacity,
    /// What it takes more than before.
    Cost,
    /// Whether the way back leads somewhere.
    RollbackSafety,
}

impl Rule {
    /// All of them, in the order of the panel.
    pub const ALL: [Rule; 5] =
        [Rule::Reliability, Rule::Security, Rule::Capacity, Rule::Cost, Rule::RollbackSafety];

    /// The expert's name.
    pub const fn name(self) -> &'static str {
        match self {
            Rule::Reliability => "reliability",
            Rule::Security => "security",
            Rule::Capacity => "capacity",
            Rule::Cost => "cost",
            Rule::RollbackSafety => "rollback-safety",
        }
    }

    /// Who it is, as it stands in ballots.
    pub fn id(self) -> ExpertId {
        let token = |text: String| {
            #[allow(clippy::expect_used, reason = "constants that match the grammar")]
            text.parse().expect("a token")
        };
        ExpertId {
            name: token(self.name().to_owned()),
            family: token(format!("rules-{}", self.name())),
            version: VERSION.to_owned(),
        }
    }

    /// The rule behind an expert, if it is one.
    pub fn of(expert: &ExpertId) -> Option<Rule> {
        Rule::ALL.into_iter().find(|rule| rule.id() == *expert)
    }

    /// The answer to a question. It reads the exhibits of the kinds `spec`, `baseline`, `plan` and `findings`; without
    /// a spec and a plan it abstains.
    pub fn answer(self, question: &Question, nonce: &str) -> Answer {
        let Some(sight) = Sight::of(question) else { return abstained(self, nonce) };
        let mut said = Said::default();
        match self {
            Rule::Reliability => reliability::judge(&sight, &mut said),
            Rule::Security => security::judge(&sight, &mut said),
            Rule::Capacity => capacity::judge(&sight, &mut said),
            Rule::Cost => cost::judge(&sight, &mut said),
            Rule::RollbackSafety => rollback::judge(&sight, &mut said),
        }
        said.answer(self, nonce)
    }
}

fn abstained(rule: Rule, nonce: &str) -> Answer {
    Answer {
        nonce: nonce.to_owned(),
        verdict: Stance::Abstain,
        confidence_pct: CONFIDENCE,
        findings: Vec::new(),
        strategy: Advice::None,
        strategy_ranking: Vec::new(),
        canary_steps_pct: Vec::new(),
        bake_minutes: 0,
        rationale: format!(
            "The rules for {} read a spec and a plan; this question has none that they can read.",
            rule.name()
        ),
    }
}

/// What a rule can look at.
struct Sight {
    spec: DeploymentSpec,
    baseline: Option<DeploymentSpec>,
    plan: Plan,
    reviews: Vec<ReviewReply>,
}

impl Sight {
    fn of(question: &Question) -> Option<Sight> {
        let text = |kind: &str| {
            question
                .evidence
                .iter()
                .find(|exhibit| exhibit.kind.as_str() == kind)
                .map(|exhibit| exhibit.text.as_str())
        };
        Some(Sight {
            spec: serde_json::from_str(text("spec")?).ok()?,
            plan: serde_json::from_str(text("plan")?).ok()?,
            baseline: text("baseline").and_then(|text| serde_json::from_str(text).ok()),
            reviews: text("findings").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
        })
    }

    /// The modules that are created or changed, with what ran before and what happens to them.
    fn moving(&self) -> impl Iterator<Item = (&Module, Option<&Module>, &ModuleChange)> {
        self.plan.changes.iter().filter_map(|change| {
            let module = self.spec.module(&change.module)?;
            (change.change != Change::Keep).then_some((module, self.before(module), change))
        })
    }

    fn before(&self, module: &Module) -> Option<&Module> {
        self.baseline.as_ref()?.module(&module.name)
    }

    /// People depend on it.
    fn is_production(&self) -> bool {
        let environment = self.spec.environment.as_str();
        environment == "prod" || environment == "live" || environment.starts_with("production")
    }

    /// Something only costs a remark elsewhere that costs a change in production.
    fn weighty(&self) -> Weight {
        if self.is_production() { Weight::Major } else { Weight::Minor }
    }
}

/// What a rule has to say.
#[derive(Default)]
struct Said {
    looked_at: u32,
    findings: Vec<Observation>,
    strategy: Option<Advice>,
    ranking: Vec<Advice>,
    canary: Vec<u16>,
    bake_minutes: u32,
}

impl Said {
    /// One thing was looked at, and there is something to say about it.
    fn find(&mut self, topic: Topic, weight: Weight, evidence: &str, statement: String) {
        self.findings.push(Observation {
            category: topic,
            severity: weight,
            evidence_ref: evidence.to_owned(),
            statement,
        });
    }

    /// One thing was looked at; when it is so, there is something to say about it.
    fn find_if(
        &mut self,
        is_so: bool,
        topic: Topic,
        weight: Weight,
        evidence: &str,
        statement: impl FnOnce() -> String,
    ) {
        self.looked_at += 1;
        if is_so {
            self.find(topic, weight, evidence, statement());
        }
    }

    fn answer(mut self, rule: Rule, nonce: &str) -> Answer {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        let gravest = self.findings.first().map(|finding| finding.severity);
        let verdict = match gravest {
            Some(Weight::Blocking) => Stance::Reject,
            Some(Weight::Major) => Stance::NeedsChange,
            Some(Weight::Minor | Weight::Info) | None => Stance::Approve,
        };
        let rationale = self.rationale(rule);
        self.findings.truncate(MOST);
        Answer {
            nonce: nonce.to_owned(),
            verdict,
            confidence_pct: CONFIDENCE,
            findings: self.findings,
            strategy: self.strategy.unwrap_or(Advice::None),
            strategy_ranking: self.ranking,
            canary_steps_pct: self.canary,
            bake_minutes: self.bake_minutes,
            rationale,
        }
    }

    fn rationale(&self, rule: Rule) -> String {
        let begin = format!("Rules for {}, no model: {} checks", rule.name(), self.looked_at);
        let Some(first) = self.findings.first() else { return format!("{begin}, nothing to remark.") };
        let more = match self.findings.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{begin}; {}: {}{more}.", first.severity.as_str(), first.statement)
    }
}

#[cfg(test)]
mod tests;
