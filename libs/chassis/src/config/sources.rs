//! Where settings come from, and how they become one struct.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use figment::{
    Figment,
    providers::{Format, Serialized, Toml},
    value::Value,
};
use serde::{Serialize, de::DeserializeOwned};
use toml_edit::{ImDocument, Item};

use super::{
    Common, Config, Error, Problem, SECTIONS,
    environment::{Environment, FILE},
    explain::{explain, path, suggest},
};

/// A file, if there is one, and the environment.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    file: Option<(PathBuf, String)>,
    variables: BTreeMap<String, String>,
}

/// What is in force for one service.
#[derive(Clone, Debug)]
pub struct Loaded<C> {
    /// What all services share.
    pub common: Common,
    /// The service's own.
    pub config: C,
}

impl<C: Config> Loaded<C> {
    /// What is in force as TOML, secrets masked.
    pub fn dump(&self) -> Result<String, Error> {
        let mut text = section("common", &self.common)?;
        text.push('\n');
        text.push_str(&section(C::SERVICE, &self.config)?);
        Ok(text)
    }
}

fn section<T: Serialize>(name: &str, settings: &T) -> Result<String, Error> {
    let sections: BTreeMap<&str, &T> = BTreeMap::from([(name, settings)]);
    toml_edit::ser::to_string_pretty(&sections).map_err(|error| {
        Error::Unusable(vec![Problem {
            place: "default".to_owned(),
            field: name.to_owned(),
            message: format!("cannot be written as TOML: {error}"),
            cure: String::new(),
        }])
    })
}

impl Sources {
    /// The process' environment, and `file` or else the file that `CODE_CONFIG` names. A file that was named and
    /// cannot be read is an error.
    pub fn read(file: Option<&Path>) -> Result<Sources, Error> {
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
            .collect();
        let named = variables.get(FILE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let Some(path) = file.map(Path::to_owned).or(named) else {
            return Ok(Sources { file: None, variables });
        };
        let text =
            std::fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        Ok(Sources { file: Some((path, text)), variables })
    }

    /// Given texts: for tests, and for a caller that made the settings itself.
    pub fn given<'a>(file: Option<&str>, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Sources {
        Sources {
            file: file.map(|text| (PathBuf::from("code.toml"), text.to_owned())),
            variables: variables.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect(),
        }
    }

    /// The settings of one service, checked. Everything that is wrong is said at once.
    pub fn load<C: Config>(&self) -> Result<Loaded<C>, Error> {
        let document = self.parse::<C>()?;
        let defaults = Figment::new()
            .merge(Serialized::default("common", Common::default()))
            .merge(Serialized::default(C::SERVICE, C::default()));
        let known = common_fields(&defaults);
        let environment =
            Environment::sort_out(&self.variables, C::SERVICE, &known).map_err(Error::Unusable)?;
        let places =
            Places { file: self.file.as_ref(), document: document.as_ref(), environment: &environment };
        let figment = match &self.file {
            Some((_, text)) => defaults.merge(Toml::string(text)),
            None => defaults,
        };

        let mut as_text = BTreeSet::new();
        loop {
            let tree = environment.tree(&as_text);
            let figment = figment.clone().merge(Serialized::defaults(&tree));
            let (common, config) =
                (extract::<Common>(&figment, "common"), extract::<C>(&figment, C::SERVICE));
            let (common, config) = match (common, config) {
                (Ok(common), Ok(config)) => (common, config),
                (common, config) => {
                    let named = |section: &str, errors: Option<Box<figment::Error>>| -> Vec<_> {
                        let errors = errors.into_iter().flat_map(|errors| *errors);
                        errors.map(|error| (path(section, &error), error)).collect()
                    };
                    let mut errors = named("common", common.err());
                    errors.extend(named(C::SERVICE, config.err()));
                    if as_text_next(&errors, &environment, &mut as_text) {
                        continue;
                    }
                    return Err(Error::Unusable(errors.iter().map(|error| places.problem(error)).collect()));
                }
            };
            let mut problems = places.leftovers("common", &figment, &common);
            problems.extend(places.leftovers(C::SERVICE, &figment, &config));
            problems.extend(places.complaints("common", common.check()));
            problems.extend(places.complaints(C::SERVICE, config.check()));
            return if problems.is_empty() {
                Ok(Loaded { common, config })
            } else {
                Err(Error::Unusable(problems))
            };
        }
    }

    /// The file's text as a document, with its sections known to be sections we have.
    fn parse<C: Config>(&self) -> Result<Option<ImDocument<String>>, Error> {
        let Some((path, text)) = &self.file else { return Ok(None) };
        let wrong = |place, field: &str, message: &str, cure| {
            let (field, message) = (field.to_owned(), message.to_owned());
            Problem { place, field, message, cure }
        };
        let document = ImDocument::parse(text.clone()).map_err(|error| {
            let place = at(path, text, error.span().map_or(0, |span| span.start));
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            Error::Unusable(vec![wrong(place, "", &message, "the file must be TOML".to_owned())])
        })?;
        let sections = || SECTIONS.into_iter().chain(["common", C::SERVICE]);
        let problems: Vec<Problem> = document
            .as_table()
            .iter()
            .filter(|(name, _)| !sections().any(|known| known == *name))
            .map(|(name, item)| {
                let what = if item.is_table() { "unknown section" } else { "a setting outside of a section" };
                wrong(
                    place_in(path, text, &document, &[name.to_owned()]),
                    name,
                    what,
                    suggest(name, sections()),
                )
            })
            .collect();
        if problems.is_empty() { Ok(Some(document)) } else { Err(Error::Unusable(problems)) }
    }
}

