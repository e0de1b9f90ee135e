//! Untrue statements, signed with the real keys: by an engine with a fault, or by somebody inside. Whatever the enclosed
//! spec, plan, journal or proof refute is refused, and the reason names the field.

use certificate::{
    At, Certificate, Deployment, Ending, Problem, Story, Trust,
    deployment::{Found, Intervention, Observed},
    verify::check,
};
use model::{
    Digest, Event, GateResult, Outcome, Plan, Record, Severity, StepKind, Timestamp,
    deployment::{CauseKind, Mode},
    expert::{Action, AnswerStatus, PlanAdvice, Stance, Voice},
    spec::GateMode,
    step::StepResult,
};
use serde_json::{Value, json};

use crate::{
    fixture::{BEGAN, NOW, Office, cause, certifier, facts, gate, journal, person, promoted, rolled_back},
    mutations::sign,
    signed::planned_anew,
};

/// A promotion on which experts had to approve, and did.
pub fn advised() -> Vec<Record> {
    let voice = |name: &str, family: &str, stance| Voice {
        expert: name.parse().unwrap(),
        family: family.parse().unwrap(),
        status: AnswerStatus::Ok,
        stance: Some(stance),
        text: "no objection".to_owned(),
    };
    let advice: PlanAdvice = serde_json::from_value(json!({
        "question": "q-1", "consultation": Digest::of_bytes(b"all of it"), "source": "models", "action": "approve",
        "reason": "approving loses least", "findings": [], "votes": 3, "effectiveVotes": 1.7, "costMicroUsd": 0, "tookMs": 9,
        "voices": [
            voice("one", "claude", Stance::Approve),
            voice("two", "gpt", Stance::Approve),
            voice("three", "gemini", Stance::Reject),
        ],
    }))
    .unwrap();
    let mut records = promoted();
    for record in &mut records {
        if matches!(record.events.as_slice(), [Event::Advised { .. }]) {
            record.events = vec![
                Event::AdviceAsked { gate: GateMode::Require, until: Timestamp(BEGAN + 60_000) },
                Event::Advised {
                    source: "models".to_owned(),
                    summary: advice.summary(),
                    advice: Some(Box::new(advice.clone())),
                },
            ];
        }
    }
    records
}

fn names(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}\n")).collect()
}

fn says(problems: &[Problem], field: &str) -> bool {
    problems.iter().any(|problem| problem.field == field && !problem.text.is_empty())
}

fn instant(text: &str) -> At {
    serde_json::from_value(json!(text)).unwrap()
}

/// Changes what is signed, and nothing else.
pub type Lie = fn(&mut Deployment);

