//! 4: policy on the spec: images, rights, limits, mounts, and secrets in plain text; and whether the secrets that it names
//! are there, and the registries outside. An image's contents are not looked into.

mod waivers;

pub use waivers::waive;

use model::{
    DeploymentSpec, Finding, Severity, Timestamp,
    deployment::StepJob,
    spec::Module,
    step::{Agent, StepResult},
};

use super::{finding, judged};
use crate::{config::AgentsConfig, context::Ctx, deploy::secrets, egress};

/// Checks the spec.
pub async fn review(job: &StepJob, ctx: &Ctx) -> StepResult {
    let mut findings = check(&job.spec, ctx.now());
    // Whoever does not serve the platform would look in the wrong place.
    if ctx.platform(&job.spec.target).is_ok() {
        findings.extend(missing_secrets(&job.spec, &ctx.config));
        findings.extend(registries_inside(&job.spec, &ctx.config).await);
    }
    judged(Agent::Security, findings)
}

/// Secrets that no instance could be given: better found before anything is touched.
pub fn missing_secrets(spec: &DeploymentSpec, config: &AgentsConfig) -> Vec<Finding> {
    let missing = spec.modules.iter().filter_map(|module| {
        let error = secrets::resolve(config, module).err()?;
        let mut found =
            finding("security/secret-missing", Severity::High, Some(&module.name), error.to_string());
        found.cure = "put it where the agents run: a file below secrets_dir of [agents], or a variable that begins with \
                      CODE_SECRET_ (docs/configuration.md)"
            .to_owned();
        Some(found)
    });
    missing.collect()
}

/// Registries that the agents would not let the Docker daemon ask. One whose name means nothing here is left to the start.
pub async fn registries_inside(spec: &DeploymentSpec, config: &AgentsConfig) -> Vec<Finding> {
    let Ok(egress) = config.egress() else { return Vec::new() };
    let mut findings = Vec::new();
    for (at, module) in spec.modules.iter().enumerate() {
        let image = module.run.image.as_deref().filter(|_| spec.target.as_str() == "docker");
        let Some(registry) = image.and_then(platform_docker::registry) else { continue };
        let Ok(found) = egress::addresses(registry).await else { continue };
        let Err(why) = egress.check_all(&found) else { continue };
        let text = format!("the image would be fetched from {registry}: {why}");
        let mut inside = finding("security/registry-inside", Severity::High, Some(&module.name), text);
        inside.field = format!("modules[{at}].run.image");
        inside.cure =
            "name a registry outside, or have the operator allow this one (docs/configuration.md)".to_owned();
        findings.push(inside);
    }
    findings
}

/// All findings, with waivers applied as of `now`. Pure.
pub fn check(spec: &DeploymentSpec, now: Timestamp) -> Vec<Finding> {
    let contained = spec.target.as_str() != "process";
    let mut findings = Vec::new();
    for (at, module) in spec.modules.iter().enumerate() {
        let mut look = Look { module, place: format!("modules[{at}]"), contained, findings: &mut findings };
        look.image();
        look.rights();
        look.limits();
        look.mounts();
        look.ports();
    }
    for leak in spec::leaks(spec) {
        let text = format!("{} holds what looks like a {}", leak.place, leak.what);
        let mut found = finding(spec::PLAINTEXT_SECRET, Severity::High, leak.module.as_ref(), text);
        found.field = leak.field;
        found.cure = spec::SECRET_CURE.to_owned();
        findings.push(found);
    }
    waive(findings, &spec.waivers, now)
}

/// Host folders nobody but the host needs.
const SENSITIVE: [&str; 11] = [
    "/etc",
    "/proc",
    "/sys",
    "/dev",
    "/boot",
    "/root",
    "/run",
    "/var/run",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/usr",
];

struct Look<'a> {
    module: &'a Module,
    place: String,
    contained: bool,
    findings: &'a mut Vec<Finding>,
}

