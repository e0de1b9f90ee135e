//! What a driver is asked to start, and what an instance sees of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ground::Secret;
use model::{
    DeploymentId, Fence, TargetId, Token,
    placeholder::{self, Part},
    plan::Revision,
    spec::{ConfigFile, Module},
};

use crate::{Error, Result};

/// One instance that shall run.
#[derive(Clone, Debug)]
pub struct StartOrder {
    /// Where.
    pub target: TargetId,
    /// For which deployment.
    pub deployment: DeploymentId,
    /// What.
    pub module: Module,
    /// Its revision.
    pub revision: Revision,
    /// Its number within the revision, from 0.
    pub slot: u32,
    /// Who asks.
    pub fence: Fence,
    /// Address per module of the release, given to the instance as `CODE_PEER_<NAME>`.
    pub peers: BTreeMap<String, String>,
    /// Free labels, copied to what runs where the platform has labels.
    pub labels: BTreeMap<String, String>,
    /// Environment variables with secret values.
    pub secrets: Vec<(String, Secret)>,
}

/// What takes the place of an image's own words; none leaves the image's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageWords {
    /// For its ENTRYPOINT; empty clears it.
    pub entrypoint: Option<Vec<String>>,
    /// For its CMD.
    pub arguments: Option<Vec<String>>,
}

/// The id an order's instance always has.
pub fn instance_id(target: &TargetId, module: &Token, revision: &Revision, slot: u32) -> String {
    format!("{}-{module}-{revision}-{slot}", target.token())
}

impl StartOrder {
    /// The instance's id.
    pub fn id(&self) -> String {
        instance_id(&self.target, &self.module.name, &self.revision, self.slot)
    }

    /// Refuses what no driver carries out: a privileged instance, limits that cannot be read, bad names.
    pub fn check(&self) -> Result<()> {
        let module = &self.module.name;
        if self.module.run.privileged {
            return Err(Error::Denied {
                what: format!("module {module} asks to be privileged, which is never given"),
            });
        }
        let resources = &self.module.resources;
        let request = &resources.request;
        for (what, text, amount) in [
            ("processor limit", &resources.cpu, resources.cpu_millis()),
            ("processor request", &request.cpu, request.cpu_millis()),
            ("memory limit", &resources.memory, resources.memory_bytes()),
            ("memory request", &request.memory, request.memory_bytes()),
        ] {
            if let (Some(text), None | Some(0)) = (text, amount) {
                return Err(Error::invalid(format!(
                    "module {module} has a {what} {text:?} that is no amount above 0"
                )));
            }
        }
        for port in &self.module.ports {
            if self.module.ports.iter().filter(|other| other.name == port.name).count() > 1 {
                return Err(Error::invalid(format!("module {module} has two ports named {}", port.name)));
            }
        }
        let names = self.module.environment.keys().chain(self.secrets.iter().map(|(name, _)| name));
        for name in names {
            if !is_variable(name) {
                return Err(Error::invalid(format!(
                    "module {module} has a variable {name:?} that is no name"
                )));
            }
        }
        Ok(())
    }

    /// Name of the first port.
    pub fn first_port(&self) -> Option<String> {
        self.module.ports.first().map(|port| port.name.to_string())
    }

    /// All words that run, program first, with `{port}` and `{port:NAME}` replaced.
    pub fn command(&self, ports: &BTreeMap<String, u16>) -> Result<Vec<String>> {
        let words = self.module.run.words().into_iter().flat_map(|(_, words)| words);
        words.map(|word| self.fill(word, ports)).collect()
    }

    /// What takes the place of an image's own words, filled like [`StartOrder::command`].
    pub fn image_words(&self, ports: &BTreeMap<String, u16>) -> Result<ImageWords> {
        let run = &self.module.run;
        let fill = |words: &[String]| -> Result<Vec<String>> {
            words.iter().map(|word| self.fill(word, ports)).collect()
        };
        let entrypoint = match &run.entrypoint {
            Some(words) => Some(fill(words)?),
            None if run.command.is_empty() => None,
            None => Some(fill(&run.command)?),
        };
        let arguments = if run.arguments.is_empty() { None } else { Some(fill(&run.arguments)?) };
        Ok(ImageWords { entrypoint, arguments })
    }

    /// The module's configuration files with `{port}` and `{port:NAME}` in them replaced.
    pub fn config(&self, ports: &BTreeMap<String, u16>) -> Result<Vec<ConfigFile>> {
        let fill = |file: &ConfigFile| {
            Ok(ConfigFile { path: file.path.clone(), content: self.fill(&file.content, ports)? })
        };
        self.module.config.iter().map(fill).collect()
    }

