//! A certificate in words: who deployed what where, on whose approval, on what evidence.

use std::path::Path;

use certificate::{
    Algorithm, Deployment, Ending, Verified,
    deployment::{Gate, Step},
    verify::{Belief, short},
};
use model::{
    Outcome,
    deployment::Mode,
    step::{Agent, Stage},
};

use crate::output::{paint, screen, steps};

/// One line with a name before it.
pub fn row(name: &str, text: impl std::fmt::Display) -> String {
    format!("  {} {text}", paint::faint(format!("{name:<9}")))
}

/// What, where, how it ended.
pub fn title(facts: &Deployment) -> String {
    let ending = facts.ending.as_str().replace('_', " ");
    let ending = match facts.ending {
        Ending::Promoted if facts.mode == Mode::Rollback => {
            paint::warn("PROMOTED AS A WAY BACK, through no gates")
        }
        Ending::Promoted => paint::good(ending),
        Ending::RolledBack | Ending::Cancelled | Ending::Superseded | Ending::Unproven => paint::warn(ending),
        Ending::Rejected | Ending::NeedsHuman => paint::bad(ending),
    };
    let modules: Vec<String> =
        facts.artifacts.iter().map(|artifact| format!("{} {}", artifact.module, artifact.version)).collect();
    format!("{}  {ending}  {}", paint::strong(modules.join(", ")), facts.target)
}

/// Everything that is signed.
pub fn facts(facts: &Deployment) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(cause) = &facts.cause {
        lines.push(row("because", &cause.text));
        lines.extend(cause.gate.as_ref().map(|gate| row("", gate)));
    }
    lines.extend(facts.missing.iter().map(|text| row("missing", paint::bad(text))));
    who(facts, &mut lines);
    what(facts, &mut lines);
    on_what(facts, &mut lines);
    lines
}

fn who(facts: &Deployment, lines: &mut Vec<String>) {
    let took = screen::short(facts.ended.0.since(facts.received.0));
    let back = if facts.mode == Mode::Rollback { " as a way back" } else { "" };
    lines.push(row(
        "who",
        format!("{} asked for it{back} at {}; over after {took}", facts.initiator, facts.received),
    ));
    if let Some(reason) = &facts.forced {
        let what = "in case of a quarantine; whether there was one is not in the journal";
        lines.push(row("", format!("{} {what}: {reason}", paint::warn("forced"))));
    }
    let needed = facts.policy.approvals;
    let back = facts.mode == Mode::Rollback;
    if back && facts.approvals.is_empty() {
        lines.push(row("approved", "nobody: a way back asks for no approval"));
    } else if needed == 0 && facts.approvals.is_empty() {
        lines.push(row("approved", "nobody had to"));
    }
    for approval in &facts.approvals {
        let which =
            if Some(&approval.plan) == facts.plan.as_ref() { "exactly this plan" } else { "another plan" };
        lines.push(row("approved", format!("{} approved {which} at {}", approval.by, approval.at)));
    }
    if needed > 0 && !back {
        let anyone = "anyone but the initiator".to_owned();
        let whom = if facts.policy.approvers.is_empty() { anyone } else { facts.policy.approvers.join(", ") };
        lines.push(row("", format!("{} of {needed} approvals; may: {whom}", facts.approvals.len())));
    }
    for done in &facts.interventions {
        lines.push(row("by hand", format!("{} {} at {}", done.by, done.what.replace('_', " "), done.at)));
    }
    match &facts.experts.opinion {
        None if facts.experts.source == "off" => lines.push(row("experts", "were not asked")),
        None => lines.push(row("experts", &facts.experts.summary)),
        Some(opinion) => {
            let votes = format!("{} votes worth {:.1}", opinion.counted, opinion.effective);
            lines.push(row("experts", format!("{}: {} ({votes})", opinion.action.as_str(), opinion.reason)));
            for vote in &opinion.votes {
                let said = vote.vote.map_or(vote.status.as_str(), model::expert::Stance::as_str);
                lines.push(row("", format!("{} ({}) {said}", vote.expert, vote.family)));
            }
        }
    }
}

