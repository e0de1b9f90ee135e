//! Does it open a door, or lean on an exception?

use model::{
    Severity,
    expert::{Topic, Weight},
    spec::Module,
};

use super::{Said, Sight};

/// From so many exceptions on they are the rule.
const MANY_WAIVERS: usize = 3;

pub(super) fn judge(sight: &Sight, said: &mut Said) {
    for (module, before, _) in sight.moving() {
        rights(module, before, sight, said);
        doors(module, before, said);
    }
    exceptions(sight, said);
}

fn rights(module: &Module, before: Option<&Module>, sight: &Sight, said: &mut Said) {
    let name = &module.name;
    said.find_if(module.run.privileged, Topic::Security, Weight::Blocking, "spec", || {
        format!("{name} asks to be privileged: whoever takes it over has the host")
    });
    let contained = sight.spec.target.as_str() != "process";
    let root =
        module.run.user.as_deref().is_some_and(|user| matches!(user, "0" | "root") || user.starts_with("0:"));
    said.find_if(contained && root, Topic::Security, Weight::Major, "spec", || {
        format!("{name} runs as root")
    });
    let image = module.run.image.as_deref();
    let floats = image.is_some_and(|image| !image.contains("@sha256:")) && module.run.digest.is_none();
    said.find_if(floats, Topic::Security, Weight::Major, "spec", || {
        format!("{name} runs {}, a name that can be moved to another image", image.unwrap_or_default())
    });
    for volume in module.volumes.iter().filter_map(|volume| volume.host.as_deref()) {
        let socket = volume.trim_end_matches('/').ends_with(".sock");
        said.find_if(socket, Topic::Security, Weight::Blocking, "spec", || {
            format!("{name} mounts {volume}: whoever takes it over commands the container engine")
        });
    }
    let fewer = before.is_some_and(|before| before.secrets.len() > module.secrets.len());
    let more_plain = before.is_some_and(|before| {
        module.environment.len() + module.config.len() > before.environment.len() + before.config.len()
    });
    said.find_if(fewer && more_plain, Topic::Config, Weight::Major, "spec", || {
        format!("{name} takes fewer secrets by reference and more settings in plain text than before")
    });
}

fn doors(module: &Module, before: Option<&Module>, said: &mut Said) {
    let name = &module.name;
    let opened = module.expose.as_ref().filter(|_| before.is_some_and(|before| before.expose.is_none()));
    said.find_if(opened.is_some(), Topic::Security, Weight::Minor, "spec", || {
        let port = opened.map_or(0, |expose| expose.listen);
        format!("{name} was not reachable from outside and now listens on {port}")
    });
}

/// What the security agent found and someone accepted; what nobody accepted has stopped the plan before.
fn exceptions(sight: &Sight, said: &mut Said) {
    let findings = || {
        sight.reviews.iter().filter(|review| review.agent == "security").flat_map(|review| &review.findings)
    };
    for finding in findings() {
        let waived = finding.waived.is_some();
        let weight = match finding.severity {
            Severity::Critical if !waived => Weight::Blocking,
            Severity::Critical | Severity::High => Weight::Major,
            Severity::Medium => Weight::Minor,
            Severity::Low | Severity::Info => Weight::Info,
        };
        said.find_if(weight >= Weight::Minor, Topic::Policy, weight, "findings", || {
            let on = finding.module.as_ref().map(|module| format!(" on {module}")).unwrap_or_default();
            let how = if waived { ", accepted by a waiver" } else { "" };
            format!("{}{on}: {}{how}", finding.rule, finding.message)
        });
    }
    let waivers = sight.spec.waivers.len();
    said.find_if(waivers >= MANY_WAIVERS, Topic::Policy, Weight::Major, "spec", || {
        format!("{waivers} waivers: with so many exceptions nobody looks at each of them")
    });
    let known = |rule: &str| {
        sight.baseline.as_ref().is_some_and(|baseline| baseline.waivers.iter().any(|one| one.rule == rule))
    };
    for waiver in sight.spec.waivers.iter().filter(|waiver| !known(&waiver.rule)) {
        said.find_if(true, Topic::Policy, Weight::Minor, "spec", || {
            format!("a new waiver for {} until {}: {}", waiver.rule, waiver.expires, waiver.reason)
        });
    }
}
