//! Specs from what others already have: Compose files.
//!
//! The import carries over what means the same here, and names everything else in its notes: nothing is lost in
//! silence. It reads the text alone, never the files or variables the text refers to.

mod depends;
mod extends;
mod health;
mod names;
mod ports;
mod quantities;
mod service;
mod storage;
mod variables;
mod words;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};

use model::{Fault, Token};

use crate::{
    document::{Kind, Node, Objection, Path, load_compose, shown, shown_text, shown_word},
    read::{listed, read},
};
use yaml::{Out, text};

/// Most notes that stand as comments in the spec.
const COMMENTS: usize = 200;

/// How to get one file of several.
const ONE_FILE: &str =
    "only the one file is read: import what `docker compose config` prints, which has everything in one";

/// What becomes of all networks.
const ONE_NETWORK: &str = "networks are not kept apart: all modules of the release share one";

/// What holds for every container here and not under Compose.
const CONFINED: &str = "containers run without Linux capabilities, new privileges and swap, and with a bounded number \
     of processes: an image that begins as root to become another user needs `user`";

/// What the Compose file does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The application's name; none takes the Compose file's `name`, else `fallback`, else `app`.
    pub name: Option<Token>,
    /// The name when nothing else gives one, such as that of the file's folder.
    pub fallback: Option<Token>,
    /// The environment; none leaves it at the default.
    pub environment: Option<Token>,
    /// Values for `${VARIABLE}`. One that is missing becomes its default or nothing, as in Compose, with a note.
    pub variables: BTreeMap<String, String>,
    /// Services with profiles take part when one of these is among them; `*` means all.
    pub profiles: BTreeSet<String>,
}

/// What the import made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// A spec for the docker platform that [`crate::read()`] takes, with the notes as comments on top.
    pub spec_yaml: String,
    /// What was not carried over, or not as it was; one line each.
    pub notes: Vec<String>,
}

/// Imports a Compose file (version 2, 3 or none). Every difference between what Compose makes of it and what the spec
/// says is a note; what would need another file (`include`, `extends` with `file`) is a complaint. The fault is [`model::Code::Invalid`]: it lists what is wrong in the
/// Compose file by place, or, without places, why the spec it gives would not be valid.
pub fn compose(text: &str, options: &Options) -> Result<Imported, Fault> {
    let (root, complaints) = load_compose(text);
    let Some(mut root) = root else { return Err(listed("the Compose file", complaints, 0)) };
    let mut import = Import { profiles: options.profiles.clone(), ..Import::default() };
    variables::fill(&mut root, &options.variables, &mut import);
    extends::resolve(&mut root, &mut import);
    let spec = import.file(&root, options);
    let mut complaints = complaints;
    complaints.extend(import.objections.into_iter().map(|objection| objection.placed(&root)));
    let Some(spec) = spec.filter(|_| complaints.is_empty()) else {
        return Err(listed("the Compose file", complaints, 0));
    };
    let spec_yaml = with_notes(&yaml::write(&spec), &import.notes);
    read(&spec_yaml).map_err(|mut fault| {
        fault.message = format!("what the Compose file says is no valid spec: {}", fault.message);
        for complaint in &mut fault.complaints {
            (complaint.line, complaint.column) = (0, 0);
        }
        fault
    })?;
    Ok(Imported { spec_yaml, notes: import.notes })
}

fn with_notes(spec: &str, notes: &[String]) -> String {
    let mut head = "# Imported from a Compose file.\n".to_owned();
    if !notes.is_empty() {
        head += "#\n# Not carried over as it was:\n";
        for note in notes.iter().take(COMMENTS) {
            head += &format!("# - {note}\n");
        }
        if notes.len() > COMMENTS {
            head += &format!("# - and {} more\n", notes.len() - COMMENTS);
        }
    }
    format!("{head}\n{spec}")
}

/// The import so far.
#[derive(Default)]
struct Import {
    notes: Vec<String>,
    noted: BTreeSet<String>,
    objections: Vec<Objection>,
    /// The module's name for each service.
    names: BTreeMap<String, Token>,
    /// Host names of a service beside its module's name.
    aliases: BTreeMap<String, BTreeSet<String>>,
    /// The ports the data plane listens on.
    listens: BTreeSet<u16>,
    /// The same for people: `web 8080`.
    opened: Vec<String>,
    /// Profiles that are asked for.
    profiles: BTreeSet<String>,
    /// Services whose profiles are not asked for.
    left_out: BTreeSet<String>,
}

/// One service on its way to a module.
struct Service<'a> {
    name: &'a str,
    node: &'a Node,
    path: Path,
    /// The whole file, for what stands at its top: secrets and configs.
    root: &'a Node,
}

