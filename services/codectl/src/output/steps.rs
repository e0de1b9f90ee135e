//! A deployment as a tree of steps, with traffic and gates as they were measured.

use std::collections::BTreeMap;

use model::{
    StepId,
    deployment::StepProgress,
    step::Stage,
    view::{DeploymentView, StepStatus, StepView},
};

use super::paint;

/// What running steps said last.
pub type Progress = BTreeMap<StepId, StepProgress>;

/// The head line: what, where, phase, owner.
pub fn head(view: &DeploymentView) -> String {
    let summary = &view.summary;
    let phase = match summary.verdict {
        Some(verdict) => paint::verdict(verdict),
        None => paint::moving(summary.phase.as_str().replace('_', " ")),
    };
    let owner = view.owner.as_ref().map(|(owner, _)| short(owner)).unwrap_or_else(|| "nobody".to_owned());
    format!(
        "{}  {}  {}  {}",
        paint::strong(summary.modules.join(", ")),
        phase,
        summary.target,
        paint::faint(format!("{} · revision {} · owner {owner}", summary.deployment, view.version)),
    )
}

/// The last eight characters of an id: enough to tell replicas apart on a screen.
pub fn short(id: &str) -> String {
    id.chars().skip(id.chars().count().saturating_sub(8)).collect()
}

/// The whole tree, one line per step.
pub fn tree(view: &DeploymentView, progress: &Progress) -> Vec<String> {
    let mut lines = vec![head(view)];
    for (stage, name) in [
        (Stage::Check, "check"),
        (Stage::Execute, "execute"),
        (Stage::Verify, "verify"),
        (Stage::Finish, "finish"),
        (Stage::Rollback, "way back"),
    ] {
        let steps: Vec<&StepView> = view.steps.iter().filter(|step| step.stage == stage).collect();
        if steps.is_empty() {
            continue;
        }
        lines.push(format!("  {}", paint::faint(name)));
        for step in steps {
            lines.push(format!("    {}", step_line(step, progress.get(&step.id))));
        }
    }
    lines
}

/// One step: sign, words, how long, why, traffic and gates.
pub fn step_line(step: &StepView, progress: Option<&StepProgress>) -> String {
    let mut parts = vec![paint::sign(step.status), step.text.clone()];
    if let (Some(scheduled), Some(finished)) = (step.scheduled, step.finished) {
        parts.push(paint::faint(format!("{:.1}s", finished.since(scheduled).as_secs_f64())));
    }
    if step.attempt > 1 {
        parts.push(paint::warn(format!("attempt {}", step.attempt)));
    }
    let running = matches!(step.status, StepStatus::Scheduled | StepStatus::Running);
    match (running, progress) {
        (true, Some(progress)) => {
            parts.extend(progress.traffic.iter().map(|(revision, share)| {
                format!("{} {} {share:.1}%", paint::faint(revision), paint::bar(*share, 10))
            }));
            parts.push(paint::faint(&progress.text));
        }
        _ if step.status == StepStatus::Succeeded => {
            parts.extend(step.gates.iter().map(|gate| paint::faint(&gate.text)));
        }
        _ if !step.reason.is_empty() => parts.push(paint::warn(&step.reason)),
        _ => {}
    }
    parts.join("  ")
}
