//! Journals that were forged together with the statement: by an engine with a fault, or by somebody inside who holds the
//! certifier's keys. Spec, plan, order and rules refute them, and the reason names the field.

use certificate::{At, Deployment, Ending, Story, deployment::Observed, verify::check};
use model::{
    Digest, Event, GateResult, Outcome, Plan, Record, Severity, Span, Step, StepKind, Timestamp, Verdict,
    deployment::{CauseKind, Mode},
    expert::{Action, PlanAdvice, Stance},
    step::{Stage, StepResult},
};

use crate::{
    fixture::{BEGAN, Office, cause, certifier, gate, journal, person},
    mutations::sign,
    signed::planned_anew,
    untrue::{advised, names, says},
};

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

/// A plan with one more step before this one, which was done as well.
fn twice(records: &mut [Record], id: &str, kind: impl Fn(&Step) -> StepKind) {
    let new: model::StepId = "s0-more".parse().unwrap();
    replan(records, |plan| {
        let at = plan.steps.iter().position(|step| step.id.as_str() == id).unwrap();
        let step = Step { id: new.clone(), kind: kind(&plan.steps[at]), ..plan.steps[at].clone() };
        plan.steps.insert(at, step);
    });
    for record in records {
        let Some(mut event) = record.events.first().cloned() else { continue };
        let (Event::StepScheduled { step, .. }
        | Event::StepStarted { step, .. }
        | Event::StepFinished { step, .. }) = &mut event
        else {
            continue;
        };
        if step.as_str() == id {
            *step = new.clone();
            record.events.insert(0, event);
        }
    }
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
        result(records, "s7-analyse", |result| result.gates[0].measured = Some(0.9))
    }),
    ("a value at its limit", "gates[1].measured", |records| {
        result(records, "s7-analyse", |result| result.gates[0].measured = Some(0.05))
    }),
    ("a rate that cannot be", "gates[1].measured", |records| {
        result(records, "s7-analyse", |result| result.gates[0].measured = Some(-0.1))
    }),
    ("another limit", "gates[1].limit", |records| {
        result(records, "s7-analyse", |result| result.gates[0].limit = "< 0.95".to_owned())
    }),
    ("no limit", "gates[1].limit", |records| {
        result(records, "s7-analyse", |result| result.gates[0].limit = String::new())
    }),
    ("no samples", "gates[1].samples", |records| {
        result(records, "s7-analyse", |result| result.gates[0].samples = 0)
    }),
    ("too few samples", "gates[1].samples", |records| {
        result(records, "s7-analyse", |result| result.gates[0].samples = 19)
    }),
    ("a second gate of the same name, failed", "gates[2].gate", |records| {
        result(records, "s7-analyse", |result| {
            result.gates.push(GateResult { outcome: Outcome::Failed, ..result.gates[0].clone() })
        })
    }),
    ("a second gate of the same name, good", "gates[2].gate", |records| {
        result(records, "s7-analyse", |result| result.gates.push(result.gates[0].clone()))
    }),
    ("a failed gate under a good step", "gates[0].outcome", |records| {
        result(records, "s5-smoke", |result| result.gates[0].outcome = Outcome::Failed)
    }),
    ("a smoke test that was asked once too few", "gates", |records| {
        result(records, "s5-smoke", |result| result.gates.clear())
    }),
    ("a smoke test of another path", "gates[0].gate", |records| {
        result(records, "s5-smoke", |result| result.gates[0].gate = "smoke /".to_owned())
    }),
    ("failures of a smoke test", "gates[0].measured", |records| {
        result(records, "s5-smoke", |result| result.gates[0].measured = Some(1.0))
    }),
    ("a share that is not the step's", "gates[2].limit", |records| {
        result(records, "s8-weight", |result| result.gates[0].limit = "50 ± 9.7 %".to_owned())
    }),
    ("a share with more tolerance", "gates[2].limit", |records| {
        result(records, "s8-weight", |result| result.gates[0].limit = "100 ± 60.0 %".to_owned())
    }),
    ("a share beyond its tolerance", "gates[2].measured", |records| {
        result(records, "s8-weight", |result| result.gates[0].measured = Some(80.0))
    }),
    ("a share of no requests", "gates[2].samples", |records| {
        result(records, "s8-weight", |result| result.gates[0].samples = 0)
    }),
    ("a gate judged in 2020", "gates[1].at", |records| {
        result(records, "s7-analyse", |result| result.gates[0].at = Timestamp(1_577_836_800_000))
    }),
    ("a failed gate of a step that judges none", "gates[0].outcome", |records| {
        let bad = GateResult {
            outcome: Outcome::Failed,
            ..gate("latency-regression", 900.0, "fails beyond 100 ms more")
        };
        result(records, "s4-scale", |result| result.gates.push(bad))
    }),
    ("a step skipped without a person", "steps[6].skippedBy", |records| {
        result(records, "s7-analyse", |result| {
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
        result(records, "s4-scale", |result| result.findings.extend(copy))
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
    ("a step that ended and never began", "steps[3].scheduled", |records| {
        let is_begun =
            |event: &Event| matches!(event, Event::StepScheduled { step, .. } if step.as_str() == "s4-scale");
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
    ("a plan without the smoke test", "plan", |records| without(records, &["s5-smoke"])),
    ("a plan without the analysis", "plan", |records| without(records, &["s7-analyse"])),
    ("a plan without the guard", "plan", |records| without(records, &["s6-guard"])),
    ("a plan that moves no traffic", "plan", |records| without(records, &["s8-weight"])),
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
        result(records, "s7-analyse", |result| result.gates[0].limit = "< 0.95".to_owned());
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
            let at = plan.steps.iter().position(|step| step.id.as_str() == "s5-smoke").unwrap();
            let smoke = plan.steps.remove(at);
            plan.steps.push(smoke);
        })
    }),
    ("a review that is called skipped", "steps[0].skippedBy", |records| {
        result(records, "s1-review", |result| result.skipped_by = Some(person("ada")))
    }),
    ("a step that failed before", "steps", |records| {
        let at = place(
            records,
            |event| matches!(event, Event::StepStarted { step, .. } if step.as_str() == "s5-smoke"),
        );
        let Event::StepStarted { step, attempt, runner } = records[at].events[0].clone() else {
            unreachable!()
        };
        let result = StepResult::new(Outcome::Failed, "one of one failed");
        records[at].events = vec![Event::StepFinished { step: step.clone(), attempt, runner, result }];
        each(records, |event| match event {
            Event::StepFinished { step: other, attempt, result, .. }
                if *other == step && result.outcome == Outcome::Succeeded =>
            {
                *attempt = 2;
            }
            _ => {}
        });
    }),
    ("an attempt that was begun twice", "steps", |records| {
        let begun =
            |event: &Event| matches!(event, Event::StepScheduled { step, .. } if step.as_str() == "s5-smoke");
        let at = place(records, begun);
        let again = records[at].events[0].clone();
        records[at].events.push(again);
    }),
    ("a step under another lock", "steps", |records| {
        each(records, |event| {
            if let Event::Locked { token } = event {
                *token = 8;
            }
        })
    }),
    ("steps that were done when it was promoted", "steps", |records| {
        let at = place(records, |event| matches!(event, Event::VerificationBegan {}));
        records[at].events.push(Event::Promoted {});
    }),
    ("steps that were done before it was locked", "steps", |records| {
        let at = place(records, |event| matches!(event, Event::LockAwaited { .. }));
        let way = std::mem::replace(&mut records[at].events, vec![Event::Validated {}]);
        let at = place(records, |event| matches!(event, Event::VerificationBegan {}));
        records[at].events.splice(0..0, way);
    }),
    ("a promotion that nothing tells of", "journal", |records| {
        let at = records.len() - 1;
        records[at].events = vec![Event::Decided { verdict: Verdict::Promoted, cause: None }];
    }),
    ("a verdict that says otherwise", "ending", |records| {
        let at = records.len() - 1;
        let cause = Some(cause(CauseKind::Operator, "enough"));
        records[at].events.push(Event::Decided { verdict: Verdict::Promoted, cause: None });
        records[at].events.push(Event::Decided { verdict: Verdict::Cancelled, cause });
    }),
    ("a record without a time", "journal", |records| records[1].at = Timestamp(0)),
    ("an approval when it had gone on", "approvals", |records| {
        let at = place(records, |event| matches!(event, Event::Approved { .. }));
        let approved = std::mem::replace(&mut records[at].events, vec![Event::Validated {}]);
        let at = place(records, |event| matches!(event, Event::LockAwaited { .. }));
        records[at].events.extend(approved);
    }),
    ("experts who were heard again", "experts", |records| {
        let at = place(records, |event| matches!(event, Event::Advised { .. }));
        let again = records[at].events.last().cloned();
        records[at].events.extend(again);
    }),
    ("a pause that nobody ended", "steps", |records| {
        replan(records, |plan| {
            let at = plan.steps.iter().position(|step| step.id.as_str() == "s9-validate").unwrap();
            let pause = StepKind::Pause { duration: Some(Span::seconds(86_400)) };
            let step = Step { id: "s8-hold".parse().unwrap(), kind: pause, ..plan.steps[at].clone() };
            plan.steps.insert(at, step);
        });
        let begun = |event: &Event| matches!(event, Event::StepScheduled { step, .. } if step.as_str() == "s9-validate");
        let (from, id) = (place(records, begun), "s8-hold".parse::<model::StepId>().unwrap());
        let hold: Vec<Event> =
            records[from..from + 3].iter().flat_map(|record| record.events.clone()).collect();
        let at = place(records, |event| matches!(event, Event::VerificationBegan {}));
        records[at].events.extend(hold.into_iter().map(|mut event| {
            if let Event::StepScheduled { step, .. }
            | Event::StepStarted { step, .. }
            | Event::StepFinished { step, .. } = &mut event
            {
                *step = id.clone();
            }
            event
        }));
    }),
    ("a plan that moves the traffic first and then as asked", "plan", |records| {
        twice(records, "s8-weight", |step| step.kind.clone())
    }),
    ("a plan that rolls what is blue-green", "plan", |records| {
        twice(records, "s4-scale", |step| {
            let StepKind::Scale { module, revision, count } = step.kind.clone() else { unreachable!() };
            let (from, to) = (revision.clone(), revision);
            StepKind::RollBatch {
                module,
                from,
                to,
                new_count: count,
                old_count: 0,
                max_total: 4,
                min_healthy: 3,
            }
        })
    }),
    ("a plan of a third revision", "plan", |records| {
        twice(records, "s4-scale", |step| {
            let StepKind::Scale { module, count, .. } = step.kind.clone() else { unreachable!() };
            StepKind::Scale { module, revision: "0123456789ab".parse().unwrap(), count }
        })
    }),
    ("a plan with one step for two", "plan", |records| {
        replan(records, |plan| {
            let again = plan.steps[0].clone();
            plan.steps.insert(1, again);
        })
    }),
    ("a plan whose waves are in another order", "plan", |records| {
        replan(records, |plan| plan.steps[7].wave = 1)
    }),
    ("a plan that changes what runs while it checks", "plan", |records| {
        replan(records, |plan| plan.steps[3].stage = Stage::Check)
    }),
    ("a soak with instances in trouble", "gates[3].measured", |records| {
        result(records, "s11-soak", |result| result.gates[0].measured = Some(1.0))
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