pub const LIES: &[(&str, &str, Lie)] = &[
    ("a measured value beyond its limit", "gates[1].measured", |told| told.gates[1].measured = Some(0.9)),
    ("a measured value that nobody measured", "gates[1].measured", |told| {
        told.gates[1].measured = Some(0.02)
    }),
    ("an error rate below zero", "gates[1].measured", |told| told.gates[1].measured = Some(-1.0)),
    ("another limit", "gates[1].limit", |told| told.gates[1].limit = "< 0.95".to_owned()),
    ("an empty limit", "gates[1].limit", |told| told.gates[1].limit = String::new()),
    ("a limit of traffic that is none", "gates[2].limit", |told| {
        told.gates[2].limit = "100 ± 90.0 %".to_owned()
    }),
    ("a share of traffic that is off", "gates[2].measured", |told| told.gates[2].measured = Some(50.0)),
    ("a smoke test with failures", "gates[0].measured", |told| told.gates[0].measured = Some(3.0)),
    ("a smoke test with another limit", "gates[0].limit", |told| told.gates[0].limit = "< 5".to_owned()),
    ("no samples", "gates[1].samples", |told| told.gates[1].samples = 0),
    ("fewer samples than are needed", "gates[1].samples", |told| told.gates[1].samples = 19),
    ("more samples than there were", "gates[1].samples", |told| told.gates[1].samples = 100_000),
    ("a second gate of the same name, failed", "gates[3].gate", |told| {
        let twice = told.gates[1].clone();
        told.gates.push(certificate::deployment::Gate { outcome: Outcome::Failed, ..twice });
    }),
    ("a gate that nothing asks for", "gates[1].gate", |told| told.gates[1].gate = "latency".to_owned()),
    ("a gate of an attempt that there was not", "gates[0].attempt", |told| told.gates[0].attempt = 2),
    ("an approval after the end", "approvals[0].at", |told| {
        told.approvals[0].at = At(told.ended.0.plus(std::time::Duration::from_millis(1)))
    }),
    ("an approval without a bound", "approvals[0].until", |told| told.approvals[0].until = None),
    ("an approval in 2030 without a bound", "approvals[0].until", |told| {
        told.approvals[0].at = instant("2030-01-01T00:00:00.000Z");
        told.approvals[0].until = None;
    }),
    ("an approval with a bound in 2030", "approvals[0].until", |told| {
        told.approvals[0].until = Some(instant("2030-01-01T00:00:00.000Z"))
    }),
    ("an approval before it was asked for", "approvals[0].at", |told| {
        told.approvals[0].at = instant("2020-01-01T00:00:00.000Z");
        told.approvals[0].until = Some(instant("2020-01-01T01:00:00.000Z"));
    }),
    ("an approval by somebody else who may", "approvals[0].by", |told| {
        told.approvals[0].by = person("carol")
    }),
    ("a critical finding waived by nothing", "findings[1].waived", |told| {
        let (step, module) = (told.findings[0].step.clone(), told.findings[0].module.clone());
        told.findings.push(Found {
            step,
            rule: "security/host-mount".to_owned(),
            severity: Severity::Critical,
            module,
            message: "web mounts the host".to_owned(),
            waived: Some("nobody minds".to_owned()),
        });
    }),
    ("a finding waived for another reason", "findings[0].waived", |told| {
        told.findings[0].waived = Some("nobody minds".to_owned())
    }),
    ("a finding called less grave", "findings[0].severity", |told| told.findings[0].severity = Severity::Low),
    ("a finding left out", "findings", |told| told.findings.clear()),
    ("all votes reject what is approved", "experts.opinion.action", |told| {
        for vote in &mut told.experts.opinion.as_mut().unwrap().votes {
            vote.vote = Some(Stance::Reject);
        }
    }),
    ("a vote that was not given so", "experts.opinion.votes[0].vote", |told| {
        told.experts.opinion.as_mut().unwrap().votes[0].vote = Some(Stance::Reject);
    }),
    ("a vote by one who gave no answer", "experts.opinion.votes[0].vote", |told| {
        told.experts.opinion.as_mut().unwrap().votes[0].status = AnswerStatus::Timeout;
    }),
    ("an expert who votes twice", "experts.opinion.votes[1].expert", |told| {
        let opinion = told.experts.opinion.as_mut().unwrap();
        opinion.votes[1].expert = opinion.votes[0].expert.clone();
    }),
    ("more votes than stand there", "experts.opinion.counted", |told| {
        told.experts.opinion.as_mut().unwrap().counted = 9
    }),
    ("votes worth more than they are", "experts.opinion.effective", |told| {
        told.experts.opinion.as_mut().unwrap().effective = 7.5
    }),
    ("an opinion that is not there", "experts.opinion", |told| told.experts.opinion = None),
    ("an opinion that does not approve", "experts.opinion.action", |told| {
        told.experts.opinion.as_mut().unwrap().action = Action::Escalate
    }),
    ("experts who need not approve", "policy.experts", |told| told.policy.experts = GateMode::Off),
    ("a way back, which needs no approval", "mode", |told| {
        told.mode = Mode::Rollback;
        told.approvals.clear();
        told.experts.opinion = None;
    }),
    ("another digest of the journal", "journal.digest", |told| {
        told.journal.digest = Digest::of_bytes(b"none")
    }),
    ("another length of the journal", "journal.version", |told| told.journal.version = 3),
    ("a log that nothing shows", "journal.range", |told| {
        told.audit = Some(
            serde_json::from_value(json!({
                "origin": "acme/elsewhere", "first": 0, "last": 900, "records": told.journal.version, "size": 1000,
                "root": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
            }))
            .unwrap(),
        )
    }),
    ("issued in 2999", "issued", |told| told.issued = instant("2999-01-01T00:00:00.000Z")),
    ("issued before it was over", "issued", |told| told.issued = told.received),
    ("issued before it was looked at", "issued", |told| {
        told.observed.as_mut().unwrap().at = At(told.issued.0.plus(std::time::Duration::from_secs(1)))
    }),
    ("looked at in 2020", "observed.at", |told| {
        told.observed.as_mut().unwrap().at = instant("2020-01-01T00:00:00.000Z")
    }),
    ("looked at in 2999", "issued", |told| {
        told.observed.as_mut().unwrap().at = instant("2999-01-01T00:00:00.000Z")
    }),
    ("what runs compared with the baseline", "observed.expected", |told| {
        told.observed.as_mut().unwrap().expected = told.baseline.clone()
    }),
    ("asked for by somebody else", "initiator", |told| told.initiator = person("eve")),
    ("asked for earlier", "received", |told| told.received = instant("2026-11-01T00:00:00.000Z")),
    ("over earlier", "ended", |told| told.ended = told.received),
    ("forced, which nobody did", "forced", |told| told.forced = Some("it is urgent".to_owned())),
    ("something that nobody did on the way", "interventions", |told| {
        let at = told.ended;
        told.interventions.push(Intervention { what: "promoted_in_full".to_owned(), by: person("ada"), at });
    }),
    ("an analysis that nobody skipped", "gates", |told| {
        told.steps[3].skipped_by = Some(person("ada"));
        told.gates.retain(|gate| gate.gate != "error-rate");
    }),
    ("another runner", "steps[1].runner", |told| told.steps[1].runner = Some("rep-9".to_owned())),
    ("another fence", "steps[1].fence.lock", |told| told.steps[1].fence.as_mut().unwrap().lock = 9),
    ("another attempt", "steps[1].attempts", |told| told.steps[1].attempts = 2),
    ("another key of a step", "steps[1].idempotencyKey", |told| {
        told.steps[1].idempotency_key = Some("x".to_owned())
    }),
    ("a step that ended before it began", "steps[1].finished", |told| {
        told.steps[1].finished = Some(instant("2026-11-20T00:00:00.000Z"))
    }),
    ("evidence that there is not", "steps[1].evidence", |told| {
        told.steps[1].evidence = Some(Digest::of_bytes(b"none"))
    }),
    ("an input that there is not", "inputs", |told| {
        let more = told.inputs[0].clone();
        told.inputs.push(more);
    }),
    ("another bill of materials", "inputs[0].digest", |told| {
        told.inputs[0].digest = Digest::of_bytes(b"other")
    }),
];

