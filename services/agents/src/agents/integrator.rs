//! 2: what depends on what: order, versions, contracts.

use std::time::Duration;

use model::{
    DeploymentSpec, Digest, Finding, Severity, TargetId, Token,
    deployment::StepJob,
    plan::Revision,
    spec::{Dependency, Module},
    step::{Agent, StepResult},
};
use platform::Platform;

use super::{finding, judged};
use crate::{
    context::{Ctx, Engine},
    error::Result,
};

/// How long an instance may take to show its contract.
const PATIENCE: Duration = Duration::from_secs(15);

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
            let field = format!("modules[{at}].dependsOn[{number}]");
            let unmet = unmet(spec, baseline, module, dependency).into_iter();
            findings.extend(unmet.map(|found| Finding { field: field.clone(), ..found }));
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

/// What is wrong with what a module asks of another one.
fn unmet(
    spec: &DeploymentSpec,
    baseline: Option<&DeploymentSpec>,
    module: &Module,
    dependency: &Dependency,
) -> Vec<Finding> {
    let (name, other) = (&module.name, &dependency.module);
    let wrong = |rule: &str, text: String, cure: &str| Finding {
        cure: cure.to_owned(),
        ..finding(rule, Severity::High, Some(name), text)
    };
    let of = |spec: &DeploymentSpec| spec.module(other).map(|module| module.version.clone());
    let mut found = Vec::new();
    // A release that leaves a module out removes it, so the baseline says what WAS there.
    let (version, place) = match (of(spec), baseline.and_then(of)) {
        (Some(version), _) => (version, "this release"),
        (None, Some(version)) => {
            let place = "what runs, which this release removes";
            let text = format!("{name} depends on {other}, which is only in {place}");
            found.push(wrong("integrator/removed-module", text, "keep the module in the release"));
            (version, place)
        }
        (None, None) => {
            let text = format!("{name} depends on {other}, which is not in the release");
            return vec![wrong("integrator/missing-module", text, "add the module to the release")];
        }
    };
    let Some(wanted) = &dependency.version else { return found };
    let (text, cure) = match (semver::VersionReq::parse(wanted), semver::Version::parse(&version)) {
        (Ok(asked), Ok(has)) if asked.matches(&has) => return found,
        (Ok(_), Ok(_)) => (
            format!("{name} needs {other} {wanted}, {place} has {version}"),
            "raise the module's version or widen what is asked for",
        ),
        (Err(error), _) => (format!("{wanted:?} is not a range of versions: {error}"), "such as >=1.2, <2"),
        (_, Err(error)) => {
            (format!("version {version:?} of {other} cannot be compared: {error}"), "write it as 1.2.3")
        }
    };
    found.push(wrong("integrator/version", text, cure));
    found
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
            Ok(document) => keep_contract(ctx, &target, old, &document).await?,
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

/// A contract may be larger than a message: its bytes are kept as evidence, by their digest.
#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    evidence: Digest,
}

/// Keeps the contract of a module as it is made now.
pub async fn keep_contract(
    engine: &Engine,
    target: &TargetId,
    module: &Module,
    document: &[u8],
) -> Result<()> {
    let kept = Kept { evidence: engine.store.keep(document).await? };
    let key = contract_key(target, &module.name, &module.revision());
    engine.store.remember(&key, &serde_json::json!(kept)).await
}

/// The contract of a revision that was kept while it ran; none when none was.
pub async fn kept_contract(
    engine: &Engine,
    target: &TargetId,
    module: &Token,
    revision: &Revision,
) -> Result<Option<Vec<u8>>> {
    let Some(value) = engine.store.measurement(&contract_key(target, module, revision)).await? else {
        return Ok(None);
    };
    match serde_json::from_value::<Kept>(value.clone()) {
        Ok(kept) => Ok(Some(engine.store.evidence(&kept.evidence).await?)),
        // Kept by an engine that kept the document itself.
        Err(_) => Ok(Some(value.to_string().into_bytes())),
    }
}

/// The bytes of the OpenAPI document that an instance of the revision serves now.
pub async fn contract(
    engine: &Engine,
    platform: &dyn Platform,
    target: &TargetId,
    module: &Module,
    revision: &Revision,
) -> std::result::Result<Vec<u8>, String> {
    let Some(path) = &module.openapi else { return Err("it serves none".to_owned()) };
    let observed = platform.observe(target).await.map_err(|error| chassis::chain(&error))?;
    let port = module.expose.as_ref().and_then(|expose| expose.port.as_ref());
    let running =
        observed.iter().filter(|it| it.module == module.name && it.revision == *revision && it.is_running());
    let Some(address) = running.filter_map(|instance| instance.address(port)).next() else {
        return Err(format!("no instance of {revision} runs"));
    };
    let url = format!("http://{address}{path}");
    let asked = engine.http.get_up_to(&url, &[], PATIENCE, contract::BYTES).await;
    let answer = asked.map_err(|error| chassis::chain(&error))?;
    if answer.status != 200 {
        return Err(format!("{url} answered {}", answer.status));
    }
    Ok(answer.body.to_vec())
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
