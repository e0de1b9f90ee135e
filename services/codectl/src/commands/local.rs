//! What needs no engine.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{
    cli::{Cli, Import, SpecFile},
    commands::{document, read},
    failure::Failure,
    output,
};

/// Checks a spec.
pub fn validate(file: &SpecFile) -> Result<u8, Failure> {
    let found = document(&file.file)?;
    if output::json() {
        output::document(&serde_json::json!({"valid": true, "digest": found.digest, "spec": found.spec}));
    } else {
        let names: Vec<String> =
            found.spec.modules.iter().map(|module| format!("{} {}", module.name, module.version)).collect();
        let what = format!("{} with {}", found.spec.target_id(), output::steps::modules(&names));
        output::line(format!("{} {what}", output::paint::good("valid")));
        output::line(output::paint::faint(found.digest.to_string()));
    }
    Ok(0)
}

/// Prints the JSON Schema.
pub fn schema() -> Result<u8, Failure> {
    output::document(&spec::schema());
    Ok(0)
}

/// Turns a foreign file into a spec.
pub fn import(import: Import) -> Result<u8, Failure> {
    let Import::Compose { file, name, environment } = import;
    let text = read(&file)?;
    let token = |field: &str, text: Option<String>| match text.map(|text| text.parse::<model::Token>()) {
        None => Ok(None),
        Some(Ok(token)) => Ok(Some(token)),
        Some(Err(error)) => Err(Failure::invalid(format!("--{field}: {error}"))),
    };
    let options = spec::import::Options {
        name: token("name", name)?,
        fallback: folder(&file),
        environment: token("environment", environment)?,
        variables: std::env::vars().collect(),
    };
    let imported =
        spec::import::compose(&text, &options).map_err(|fault| Failure::from(fault).in_file(&file))?;
    if output::json() {
        output::document(&serde_json::json!({"spec": imported.spec_yaml, "notes": imported.notes}));
        return Ok(0);
    }
    output::raw(&imported.spec_yaml);
    for note in &imported.notes {
        output::note(format!("{} {note}", output::paint::warn("note:")));
    }
    Ok(0)
}

/// The folder of the file as a name, as Compose does.
fn folder(file: &std::path::Path) -> Option<model::Token> {
    let name = file.canonicalize().ok()?.parent()?.file_name()?.to_string_lossy().to_lowercase();
    name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "-").trim_matches('-').parse().ok()
}

/// Prints completions.
pub fn completions(shell: Shell) -> Result<u8, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "codectl", &mut text);
    output::raw(String::from_utf8_lossy(&text));
    Ok(0)
}