#[tokio::test]
async fn what_the_enclosed_documents_refute_is_refused_although_it_is_signed() {
    let office = Office::open();
    let (trust, records) = (office.ready(), advised());
    let (truth, documents) = facts(&records);
    assert_eq!(truth.ending, Ending::Promoted, "{:?}", truth.missing);
    let honest = sign(&office, &truth, documents.clone(), journal(&records)).await;
    assert!(check(&honest, &trust, NOW).unwrap().is_positive());

    for (what, field, lie) in LIES {
        let mut told = truth.clone();
        lie(&mut told);
        assert_ne!(told, truth, "{what} changes nothing");

        let signed = sign(&office, &told, documents.clone(), journal(&records)).await;
        let problems = check(&signed, &trust, NOW).expect_err(what);

        let field = match *field {
            "journal.digest" => "journal.records".to_owned(),
            "journal.range" => "journal.range".to_owned(),
            field => format!("predicate.{field}"),
        };
        assert!(says(&problems, &field), "{what}: {field} is not named:\n{}", names(&problems));
    }
}

/// Changes the result of a step in the journal.
fn result(records: &mut [Record], id: &str, change: impl FnOnce(&mut StepResult)) {
    let events = records.iter_mut().flat_map(|record| &mut record.events);
    let found = events.into_iter().find_map(|event| match event {
        Event::StepFinished { step, result, .. } if step.as_str() == id => Some(result),
        _ => None,
    });
    change(found.unwrap());
}

