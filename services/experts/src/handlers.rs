//! What the experts' service answers and hears.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bus::{Attempt, Meta, Teller, subjects};
use chassis::Service;
use futures::StreamExt;
use model::{
    Code, Digest, Event, Fault, Principal, Timestamp, Token,
    deployment::Cause,
    expert::{
        AdviceJob, AdviceReport, AnswerStatus, Ballot, BreakerView, Consultation, ConsultationEvent,
        ConsultationProgress, ConsultationReply, ConsultationRequest, ConsultationsReply,
        ConsultationsRequest, ExpertId, ExpertView, ExpertsReply, ExpertsRequest, Matter, PlanAdvice,
        Question, ReplayReply, Stance, TestReply, TestRequest, TestResult, TestVote, Trouble,
    },
    view::Summary,
};
use opinion::Records;
use providers::BreakerState;
use tokio::time::Instant;

use crate::{
    asking::{Asking, Formed, How, again},
    config::ExpertsConfig,
    error::Error,
    heart::{
        decoy, learning, matter,
        question::{Asked, check},
        replay,
        rules::Rule,
    },
    metrics::Counts,
    panel::Everyone,
    store::Store,
};

/// What every handler has.
pub type Ctx = Arc<Asking>;

/// What is left of an asker's time for the opinion itself and the way back.
const WAY_BACK: Duration = Duration::from_millis(1500);
/// Why a rule that approves the bad plan passes its test.
const ONE_SIDE: &str = "reads one side of a plan, and the bad plan is not bad there";

/// Opens whoever can be asked.
pub fn open(service: &Service<ExpertsConfig>) -> Result<Ctx, Error> {
    let everyone = Everyone::open(&service.config, &service.bus)?;
    for (expert, why) in everyone.circle.missing() {
        tracing::warn!(%expert, why, "an expert of the catalogue cannot be asked");
    }
    let store = Store::new(service.bus.clone(), service.replica.to_string());
    Ok(Arc::new(Asking::new(
        service.bus.clone(),
        service.clock.clone(),
        Arc::clone(&service.config),
        everyone,
        store,
        Counts::new(&service.metrics),
        service.tasks.clone(),
    )))
}

/// Asks a question, or gives what is recorded under its id.
pub async fn on_ask(ctx: Ctx, question: Question, meta: Meta) -> Result<Consultation, Fault> {
    let asked = checked(&ctx, question, meta.principal, meta.deadline)?;
    Ok(consult(&ctx, asked, How::default()).await?.0)
}

/// Asks about a plan that is only looked at.
pub async fn on_advise_now(ctx: Ctx, matter: Matter, meta: Meta) -> Result<PlanAdvice, Fault> {
    advise(&ctx, &matter, &meta).await
}

/// Asks about a deployment's plan and tells the orchestrator. Safe to repeat: the question has the deployment's id.
pub async fn on_advise(ctx: Ctx, job: AdviceJob, meta: Meta) -> Result<(), Fault> {
    if job.matter.until <= ctx.clock.now() {
        tracing::info!(deployment = %job.deployment, "nobody waits for this advice any more");
        return Ok(());
    }
    let advice = advise(&ctx, &job.matter, &meta).await?;
    let (deployment, plan) = (job.deployment, job.matter.plan.digest());
    let message_id = format!("advice-{deployment}-{}", plan.short());
    let report = AdviceReport { deployment, plan, advice };
    ctx.bus.send(&subjects::orchestrator::ADVICE, None, &report, &message_id).await.map_err(Fault::from)
}

async fn advise(ctx: &Ctx, matter: &Matter, meta: &Meta) -> Result<PlanAdvice, Fault> {
    let left = matter.until.since(ctx.clock.now()).saturating_sub(WAY_BACK);
    let within = left.min(ctx.config.deadline.0).max(Duration::from_millis(100));
    let question = matter::question(matter, within.as_millis() as u64, ctx.config.evidence_bytes);
    let how = How {
        risk: matter::risk(matter.spec.environment.as_str()),
        failed_gates: matter::failed_gates(matter),
        ..How::default()
    };
    // Only the engine asks on behalf of somebody else.
    let caller = if meta.principal.is_engine() { &matter.caller } else { &meta.principal };
    let asked = checked(ctx, question, caller.clone(), meta.deadline)?;
    let (consultation, stored) = consult(ctx, asked, how).await?;
    Ok(matter::advice(&consultation, stored, matter.question.clone()))
}

