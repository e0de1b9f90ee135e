//! One file per group of commands.

pub mod access;
pub mod act;
pub mod apply;
pub mod approve;
pub mod audit;
pub mod certificate;
pub mod events;
pub mod experts;
pub mod journal;
pub mod local;
pub mod plan;
pub mod show;
pub mod target;
pub mod watch;

use std::{fs, io::Read, path::Path};

use client::Client;
use model::{DeploymentId, DeploymentSpec, Digest, fault::Complaint, view::DeploymentView};

use crate::{failure::Failure, output};

/// One deployment as it stands; from then on its revisions are shown by their versions.
pub async fn view(client: &Client, deployment: &DeploymentId) -> Result<DeploymentView, Failure> {
    let view = client.status(deployment).await?;
    output::know(&view.versions);
    Ok(view)
}

/// The text of a file; `-` is standard input.
pub fn read(file: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::invalid(format!("reading {}: {error}", file.display()));
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
        return Ok(text);
    }
    fs::read_to_string(file).map_err(failed)
}

/// A spec as it is sent to the engine.
pub struct Document {
    /// What is sent.
    pub text: String,
    /// What it says.
    pub spec: DeploymentSpec,
    /// What it is known by.
    pub digest: Digest,
    /// What is allowed in it and perhaps not meant.
    pub warnings: Vec<Complaint>,
}

impl Document {
    /// Says on standard error what is allowed in the spec and perhaps not meant.
    pub fn warn(&self, file: &Path) {
        for warning in &self.warnings {
            output::note(format!("{} {}:{warning}", output::paint::warn("warning:"), file.display()));
        }
    }
}

/// Reads and checks a spec. A program that is named relative to the working directory and is there, such as
/// `target/debug/greeter`, is sent with its whole path: the engine starts it from a folder of its own.
pub fn document(file: &Path) -> Result<Document, Failure> {
    let text = read(file)?;
    let read = spec::read(&text).map_err(|fault| Failure::from(fault).in_file(file))?;
    let (mut spec, warnings, mut moved) = (read.spec, read.warnings, false);
    let here =
        std::env::current_dir().map_err(|error| Failure::other(format!("working directory: {error}")))?;
    if spec.target.as_str() != "process" {
        return Ok(Document { text, spec, digest: read.digest, warnings });
    }
    for (index, module) in spec.modules.iter_mut().enumerate() {
        if module.run.working_directory.is_some() {
            continue;
        }
        let field = if module.run.command.is_empty() { "entrypoint" } else { "command" };
        let Some(program) = module.run.program_mut() else { continue };
        if !program.contains('/') || program.starts_with('/') {
            continue;
        }
        let whole = here.join(program.trim_start_matches("./"));
        if whole.is_file() {
            *program = whole.to_string_lossy().into_owned();
            moved = true;
        } else {
            output::note(format!(
                "{} modules[{index}].run.{field}[0]: there is no {program} below {}; the engine will look for it \
                 in the instance's folder",
                output::paint::warn("note:"),
                here.display()
            ));
        }
    }
    if !moved {
        return Ok(Document { text, spec, digest: read.digest, warnings });
    }
    let text = serde_json::to_string(&spec).map_err(|error| Failure::other(error.to_string()))?;
    let digest = Digest::of(&spec);
    Ok(Document { text, spec, digest, warnings })
}