fn each(records: &mut [Record], mut change: impl FnMut(&mut Event)) {
    records.iter_mut().flat_map(|record| &mut record.events).for_each(&mut change);
}

/// The record with this event.
fn place(records: &[Record], is: impl Fn(&Event) -> bool) -> usize {
    records.iter().position(|record| record.events.iter().any(&is)).unwrap()
}

/// Another plan, which everybody approved.
fn replan(records: &mut [Record], change: impl Fn(&mut Plan)) {
    let mut digest = None;
    each(records, |event| match event {
        Event::Planned { plan, .. } => {
            change(plan);
            digest = Some(plan.digest());
        }
        Event::Approved { plan, .. } => *plan = digest.clone().unwrap(),
        _ => {}
    });
}

/// A plan without these steps, which nobody did then.
fn without(records: &mut [Record], ids: &[&str]) {
    replan(records, |plan| plan.steps.retain(|step| !ids.contains(&step.id.as_str())));
    each(records, |event| {
        let step = match event {
            Event::StepScheduled { step, .. }
            | Event::StepStarted { step, .. }
            | Event::StepFinished { step, .. } => step,
            _ => return,
        };
        if ids.contains(&step.as_str()) {
            *event = Event::Validated {};
        }
    });
}

fn advice(records: &mut [Record], change: impl Fn(&mut PlanAdvice)) {
    each(records, |event| {
        if let Event::Advised { advice: Some(advice), .. } = event {
            change(advice);
        }
    });
}

/// Changes the journal itself, so that statement and journal tell the same lie.
pub type Forgery = fn(&mut Vec<Record>);