fn what(facts: &Deployment, lines: &mut Vec<String>) {
    for artifact in &facts.artifacts {
        let digest = match &artifact.digest {
            Some(digest) => digest.to_string(),
            None => paint::warn("not pinned by a digest"),
        };
        let head = format!("{} {} revision {}", artifact.module, artifact.version, artifact.revision);
        lines.push(row("what", head));
        lines.push(row("", format!("{}  {digest}", artifact.name)));
    }
    match &facts.plan {
        Some(plan) => {
            // The step that makes the certificate cannot have ended in it.
            let steps: Vec<&Step> =
                facts.steps.iter().filter(|step| step.agent != Agent::Certifier).collect();
            let good = steps.iter().filter(|step| step.outcome == Some(Outcome::Succeeded)).count();
            let idle = steps.iter().filter(|step| step.attempts == 0).count();
            let tries: u32 = steps.iter().map(|step| step.attempts.saturating_sub(1)).sum();
            let mut text = format!("{good} of {} steps succeeded", steps.len());
            if idle > 0 {
                text += &format!(", {idle} were not begun");
            }
            if tries > 0 {
                text += &format!(", {tries} attempts were repeated");
            }
            lines.push(row("plan", plan));
            lines.push(row("", text));
        }
        None => lines.push(row("plan", "there was none")),
    }
    let bad = |step: &&Step| step.outcome.is_some_and(|outcome| outcome != Outcome::Succeeded);
    for step in facts.steps.iter().filter(bad) {
        let outcome = step.outcome.map(|outcome| outcome.to_string()).unwrap_or_default();
        let back = if step.stage == Stage::Rollback { "on the way back: " } else { "" };
        lines.push(row("", format!("{} {back}{} {outcome}: {}", paint::bad("✗"), step.what, step.reason)));
    }
}

fn on_what(facts: &Deployment, lines: &mut Vec<String>) {
    let last =
        |gate: &&Gate| facts.steps.iter().any(|step| step.id == gate.step && step.attempts == gate.attempt);
    let gates: Vec<&Gate> = facts.gates.iter().filter(last).collect();
    if gates.is_empty() {
        let why = if facts.mode == Mode::Rollback { ": a way back passes none" } else { "" };
        lines.push(row("gates", format!("none was judged{why}")));
    }
    for (at, gate) in gates.iter().enumerate() {
        let sign = if gate.outcome == Outcome::Succeeded { paint::good("✓") } else { paint::bad("✗") };
        let measured = gate.measured.map_or("nothing measured".to_owned(), model::number);
        let limit = if gate.limit.is_empty() { String::new() } else { format!(", limit {}", gate.limit) };
        let name = if at == 0 { "gates" } else { "" };
        lines.push(row(name, format!("{sign} {} {measured}{limit} ({} samples)", gate.gate, gate.samples)));
    }
    for found in &facts.findings {
        let accepted = found.waived.as_ref().map(|why| format!(", accepted: {why}")).unwrap_or_default();
        let severity = paint::severity(found.severity);
        let what = steps::of_module(found.module.as_ref(), &found.message);
        lines.push(row("found", format!("{severity} {}: {what}{accepted}", found.rule)));
    }
    match &facts.observed {
        None => lines.push(row("observed", "nobody looked at what runs")),
        Some(observed) if observed.differences.is_empty() => {
            let what = if observed.expected.is_some() {
                "what runs is what should run"
            } else {
                "nothing runs, as it should be"
            };
            lines.push(row("observed", format!("{what}, at {}", observed.at)));
        }
        Some(observed) => {
            let differences = observed.differences.join("; ");
            lines.push(row("observed", format!("{}, at {}", paint::bad(differences), observed.at)));
        }
    }
    for (at, input) in facts.inputs.iter().enumerate() {
        let name = if at == 0 { "evidence" } else { "" };
        let read = if input.name.starts_with("code/") { "  (a label names it; nobody read it)" } else { "" };
        lines
            .push(row(name, format!("{} {}  {}{read}", input.kind, paint::faint(&input.name), input.digest)));
    }
    lines.push(row("journal", format!("{} records, {}", facts.journal.version, facts.journal.digest)));
    if let Some(audit) = &facts.audit {
        let range = format!("entries {} to {} of {}", audit.first, audit.last, audit.origin);
        lines.push(row("", format!("{range}, whose size was {}", audit.size)));
    }
    lines.push(row(
        "id",
        format!("{}, issued {} by {}", facts.deployment, facts.issued, facts.certifier.replica),
    ));
}

