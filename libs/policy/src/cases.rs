//! Tests of rights, written by those who write the rights: who, what, where, and what is to be answered and why.

use std::{collections::BTreeMap, time::Duration};

use model::{Digest, Span, Timestamp, Token};
use serde::Deserialize;

use crate::{
    Action, Asked, Decision, Facts, Flaw, Place, PlanFacts, Question, Rights, Source, Subject, Verdict,
};

/// Most cases of one file.
const CASES: usize = 10_000;

/// What came of one case.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The name of the case.
    pub name: String,
    /// Where it begins.
    pub line: usize,
    /// What was answered.
    pub decision: Decision,
    /// What differs from what was expected; empty when it passed.
    pub differences: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    case: Vec<toml::Spanned<Case>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    who: Subject,
    #[serde(default)]
    groups: Vec<Token>,
    action: Action,
    on: Place,
    #[serde(default)]
    facts: Written,
    expect: Verdict,
    /// The policies that decide, all of them.
    #[serde(default)]
    because: Option<Vec<String>>,
    /// What is said to be missing, all of it.
    #[serde(default)]
    missing: Option<Vec<String>>,
}

/// Facts as people write them.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    now: Option<toml::value::Datetime>,
    mfa: bool,
    login_age: Option<Span>,
    factor_age: Option<Span>,
    labels: BTreeMap<String, String>,
    plan: Option<Plan>,
    asked: Asked,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    authors: Vec<String>,
    digest: Option<Digest>,
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default)]
    percent: u8,
    #[serde(default)]
    images: Vec<String>,
    #[serde(default)]
    secrets: Vec<String>,
}

/// The moment of cases that name none: Monday, 2026-01-05T12:00:00Z.
const MONDAY_NOON: Timestamp = Timestamp(1_767_614_400_000);

impl Written {
    fn facts(self) -> Result<Facts, String> {
        let read = |at: toml::value::Datetime| {
            let read = at.to_string().parse::<jiff::Timestamp>();
            read.map(|at| Timestamp(at.as_millisecond()))
                .map_err(|_| format!("facts.now: {at} names no moment"))
        };
        let span = |span: Option<Span>| -> Option<Duration> { Some(span?.0) };
        Ok(Facts {
            now: self.now.map_or(Ok(MONDAY_NOON), read)?,
            mfa: self.mfa,
            login_age: span(self.login_age),
            factor_age: span(self.factor_age),
            labels: self.labels,
            plan: self.plan.map(|plan| PlanFacts {
                authors: plan.authors.into_iter().collect(),
                digest: plan.digest.unwrap_or_else(|| Digest::of_bytes(b"a plan")),
                kinds: plan.kinds.into_iter().collect(),
                percent: plan.percent,
                images: plan.images.into_iter().collect(),
                secrets: plan.secrets.into_iter().collect(),
            }),
            asked: self.asked,
        })
    }
}

/// Asks all that a file of cases asks. A file without a case is a flaw: it would pass without having tested anything.
pub fn check(rights: &Rights, file: &Source) -> Result<Vec<Outcome>, Vec<Flaw>> {
    let flaw = |at: usize, message: String| {
        let cure = "write [[case]] with name, who, action, on, expect, and if wanted groups, facts, because and missing, as docs/rights.md shows";
        vec![Flaw::at(&file.name, &file.text, at, message, cure)]
    };
    let cases: File = toml::from_str(&file.text)
        .map_err(|error| flaw(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
    if !(1..=CASES).contains(&cases.case.len()) {
        return Err(flaw(0, format!("holds {} cases; 1 to {CASES} are taken", cases.case.len())));
    }

    let mut outcomes = Vec::new();
    for case in cases.case {
        let at = case.span().start;
        let case = case.into_inner();
        let facts = case.facts.facts().map_err(|message| flaw(at, message))?;
        let question =
            Question { subject: case.who.in_groups(case.groups), action: case.action, place: case.on, facts };
        let decision = rights.authorize(&question);
        let because: Vec<String> = decision.determining.iter().map(|reason| reason.policy.clone()).collect();
        let mut differences = Vec::new();
        if decision.decision != case.expect {
            differences.push(format!("expected {:?}, was {:?}", case.expect, decision.decision));
        }
        for (what, expected, was) in
            [("because", case.because, &because), ("missing", case.missing, &decision.missing)]
        {
            if let Some(expected) = expected.filter(|expected| expected != was) {
                differences.push(format!("{what}: expected {expected:?}, was {was:?}"));
            }
        }
        let line = file.text.get(..at).unwrap_or_default().matches('\n').count() + 1;
        outcomes.push(Outcome { name: case.name, line, decision, differences });
    }
    Ok(outcomes)
}