pub const FORGERIES: &[(&str, &str, Forgery)] = &[
    ("a value beyond its limit", "gates[1].measured", |records| {
        result(records, "s4-analyse", |result| result.gates[0].measured = Some(0.9))
    }),
    ("a value at its limit", "gates[1].measured", |records| {
        result(records, "s4-analyse", |result| result.gates[0].measured = Some(0.05))
    }),
    ("a rate that cannot be", "gates[1].measured", |records| {
        result(records, "s4-analyse", |result| result.gates[0].measured = Some(-0.1))
    }),
    ("another limit", "gates[1].limit", |records| {
        result(records, "s4-analyse", |result| result.gates[0].limit = "< 0.95".to_owned())
    }),
    ("no limit", "gates[1].limit", |records| {
        result(records, "s4-analyse", |result| result.gates[0].limit = String::new())
    }),
    ("no samples", "gates[1].samples", |records| {
        result(records, "s4-analyse", |result| result.gates[0].samples = 0)
    }),
    ("too few samples", "gates[1].samples", |records| {
        result(records, "s4-analyse", |result| result.gates[0].samples = 19)
    }),
    ("a second gate of the same name, failed", "gates[2].gate", |records| {
        result(records, "s4-analyse", |result| {
            result.gates.push(GateResult { outcome: Outcome::Failed, ..result.gates[0].clone() })
        })
    }),
    ("a second gate of the same name, good", "gates[2].gate", |records| {
        result(records, "s4-analyse", |result| result.gates.push(result.gates[0].clone()))
    }),
    ("a failed gate under a good step", "gates[0].outcome", |records| {
        result(records, "s3-smoke", |result| result.gates[0].outcome = Outcome::Failed)
    }),
    ("a smoke test that was asked once too few", "gates", |records| {
        result(records, "s3-smoke", |result| result.gates.clear())
    }),
    ("a smoke test of another path", "gates[0].gate", |records| {
        result(records, "s3-smoke", |result| result.gates[0].gate = "smoke /".to_owned())
    }),
    ("failures of a smoke test", "gates[0].measured", |records| {
        result(records, "s3-smoke", |result| result.gates[0].measured = Some(1.0))
    }),
    ("a share that is not the step's", "gates[2].limit", |records| {
        result(records, "s5-weight", |result| result.gates[0].limit = "50 ± 9.7 %".to_owned())
    }),
    ("a share with more tolerance", "gates[2].limit", |records| {
        result(records, "s5-weight", |result| result.gates[0].limit = "100 ± 60.0 %".to_owned())
    }),
    ("a share beyond its tolerance", "gates[2].measured", |records| {
        result(records, "s5-weight", |result| result.gates[0].measured = Some(80.0))
    }),
    ("a share of no requests", "gates[2].samples", |records| {
        result(records, "s5-weight", |result| result.gates[0].samples = 0)
    }),
    ("a gate judged in 2020", "gates[1].at", |records| {
        result(records, "s4-analyse", |result| result.gates[0].at = Timestamp(1_577_836_800_000))
    }),
    ("a failed gate of a step that judges none", "gates[0].outcome", |records| {
        let bad = GateResult {
            outcome: Outcome::Failed,
            ..gate("latency-regression", 900.0, "fails beyond 100 ms more")
        };
        result(records, "s2-scale", |result| result.gates.push(bad))
    }),
    ("a step skipped without a person", "gates", |records| {
        result(records, "s4-analyse", |result| {
            result.gates.clear();
            result.skipped_by = Some(person("ada"));
        })
    }),
    ("a finding that nothing waives", "findings[0].waived", |records| {
        result(records, "s1-review", |result| result.findings[0].rule = "security/host-mount".to_owned())
    }),
    ("a waiver of another module", "findings[0].waived", |records| {
        // The fixture's waiver is for all modules: another reason is what nothing gave.
        result(records, "s1-review", |result| result.findings[0].waived = Some("because".to_owned()))
    }),
    ("a critical finding whose waiver does not name it", "findings[0].waived", |records| {
        result(records, "s1-review", |result| result.findings[0].severity = Severity::Critical)
    }),
    ("a waiver by an agent that waives nothing", "findings[1].waived", |records| {
        let mut copy = None;
        result(records, "s1-review", |result| copy = result.findings.first().cloned());
        result(records, "s2-scale", |result| result.findings.extend(copy))
    }),
    ("a waiver that is over", "findings[0].waived", |records| {
        let late = Timestamp(BEGAN + 60 * 86_400_000);
        records.iter_mut().skip(2).for_each(|record| record.at = late);
    }),
    ("an approval after the time for it", "approvals[0].at", |records| {
        each(records, |event| {
            if let Event::ApprovalAwaited { until, .. } = event {
                *until = Timestamp(BEGAN);
            }
        })
    }),
    ("an approval that was not awaited", "approvals[0].until", |records| {
        for record in records {
            if matches!(record.events.as_slice(), [Event::ApprovalAwaited { .. }]) {
                record.events = vec![Event::Paused { by: person("bob") }];
            }
        }
    }),
    ("an approval awaited for years", "approvals[0].until", |records| {
        each(records, |event| {
            if let Event::ApprovalAwaited { until, .. } = event {
                *until = Timestamp(1_893_456_000_000);
            }
        })
    }),
    ("an approval when it was over", "approvals[0].at", |records| {
        let approved =
            records.iter().position(|record| matches!(record.events.as_slice(), [Event::Approved { .. }]));
        let at = Timestamp(BEGAN + 3_600_000);
        records[approved.unwrap()].at = at;
    }),
    ("an approval by the one who asked", "approvals[0].by", |records| {
        each(records, |event| {
            if let Event::Received { initiator, .. } = event {
                *initiator = person("bob");
            }
        })
    }),
    ("one person twice where two had to", "approvals", |records| {
        each(records, |event| {
            if let Event::Received { spec, spec_digest, .. } = event
                && let Some(rule) = spec.gates.approvals.as_mut()
            {
                rule.required = 2;
                *spec_digest = Digest::of(spec);
            }
        });
        let approved =
            records.iter().position(|record| matches!(record.events.as_slice(), [Event::Approved { .. }]));
        let record = &mut records[approved.unwrap()];
        record.events.push(record.events[0].clone());
    }),
    ("an approval by a service", "approvals[0].by", |records| {
        each(records, |event| {
            if let Event::Approved { by, .. } = event {
                *by = "engine:orchestrator/rep-0100".parse().unwrap();
            }
        })
    }),
    ("votes that all reject", "experts.opinion.action", |records| {
        advice(records, |advice| {
            advice.voices.iter_mut().for_each(|voice| voice.stance = Some(Stance::Reject))
        })
    }),
    ("no votes at all", "experts.opinion.counted", |records| advice(records, |advice| advice.voices.clear())),
    ("votes that are worth more", "experts.opinion.effective", |records| {
        advice(records, |advice| advice.effective_votes = 30.0)
    }),
    ("an opinion that does not approve", "experts.opinion.action", |records| {
        advice(records, |advice| advice.action = Action::NeedsChange)
    }),
    ("a no that was passed over", "interventions[0]", |records| {
        let at = place(records, |event| matches!(event, Event::Approved { .. }));
        let Event::Approved { plan, .. } = records[at].events[0].clone() else { unreachable!() };
        let denied =
            Event::Denied { by: person("carol"), plan, reason: "not today".to_owned(), signed: None };
        records[at].events.push(denied);
    }),
    ("a step that ended and never began", "steps[1].scheduled", |records| {
        let is_begun =
            |event: &Event| matches!(event, Event::StepScheduled { step, .. } if step.as_str() == "s2-scale");
        let at = place(records, is_begun);
        records[at].events = vec![Event::Validated {}];
    }),
    ("a way back that had begun", "cause", |records| {
        let at = records.len() - 1;
        let (cause, until) = (cause(CauseKind::Operator, "enough"), Timestamp(BEGAN + 400_000));
        records[at].events.insert(0, Event::RollbackBegan { cause, epoch: 3, steps: Vec::new(), until });
    }),
    ("a release that had been rolled back", "cause", |records| {
        let at = records.len() - 1;
        records[at].events.insert(0, Event::RolledBack {});
    }),
    ("where a human had to look", "cause", |records| {
        let at = records.len() - 1;
        records[at].events.insert(0, Event::HumanNeeded { cause: cause(CauseKind::Failed, "stuck") });
    }),
    ("a plan that was made anew when it was done", "plan", |records| {
        let (at, again) = (records.len() - 1, planned_anew(records));
        records[at].events.insert(0, again);
    }),
    ("advice on an earlier plan", "experts.opinion", |records| {
        let again = planned_anew(records);
        let at = place(records, |event| matches!(event, Event::ApprovalAwaited { .. }));
        records[at].events.insert(0, again);
    }),
    ("another plan than the one that was asked for", "plan", |records| {
        each(records, |event| {
            if let Event::Received { expected_plan, .. } = event {
                *expected_plan = Some(Digest::of_bytes(b"the plan that ada saw"));
            }
        })
    }),
    ("a plan without a review", "plan", |records| without(records, &["s1-review"])),
    ("a plan without the soak", "plan", |records| without(records, &["s11-soak"])),
    ("a plan without the smoke test", "plan", |records| without(records, &["s3-smoke"])),
    ("a plan without the analysis", "plan", |records| without(records, &["s4-analyse"])),
    ("a plan without the guard", "plan", |records| without(records, &["s8-guard"])),
    ("a plan that moves no traffic", "plan", |records| without(records, &["s5-weight"])),
    ("a plan that leaves the old set", "plan", |records| without(records, &["s12-retire"])),
    ("a plan of nothing", "plan", |records| {
        replan(records, |plan| plan.steps.retain(|step| step.kind == StepKind::Certify))
    }),
    ("a plan with other limits", "plan", |records| {
        replan(records, |plan| {
            for step in &mut plan.steps {
                if let StepKind::Analyse { analysis, .. } = &mut step.kind {
                    analysis.metrics[0].success = Some("< 0.95".parse().unwrap());
                }
            }
        });
        result(records, "s4-analyse", |result| result.gates[0].limit = "< 0.95".to_owned());
    }),
    ("a plan with fewer instances", "plan", |records| {
        replan(records, |plan| {
            for step in &mut plan.steps {
                if let StepKind::Scale { count, .. } = &mut step.kind {
                    *count = (*count).min(1);
                }
            }
        })
    }),
    ("a plan that tests when the traffic has moved", "plan", |records| {
        replan(records, |plan| {
            let at = plan.steps.iter().position(|step| step.id.as_str() == "s3-smoke").unwrap();
            let smoke = plan.steps.remove(at);
            plan.steps.push(smoke);
        })
    }),
    ("a way back through gates", "mode", |records| {
        each(records, |event| {
            if let Event::Received { mode, .. } = event {
                *mode = Mode::Rollback;
            }
        })
    }),
];

