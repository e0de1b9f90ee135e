//! How consultations look to a person.

use std::{collections::BTreeMap, path::Path};

use model::{
    Principal,
    expert::{
        Action, Answer, AnswerStatus, AskingStep, Ballot, BreakerView, Consultation, ConsultationLine,
        ConsultationReply, ExpertView, ExpertsReply, Observation, Opinion, PlanAdvice, ReplayReply, Stance,
        TestReply, TestVote, Weight,
    },
};
use opinion::batch::Evaluation;

use super::{dollars, share};
use crate::{
    commands::show::ago,
    output::{self, paint, screen, table},
};

fn row(name: &str, text: impl AsRef<str>) {
    output::line(format!("  {} {}", paint::faint(format!("{name:<9}")), text.as_ref()));
}

fn action(action: Action) -> String {
    let text = action.as_str().replace('_', " ");
    match action {
        Action::Approve => paint::good(text),
        Action::Reject => paint::bad(text),
        Action::NeedsChange | Action::Escalate | Action::NoQuorum => paint::warn(text),
    }
}

fn stance(status: AnswerStatus, stance: Option<Stance>) -> String {
    match (status, stance) {
        (AnswerStatus::Ok, Some(Stance::Approve)) => paint::good("approve"),
        (AnswerStatus::Ok, Some(Stance::Reject)) => paint::bad("reject"),
        (AnswerStatus::Ok, Some(Stance::NeedsChange)) => paint::warn("needs change"),
        (AnswerStatus::Abstained, _) | (_, Some(Stance::Abstain)) => "abstains".to_owned(),
        (status, _) => paint::faint(status.as_str().replace('_', " ")),
    }
}

fn weight(weight: Weight) -> String {
    match weight {
        Weight::Info => paint::faint(weight.as_str()),
        Weight::Minor => weight.as_str().to_owned(),
        Weight::Major => paint::warn(weight.as_str()),
        Weight::Blocking => paint::bad(weight.as_str()),
    }
}

