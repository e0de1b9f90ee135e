//! A deployment as a tree of steps, with traffic and gates as they were measured.

use std::collections::BTreeMap;

use model::{
    Finding, Severity, StepId, Token,
    deployment::StepProgress,
    step::Stage,
    view::{DeploymentView, StepStatus, StepView},
};

use super::{paint, screen};

/// What running steps said last.
pub type Progress = BTreeMap<StepId, StepProgress>;

const STAGES: [(Stage, &str); 5] = [
    (Stage::Check, "check"),
    (Stage::Execute, "execute"),
    (Stage::Verify, "verify"),
    (Stage::Finish, "finish"),
    (Stage::Rollback, "way back"),
];

/// The head line: what, where, phase, owner.
pub fn head(view: &DeploymentView) -> String {
    let summary = &view.summary;
    let owner = view.owner.as_ref().map(|(owner, _)| short(owner)).unwrap_or_else(|| "nobody".to_owned());
    format!(
        "{}  {}  {}  {}",
        paint::strong(modules(&summary.modules)),
        paint::stand(summary),
        summary.target,
        paint::faint(format!("{} · revision {} · owner {owner}", summary.deployment, view.version)),
    )
}

/// The first module, and how many there are beside it.
pub fn modules(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one}, {two}"),
        [one, rest @ ..] => format!("{one} and {} more", rest.len()),
    }
}

/// The last eight characters of an id: enough to tell replicas apart on a screen.
pub fn short(id: &str) -> String {
    id.chars().skip(id.chars().count().saturating_sub(8)).collect()
}

/// The whole tree, one line per step.
pub fn tree(view: &DeploymentView, progress: &Progress) -> Vec<String> {
    let mut lines = vec![head(view)];
    for (stage, name) in STAGES {
        lines.extend(part(view, stage, name, progress));
    }
    lines
}

/// The tree in at most `rows` lines: what is done is folded first, then what is farthest from the step under way.
pub fn tree_within(view: &DeploymentView, progress: &Progress, rows: usize) -> Vec<String> {
    let whole = tree(view, progress);
    if whole.len() <= rows {
        return whole;
    }
    let mut lines = vec![head(view)];
    for (stage, name) in STAGES {
        let steps: Vec<&StepView> = view.steps.iter().filter(|step| step.stage == stage).collect();
        let waits = steps.iter().all(|step| step.status == StepStatus::Waiting);
        let over = |step: &&StepView| matches!(step.status, StepStatus::Succeeded | StepStatus::Skipped);
        match steps.len() {
            0 => {}
            count if waits => lines.push(format!("  {} {}", paint::faint(name), counted(count, "step"))),
            count if steps.iter().all(over) => {
                lines.push(format!(
                    "  {} {} {}",
                    paint::faint(name),
                    paint::good("✓"),
                    counted(count, "step")
                ));
            }
            _ => lines.extend(part(view, stage, name, progress)),
        }
    }
    if lines.len() <= rows || rows < 4 {
        lines.truncate(rows.max(1));
        return lines;
    }
    let texts: Vec<&str> =
        view.steps.iter().filter(|step| is_open(step)).map(|step| step.text.as_str()).collect();
    let middle = lines.iter().position(|line| texts.iter().any(|text| line.contains(text))).unwrap_or(1);
    let room = rows - 3;
    let from = middle.saturating_sub(room / 2).clamp(1, lines.len() - room);
    let mut window = vec![lines[0].clone()];
    if from > 1 {
        window.push(paint::faint(format!("  … {} lines above", from - 1)));
    }
    window.extend(lines[from..from + room].iter().cloned());
    window.push(paint::faint(format!("  … {} lines below", lines.len() - from - room)));
    window
}