/// What somebody who wants a promotion tells of this journal.
pub fn called_promoted(records: &[Record]) -> (Deployment, certificate::Documents) {
    let story = Story::read(records).unwrap();
    let at = Timestamp(BEGAN + 60_000).max(records.last().unwrap().at);
    let observed = Observed {
        at: At(at),
        expected: story.should_run().unwrap().map(Digest::of),
        differences: Vec::new(),
    };
    let mut told = story.tell(Some(observed), None, certifier(), at).unwrap();
    (told.ending, told.missing) = (Ending::Promoted, Vec::new());
    (told, story.documents())
}

#[tokio::test]
async fn a_journal_that_was_forged_with_the_statement_is_refuted_by_spec_and_plan() {
    let office = Office::open();
    let trust = office.ready();
    let now = Timestamp(BEGAN + 90 * 86_400_000);

    for (what, field, forge) in FORGERIES {
        let mut records = advised();
        forge(&mut records);
        assert_ne!(records, advised(), "{what} changes nothing");
        let (told, documents) = called_promoted(&records);

        let signed = sign(&office, &told, documents, journal(&records)).await;
        let problems = check(&signed, &trust, now).expect_err(what);

        let field = format!("predicate.{field}");
        assert!(says(&problems, &field), "{what}: {field} is not named:\n{}", names(&problems));
    }
}