impl Look<'_> {
    fn say(&mut self, rule: &str, severity: Severity, field: &str, message: String, cure: &str) {
        let mut found = finding(&format!("security/{rule}"), severity, Some(&self.module.name), message);
        found.field = format!("{}.{field}", self.place);
        found.cure = cure.to_owned();
        self.findings.push(found);
    }

    /// What is only a risk inside a container is told, but does not block, where nothing is contained.
    fn in_container(&self, severity: Severity) -> Severity {
        if self.contained { severity } else { severity.min(Severity::Medium) }
    }

    fn image(&mut self) {
        let Some(image) = &self.module.run.image else { return };
        let pinned =
            image.rsplit_once('@').is_some_and(|(_, digest)| digest.parse::<model::Digest>().is_ok());
        if pinned || self.module.run.digest.is_some() {
            return;
        }
        let name = image.rsplit('/').next().unwrap_or(image);
        let tag = name.split_once(':').map(|(_, tag)| tag);
        let cure = "write it as name@sha256:…, or give run.digest";
        if matches!(tag, None | Some("latest" | "")) {
            let text = format!("image {image} is whatever was pushed last");
            self.say("latest-tag", self.in_container(Severity::High), "run.image", text, cure);
        } else {
            let text = format!("image {image} is not pinned to a digest: its tag can be moved");
            self.say("unpinned-image", self.in_container(Severity::High), "run.image", text, cure);
        }
    }

    fn rights(&mut self) {
        let run = &self.module.run;
        if run.privileged {
            let text = "asks to be privileged, which is never given".to_owned();
            self.say("privileged", Severity::Critical, "run.privileged", text, "remove the field");
        }
        let user = run.user.as_deref().map(|user| user.split(':').next().unwrap_or_default());
        match user {
            Some("0" | "root") => {
                let severity = self.in_container(Severity::High);
                self.say(
                    "root-user",
                    severity,
                    "run.user",
                    "runs as root".to_owned(),
                    "give a user id such as 10001",
                );
            }
            None if run.image.is_some() && self.contained => {
                let text = "runs as whatever user the image names, which is often root".to_owned();
                self.say("no-user", Severity::Medium, "run.user", text, "give a user id such as 10001");
            }
            Some(_) | None => {}
        }
    }

    fn limits(&mut self) {
        let resources = &self.module.resources;
        let (cpu, memory) = (resources.cpu_millis().is_none(), resources.memory_bytes().is_none());
        let missing = match (cpu, memory) {
            (true, true) => "processor and memory are",
            (false, true) => "memory is",
            (true, false) => "the processor is",
            (false, false) => "",
        };
        if !missing.is_empty() {
            let severity = if memory { Severity::Medium } else { Severity::Low };
            self.say(
                "no-limits",
                severity,
                "resources",
                format!("{missing} not limited"),
                "set resources.cpu and resources.memory",
            );
        }
        if self.module.health.is_none() {
            let text = "has no health check: that it runs is all that is known".to_owned();
            self.say("no-health-check", Severity::Medium, "health", text, "add health.probe");
        }
    }

    fn mounts(&mut self) {
        for (at, volume) in self.module.volumes.iter().enumerate() {
            let Some(host) = &volume.host else { continue };
            let field = format!("volumes[{at}].host");
            let clean = host.trim_end_matches('/');
            let cure = "use a named volume";
            let below = |root: &str| {
                clean == root || clean.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'))
            };
            if clean.ends_with("docker.sock") || clean.ends_with("containerd.sock") {
                let text = format!("mounts {host}: whoever has it has the host");
                self.say("host-mount", Severity::Critical, &field, text, cure);
            } else if clean.is_empty()
                || SENSITIVE.iter().any(|root| below(root))
                || host.split('/').any(|part| part == "..")
            {
                self.say("host-mount", Severity::High, &field, format!("mounts {host} of the host"), cure);
            } else {
                let severity = if volume.read_only { Severity::Low } else { Severity::Medium };
                self.say("host-mount", severity, &field, format!("mounts the host folder {host}"), cure);
            }
        }
    }

    fn ports(&mut self) {
        if let Some(expose) = self.module.expose.as_ref().filter(|expose| expose.listen < 1024) {
            let text = format!("listens on the privileged port {}", expose.listen);
            self.say("privileged-port", Severity::Medium, "expose.listen", text, "use a port from 1024 on");
        }
        for (at, port) in self.module.ports.iter().enumerate() {
            if let Some(number) = port.container.filter(|number| *number < 1024) {
                let text = format!("listens on the privileged port {number} in the container");
                self.say(
                    "privileged-port",
                    Severity::Low,
                    &format!("ports[{at}].container"),
                    text,
                    "use a port from 1024 on",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