/// The question as it can be asked, with no more time than its asker has.
fn checked(
    ctx: &Ctx,
    mut question: Question,
    caller: Principal,
    deadline: Option<Instant>,
) -> Result<Asked, Error> {
    let configured = ctx.config.deadline.0.as_millis() as u64;
    if question.deadline_ms == 0 {
        question.deadline_ms = configured;
    }
    if let Some(deadline) = deadline {
        let left = deadline.saturating_duration_since(Instant::now()).saturating_sub(WAY_BACK);
        question.deadline_ms = question.deadline_ms.min((left.as_millis() as u64).max(100));
    }
    check(question, caller, new_id("que")?, configured, ctx.config.evidence_bytes).map_err(Error::Question)
}

async fn consult(ctx: &Ctx, asked: Asked, how: How) -> Result<Formed, Fault> {
    ctx.consult(asked, how).await.map_err(|error| match Arc::try_unwrap(error) {
        Ok(error) => error.into(),
        Err(shared) => Fault::new(shared.code(), chassis::chain(shared.as_ref())),
    })
}

/// Ids made later sort later.
fn new_id(kind: &str) -> Result<Token, Error> {
    let id = format!("{kind}-{}", uuid::Uuid::now_v7().simple());
    let named = id.parse().map_err(|error: model::id::BadToken| bus::Error::from(error));
    Ok(named.attempt("name a question")?)
}

/// Who can be asked, how each fares, and what is left to spend.
pub async fn on_list(ctx: Ctx, _: ExpertsRequest, _: Meta) -> Result<ExpertsReply, Error> {
    let now = ctx.clock.now();
    let (records, mut accounts) = (ctx.store.records().await?, ctx.store.accounts().await?);
    let of_rules = ctx.store.records_of_rules().await?;
    accounts.expire(now);
    if accounts.day != now.0.div_euclid(24 * 3600 * 1000) {
        accounts = providers::Accounts::default();
    }
    let view = |(expert, provider, state): (ExpertId, String, String)| {
        let records = if Rule::of(&expert).is_some() { &of_rules } else { &records };
        let (outcomes, right) = worth(records, &expert);
        let today = accounts.experts.get(expert.name.as_str()).copied().unwrap_or_default();
        let condition = ctx.everyone.condition(&expert.name);
        let breaker = condition.breaker.map(|state| breaker(state, now));
        let last_failure = condition.last_failure.map(|(at, text)| Trouble {
            at: Timestamp(now.0.saturating_sub_unsigned(at.elapsed().as_millis() as u64)),
            text: scrub::scrub(&scrub::visible(&text)).text,
        });
        let (asked_today, spent_today_micro_usd) = (today.answers, today.micro_usd);
        ExpertView {
            expert,
            provider,
            state,
            outcomes,
            right,
            breaker,
            last_failure,
            asked_today,
            spent_today_micro_usd,
        }
    };
    Ok(ExpertsReply {
        experts: ctx.everyone.all().into_iter().map(view).collect(),
        spent_micro_usd: accounts.total_micro_usd,
        daily_micro_usd: ctx.everyone.circle.catalogue().budgets.day_micro_usd.unwrap_or(0),
        callers: accounts.callers.iter().map(|(caller, spent)| (caller.clone(), spent.micro_usd)).collect(),
    })
}

fn breaker(state: BreakerState, now: Timestamp) -> BreakerView {
    match state {
        BreakerState::Closed => BreakerView::Closed {},
        BreakerState::Open { until } => match until.saturating_duration_since(Instant::now()) {
            // Whoever asks next is the try.
            Duration::ZERO => BreakerView::HalfOpen {},
            left => BreakerView::Open { until: now.plus(left) },
        },
        BreakerState::HalfOpen => BreakerView::HalfOpen {},
    }
}