/// What a certificate may say and nothing enclosed shows.
const BELIEVED: [&str; 4] = ["/certifier/replica", "/certifier/version", "/observed/at", "/issued"];

/// Every single value of a statement, with another one in its place that can be read.
pub fn others(value: &Value) -> Vec<(String, Value)> {
    fn scalars(value: &Value, path: String, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| scalars(value, format!("{path}/{name}"), found))
            }
            Value::Array(all) => {
                all.iter().enumerate().for_each(|(at, value)| scalars(value, format!("{path}/{at}"), found))
            }
            _ => found.push(path),
        }
    }
    let mut paths = Vec::new();
    scalars(value, String::new(), &mut paths);
    let texts = [
        "other",
        "unauthenticated:other",
        "s9-other",
        "failed",
        "rollback",
        "CANCELLED",
        "require",
        "low",
        "review",
        "verify",
        "validator",
        "deployer",
        "quarantined",
        "2026-11-21T05:51:07.000Z",
        "sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ];
    let candidates: Vec<Value> = texts.iter().map(|text| json!(text)).chain([json!(7), json!(0.5)]).collect();
    let changed = |path: &String| {
        candidates.iter().find_map(|candidate| {
            let mut changed = value.clone();
            *changed.pointer_mut(path)? = candidate.clone();
            let read = serde_json::from_value::<Deployment>(changed.clone()).ok()?;
            (serde_json::to_value(read).ok()? != *value).then_some((path.clone(), changed))
        })
    };
    paths.iter().filter_map(changed).collect()
}

