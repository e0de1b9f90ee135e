//! What the tests share: an organisation with people in it.

use std::{collections::BTreeSet, time::Duration};

use model::{Digest, Timestamp};
use policy::{Action, Decision, Facts, PlanFacts, Question, Rights, Source, Subject, Verdict};

/// Monday, 2026-01-05T12:00:00Z.
pub const NOON: Timestamp = Timestamp(1_767_614_400_000);

pub const GRANTS: &str = r#"
[[grant]]
to = "user:acme/ann"
role = "deployer"
on = "acme/shop"

[[grant]]
to = "group:acme/reviewers"
role = "approver"
on = "acme/shop/prod"

[[grant]]
to = "user:acme/olga"
role = "operator"
on = "acme"
until = 2026-01-05T13:00:00Z
reason = "stands in for Otto"

[[grant]]
to = "service-account:acme/ci"
role = "deployer"
on = "acme/shop/test"

[[grant]]
to = "user:other/eve"
role = "admin"
on = "other"
"#;

pub fn rights(policies: &str) -> Rights {
    let files = [Source::new("grants.toml", GRANTS), Source::new("ours.cedar", policies)];
    policy::load(&files).unwrap_or_else(|flaws| panic!("{}", flaws[0]))
}

pub fn somebody(text: &str) -> Subject {
    text.parse().unwrap()
}

/// Facts with a factor that is fresh.
pub fn facts() -> Facts {
    Facts {
        now: NOON,
        mfa: true,
        login_age: Some(Duration::from_secs(60)),
        factor_age: Some(Duration::from_secs(60)),
        plan: Some(plan(&["user:acme/paul"])),
        ..Facts::default()
    }
}

pub fn plan(authors: &[&str]) -> PlanFacts {
    PlanFacts {
        authors: authors.iter().map(|author| (*author).to_owned()).collect(),
        digest: Digest::of_bytes(b"a plan"),
        kinds: BTreeSet::from(["update".to_owned()]),
        percent: 10,
        images: BTreeSet::from(["registry.example/web:2".to_owned()]),
        secrets: BTreeSet::new(),
    }
}

pub fn question(who: &Subject, action: Action, on: &str, facts: Facts) -> Question {
    Question { subject: who.clone(), action, place: on.parse().unwrap(), facts }
}

pub fn ask(rights: &Rights, who: &str, action: Action, on: &str) -> Decision {
    rights.authorize(&question(&somebody(who), action, on, facts()))
}

pub fn because(decision: &Decision) -> Vec<&str> {
    decision.determining.iter().map(|reason| reason.policy.as_str()).collect()
}

#[track_caller]
pub fn assert_verdict(decision: &Decision, verdict: Verdict) {
    assert_eq!(decision.decision, verdict, "{decision:#?}");
}