/// What was checked beside the signed text.
pub fn proof(verified: &Verified) -> Vec<String> {
    let keys: Vec<String> =
        verified.keys.iter().map(|key| format!("{} {}", key.algorithm, short(&key.id))).collect();
    let both = [Algorithm::EcdsaP256, Algorithm::MlDsa65];
    let hybrid = both.iter().all(|kind| verified.keys.iter().any(|key| key.algorithm == *kind));
    let word = if hybrid { "both signatures hold" } else { "the signature holds" };
    let mut lines = vec![row("signed", format!("{} {word}: {}", paint::good("✓"), keys.join(", ")))];
    for (approval, key) in verified.facts.approvals.iter().zip(&verified.signed) {
        lines.push(match key {
            Some(key) => {
                row("approval", format!("{} by {}: signed by key {key}", paint::good("✓"), approval.by))
            }
            None => row("approval", paint::warn(format!("by {}: not signed, believed", approval.by))),
        });
    }
    if let Some(requirement) = &verified.requirement {
        lines.push(row(
            "",
            format!("asked for were {requirement}; whose keys count is in approvals/ of an export"),
        ));
    }
    match &verified.log {
        None => lines.push(row("log", paint::warn("was not asked: the trust file names none"))),
        Some(log) => {
            lines.push(row(
                "log",
                format!("{} entry {} of {}, size {}", paint::good("✓"), log.index, log.origin, log.size),
            ));
            let at = log.at.map(|at| format!(" at {at}")).unwrap_or_default();
            lines.push(row(
                "",
                match log.witnesses.as_slice() {
                    [] => "no witness is asked for by the trust file: whoever holds the log's keys can rewrite it".to_owned(),
                    some => format!("seen by {}{at}", some.join(", ")),
                },
            ));
        }
    }
    lines
}

/// What nothing enclosed shows, and who is believed for it.
pub fn believed(verified: &Verified) -> Vec<String> {
    let all = verified.believed.iter().enumerate();
    let line = |(at, belief): (usize, &Belief)| {
        let name = if at == 0 { "believed" } else { "" };
        let field = belief.field.trim_start_matches("predicate.");
        row(name, format!("{} {}: {}", paint::faint(field), belief.by, belief.text))
    };
    all.map(line).collect()
}

/// How other tools verify what was exported.
pub fn commands(facts: &Deployment, folder: &Path) -> Vec<String> {
    let folder = folder.display();
    let blob = if facts.plan.is_some() { "plan.json" } else { "spec.json" };
    let digest = facts.plan.as_ref().unwrap_or(&facts.spec);
    vec![
        "verify with:".to_owned(),
        format!("  codectl certificate verify {folder} --trust YOUR-TRUST-FILE"),
        format!(
            "  cosign verify-blob-attestation --bundle {folder}/deployment.sigstore.json \
             --key {folder}/trust/ecdsa-p256-sha256.pub --type {} --insecure-ignore-tlog {folder}/{blob}",
            certificate::deployment::TYPE
        ),
        format!(
            "  slsa-verifier verify-vsa --attestation-path {folder}/vsa.dsse.json \
             --public-key-path {folder}/trust/ecdsa-p256-sha256.pub --public-key-id KEYID --subject-digest {digest} \
             --verifier-id {} --resource-uri {} --verified-level {}",
            certificate::vsa::VERIFIER,
            certificate::vsa::resource(&facts.target.to_string()),
            certificate::vsa::LEVEL
        ),
    ]
}
