//! 2: what depends on what: order, versions, contracts.

use std::time::Duration;

use model::{
    DeploymentSpec, Finding, Severity, TargetId, Token,
    deployment::StepJob,
    plan::Revision,
    spec::Module,
    step::{Agent, StepResult},
};
use platform::Platform;
use serde_json::Value;

use super::{finding, judged};
use crate::{
    context::{Ctx, Engine},
    error::Result,
};

/// How long an instance may take to show its contract.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks the order and the versions, and keeps the contracts of what runs now for the comparison after the change.
pub async fn review(job: &StepJob, ctx: &Ctx) -> Result<StepResult> {
    let mut findings = check(&job.spec, job.baseline.as_deref());
    findings.extend(keep_contracts(job, ctx).await?);
    Ok(judged(Agent::Integrator, findings))
}

/// The rules on the documents alone. Pure.
pub fn check(spec: &DeploymentSpec, baseline: Option<&DeploymentSpec>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(cycle) = spec::order(spec) {
        let text = format!("modules depend on each other in a circle: {cycle}");
        let mut found = finding("integrator/cycle", Severity::High, None, text);
        found.cure = "one of them has to start without the other".to_owned();
        findings.push(found);
    }
    for (at, module) in spec.modules.iter().enumerate() {
        for (number, dependency) in module.depends_on.iter().enumerate() {
            let of =
                |spec: &DeploymentSpec| spec.module(&dependency.module).map(|module| module.version.clone());
            // What is not in the release runs on as the baseline has it only when the release keeps it; a release
            // that leaves a module out removes it, so the baseline says what WAS there.
            let (found, place) = match (of(spec), baseline.and_then(of)) {
                (Some(version), _) => (Some(version), "this release"),
                (None, Some(version)) => (Some(version), "what runs, which this release removes"),
                (None, None) => (None, ""),
            };
            let field = format!("modules[{at}].dependsOn[{number}]");
            let mut say = |rule: &str, text: String, cure: &str| {
                let mut found = finding(rule, Severity::High, Some(&module.name), text);
                (found.field, found.cure) = (field.clone(), cure.to_owned());
                findings.push(found);
            };
            let Some(version) = found else {
                let text =
                    format!("{} depends on {}, which is not in the release", module.name, dependency.module);
                say("integrator/missing-module", text, "add the module to the release");
                continue;
            };
            if of(spec).is_none() {
                let text =
                    format!("{} depends on {}, which is only in {place}", module.name, dependency.module);
                say("integrator/removed-module", text, "keep the module in the release");
            }
            let Some(wanted) = &dependency.version else { continue };
            match (semver::VersionReq::parse(wanted), semver::Version::parse(&version)) {
                (Ok(asked), Ok(has)) if !asked.matches(&has) => {
                    let text = format!(
                        "{} needs {} {wanted}, {place} has {version}",
                        module.name, dependency.module
                    );
                    say("integrator/version", text, "raise the module's version or widen what is asked for");
                }
                (Ok(_), Ok(_)) => {}
                (Err(error), _) => {
                    say(
                        "integrator/version",
                        format!("{wanted:?} is not a range of versions: {error}"),
                        "such as >=1.2, <2",
                    );
                }
                (_, Err(error)) => {
                    let text =
                        format!("version {version:?} of {} cannot be compared: {error}", dependency.module);
                    say("integrator/version", text, "write it as 1.2.3");
                }
            }
        }
        if let Some(old) = baseline.and_then(|spec| spec.module(&module.name))
            && let (Ok(was), Ok(is)) =
                (semver::Version::parse(&old.version), semver::Version::parse(&module.version))
            && is < was
        {
            let text = format!("{} goes back from version {was} to {is}", module.name);
            findings.push(finding("integrator/downgrade", Severity::Low, Some(&module.name), text));
        }
    }
    findings
}