/// Text of an expert is foreign: one line, and nothing that moves a cursor.
pub fn foreign(text: &str) -> String {
    let line: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What happens to one expert.
pub fn step(step: &AskingStep) -> String {
    match step {
        AskingStep::Asked {} => paint::moving("is asked"),
        AskingStep::AskedAgain { why } => paint::warn(format!("is asked again: {}", foreign(why))),
        AskingStep::Hedged { stand_in } => {
            paint::warn(format!("takes long or failed, {stand_in} is asked too"))
        }
        AskingStep::Answered { status, stance: vote } => stance(*status, *vote),
        AskingStep::Stopped {} => paint::faint("is not waited for any more"),
        AskingStep::Formed { action: formed } => action(*formed),
    }
}

/// The whole of a consultation: opinion, verdicts, findings, dissent, costs.
pub fn consultation(consultation: &Consultation) {
    let (question, opinion) = (&consultation.question, &consultation.opinion);
    output::line(format!("{}  {}", action(opinion.action), opinion.reason));
    row("question", foreign(&question.text));
    row(
        "asked",
        format!(
            "by {} {}, took {:.1} s, cost {}  {}",
            consultation.caller,
            ago(consultation.asked_at),
            consultation.took_ms as f64 / 1000.0,
            dollars(consultation.cost_micro_usd),
            paint::faint(&question.id)
        ),
    );
    output::line("");
    let rows = consultation.ballots.iter().map(ballot).collect();
    table::print(["EXPERT", "FAMILY", "VERDICT", "SAYS IT IS SURE", "TOOK", "COST", "WHY"], rows);
    // Why there is no answer stands in the table; what is to be said of one that there is, here.
    for ballot in consultation.ballots.iter().filter(|one| one.answer.is_some() && !one.reason.is_empty()) {
        output::line(format!(
            "  {} {}",
            paint::faint(format!("{}:", ballot.expert.name)),
            foreign(&ballot.reason)
        ));
    }
    output::line("");
    verdict(consultation, opinion);
    findings(consultation);
    dissent(opinion);
    for alarm in &opinion.alarms {
        output::line(format!("  {} {}", paint::warn("alarm:"), foreign(alarm)));
    }
}

fn ballot(ballot: &Ballot) -> [String; 7] {
    let answer = ballot.answer.as_ref();
    let why = match answer {
        Some(answer) => foreign(&answer.rationale),
        None => foreign(&ballot.reason),
    };
    let cost = match ballot.usage.cost_micro_usd {
        0 if ballot.cached => "cached".to_owned(),
        0 => String::new(),
        cost => dollars(cost),
    };
    [
        ballot.expert.name.to_string(),
        ballot.expert.family.to_string(),
        stance(ballot.status, answer.map(|answer| answer.verdict)),
        sureness(ballot),
        format!("{:.1} s", ballot.took_ms as f64 / 1000.0),
        cost,
        screen::cut(&why, table::WIDTH),
    ]
}

/// How sure a vote says it is; who abstains is sure of nothing, whatever stands in the answer.
fn sureness(ballot: &Ballot) -> String {
    let votes = |answer: &&Answer| ballot.status == AnswerStatus::Ok && answer.verdict != Stance::Abstain;
    let answer = ballot.answer.as_ref().filter(votes);
    answer.map_or(String::new(), |answer| format!("{} %", answer.confidence_pct))
}

/// Why rules that all abstained had nothing to read, if that is why.
fn unread(consultation: &Consultation) -> Option<String> {
    let ballots = &consultation.ballots;
    let is_rule = |one: &Ballot| one.expert.family.as_str().starts_with("rules-");
    let abstained = |one: &Ballot| one.status == AnswerStatus::Abstained && is_rule(one);
    if ballots.is_empty() || !ballots.iter().all(abstained) {
        return None;
    }
    let ids: Vec<&str> = consultation.question.evidence.iter().map(|exhibit| exhibit.id.as_str()).collect();
    let given = match ids.as_slice() {
        [] => "there is no evidence".to_owned(),
        ids if ids.contains(&"spec") && ids.contains(&"plan") => {
            "spec or plan is not the JSON of a spec and its plan".to_owned()
        }
        ids => format!("the evidence here is {}", ids.join(", ")),
    };
    Some(format!("rules read evidence whose id is exactly spec and plan; {given}"))
}

fn verdict(consultation: &Consultation, opinion: &Opinion) {
    if opinion.votes == 0 {
        row("votes", "nobody voted, so nothing is computed");
        if let Some(why) = unread(consultation) {
            row("why", why);
        }
        return;
    }
    let percent = |state: &str| opinion.posterior.get(state).copied().unwrap_or(0.0) * 100.0;
    row(
        "votes",
        format!(
            "{}; {} count, worth {:.1} independent ones (errors correlate {:.2} across, {:.2} within families)",
            share(consultation),
            opinion.votes,
            opinion.effective_votes,
            opinion.correlation.0,
            opinion.correlation.1
        ),
    );
    row(
        "chances",
        format!(
            "safe {:.0} %, unsafe {:.0} %, fixable {:.0} %; disagreement {:.0} %",
            percent("safe"),
            percent("unsafe"),
            percent("fixable"),
            opinion.entropy * 100.0
        ),
    );
    for turn in turns(&opinion.turns_without) {
        row("fragile", paint::warn(turn));
    }
    let strategies: Vec<&str> = opinion.strategies.iter().map(|one| one.as_str()).collect();
    if !strategies.is_empty() {
        let shares: Vec<String> = opinion.canary_steps_pct.iter().map(u16::to_string).collect();
        row(
            "advice",
            format!(
                "{}; canary shares {} %, {} min each",
                strategies.join(" before ").replace('_', "-"),
                shares.join(", "),
                opinion.bake_minutes
            ),
        );
    }
}

/// One line per action that it would turn to: without whom.
fn turns(without: &BTreeMap<String, Action>) -> Vec<String> {
    let mut by_action: BTreeMap<Action, Vec<String>> = BTreeMap::new();
    for (name, action) in without {
        let who = if name.starts_with("family ") { name.clone() } else { format!("expert {name}") };
        by_action.entry(*action).or_default().push(who);
    }
    let line = |(action, who): (Action, Vec<String>)| {
        let turn = match action {
            Action::Escalate => "would be for a human to decide".to_owned(),
            action => format!("would turn to {}", action.as_str().replace('_', " ")),
        };
        format!("{turn} without {}", who.join(", or without "))
    };
    by_action.into_iter().map(line).collect()
}

/// The most serious first, with who found it.
fn findings(consultation: &Consultation) {
    let mut found: Vec<(&str, &Observation)> = consultation
        .ballots
        .iter()
        .filter_map(|ballot| ballot.answer.as_ref().map(|answer| (ballot.expert.name.as_str(), answer)))
        .flat_map(|(name, answer)| answer.findings.iter().map(move |finding| (name, finding)))
        .collect();
    if found.is_empty() {
        return;
    }
    found.sort_by_key(|(_, finding)| std::cmp::Reverse(finding.severity));
    output::line(format!("\n{}", paint::strong("findings")));
    for (name, finding) in found {
        let on = if finding.evidence_ref.is_empty() {
            String::new()
        } else {
            paint::faint(format!(" [{}]", finding.evidence_ref))
        };
        let text = foreign(&finding.statement);
        output::line(format!("  {:<8} {text}{on} {}", weight(finding.severity), paint::faint(name)));
    }
}

fn dissent(opinion: &Opinion) {
    if opinion.dissent.is_empty() {
        return;
    }
    output::line(format!("\n{}", paint::strong("dissent")));
    for group in &opinion.dissent {
        let vote = stance(AnswerStatus::Ok, Some(group.stance));
        output::line(format!("  {vote}  {}", group.experts.join(", ")));
        output::line(format!("    {}: “{}”", group.quoted, foreign(&group.quote)));
    }
}

/// What came after the opinion was formed.
pub fn afterwards(reply: &ConsultationReply) {
    for late in &reply.late {
        let vote = stance(late.status, late.answer.as_ref().map(|answer| answer.verdict));
        let after = late.took_ms as f64 / 1000.0;
        output::line(format!(
            "  {} {} {vote} after {after:.1} s, not counted",
            paint::faint("late:"),
            late.expert.name
        ));
    }
    if let Some(outcome) = reply.line.outcome {
        output::line(format!(
            "  {} the deployment was {}",
            paint::faint("outcome:"),
            paint::verdict(outcome)
        ));
    }
}

/// Lists, newest first.
pub fn lines(consultations: &[ConsultationLine]) {
    let rows = consultations.iter().map(|line| {
        [
            line.question.to_string(),
            line.action.map_or_else(|| paint::faint("open"), action),
            line.votes.to_string(),
            dollars(line.cost_micro_usd),
            ago(line.at),
            line.caller.to_string(),
            line.outcome.map_or(String::new(), paint::verdict),
            foreign(&line.text),
        ]
    });
    table::print(["QUESTION", "OPINION", "VOTES", "COST", "ASKED", "BY", "OUTCOME", "TEXT"], rows.collect());
}

/// Who can be asked.
pub fn experts(reply: &ExpertsReply) {
    table::print(
        ["EXPERT", "FAMILY", "VERSION", "BY WAY OF", "WAS RIGHT", "TODAY", "BREAKER", "STATE"],
        reply.experts.iter().map(expert).collect(),
    );
    for one in &reply.experts {
        let open = match one.breaker {
            Some(BreakerView::Open { until }) => format!(", not asked until {until}"),
            _ => String::new(),
        };
        if let Some(failure) = &one.last_failure {
            let text = foreign(&failure.text);
            output::line(format!("  {} failed {}{open}: {text}", one.expert.name, ago(failure.at)));
        }
    }
    let limit = match reply.daily_micro_usd {
        0 => "no limit".to_owned(),
        limit => format!("of {}", dollars(limit)),
    };
    output::line(format!("\n  spent today: {} ({limit})", dollars(reply.spent_micro_usd)));
    for (caller, spent) in &reply.callers {
        let caller = caller.parse::<Principal>().map_or(caller.clone(), |caller| caller.to_string());
        output::line(format!("    {caller}: {}", dollars(*spent)));
    }
}

fn expert(one: &ExpertView) -> [String; 8] {
    let right = match one.right {
        Some(right) => format!("{:.0} % of {}", right * 100.0, one.outcomes),
        None => paint::faint("no outcome yet"),
    };
    let today = match (one.asked_today, one.spent_today_micro_usd) {
        (0, 0) => paint::faint("not asked"),
        (0, spent) => format!("{} set aside", dollars(spent)),
        (asked, 0) => format!("{asked} asked"),
        (asked, spent) => format!("{asked} asked, {}", dollars(spent)),
    };
    let breaker = match one.breaker {
        None => String::new(),
        Some(BreakerView::Closed {}) => "closed".to_owned(),
        Some(BreakerView::HalfOpen {}) => paint::warn("half-open"),
        Some(BreakerView::Open { until }) => {
            paint::bad(format!("open, {} left", screen::short(until.since(output::now()))))
        }
    };
    let state = match one.state.as_str() {
        "ready" => paint::good("ready"),
        state => paint::faint(state),
    };
    [
        one.expert.name.to_string(),
        one.expert.family.to_string(),
        one.expert.version.clone(),
        one.provider.clone(),
        right,
        today,
        breaker,
        state,
    ]
}

/// What each expert said to the good and to the bad plan.
pub fn tests(reply: &TestReply) {
    let rows = reply.results.iter().map(|one| {
        let said = |vote: &TestVote| stance(vote.status, vote.stance);
        let why = [&one.good.reason, &one.bad.reason].into_iter().find(|why| !why.is_empty());
        [
            if one.passed { paint::good("✓") } else { paint::bad("✗") },
            one.expert.name.to_string(),
            one.expert.version.clone(),
            said(&one.good),
            said(&one.bad),
            format!("{:.1} s", one.took_ms as f64 / 1000.0),
            dollars(one.usage.cost_micro_usd),
            why.map(|why| foreign(why)).unwrap_or_default(),
        ]
    });
    table::print(
        ["", "EXPERT", "VERSION", "GOOD PLAN", "BAD PLAN", "SLOWER", "COST", "REMARK"],
        rows.collect(),
    );
}

/// Whether it is still the same.
pub fn replay(reply: &ReplayReply) {
    let same = if reply.same { paint::good("the same") } else { paint::bad("not the same") };
    output::line(format!(
        "{same}: {} then, {} now",
        action(reply.recorded.action),
        action(reply.again.action)
    ));
    for (rule, alike) in &reply.rules {
        let sign = if *alike { paint::good("✓") } else { paint::bad("✗") };
        output::line(format!("  {sign} the rules for {rule} answer as recorded"));
    }
    if reply.recorded != reply.again {
        output::line(format!("  then: {}", reply.recorded.reason));
        output::line(format!("  now:  {}", reply.again.reason));
    }
}

/// Methods of agreement on a team's own history.
pub fn evaluation(folder: &Path, evaluation: &Evaluation) {
    output::line(format!(
        "{}: {} votes by {} on {} items with {} labels, {} of them known",
        folder.display(),
        evaluation.votes,
        evaluation.workers,
        evaluation.items,
        evaluation.labels,
        evaluation.known
    ));
    let rows = evaluation.scores.iter().map(|score| {
        [
            score.method.name().to_owned(),
            format!("{:.3}", score.accuracy),
            format!("{:.3}", score.calibration_error),
        ]
    });
    table::print(["METHOD", "ACCURACY", "CALIBRATION ERROR"], rows.collect());
    let chosen = &evaluation.chosen;
    output::line(format!(
        "  {} for these votes, chosen without a look at what is known: {}; accuracy {:.3}, calibration error {:.3}",
        paint::strong(chosen.method.name()),
        evaluation.why,
        chosen.accuracy,
        chosen.calibration_error
    ));
    if let Some(correlation) = evaluation.correlation {
        output::line(format!("  errors of two workers correlate {correlation:.2} on average"));
    }
}

/// Advice on a plan, where a plan or a deployment is shown.
pub fn advice(advice: &PlanAdvice) {
    output::line(format!(
        "\n{}  {}  {}",
        paint::strong("experts"),
        action(advice.action),
        paint::faint(format!("by {}, cost {}", advice.source, dollars(advice.cost_micro_usd)))
    ));
    output::line(format!("  {}", foreign(&advice.reason)));
    let width = screen::size().map_or(table::WIDTH, |(width, _)| width.max(80));
    for voice in &advice.voices {
        let vote = screen::pad(&stance(voice.status, voice.stance), 13);
        let line = format!("  {:<16} {vote} {}", voice.expert.as_str(), paint::faint(foreign(&voice.text)));
        output::line(screen::cut(&line, width));
    }
    for concern in advice.findings.iter().filter(|concern| concern.weight >= Weight::Minor) {
        let who: Vec<&str> = concern.experts.iter().map(|one| one.as_str()).collect();
        let text = foreign(&concern.statement);
        output::line(format!("      {} {text} {}", weight(concern.weight), paint::faint(who.join(", "))));
    }
    for turn in turns(&advice.turns_without) {
        output::line(format!("  {} {turn}", paint::faint("fragile:")));
    }
}
