//! Holds the new contracts against the old ones.

use contract::{Document, Kind, Report};
use ground::blocking;
use model::{DeploymentSpec, Finding, Severity, deployment::StepJob, spec::Module};

use crate::{
    agents::{finding, integrator},
    context::Ctx,
    error::Result,
};

/// So many doubts and notes of a module are told; the rest is counted.
const TOLD: usize = 20;
/// What was not looked at to the end.
const UNFINISHED: [&str; 3] = ["cut-short", "request-too-deep", "response-too-deep"];

/// A break that the version does not announce (a higher first number) fails the release; an announced one is told. So is
/// a contract that could not be compared: nobody may take silence for a comparison.
pub(super) async fn compare(job: &StepJob, ctx: &Ctx) -> Result<Vec<Finding>> {
    let (target, mut findings) = (job.spec.target_id(), Vec::new());
    let platform = ctx.platform(&target.platform)?;
    for new in job.spec.modules.iter().filter(|module| module.openapi.is_some()) {
        let Some(old) = job.baseline.as_ref().and_then(|spec| spec.module(&new.name)) else { continue };
        if old.openapi.is_none() || old.revision() == new.revision() {
            continue;
        }
        let before = match integrator::kept_contract(ctx, &target, &new.name, &old.revision()).await? {
            Some(document) => Ok(document),
            None => integrator::contract(ctx, platform.as_ref(), &target, old, &old.revision()).await,
        };
        let now = integrator::contract(ctx, platform.as_ref(), &target, new, &new.revision()).await;
        let today: String = ctx.now().to_string().chars().take(10).collect();
        let compared = match (before, now) {
            (Ok(before), Ok(now)) => blocking(move || read_and_compared(&before, &now, &today)).await?,
            (before, now) => Err(before.err().or(now.err()).unwrap_or_default()),
        };
        match compared {
            Ok(report) => {
                findings.extend(findings_of(job, ctx.config.contract_doubts_fail, (old, new), report))
            }
            Err(why) => {
                let text = format!("the contracts of {} were not compared: {why}", new.name);
                findings.push(finding("validator/no-contract", Severity::Medium, Some(&new.name), text));
            }
        }
    }
    Ok(findings)
}

/// Takes a while for large documents.
fn read_and_compared(before: &[u8], now: &[u8], today: &str) -> std::result::Result<Report, String> {
    let read = |bytes: &[u8], whose: &str| {
        Document::read(bytes).map_err(|error| format!("the {whose} one: {error}"))
    };
    if before == now {
        return Ok(Report::default());
    }
    Ok(contract::compare(&read(before, "old")?, &read(now, "new")?, today))
}

fn findings_of(
    job: &StepJob,
    doubts_fail: bool,
    (old, new): (&Module, &Module),
    report: Report,
) -> Vec<Finding> {
    let major = |module: &Module| semver::Version::parse(&module.version).ok().map(|version| version.major);
    let announced = matches!((major(old), major(new)), (Some(old), Some(new)) if new > old);
    let breaking = if announced { Severity::Medium } else { Severity::High };
    let whom = consumers(&job.spec, new);
    let (mut findings, mut untold) = (Vec::new(), report.more);
    for found in report.findings {
        let (severity, text) = match found.kind {
            Kind::Break => {
                let text =
                    format!("{} {} breaks clients of {}: {found}{whom}", new.name, new.version, old.version);
                (breaking, text)
            }
            _ if findings.len() >= TOLD => {
                untold += 1;
                continue;
            }
            Kind::Doubt if doubts_fail => (breaking, format!("contract of {}: {found}", new.name)),
            Kind::Doubt if UNFINISHED.contains(&found.id.as_str()) => {
                (Severity::Medium, format!("contract of {}: {found}", new.name))
            }
            Kind::Doubt | Kind::Note => (Severity::Info, format!("contract of {}: {found}", new.name)),
        };
        let mut said = finding(&format!("contract/{}", found.id), severity, Some(&new.name), text);
        said.field = format!("openapi#{}", found.pointer);
        if found.kind == Kind::Break {
            said.cure = "keep what was promised, or announce the break by a higher major version".to_owned();
        }
        findings.push(said);
    }
    if untold > 0 {
        let text = format!("contract of {}: {untold} more findings are not shown", new.name);
        findings.push(finding("contract/more", Severity::Low, Some(&new.name), text));
    }
    findings
}

fn consumers(spec: &DeploymentSpec, of: &Module) -> String {
    let depends = |module: &&Module| module.depends_on.iter().any(|dependency| dependency.module == of.name);
    let names: Vec<&str> = spec.modules.iter().filter(depends).map(|module| module.name.as_str()).collect();
    if names.is_empty() { String::new() } else { format!("; {} depend on it", names.join(", ")) }
}

#[cfg(test)]
mod tests;
