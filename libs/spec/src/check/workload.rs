//! What runs, how many, and in which version.

use model::{
    DeploymentSpec, limits,
    spec::{Module, Run},
};
use semver::Version;

use super::{Found, REPLICAS_CURE, release, texts};
use crate::document::{Path, shown_text};

pub(super) fn check(spec: &DeploymentSpec, module: &Module, path: &Path, found: &mut Found) {
    if module.version.parse::<Version>().is_err() {
        let message = format!("{} is not a version", shown_text(&module.version));
        found.add(path.field("version"), message, "write three numbers, such as 1.4.0");
    }
    if !(1..=limits::REPLICAS).contains(&module.replicas) {
        let message = format!("{} is not a number of replicas", module.replicas);
        found.add(path.field("replicas"), message, REPLICAS_CURE);
    }
    run(spec, module, &path.field("run"), found);
}

fn run(spec: &DeploymentSpec, module: &Module, path: &Path, found: &mut Found) {
    let run = &module.run;
    match (spec.target.as_str(), &run.image, run.program().is_none()) {
        ("process", Some(_), _) => {
            let cure = "give `command` instead, or set `target: docker`";
            found.add(path.field("image"), "an image cannot run on the process platform", cure);
        }
        ("process", None, true) => {
            found.add(path.clone(), "nothing says what runs", "the process platform needs `command`");
        }
        ("docker", None, _) => {
            found.add(path.clone(), "nothing says which image runs", "the docker platform needs `image`");
        }
        ("scripted", Some(_), false) => {
            found.add(path.clone(), "both `image` and `command` say what runs", "keep one of the two");
        }
        ("scripted", None, true) => {
            found.add(path.clone(), "nothing says what runs", "give `image` or `command`");
        }
        _ => {}
    }
    words(run, path, found);
    if let Some(image) = &run.image {
        if !texts::is_image(image) {
            let message = format!("{} is not an image", shown_text(image));
            found.add(
                path.field("image"),
                message,
                "write such as ghcr.io/team/app:1.4.0, best with @sha256:...",
            );
        }
        let pinned = image.split_once('@').map(|(_, digest)| digest);
        if let (Some(pinned), Some(digest)) = (pinned, &run.digest)
            && pinned != digest.to_string()
        {
            found.add(path.field("digest"), "the image is pinned to another digest", "keep one of the two");
        }
    }
    if run.privileged {
        let message = "a privileged container is refused: it could take over its host";
        found.add(
            path.field("privileged"),
            message,
            "remove it; what the module needs can be given piece by piece",
        );
    }
    if let Some(user) = run.user.as_ref().filter(|user| !is_user(user)) {
        let cure = "write a user id, such as 10001 or 10001:10001";
        found.add(path.field("user"), format!("{} is not a user", shown_text(user)), cure);
    }
    if let Some(folder) = run.working_directory.as_ref().filter(|folder| !texts::stays_below(folder)) {
        let message = format!("{} is not a folder", shown_text(folder));
        found.add(path.field("workingDirectory"), message, "write a path without ..");
    }
}

/// The whole line is `command`, or its two parts are `entrypoint` and `arguments`.
fn words(run: &Run, path: &Path, found: &mut Found) {
    if !run.command.is_empty() {
        release::command(&run.command, &path.field("command"), found);
        if run.entrypoint.is_some() || !run.arguments.is_empty() {
            let part = if run.entrypoint.is_some() { "entrypoint" } else { "arguments" };
            let cure = "`command` is the whole line: keep it, or write `entrypoint` and `arguments`";
            found.add_key(path.field(part), format!("both `command` and `{part}` say what runs"), cure);
        }
    }
    if let Some(words) = run.entrypoint.as_ref().filter(|words| !words.is_empty()) {
        release::command(words, &path.field("entrypoint"), found);
    }
    release::arguments(&run.arguments, &path.field("arguments"), found);
}

fn is_user(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.len() <= 32
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    };
    let mut parts = text.split(':');
    parts.next().is_some_and(is_name) && parts.next().is_none_or(is_name) && parts.next().is_none()
}
