//! Secrets by reference become values here, in memory only, on their way to an instance.

use std::path::{Component, Path};

use ground::Secret;
use model::spec::{Module, SECRET_VARIABLES as PREFIX, SecretFrom, SecretRef};

use crate::{Error, config::AgentsConfig, error::Result};

/// The values of a module's secrets, by variable.
pub fn resolve(config: &AgentsConfig, module: &Module) -> Result<Vec<(String, Secret)>> {
    module.secrets.iter().map(|secret| Ok((secret.name.clone(), value(config, module, secret)?))).collect()
}

fn value(config: &AgentsConfig, module: &Module, secret: &SecretRef) -> Result<Secret> {
    let refused =
        |why: String| Error::Secret { name: secret.name.clone(), module: module.name.to_string(), why };
    let version = secret.version.as_deref().unwrap_or_default();
    match &secret.from {
        SecretFrom::Env(name) => {
            if !name.starts_with(PREFIX) {
                return Err(refused(format!(
                    "{name} may not be read, only variables that begin with {PREFIX} may"
                )));
            }
            let name = name.replace("{version}", version);
            let value = std::env::var(&name)
                .map_err(|_| refused(format!("{name} is not set where the agents run")))?;
            Ok(Secret::new(value))
        }
        SecretFrom::File(path) => {
            let root = config.secrets_dir.as_deref();
            let root =
                root.ok_or_else(|| refused("no folder for secrets is configured (secrets_dir)".to_owned()))?;
            let path = path.replace("{version}", version);
            let plain = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
            if !plain {
                return Err(refused(format!("{path:?} does not lie below the folder for secrets")));
            }
            let root =
                root.canonicalize().map_err(|error| refused(format!("the folder for secrets: {error}")))?;
            let real =
                root.join(&path).canonicalize().map_err(|error| refused(format!("{path}: {error}")))?;
            if !real.starts_with(&root) {
                return Err(refused(format!("{path:?} leads out of the folder for secrets")));
            }
            let text = std::fs::read_to_string(&real).map_err(|error| refused(format!("{path}: {error}")))?;
            Ok(Secret::line(text))
        }
    }
}

/// The text without the values.
pub fn masked(text: &str, secrets: &[(String, Secret)]) -> String {
    let long = secrets.iter().map(|(_, secret)| secret.reveal()).filter(|value| value.len() >= 4);
    long.fold(text.to_owned(), |text, value| text.replace(value, "(secret)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(from: &str) -> Module {
        let text = format!(
            r#"{{"name":"web","run":{{"command":["a"]}},"secrets":[{{"name":"TOKEN","from":{from},"version":"2"}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_file_below_the_folder_is_read_by_version_and_nothing_outside_is() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(folder.path().join("token-2"), "hush\n").unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
        let config = AgentsConfig { secrets_dir: Some(folder.path().to_owned()), ..Default::default() };

        let read = |from: &str| resolve(&config, &module(from));

        assert_eq!(read(r#"{"file":"token-{version}"}"#).unwrap()[0].1.reveal(), "hush");
        for bad in [
            r#"{"file":"../etc/passwd"}"#,
            r#"{"file":"/etc/passwd"}"#,
            r#"{"file":"link"}"#,
            r#"{"env":"HOME"}"#,
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.to_string().starts_with("secret TOKEN of module web"), "{error}");
        }
    }

    #[test]
    fn a_value_does_not_stand_in_a_log() {
        let secrets = [("A".to_owned(), Secret::new("hush-hush"))];

        assert_eq!(masked("token=hush-hush.", &secrets), "token=(secret).");
    }
}