#[tokio::test]
async fn no_value_of_a_statement_can_be_another_one_but_what_is_believed() {
    let office = Office::open();
    let trust = office.ready();

    for records in [advised(), rolled_back()] {
        let (truth, documents) = facts(&records);
        let all = others(&serde_json::to_value(&truth).unwrap());
        assert!(all.len() > 150, "{}", all.len());
        for (path, changed) in all {
            let told: Deployment = serde_json::from_value(changed).unwrap();
            let signed = sign(&office, &told, documents.clone(), journal(&records)).await;
            let refused = check(&signed, &trust, NOW).is_err();
            assert!(refused || BELIEVED.contains(&path.as_str()), "{path} may be another");
        }
    }
}

#[tokio::test]
async fn what_is_left_to_believe_is_listed_with_who_is_believed() {
    let office = Office::open();
    let certificate: Certificate = office.issue(&advised()).await;

    let believed = check(&certificate, &office.ready(), NOW).unwrap().believed;

    let by = |field: &str| {
        let found = believed.iter().find(|belief| belief.field == field);
        found.unwrap_or_else(|| panic!("{field} is not among {believed:?}")).by.as_str()
    };
    assert_eq!(by("predicate.initiator"), "ada (unauthenticated)");
    assert_eq!(by("predicate.approvals"), "bob (unauthenticated)");
    assert_eq!(by("predicate.gates"), "rep-0200");
    assert_eq!(by("predicate.observed"), "certifier rep-0200");
    assert_eq!(by("predicate.inputs[0]"), "the spec's author");
    assert_eq!(by("predicate.inputs[1]"), "the runners");
    assert_eq!(by("predicate.experts.opinion"), "consensus");
    assert!(by("predicate.journal").starts_with("certifier"));
}

#[tokio::test]
async fn that_a_publisher_asked_for_it_is_believed_of_the_engine() {
    let office = Office::open();
    let mut records = promoted();
    for event in records.iter_mut().flat_map(|record| &mut record.events) {
        if let Event::Received { initiator, .. } = event {
            *initiator = "publisher:ci-1".parse().unwrap();
        }
    }
    let certificate = office.issue(&records).await;

    let believed = check(&certificate, &office.ready(), NOW).unwrap().believed;

    let found = believed.iter().find(|belief| belief.field == "predicate.initiator").unwrap();
    assert_eq!(found.by, "ci-1 (publisher)");
    assert!(found.text.contains("nothing of that is kept"), "{}", found.text);
}

#[tokio::test]
async fn labels_that_nobody_read_are_no_input_of_the_summary() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let office = Office::open();
    let certificate = office.issue(&promoted()).await;

    let payload = STANDARD.decode(&certificate.vsa.payload).unwrap();
    let summary: Value = serde_json::from_slice(&payload).unwrap();

    let inputs = summary["predicate"]["inputAttestations"].as_array().unwrap();
    assert_eq!(inputs.len(), 1, "{inputs:?}");
    assert!(inputs[0]["uri"].as_str().unwrap().starts_with("code:certificate/"));
}

#[test]
fn a_trust_file_that_lists_a_key_twice_is_refused() {
    let office = Office::open();
    let mut keys = office.ring.keys.clone();
    let mut twice = keys[0].clone();
    twice.revoked = Some(At(Timestamp(BEGAN)));
    keys.push(twice);

    let error = Trust { keys, log: None }.ready().unwrap_err();

    assert!(error.to_string().contains("is listed twice"), "{error}");
}
