//! Reads rights from files and holds them against the schema. All of them, or none.

use std::{collections::BTreeMap, sync::OnceLock};

use cedar_policy::{
    Effect, Entities, Policy, PolicyId, PolicySet, Schema, Template, ValidationMode, Validator,
};
use miette::Diagnostic;
use model::{Digest, Token};
use serde_json::{Value, json};

use crate::{Flaw, Grant, Rights, clauses::Permit, grant, rights::Loaded, schema};

/// Most bytes of all files together.
const BYTES: usize = 4 << 20;
/// Most policies and roles.
const POLICIES: usize = 2_000;

/// A file with rights, read by whoever may read files.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name: `*.cedar` holds policies and roles, `*.toml` holds grants.
    pub name: String,
    /// What it says.
    pub text: String,
}

impl Source {
    /// A file of this name with this text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        Source { name: name.into(), text: text.into() }
    }
}

fn shipped() -> [Source; 2] {
    [
        Source::new("built-in roles.cedar", include_str!("../policies/roles.cedar")),
        Source::new("built-in guards.cedar", include_str!("../policies/guards.cedar")),
    ]
}

/// Where each policy was written.
#[derive(Default)]
struct Reading {
    policies: PolicySet,
    written: BTreeMap<String, Place>,
    flaws: Vec<Flaw>,
}

struct Place {
    source: Source,
    byte: usize,
}

const NAME: &str = "write @id(\"a-name\") and @message(\"what it says to people\") before it; names are a-z, 0-9 and -, each once";

/// Reads the built-in rights and these files. The order of the files, and of what stands in them, means nothing.
pub fn load(files: &[Source]) -> Result<Rights, Vec<Flaw>> {
    let bytes: usize = files.iter().map(|file| file.text.len()).sum();
    if let Some(file) = files.first().filter(|_| bytes > BYTES) {
        let message = format!("the files have {bytes} bytes");
        return Err(vec![Flaw::at(&file.name, "", 0, message, "at most 4 MiB of rights are taken")]);
    }

    let ground = GROUND.get_or_init(Ground::lay).as_ref().map_err(|error| {
        vec![Flaw::at("schema", "", 0, error.clone(), "this is a mistake of the engine: report it")]
    })?;
    let mut reading = Reading::default();
    for file in &shipped() {
        reading.policies(file);
    }
    // Those were held against the schema when they were made: a test does.
    let mut ours = Reading { written: reading.written, ..Reading::default() };
    for file in files.iter().filter(|file| file.name.ends_with(".cedar")) {
        ours.policies(file);
    }
    if ours.flaws.is_empty() {
        ours.validate(&ground.validator);
    }
    reading.flaws.append(&mut ours.flaws);
    if let Err(error) = reading.policies.merge(&ours.policies, false) {
        let cure = "this is a mistake of the engine: report it";
        reading.flaws.push(Flaw::at("policies", "", 0, error.to_string(), cure));
    }

    let mut grants: Vec<Grant> = Vec::new();
    for file in files {
        if file.name.ends_with(".toml") {
            let knows = |role: &str| reading.policies.template(&PolicyId::new(role)).is_some();
            match grant::read(&file.name, &file.text, knows) {
                Ok(read) => grants.extend(read),
                Err(flaws) => reading.flaws.extend(flaws),
            }
        } else if !file.name.ends_with(".cedar") {
            let message = "is neither a file of policies nor of grants".to_owned();
            reading.flaws.push(Flaw::at(&file.name, "", 0, message, "name it *.cedar or *.toml"));
        }
    }
    if grants.len() > grant::GRANTS {
        let message = format!("the files have {} grants", grants.len());
        reading.flaws.push(Flaw::at("grants", "", 0, message, "grant to groups; at most 20000 are taken"));
    }
    if !reading.flaws.is_empty() {
        reading.flaws.sort();
        return Err(reading.flaws);
    }
    grants.sort();
    grants.dedup();
    Ok(Rights::open(loaded(reading.policies, grants, ground)))
}

fn loaded(policies: PolicySet, grants: Vec<Grant>, ground: &'static Ground) -> Loaded {
    let permits = policies.policies().filter(|policy| policy.effect() == Effect::Permit);
    let digest = digest(&policies, &grants);
    Loaded {
        permits: permits.filter_map(Permit::of_policy).collect(),
        roles: policies
            .templates()
            .filter_map(|role| Some((role.id().to_string(), Permit::of_role(role)?)))
            .collect(),
        policies,
        grants,
        schema: ground.validator.schema(),
        actions: &ground.actions,
        digest,
    }
}

/// What all rights stand on; it is the same for all, so it is made once.
struct Ground {
    validator: Validator,
    /// The actions and their groups.
    actions: Entities,
}

static GROUND: OnceLock<Result<Ground, String>> = OnceLock::new();

impl Ground {
    fn lay() -> Result<Ground, String> {
        let (schema, _) = Schema::from_cedarschema_str(&schema::text()).map_err(|error| error.to_string())?;
        let actions = schema.action_entities().map_err(|error| error.to_string())?;
        Ok(Ground { validator: Validator::new(schema), actions })
    }
}

