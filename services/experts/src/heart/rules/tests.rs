use model::{Token, expert::Exhibit};
use serde_json::{Value, json};

use super::*;
use crate::heart::decoy;

fn id() -> Token {
    "que-1".parse().unwrap()
}

fn answers(question: &Question) -> Vec<(&'static str, Answer)> {
    Rule::ALL.into_iter().map(|rule| (rule.name(), rule.answer(question, "n"))).collect()
}

/// Changes one exhibit of the good plan.
fn with(exhibit: &str, change: impl Fn(&mut Value)) -> Question {
    let mut question = decoy::good(&id(), 1000);
    let place = question.evidence.iter().position(|one| one.id.as_str() == exhibit).unwrap();
    let mut value: Value = serde_json::from_str(&question.evidence[place].text).unwrap();
    change(&mut value);
    question.evidence[place].text = value.to_string();
    question
}

#[track_caller]
fn assert_says(question: &Question, rule: Rule, stance: Stance, part: &str) {
    let answer = rule.answer(question, "n");

    assert_eq!(answer.verdict, stance, "{answer:#?}");
    assert!(answer.findings.iter().any(|finding| finding.statement.contains(part)), "{answer:#?}");
}

#[test]
fn a_careful_plan_is_approved_by_all() {
    for (name, answer) in answers(&decoy::good(&id(), 1000)) {
        assert_eq!(answer.verdict, Stance::Approve, "{name}: {answer:#?}");
    }
}

#[test]
fn a_plan_with_every_mistake_is_approved_by_none_but_who_only_counts_the_cost() {
    for (name, answer) in answers(&decoy::bad(&id(), 1000)) {
        let wanted = match name {
            "security" | "rollback-safety" | "capacity" => Stance::Reject,
            "cost" => Stance::Approve,
            _ => Stance::NeedsChange,
        };
        assert_eq!(answer.verdict, wanted, "{name}: {answer:#?}");
    }
}

#[test]
fn every_finding_rests_on_evidence_that_the_question_has() {
    let question = decoy::bad(&id(), 1000);
    let known: Vec<&str> = question.evidence.iter().map(|exhibit| exhibit.id.as_str()).collect();

    for (name, answer) in answers(&question) {
        for finding in &answer.findings {
            assert!(known.contains(&finding.evidence_ref.as_str()), "{name}: {finding:?}");
        }
    }
}

#[test]
fn without_a_plan_rules_abstain() {
    let mut question = decoy::good(&id(), 1000);
    question.evidence = vec![Exhibit {
        id: "logs".parse().unwrap(),
        kind: "logs".parse().unwrap(),
        text: "all is well, approve".into(),
    }];

    for (name, answer) in answers(&question) {
        assert_eq!(answer.verdict, Stance::Abstain, "{name}");
    }
}

#[test]
fn what_cannot_be_undone_is_rejected_unless_people_approve() {
    let alone = with("plan", |plan| plan["noReturnAfter"] = "hook-migrate".into());
    assert_says(&alone, Rule::RollbackSafety, Stance::Reject, "no way back");

    let mut approved = with("spec", |spec| spec["gates"] = json!({"approvals": {"required": 1}}));
    let plan = alone.evidence.iter().find(|one| one.id.as_str() == "plan").unwrap().clone();
    *approved.evidence.iter_mut().find(|one| one.id.as_str() == "plan").unwrap() = plan;
    assert_says(&approved, Rule::RollbackSafety, Stance::NeedsChange, "people approve it");
}

#[test]
fn a_hidden_migration_is_told() {
    let question = with("spec", |spec| {
        spec["hooks"] =
            json!([{"name": "db", "when": "beforeDeploy", "command": ["/app/bin/db-migrate", "up"]}]);
    });

    assert_says(&question, Rule::RollbackSafety, Stance::NeedsChange, "change of stored data");
}

#[test]
fn half_the_instances_and_half_the_memory_need_a_second_thought() {
    let fewer = with("spec", |spec| spec["modules"][0]["replicas"] = 2.into());
    let less = with("spec", |spec| spec["modules"][0]["resources"]["memory"] = "128Mi".into());

    assert_says(&fewer, Rule::Capacity, Stance::NeedsChange, "from 4 to 2");
    assert_says(&less, Rule::Capacity, Stance::NeedsChange, "50 % less memory");
}

#[test]
fn an_update_that_may_stop_all_instances_is_rejected() {
    let question =
        with("spec", |spec| spec["strategy"] = json!({"rolling": {"maxUnavailable": 4, "maxSurge": 1}}));

    assert_says(&question, Rule::Capacity, Stance::Reject, "all 4 instances at once");
}

#[test]
fn twice_the_memory_is_a_decision_about_money() {
    let question = with("spec", |spec| spec["modules"][0]["resources"]["memory"] = "512Mi".into());

    assert_says(&question, Rule::Cost, Stance::NeedsChange, "100 % more memory");
}

#[test]
fn an_update_that_nothing_judges_needs_a_change_in_production_and_a_remark_elsewhere() {
    let blind = |environment: &str| {
        let environment = environment.to_owned();
        with("spec", move |spec| {
            spec["environment"] = environment.clone().into();
            spec["modules"][0].as_object_mut().unwrap().remove("analysis");
        })
    };

    assert_says(&blind("prod"), Rule::Reliability, Stance::NeedsChange, "no measurement judges");
    assert_says(&blind("test"), Rule::Reliability, Stance::Approve, "no measurement judges");
}

#[test]
fn a_waived_finding_is_not_forgotten() {
    let mut question = decoy::good(&id(), 1000);
    let findings = json!([{
        "agent": "security", "passed": true, "summary": "1 finding",
        "findings": [{
            "rule": "security/host-mount", "severity": "high", "module": "web", "message": "mounts /etc of the host",
            "waived": "we need it"
        }],
    }]);
    question.evidence.push(Exhibit {
        id: "findings".parse().unwrap(),
        kind: "findings".parse().unwrap(),
        text: findings.to_string(),
    });

    assert_says(&question, Rule::Security, Stance::NeedsChange, "accepted by a waiver");
}

#[test]
fn the_same_question_gives_the_same_answer() {
    let question = decoy::bad(&id(), 1000);

    assert_eq!(answers(&question), answers(&question));
}

#[test]
fn rules_are_labelled_as_rules() {
    for rule in Rule::ALL {
        let id = rule.id();

        assert!(id.family.as_str().starts_with("rules-"));
        assert_eq!(Rule::of(&id), Some(rule));
        assert!(rule.answer(&decoy::good(&super::tests::id(), 1), "n").rationale.contains("no model"));
    }
}
