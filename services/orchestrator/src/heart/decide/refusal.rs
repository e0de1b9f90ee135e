//! Why a deployment is refused, in the words that stand in its journal, and before that in the preview of its plan.

use model::{
    Code, Digest, Fault, Phase, Token, Verdict,
    expert::{PlanAdvice, passes},
    spec::{DeploymentSpec, GateMode, WhenBusy},
    target::Quarantine,
};

use crate::heart::{state::Deployment, target::Target};

/// Where a deployment stands, for a command that it refuses: `dep-… is rolling back`.
pub fn stands(state: &Deployment) -> String {
    match state.phase {
        Phase::NeedsHuman => format!("{} needs a human", state.id),
        phase => format!("{} is {phase}", state.id),
    }
}

/// The deployment is over.
pub fn over(state: &Deployment) -> Fault {
    let how = match state.ending.verdict {
        None => "is over".to_owned(),
        Some(Verdict::NeedsHuman) => "was closed by hand".to_owned(),
        Some(verdict) => format!("is {verdict}"),
    };
    Fault::new(Code::Conflict, format!("{} {how}: nothing can be changed any more", state.id))
}

/// The spec was rolled back here, and nobody has a reason to try it again.
pub fn quarantined(spec: &Digest, target: &Target) -> Option<String> {
    let Quarantine { deployment, reason, .. } = target.quarantined.get(spec)?;
    let cure = "deploy it again with --force and a reason";
    Some(format!("this spec was rolled back by {deployment} ({reason}); {cure}"))
}

/// Somebody holds the target, and the spec does not want to wait.
pub fn busy(spec: &DeploymentSpec, target: &Target) -> Option<String> {
    let (holder, _) = target.holder.as_ref().filter(|_| spec.when_busy == WhenBusy::Reject)?;
    Some(format!("{holder} holds the target and whenBusy is `reject`"))
}

/// The gate requires an approval of experts, and what came is none; `otherwise` says what came instead.
pub fn not_approved(gate: GateMode, advice: Option<&PlanAdvice>, otherwise: &str) -> Option<String> {
    if passes(gate, advice) {
        return None;
    }
    let said = advice.map_or_else(|| otherwise.to_owned(), words);
    Some(format!("experts must approve and do not: {said}"))
}

fn words(advice: &PlanAdvice) -> String {
    // The rule behind the action stands with the advice; here is what is to be cured.
    let why = match advice.findings.first() {
        Some(finding) => {
            let who: Vec<&str> = finding.experts.iter().map(Token::as_str).collect();
            format!("{} ({})", finding.statement, who.join(", "))
        }
        None => advice.reason.clone(),
    };
    format!("they say {}: {why}", advice.action.as_str().replace('_', " "))
}