impl Import {
    fn file(&mut self, root: &Node, options: &Options) -> Option<Out> {
        let Kind::Map(entries) = &root.kind else {
            return self.object_to(&Path::default(), format!("{} is not a Compose file", shown(root)));
        };
        for entry in entries {
            match entry.key.as_str() {
                "services" | "name" | "version" | "secrets" | "configs" => {}
                "volumes" => self.top_volumes(&entry.value),
                key if key.starts_with("x-") || is_empty(&entry.value) => {}
                "networks" => self.note(ONE_NETWORK),
                "include" => {
                    let path = Path::default().field("include");
                    return self.object_with(&path, "it takes in other files", ONE_FILE);
                }
                key => self.note(format!("`{}` is not carried over", shown_word(key))),
            }
        }
        let path = Path::default().field("services");
        let services = match root.get("services").map(|services| &services.kind) {
            Some(Kind::Map(services)) if !services.is_empty() => services,
            _ => return self.object_to(&path, "the Compose file has no services"),
        };
        let services = self.active(services);
        if services.is_empty() {
            return self.object_with(&path, "no service takes part", "ask for one of their profiles");
        }
        if services.len() > model::limits::MODULES {
            return self.object_to(
                &path,
                format!("{} services, more than the 100 modules of a spec", services.len()),
            );
        }
        self.name_services(&services, &path);
        let name = match &options.name {
            Some(name) => name.clone(),
            None => match root.get("name").and_then(Node::scalar).filter(|name| !name.is_empty()) {
                Some(name) => self.token(&name, "application", &Path::default().field("name"))?,
                None => match &options.fallback {
                    Some(name) => name.clone(),
                    None => {
                        self.note("the Compose file has no name; the application is named app");
                        "app".parse().ok()?
                    }
                },
            },
        };
        let mut modules = Vec::new();
        for entry in &services {
            let path = path.field(&entry.key);
            let service = Service { name: &entry.key, node: &entry.value, path, root };
            modules.extend(self.service(&service));
        }
        if !self.opened.is_empty() {
            let opened = self.opened.join(", ");
            self.note(format!("open ports are the data plane's, which takes HTTP alone: {opened}"));
        }
        self.note(CONFINED);
        let mut spec = vec![
            ("apiVersion".to_owned(), text(model::spec::API_VERSION)),
            ("name".to_owned(), text(name.as_str())),
        ];
        if let Some(environment) = &options.environment {
            spec.push(("environment".to_owned(), text(environment.as_str())));
        }
        spec.push(("target".to_owned(), text("docker")));
        spec.push(("modules".to_owned(), Out::List(modules)));
        Some(Out::Map(spec))
    }

    /// The name as ours are: small letters, digits and dashes.
    fn token(&mut self, name: &str, what: &str, path: &Path) -> Option<Token> {
        let plain = plain_name(name);
        match plain.parse::<Token>() {
            Ok(token) => {
                if token.as_str() != name {
                    self.note(format!("{what} {} is named {token} here", shown_word(name)));
                }
                Some(token)
            }
            Err(_) => self.object_to(path, format!("{} is not a name", shown_text(name))),
        }
    }

    fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if self.noted.insert(note.clone()) {
            self.notes.push(note);
        }
    }

    fn object_to<T>(&mut self, path: &Path, message: impl Into<String>) -> Option<T> {
        self.object_with(path, message, "")
    }

    fn object_with<T>(
        &mut self,
        path: &Path,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) -> Option<T> {
        let (message, cure) = (message.into(), cure.into());
        self.objections.push(Objection { path: path.clone(), key: false, message, cure });
        None
    }

    /// The text of a scalar; a list or mapping is objected to.
    fn scalar(&mut self, node: &Node, path: &Path) -> Option<String> {
        match node.scalar() {
            Some(text) => Some(text),
            None => self.object_to(path, format!("{} stands where text is expected", shown(node))),
        }
    }
}

fn plain_name(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let plain: String = name.to_lowercase().chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    plain.trim_matches('-').chars().take(63).collect()
}

/// Whether there is nothing to carry over.
fn is_empty(node: &Node) -> bool {
    match &node.kind {
        Kind::Null | Kind::Bool(false) => true,
        Kind::Text(text) => text.is_empty(),
        Kind::List(items) => items.is_empty(),
        Kind::Map(entries) => entries.is_empty(),
        Kind::Bool(true) | Kind::Number { .. } => false,
    }
}

/// The items of a list; a scalar counts as a list of one.
fn items(node: &Node) -> Vec<&Node> {
    match &node.kind {
        Kind::List(items) => items.iter().collect(),
        Kind::Null => Vec::new(),
        _ => vec![node],
    }
}