/// What the rights are known by: what they mean, not how they are written down.
fn digest(policies: &PolicySet, grants: &[Grant]) -> Digest {
    let told = |json: Result<Value, _>, whole: String| json.unwrap_or(Value::String(whole));
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    for policy in policies.policies() {
        all.insert(policy.id().to_string(), told(policy.to_json(), policy.to_string()));
    }
    for role in policies.templates() {
        all.insert(role.id().to_string(), told(role.to_json(), role.to_string()));
    }
    Digest::of(&json!({"schema": schema::text(), "policies": all, "grants": grants}))
}

impl Reading {
    fn policies(&mut self, file: &Source) {
        let parsed: PolicySet = match file.text.parse() {
            Ok(parsed) => parsed,
            Err(errors) => {
                let errors: &cedar_policy::ParseErrors = &errors;
                let cure = "write policies as docs/rights.md shows; the language is Cedar";
                let flaw = |error: &cedar_policy::ParseError| {
                    Flaw::at(&file.name, &file.text, offset(error), error.to_string(), cure)
                };
                return self.flaws.extend(errors.iter().map(flaw));
            }
        };
        for policy in parsed.policies() {
            let byte = policy.as_ref().loc().map_or(0, |loc| loc.start());
            if let Some(id) = self.name(file, byte, policy.annotation("id"), policy.annotation("message")) {
                self.keep(file, byte, &id, |all, id| all.add(Policy::new_id(policy, id)).map_err(Box::new));
            }
        }
        for role in parsed.templates() {
            let byte = role.as_ref().loc().map_or(0, |loc| loc.start());
            if role.effect() != Effect::Permit || role.slots().count() != 2 {
                let message = "a role permits something to ?principal on ?resource".to_owned();
                let cure = "write permit (principal in ?principal, action ..., resource in ?resource), or no slots at all";
                self.flaws.push(Flaw::at(&file.name, &file.text, byte, message, cure));
            }
            if let Some(id) = self.name(file, byte, role.annotation("id"), role.annotation("message")) {
                self.keep(file, byte, &id, |all, id| {
                    all.add_template(Template::new_id(role, id)).map_err(Box::new)
                });
            }
        }
        if self.written.len() > POLICIES {
            let message = format!("with it there are {} policies", self.written.len());
            self.flaws.push(Flaw::at(&file.name, "", 0, message, "at most 2000 are taken"));
        }
    }

    fn keep<E: std::fmt::Display>(
        &mut self,
        file: &Source,
        byte: usize,
        id: &str,
        add: impl FnOnce(&mut PolicySet, PolicyId) -> Result<(), E>,
    ) {
        let before = self.written.get(id).map(|place| place.source.name.clone());
        if let Some(other) = before {
            let message = format!("there is a policy {id:?} in {other} already");
            return self.flaws.push(Flaw::at(&file.name, &file.text, byte, message, NAME));
        }
        if let Err(error) = add(&mut self.policies, PolicyId::new(id)) {
            return self.flaws.push(Flaw::at(&file.name, &file.text, byte, error.to_string(), NAME));
        }
        self.written.insert(id.to_owned(), Place { source: file.clone(), byte });
    }

    /// The name of a policy, when it has one and says what it is.
    fn name(
        &mut self,
        file: &Source,
        byte: usize,
        id: Option<&str>,
        message: Option<&str>,
    ) -> Option<String> {
        let wrong = match (id, message) {
            (None, _) => "a policy has no name".to_owned(),
            (Some(id), _) if id.parse::<Token>().is_err() => format!("{id:?} is not the name of a policy"),
            (Some(id), None | Some("")) => format!("policy {id} does not say what it is"),
            (Some(id), Some(message)) if message.len() > 200 || message.chars().any(char::is_control) => {
                format!("the message of policy {id} is not one line of at most 200 bytes")
            }
            (Some(id), Some(_)) => return Some(id.to_owned()),
        };
        self.flaws.push(Flaw::at(&file.name, &file.text, byte, wrong, NAME));
        None
    }

    fn validate(&mut self, validator: &Validator) {
        let checked = validator.validate(&self.policies, ValidationMode::Strict);
        let errors =
            checked.validation_errors().map(|error| (error.policy_id(), error.to_string(), offset(error)));
        let warnings = checked
            .validation_warnings()
            .map(|warning| (warning.policy_id(), warning.to_string(), offset(warning)));
        let mut flaws = Vec::new();
        for (id, message, byte) in errors.chain(warnings) {
            let id: &str = id.as_ref();
            let Some(place) = self.written.get(id) else { continue };
            let byte = if byte == 0 { place.byte } else { byte };
            let cure = "policies speak of what the schema has: docs/rights.md lists actions, kinds and facts; ask for an optional fact with `has` first";
            flaws.push(Flaw::at(&place.source.name, &place.source.text, byte, message, cure));
        }
        if flaws.is_empty() && !checked.validation_passed() {
            let message = "the policies do not pass".to_owned();
            flaws.push(Flaw::at("policies", "", 0, message, "report it"));
        }
        self.flaws.extend(flaws);
    }
}

/// Where in the text something is wrong; 0 where it is not said.
fn offset(error: &dyn Diagnostic) -> usize {
    error.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_fits_the_schema() {
        let ground = Ground::lay().unwrap();
        let mut reading = Reading::default();
        for file in &shipped() {
            reading.policies(file);
        }
        reading.validate(&ground.validator);

        assert!(reading.flaws.is_empty(), "{:?}", reading.flaws);
        assert_eq!(reading.written.len(), 12);
    }
}