/// Outcomes seen, and the share of votes that fitted: going on where it went well, holding back where it did not.
fn worth(records: &Records, expert: &ExpertId) -> (u32, Option<f64>) {
    let Some(record) = records.of(expert) else { return (0, None) };
    let [safe, harmful, fixable] = record.counts;
    let all: f64 = record.counts.iter().flatten().sum();
    let right = safe[0] + harmful[1] + harmful[2] + fixable[2];
    let share = (all > 0.0).then(|| right / all);
    (u32::try_from(record.cases).unwrap_or(u32::MAX), share)
}

/// Has every expert, or one, judge a good and a bad plan.
pub async fn on_test(
    ctx: Ctx,
    request: TestRequest,
    meta: Meta,
    teller: Teller<ConsultationProgress>,
) -> Result<TestReply, Fault> {
    let everyone = ctx.everyone.all();
    let can_be_asked = |(expert, _, _): &&(ExpertId, String, String)| {
        !ctx.everyone.circle.missing().contains_key(&expert.name)
    };
    let panel: Vec<Token> = match request.expert {
        Some(name) => vec![name],
        None => everyone.iter().filter(can_be_asked).map(|(expert, _, _)| expert.name.clone()).collect(),
    };
    let run = new_id("test")?;
    let deadline = ctx.config.deadline.0.as_millis() as u64;
    let mut said = ctx.bus.listen(&subjects::experts::PROGRESS, None).await?;
    let ask = |name: &str, question: fn(&Token, u64) -> Question| {
        let id: Token = format!("{run}-{name}").parse().map_err(bus::Error::from)?;
        let question = Question { panel: panel.clone(), ..question(&id, deadline) };
        Ok::<_, Fault>(checked(&ctx, question, meta.principal.clone(), meta.deadline)?)
    };
    let how = How { for_all: true, unwanted: teller.stopped(), ..How::default() };
    let (good, bad) = (ask("good", decoy::good)?, ask("bad", decoy::bad)?);
    let asking =
        async { tokio::try_join!(consult(&ctx, good, how.clone()), consult(&ctx, bad, how.clone())) };
    let telling = async {
        while let Some(step) = said.next().await {
            if step.id.strip_prefix(run.as_str()).is_some_and(|rest| rest.starts_with('-')) {
                teller.tell(&step.message).await;
            }
        }
    };
    let (good, bad) = tokio::select! {
        biased;
        formed = asking => formed?,
        () = telling => return Err(Fault::new(Code::Unavailable, "the connection is closed")),
    };
    let results = good.0.ballots.iter().map(|ballot| result(ballot, &bad.0.ballots)).collect();
    Ok(TestReply { results })
}

fn result(good: &Ballot, all_bad: &[Ballot]) -> TestResult {
    let bad = all_bad.iter().find(|ballot| ballot.expert.name == good.expert.name);
    let said = |ballot: &Ballot| TestVote {
        status: ballot.status,
        stance: ballot.answer.as_ref().map(|answer| answer.verdict),
        reason: ballot.reason.clone(),
    };
    let nothing = || {
        let (status, reason) = (AnswerStatus::ProviderError, "not asked".to_owned());
        TestVote { status, stance: None, reason }
    };
    let usage = |ballot: &Ballot| ballot.usage;
    let (one, other) = (usage(good), bad.map(usage).unwrap_or_default());
    let (good_said, mut bad_said) = (said(good), bad.map_or_else(nothing, said));
    let holds_back = matches!(bad_said.stance, Some(Stance::Reject | Stance::NeedsChange));
    // Who counts the cost finds nothing wrong with a plan that saves: only a wrong answer to the good one is a failure.
    let sees_only_one_side = Rule::of(&good.expert).is_some();
    if sees_only_one_side && bad_said.stance == Some(Stance::Approve) {
        bad_said.reason = ONE_SIDE.to_owned();
    }
    TestResult {
        expert: good.expert.clone(),
        passed: good_said.stance == Some(Stance::Approve) && (holds_back || sees_only_one_side),
        good: good_said,
        bad: bad_said,
        took_ms: good.took_ms.max(bad.map_or(0, |ballot| ballot.took_ms)),
        usage: one + other,
    }
}