fn extract<T: DeserializeOwned>(figment: &Figment, section: &str) -> Result<T, Box<figment::Error>> {
    // Not `extract_inner`: it puts the section at the end of the path in errors.
    Ok(figment.find_value(section)?.deserialize()?)
}

fn common_fields(defaults: &Figment) -> Vec<String> {
    match defaults.find_value("common") {
        Ok(Value::Dict(_, fields)) => fields.keys().cloned().collect(),
        Ok(_) | Err(_) => Vec::new(),
    }
}

/// A variable's text may look like a number where a text is wanted (a password of digits): such paths are read
/// as text in a second try. Says whether there is something new to try.
fn as_text_next(
    errors: &[(Vec<String>, figment::Error)],
    environment: &Environment,
    as_text: &mut BTreeSet<Vec<String>>,
) -> bool {
    let failed = |path: &Vec<String>| errors.iter().any(|(failed, _)| failed == path);
    let new: Vec<Vec<String>> =
        environment.paths().filter(|path| failed(path) && !as_text.contains(*path)).cloned().collect();
    as_text.extend(new.iter().cloned());
    !new.is_empty()
}

/// Knows where a value came from.
struct Places<'a> {
    file: Option<&'a (PathBuf, String)>,
    document: Option<&'a ImDocument<String>>,
    environment: &'a Environment,
}

impl Places<'_> {
    fn problem(&self, (path, error): &(Vec<String>, figment::Error)) -> Problem {
        let (message, cure) = explain(error);
        Problem { place: self.place(path), field: path.join("."), message, cure }
    }

    fn complaints(&self, section: &str, checked: Result<(), Vec<model::fault::Complaint>>) -> Vec<Problem> {
        let complaints = checked.err().unwrap_or_default();
        let to_problem = |complaint: model::fault::Complaint| {
            let field = format!("{section}.{}", complaint.field);
            let path: Vec<String> = field.split('.').map(str::to_owned).collect();
            Problem { place: self.place(&path), field, message: complaint.message, cure: complaint.cure }
        };
        complaints.into_iter().map(to_problem).collect()
    }

    /// What was given and did not arrive: fields of inner structs that do not refuse unknown fields themselves.
    fn leftovers<T: Serialize>(&self, section: &str, figment: &Figment, settings: &T) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let (Ok(given), Ok(taken)) = (figment.find_value(section), Value::serialize(settings)) {
            self.compare(&mut vec![section.to_owned()], &given, &taken, &mut problems);
        }
        problems
    }

    fn compare(&self, path: &mut Vec<String>, given: &Value, taken: &Value, problems: &mut Vec<Problem>) {
        let (Value::Dict(_, given), Value::Dict(_, taken)) = (given, taken) else { return };
        for (name, value) in given {
            path.push(name.clone());
            match taken.get(name) {
                Some(inner) => self.compare(path, value, inner, problems),
                None if is_empty(value) => {}
                None => problems.push(Problem {
                    place: self.place(path),
                    field: path.join("."),
                    message: "unknown field".to_owned(),
                    cure: suggest(name, taken.keys().map(String::as_str)),
                }),
            }
            path.pop();
        }
    }

    fn place(&self, path: &[String]) -> String {
        if let Some(variable) = self.environment.variable(path) {
            return variable.to_owned();
        }
        match (self.file, self.document) {
            (Some((file, text)), Some(document)) if in_document(document, path) => {
                place_in(file, text, document, path)
            }
            _ => "default".to_owned(),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(_, text) => text.is_empty(),
        Value::Dict(_, fields) => fields.is_empty(),
        Value::Array(_, items) => items.is_empty(),
        Value::Empty(..) => true,
        Value::Char(..) | Value::Bool(..) | Value::Num(..) => false,
    }
}

fn in_document(document: &ImDocument<String>, path: &[String]) -> bool {
    let mut item: &Item = document.as_item();
    for (depth, name) in path.iter().enumerate() {
        match item.get(name.as_str()) {
            Some(inner) => item = inner,
            // A part of a value that the file gives as a whole, such as an element of a list.
            None => return depth > 1 && !item.is_table_like(),
        }
    }
    true
}

/// The place of the last part of the path that the file has.
fn place_in(file: &Path, text: &str, document: &ImDocument<String>, path: &[String]) -> String {
    let mut start = 0;
    let mut item: &Item = document.as_item();
    for name in path {
        let Some(table) = item.as_table_like() else { break };
        let Some((key, inner)) = table.get_key_value(name) else { break };
        start = key.span().map_or(start, |span| span.start);
        item = inner;
    }
    at(file, text, start)
}

fn at(file: &Path, text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    format!("{}:{line}:{column}", file.display())
}