    /// The instance's environment: the module's own, the secrets, then what the engine says of itself, which nothing
    /// overrides. `config_folder` is what `CODE_CONFIG_DIR` says.
    pub fn environment(
        &self,
        ports: &BTreeMap<String, u16>,
        config_folder: &str,
    ) -> Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        for (name, value) in &self.module.environment {
            all.insert(name.clone(), self.fill(value, ports)?);
        }
        for (name, value) in &self.secrets {
            all.insert(name.clone(), value.reveal().to_owned());
        }
        if let Some(port) = self.first_port().and_then(|name| ports.get(&name)) {
            all.insert("PORT".to_owned(), port.to_string());
        }
        for (name, port) in ports {
            all.insert(format!("PORT_{}", variable_part(name)), port.to_string());
        }
        for (name, address) in &self.peers {
            all.insert(format!("CODE_PEER_{}", variable_part(name)), address.clone());
        }
        let own = [
            ("CODE_INSTANCE", self.id()),
            ("CODE_DEPLOYMENT", self.deployment.to_string()),
            ("CODE_REVISION", self.revision.to_string()),
            ("CODE_TARGET", self.target.to_string()),
            ("CODE_MODULE", self.module.name.to_string()),
            ("CODE_SLOT", self.slot.to_string()),
            ("CODE_CONFIG_DIR", config_folder.to_owned()),
        ];
        all.extend(own.map(|(name, value)| (name.to_owned(), value)));
        match all.iter().find(|(_, value)| value.contains('\0')) {
            Some((name, _)) => Err(Error::invalid(format!("variable {name} holds a zero byte"))),
            None => Ok(all),
        }
    }

    fn fill(&self, text: &str, ports: &BTreeMap<String, u16>) -> Result<String> {
        fill(text, &self.module.name, ports, self.first_port().as_deref())
    }
}

/// The text with `{port}` (the port named `first`) and `{port:NAME}` replaced; refused when there is no such port.
/// Which braces are placeholders is for [`model::placeholder`] to say; all others stay as they are.
pub fn fill(
    text: &str,
    module: &Token,
    ports: &BTreeMap<String, u16>,
    first: Option<&str>,
) -> Result<String> {
    let mut filled = String::with_capacity(text.len());
    for part in placeholder::parts(text) {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Port(name) => match name.or(first).and_then(|name| ports.get(name)) {
                Some(number) => filled.push_str(&number.to_string()),
                None => {
                    let written = name.map_or("{port}".to_owned(), |name| format!("{{port:{name}}}"));
                    return Err(Error::invalid(format!(
                        "module {module} writes {written} but has no such port"
                    )));
                }
            },
        }
    }
    Ok(filled)
}