/// Lists past consultations, newest first.
pub async fn on_history(
    ctx: Ctx,
    request: ConsultationsRequest,
    _: Meta,
) -> Result<ConsultationsReply, Error> {
    let limit = request.limit.unwrap_or(50).clamp(1, 1000) as usize;
    Ok(ConsultationsReply { consultations: ctx.store.newest(limit).await? })
}

/// Shows one consultation.
pub async fn on_show(ctx: Ctx, request: ConsultationRequest, _: Meta) -> Result<ConsultationReply, Error> {
    let id = &request.question;
    let story = ctx.store.story(id).await?;
    let line = story.line(id).ok_or_else(|| Error::NoConsultation(id.to_string()))?;
    let consultation = match &line.consultation {
        Some(digest) => Some(ctx.store.stored(id, digest).await?.consultation),
        None => None,
    };
    Ok(ConsultationReply { line, consultation, late: story.late.clone() })
}

/// Computes one consultation again: the opinion from the stored answers, and what the rules answer to the stored question.
pub async fn on_replay(ctx: Ctx, request: ConsultationRequest, _: Meta) -> Result<ReplayReply, Error> {
    let id = &request.question;
    let story = ctx.store.story(id).await?;
    let line = story.line(id).ok_or_else(|| Error::NoConsultation(id.to_string()))?;
    let digest: Digest = line.consultation.ok_or_else(|| Error::NotFormed(id.to_string()))?;
    let stored = ctx.store.stored(id, &digest).await?;
    let recorded = stored.consultation.opinion.clone();
    let opinion = again(&stored.consultation.ballots, &stored.basis);
    let question = &stored.consultation.question;
    let answers_alike = |ballot: &Ballot| {
        let answer = ballot.answer.as_ref()?;
        let rule = Rule::of(&ballot.expert)?;
        Some((rule.name().to_owned(), rule.answer(question, &answer.nonce) == *answer))
    };
    let rules: BTreeMap<String, bool> =
        stored.consultation.ballots.iter().filter_map(answers_alike).collect();
    let same = replay::alike(&recorded, &opinion) && rules.values().all(|alike| *alike);
    Ok(ReplayReply { recorded, again: opinion, rules, same })
}

/// A deployment is over: the experts' records learn from it, then its end is noted, so that an end that is shown is
/// one that was learnt from. Safe to repeat: a crash in between learns nothing twice.
pub async fn on_closed(ctx: Ctx, summary: Summary, _: Meta) -> Result<(), Error> {
    let Some(verdict) = summary.verdict else { return Ok(()) };
    let Ok(id) = summary.deployment.as_str().parse::<Token>() else { return Ok(()) };
    let story = ctx.store.story(&id).await?;
    let Some(digest) = story.line(&id).and_then(|line| line.consultation) else { return Ok(()) };
    let cause = cause(&ctx, &summary).await?;
    if let Some(truth) = learning::truth(verdict, cause.as_ref()) {
        let ballots = ctx.store.stored(&id, &digest).await?.consultation.ballots;
        ctx.store.learn(&id, &ballots, truth, &ctx.config.policy).await?;
    }
    let event = ConsultationEvent::Ended { verdict };
    ctx.store.note(&id, event, now(&ctx), |story| story.ended.is_some()).await.map(|_| ())
}

fn now(ctx: &Ctx) -> Timestamp {
    ctx.clock.now()
}

/// Why the deployment ended so: its journal knows, the summary does not.
async fn cause(ctx: &Ctx, summary: &Summary) -> Result<Option<Cause>, Error> {
    let id = summary.deployment.as_str();
    let entries = ctx.bus.load(&subjects::deployment::JOURNAL, id).await.attempt("load a deployment")?;
    let events = entries.into_iter().rev().flat_map(|entry| entry.record.events.into_iter().rev());
    Ok(events
        .filter_map(|event| match event {
            Event::Closed { cause, .. } | Event::Decided { cause, .. } => Some(cause),
            _ => None,
        })
        .next()
        .flatten())
}