/// So many of something whose plural ends in s.
pub fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn part(view: &DeploymentView, stage: Stage, name: &str, progress: &Progress) -> Vec<String> {
    let mut lines = Vec::new();
    for step in view.steps.iter().filter(|step| step.stage == stage) {
        let said = progress.get(&step.id).filter(|_| is_open(step));
        lines.push(format!("    {}", [words(step), outcome(step)].concat().join("  ")));
        // Below its step, so that a narrow terminal cuts off neither.
        lines.extend(said.map(measured).filter(|said| !said.is_empty()).map(|said| format!("       {said}")));
    }
    if !lines.is_empty() {
        lines.insert(0, format!("  {}", paint::faint(name)));
    }
    lines
}

fn is_open(step: &StepView) -> bool {
    matches!(step.status, StepStatus::Scheduled | StepStatus::Running)
}

/// One step on one line: sign, words, how long, then what is measured or how it ended.
pub fn step_line(step: &StepView, progress: Option<&StepProgress>) -> String {
    let mut parts = words(step);
    match progress.filter(|_| is_open(step)) {
        Some(progress) => parts.push(measured(progress)),
        None => parts.extend(outcome(step)),
    }
    parts.retain(|part| !part.is_empty());
    parts.join("  ")
}

fn words(step: &StepView) -> Vec<String> {
    let mut parts = vec![paint::sign(step.status), step.text.clone()];
    match (step.scheduled, step.finished) {
        (Some(scheduled), Some(finished)) => {
            parts.push(paint::faint(format!("{:.1}s", finished.since(scheduled).as_secs_f64())));
        }
        (Some(scheduled), None) if is_open(step) && super::live() => {
            parts.push(paint::faint(screen::short(super::now().since(scheduled))));
        }
        _ => {}
    }
    if step.attempt > 1 {
        parts.push(paint::warn(format!("attempt {}", step.attempt)));
    }
    parts
}

fn outcome(step: &StepView) -> Vec<String> {
    match step.status {
        // What is worth a look although it stopped nothing, such as a contract that was not compared.
        StepStatus::Succeeded => {
            let gates = step.gates.iter().map(|gate| paint::faint(&gate.text));
            let let_pass = step.findings.iter().filter(|finding| finding.severity == Severity::Medium);
            let let_pass = let_pass.filter(|finding| finding.waived.is_none());
            gates
                .chain(
                    let_pass.map(|finding| paint::warn(of_module(finding.module.as_ref(), &finding.message))),
                )
                .collect()
        }
        _ if step.reason.is_empty() => Vec::new(),
        _ => vec![paint::warn(&step.reason)],
    }
}

/// What is found, after its module's name unless it begins with it: two modules may have the same fault.
pub fn of_module(module: Option<&Token>, message: &str) -> String {
    let begins = |name: &str| message.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', ':']));
    match module {
        Some(module) if !begins(module.as_str()) => format!("{module}: {message}"),
        _ => message.to_owned(),
    }
}

/// What each of some findings says; those that would read the same name their place too.
pub fn told_apart(findings: &[Finding]) -> Vec<String> {
    let text = |found: &Finding| of_module(found.module.as_ref(), &found.message);
    let texts: Vec<String> = findings.iter().map(text).collect();
    let same = |at: usize| {
        let alike = |other: usize| texts[other] == texts[at] && findings[other].rule == findings[at].rule;
        (0..texts.len()).any(|other| other != at && alike(other))
    };
    let place = |(at, text): (usize, &String)| match findings[at].field.as_str() {
        "" => text.clone(),
        field if same(at) => format!("{text} ({field})"),
        _ => text.clone(),
    };
    texts.iter().enumerate().map(place).collect()
}

/// Traffic as it arrives, and what the runner says.
fn measured(progress: &StepProgress) -> String {
    let arriving = progress.traffic.iter().filter(|(_, share)| *share > 0.0);
    let mut parts: Vec<String> = arriving
        .map(|(revision, share)| format!("{} {} {share:.1}%", paint::faint(revision), paint::bar(*share, 10)))
        .collect();
    if !progress.text.is_empty() {
        parts.push(paint::faint(&progress.text));
    }
    parts.join("  ")
}