/// A port or module name as part of a variable's name: upper case, `-` as `_`.
pub(crate) fn variable_part(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

fn is_variable(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The host folder a volume names, with symbolic links resolved, if it lies below the root; refused otherwise, and
/// when there is no root or no such folder.
pub fn contained(root: Option<&Path>, asked: &str) -> Result<PathBuf> {
    let denied = |why: &str| Error::Denied { what: format!("host folder {asked} is not mounted: {why}") };
    let root = root.ok_or_else(|| denied("no root for host folders is configured"))?;
    let root = root.canonicalize().map_err(|error| Error::system("resolve", root, error))?;
    let asked_path = Path::new(asked);
    if !asked_path.is_absolute() {
        return Err(denied("it is not absolute"));
    }
    let real = asked_path.canonicalize().map_err(|_| denied("it is not there"))?;
    if real.starts_with(&root) { Ok(real) } else { Err(denied("it lies outside the configured root")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(module: &str) -> StartOrder {
        StartOrder {
            target: "test.process.shop".parse().unwrap(),
            deployment: DeploymentId::new(),
            module: serde_json::from_str(module).unwrap(),
            revision: "abc".parse().unwrap(),
            slot: 0,
            fence: Fence { lock: 1, epoch: 1 },
            peers: [("auth-api".to_owned(), "127.0.0.1:1".to_owned())].into(),
            labels: BTreeMap::new(),
            secrets: vec![("TOKEN".to_owned(), Secret::new("hush"))],
        }
    }

    #[test]
    fn port_words_are_replaced_and_other_braces_stay() {
        let order = order(
            r#"{"name":"web","run":{"command":["a","--at={port}","{port:admin}{x}","{portal}","{port"]},
                "ports":[{"name":"http"},{"name":"admin"}]}"#,
        );
        let ports = [("http".to_owned(), 81), ("admin".to_owned(), 82)].into();

        let command = order.command(&ports).unwrap();

        assert_eq!(command, ["a", "--at=81", "82{x}", "{portal}", "{port"]);
    }

    #[test]
    fn entrypoint_and_arguments_are_what_an_image_has_and_one_line_for_a_process() {
        let ports = [("http".to_owned(), 81)].into();
        let of = |run: &str| {
            let order = order(&format!(r#"{{"name":"web","run":{run},"ports":[{{"name":"http"}}]}}"#));
            (order.image_words(&ports).unwrap(), order.command(&ports).unwrap())
        };
        let words = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };

        for (run, entrypoint, arguments, line) in [
            (r#"{"image":"a"}"#, None, None, words(&[])),
            (
                r#"{"image":"a","arguments":["-p","{port}"]}"#,
                None,
                Some(words(&["-p", "81"])),
                words(&["-p", "81"]),
            ),
            (r#"{"image":"a","entrypoint":[]}"#, Some(words(&[])), None, words(&[])),
            (
                r#"{"entrypoint":["/run","{port}"],"arguments":["b"]}"#,
                Some(words(&["/run", "81"])),
                Some(words(&["b"])),
                words(&["/run", "81", "b"]),
            ),
            (r#"{"command":["a","b"]}"#, Some(words(&["a", "b"])), None, words(&["a", "b"])),
        ] {
            assert_eq!(of(run), (ImageWords { entrypoint, arguments }, line), "{run}");
        }
    }

    #[test]
    fn configuration_files_get_the_port_as_the_environment_does() {
        let order = order(
            r#"{"name":"web","run":{"command":["a"]},"ports":[{"name":"http"}],"environment":{"AT":"{port}"},
                "config":[{"path":"a.json","content":"{\"port\": {port}, \"t\": \"{{port}}\"}"}]}"#,
        );
        let ports = [("http".to_owned(), 81)].into();

        let files = order.config(&ports).unwrap();

        assert_eq!(files[0].content, r#"{"port": 81, "t": "{{port}}"}"#);
        assert_eq!(order.environment(&ports, "/c").unwrap()["AT"], "81");
    }

    #[test]
    fn an_unknown_port_word_is_refused() {
        let order = order(r#"{"name":"web","run":{"command":["{port:none}"]},"ports":[{"name":"http"}]}"#);

        let refused = order.command(&[("http".to_owned(), 81)].into()).unwrap_err();

        assert_eq!(refused.to_string(), "module web writes {port:none} but has no such port");
    }

    #[test]
    fn what_the_engine_says_of_itself_cannot_be_overridden() {
        let order = order(r#"{"name":"web","run":{"command":["a"]},"environment":{"CODE_MODULE":"other"}}"#);

        let seen = order.environment(&BTreeMap::new(), "/c").unwrap();

        assert_eq!(seen["CODE_MODULE"], "web");
        assert_eq!(seen["CODE_PEER_AUTH_API"], "127.0.0.1:1");
    }

    #[test]
    fn a_secret_is_not_printed_with_its_order() {
        assert!(!format!("{:?}", order(r#"{"name":"web","run":{"command":["a"]}}"#)).contains("hush"));
    }

    #[test]
    fn privileged_and_unreadable_limits_are_refused() {
        for bad in [
            r#"{"name":"web","run":{"command":["a"],"privileged":true}}"#,
            r#"{"name":"web","run":{"command":["a"]},"resources":{"memory":"lots"}}"#,
            r#"{"name":"web","run":{"command":["a"]},"resources":{"cpu":"0"}}"#,
            r#"{"name":"web","run":{"command":["a"]},"environment":{"A=B":"c"}}"#,
        ] {
            assert!(order(bad).check().is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn a_host_folder_outside_the_root_is_refused_even_behind_a_link() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("link")).unwrap();
        std::fs::create_dir(root.path().join("inside")).unwrap();

        let ask = |path: PathBuf| contained(Some(root.path()), path.to_str().unwrap());

        assert!(ask(root.path().join("inside")).is_ok());
        assert!(ask(root.path().join("link")).is_err());
        assert!(ask(root.path().join("inside/../..")).is_err());
        assert!(contained(None, "/").is_err());
    }
}