/// The contract of the old revision is asked for while it runs; a rolling update leaves no instance of it.
async fn keep_contracts(job: &StepJob, ctx: &Ctx) -> Result<Vec<Finding>> {
    let (target, mut findings) = (job.spec.target_id(), Vec::new());
    let platform = ctx.platform(&target.platform)?;
    for old in job.baseline.iter().flat_map(|spec| &spec.modules) {
        let moves = job.spec.module(&old.name).is_some_and(|new| new.revision() != old.revision());
        if old.openapi.is_none() || !moves {
            continue;
        }
        match contract(ctx, platform.as_ref(), &target, old, &old.revision()).await {
            Ok(document) => {
                ctx.store.remember(&contract_key(&target, &old.name, &old.revision()), &document).await?
            }
            Err(why) => {
                let text = format!("the contract of what runs could not be read: {why}");
                findings.push(finding("integrator/no-contract", Severity::Info, Some(&old.name), text));
            }
        }
    }
    Ok(findings)
}

/// Where a contract is kept.
pub fn contract_key(target: &TargetId, module: &Token, revision: &Revision) -> String {
    format!("openapi.{}.{module}.{revision}", target.token())
}

/// The OpenAPI document that an instance of the revision serves now.
pub async fn contract(
    engine: &Engine,
    platform: &dyn Platform,
    target: &TargetId,
    module: &Module,
    revision: &Revision,
) -> std::result::Result<Value, String> {
    let Some(path) = &module.openapi else { return Err("it serves none".to_owned()) };
    let observed = platform.observe(target).await.map_err(|error| chassis::chain(&error))?;
    let port = module.expose.as_ref().and_then(|expose| expose.port.as_ref());
    let running =
        observed.iter().filter(|it| it.module == module.name && it.revision == *revision && it.is_running());
    let Some(address) = running.filter_map(|instance| instance.address(port)).next() else {
        return Err(format!("no instance of {revision} runs"));
    };
    let url = format!("http://{address}{path}");
    let answer = engine.http.get(&url, &[], PATIENCE).await.map_err(|error| chassis::chain(&error))?;
    if answer.status != 200 {
        return Err(format!("{url} answered {}", answer.status));
    }
    serde_json::from_slice(&answer.body).map_err(|error| format!("{url} is no JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(modules: &str) -> DeploymentSpec {
        let text =
            format!(r#"{{"apiVersion":"code/v1","name":"shop","target":"process","modules":[{modules}]}}"#);
        serde_json::from_str(&text).unwrap()
    }

    fn rules(spec: &DeploymentSpec, baseline: Option<&DeploymentSpec>) -> Vec<String> {
        check(spec, baseline).into_iter().map(|found| format!("{}: {}", found.rule, found.message)).collect()
    }

    const RUN: &str = r#""run":{"command":["a"]}"#;

    #[test]
    fn a_circle_is_printed() {
        let spec = spec(&format!(
            r#"{{"name":"a",{RUN},"dependsOn":[{{"module":"b"}}]}},{{"name":"b",{RUN},"dependsOn":[{{"module":"a"}}]}}"#
        ));

        assert_eq!(
            rules(&spec, None),
            ["integrator/cycle: modules depend on each other in a circle: a -> b -> a"]
        );
    }

    #[test]
    fn versions_are_held_against_the_release_and_then_against_what_runs() {
        let api = |version: &str| format!(r#"{{"name":"api","version":"{version}",{RUN}}}"#);
        let web = format!(r#"{{"name":"web",{RUN},"dependsOn":[{{"module":"api","version":">=2, <3"}}]}}"#);
        let both = |version: &str| spec(&format!("{},{web}", api(version)));

        assert!(rules(&both("2.1.0"), None).is_empty());
        assert_eq!(
            rules(&both("1.9.0"), None),
            ["integrator/version: web needs api >=2, <3, this release has 1.9.0"]
        );
        assert_eq!(
            rules(&spec(&web), None),
            ["integrator/missing-module: web depends on api, which is not in the release"]
        );
        let runs = spec(&api("2.0.0"));
        assert_eq!(
            rules(&spec(&web), Some(&runs)),
            [
                "integrator/removed-module: web depends on api, which is only in what runs, which this release removes"
            ]
        );
    }

    #[test]
    fn going_back_is_noted() {
        let old = spec(&format!(r#"{{"name":"web","version":"2.0.0",{RUN}}}"#));
        let new = spec(&format!(r#"{{"name":"web","version":"1.0.0",{RUN}}}"#));

        assert_eq!(
            rules(&new, Some(&old)),
            ["integrator/downgrade: web goes back from version 2.0.0 to 1.0.0"]
        );
    }
}
