//! What needs no engine.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

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
        output::document(&serde_json::json!({
            "valid": true, "digest": found.digest, "spec": found.spec, "warnings": found.warnings,
        }));
    } else {
        found.warn(&file.file);
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
    let Import::Compose { file, name, environment, profile, env_file } = import;
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
        variables: variables(&file, env_file)?,
        profiles: profiles(profile),
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

/// The environment's variables on top of those of a file: the one that is named, else `.env` beside the Compose file.
fn variables(compose: &Path, named: Option<PathBuf>) -> Result<BTreeMap<String, String>, Failure> {
    let beside = compose.parent().map(|folder| folder.join(".env")).filter(|file| file.is_file());
    let mut all = BTreeMap::new();
    if let Some(file) = named.or(beside.filter(|_| compose.as_os_str() != "-")) {
        let failed = |error: dotenvy::Error| Failure::invalid(format!("reading {}: {error}", file.display()));
        for variable in dotenvy::from_path_iter(&file).map_err(failed)? {
            let (name, value) = variable.map_err(failed)?;
            all.insert(name, value);
        }
    }
    all.extend(std::env::vars());
    Ok(all)
}

/// The profiles that are asked for, as Compose takes them.
fn profiles(given: Vec<String>) -> BTreeSet<String> {
    if !given.is_empty() {
        return given.into_iter().collect();
    }
    let listed = std::env::var("COMPOSE_PROFILES").unwrap_or_default();
    listed.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The folder of the file as a name, as Compose does.
fn folder(file: &Path) -> Option<model::Token> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_come_from_the_file_beside_and_the_environment_weighs_more() {
        let folder = tempfile::tempdir().unwrap();
        let compose = folder.path().join("compose.yaml");
        let text = "# shop\nexport TAG=1.2 # the newest\nGREETING='a $b'\nPATH=none\n";
        std::fs::write(folder.path().join(".env"), text).unwrap();

        let found = variables(&compose, None).unwrap();

        assert_eq!((found["TAG"].as_str(), found["GREETING"].as_str()), ("1.2", "a $b"));
        assert_eq!(found.get("PATH"), std::env::var("PATH").ok().as_ref());
    }

    #[test]
    fn a_file_of_variables_that_is_named_and_missing_is_a_failure() {
        let missing = variables(Path::new("compose.yaml"), Some("/no/such.env".into())).unwrap_err();

        assert_eq!(missing.status, 2);
        assert!(missing.text.starts_with("reading /no/such.env: "), "{}", missing.text);
    }
}
