//! A plan: what will change, in which steps, and the way back. Known by its digest.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, Span, TargetId, Token, spec::DeploymentSpec, spec::Module, step::Step};

pub use crate::id::Revision;

impl Module {
    /// The module's revision.
    pub fn revision(&self) -> Revision {
        let made_of = (
            (&self.run, &self.resources, &self.ports, &self.health),
            (&self.environment, &self.config, &self.secrets, &self.volumes, &self.openapi),
        );
        #[allow(clippy::expect_used, reason = "hex digits match the grammar")]
        Digest::of(&made_of).short().parse().expect("hex digits are a token")
    }
}

/// What revisions are called in front of people: by the version that a person wrote, such as `1.4.2`. Two revisions of one
/// module that carry the same version are told apart by the beginning of their digest: `1.4.2 (8f2a)`. A revision that two
/// modules share under different versions has no name here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Versions(BTreeMap<Revision, String>);

impl Versions {
    /// Of these releases, the one that counts most first: a revision that carries another version there is called by it.
    pub fn of<'a>(releases: impl IntoIterator<Item = &'a DeploymentSpec>) -> Versions {
        let mut modules: BTreeMap<&Token, BTreeMap<Revision, &str>> = BTreeMap::new();
        for module in releases.into_iter().flat_map(|release| &release.modules) {
            let revisions = modules.entry(&module.name).or_default();
            revisions.entry(module.revision()).or_insert(&module.version);
        }
        let mut names: BTreeMap<Revision, Option<String>> = BTreeMap::new();
        for revisions in modules.into_values() {
            for (revision, version) in &revisions {
                let others =
                    || revisions.iter().filter(|(other, said)| *other != revision && *said == version);
                let name = match others().map(|(other, _)| alike(revision.as_str(), other.as_str())).max() {
                    None => (*version).to_owned(),
                    Some(alike) => {
                        format!(
                            "{version} ({})",
                            &revision.as_str()[..(alike + 1).max(4).min(revision.as_str().len())]
                        )
                    }
                };
                let known = names.entry(revision.clone()).or_insert_with(|| Some(name.clone()));
                if known.as_ref() != Some(&name) {
                    *known = None;
                }
            }
        }
        Versions(names.into_iter().filter_map(|(revision, name)| Some((revision, name?))).collect())
    }

    /// Adds those of another; they count most.
    pub fn add(&mut self, newer: &Versions) {
        self.0.extend(newer.0.clone());
    }

    /// What a revision is called, if it has a name.
    pub fn name(&self, revision: &str) -> Option<&str> {
        self.0.get(revision).map(String::as_str)
    }

    /// A text for people: revisions that have a name are shown by it. Only whole words are replaced: a revision within the
    /// name of an instance is a part of that name.
    pub fn shown_in<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut all = String::new();
        let mut copied = 0;
        for (at, word) in words(text) {
            if let Some(name) = self.name(word) {
                all.push_str(&text[copied..at]);
                all.push_str(name);
                copied = at + word.len();
            }
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        all.push_str(&text[copied..]);
        Cow::Owned(all)
    }
}

/// How many characters two texts begin with alike.
fn alike(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
}

/// The words of a text and where they begin; escape sequences of a terminal are none.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut begin = None;
    let mut escape = false;
    let ends = text.char_indices().chain([(text.len(), ' ')]);
    ends.filter_map(move |(at, character)| {
        if escape {
            escape = !character.is_ascii_alphabetic();
            return None;
        }
        escape = character == '\x1b';
        if character.is_alphanumeric() || matches!(character, '-' | '_' | '/') {
            begin.get_or_insert(at);
            return None;
        }
        begin.take().map(|begin| (begin, &text[begin..at]))
    })
}

/// What happens to a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It does not run yet.
    Create,
    /// Another revision runs.
    Update,
    /// The same revision, but another number of instances or another way it is reached.
    Scale,
    /// Nothing changes.
    Keep,
    /// It runs and is no longer asked for; removed after the promotion.
    Remove,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// The field's path within the module.
    pub field: String,
    /// The old value; none when it was absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// The new value; none when it goes away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

/// What happens to one module, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModuleChange {
    /// Which.
    pub module: Token,
    /// What.
    pub change: Change,
    /// The revision that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Revision>,
    /// The revision asked for; none when it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Revision>,
    /// Instances that run.
    pub replicas_from: u32,
    /// Instances asked for.
    pub replicas_to: u32,
    /// The strategy's name.
    pub strategy: String,
    /// 0 for modules that depend on none, and so on: modules of one rank move side by side.
    pub rank: u32,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// What will be done. The digest covers everything in it, so an approval or an `apply --plan` is for exactly this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Where.
    pub target: TargetId,
    /// The digest of the spec.
    pub spec: Digest,
    /// The digest of the snapshot it starts from and returns to; none on the first deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Digest>,
    /// What happens to each module, in order of rank.
    pub changes: Vec<ModuleChange>,
    /// What is done, in order of waves.
    pub steps: Vec<Step>,
    /// Step after which there is no way back, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_return_after: Option<Token>,
    /// The least time the pauses and analyses take.
    pub at_least: Span,
}

impl Plan {
    /// What the plan is known by.
    pub fn digest(&self) -> Digest {
        Digest::of(self)
    }

    /// Nothing to do.
    pub fn is_no_op(&self) -> bool {
        self.changes.iter().all(|change| change.change == Change::Keep)
    }

    /// The step of this id.
    pub fn step(&self, id: &Token) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == *id)
    }
}

/// What a target ran when it was last known to be good: the place a rollback returns to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The deployment that made it.
    pub deployment: crate::DeploymentId,
    /// Everything: images, configuration, secret versions, replicas. Traffic is all on these revisions.
    pub spec: DeploymentSpec,
    /// When it was promoted.
    pub at: crate::Timestamp,
}

impl Snapshot {
    /// What the snapshot is known by: its spec.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(modules: &[(&str, &str, &str)]) -> DeploymentSpec {
        let modules: Vec<_> = modules
            .iter()
            .map(|(name, version, word)| {
                serde_json::json!({"name": name, "version": version, "run": {"command": [word]}})
            })
            .collect();
        let spec = serde_json::json!({
            "apiVersion": "code/v1", "name": "shop", "target": "process", "modules": modules
        });
        serde_json::from_value(spec).unwrap()
    }

    fn named(versions: &Versions, spec: &DeploymentSpec) -> Vec<Option<String>> {
        let name = |module: &Module| versions.name(module.revision().as_str()).map(str::to_owned);
        spec.modules.iter().map(name).collect()
    }

    #[test]
    fn a_revision_is_called_by_its_version() {
        let (new, old) = (release(&[("web", "2.0.0", "b")]), release(&[("web", "1.0.0", "a")]));

        let versions = Versions::of([&new, &old]);

        assert_eq!(named(&versions, &new), [Some("2.0.0".to_owned())]);
        assert_eq!(named(&versions, &old), [Some("1.0.0".to_owned())]);
        assert_eq!(versions.name("000000000000"), None);
    }

    #[test]
    fn two_revisions_of_one_version_are_told_apart_by_their_digests() {
        let (new, old) = (release(&[("web", "1.0.0", "b")]), release(&[("web", "1.0.0", "a")]));

        let versions = Versions::of([&new, &old]);

        let (one, other) = (named(&versions, &new).remove(0), named(&versions, &old).remove(0));
        assert_ne!(one, other);
        let digest = new.modules[0].revision();
        assert_eq!(one, Some(format!("1.0.0 ({})", &digest.as_str()[..4])));
    }

    #[test]
    fn the_same_content_under_a_newer_version_has_the_newer_name() {
        let (new, old) = (release(&[("web", "1.0.1", "a")]), release(&[("web", "1.0.0", "a")]));

        let versions = Versions::of([&new, &old]);

        assert_eq!(named(&versions, &old), [Some("1.0.1".to_owned())]);
    }

    #[test]
    fn a_revision_that_two_modules_share_under_different_versions_has_no_name() {
        let two = release(&[("web", "1.0.0", "a"), ("api", "2.0.0", "a"), ("db", "3.0.0", "c")]);

        let versions = Versions::of([&two]);

        assert_eq!(named(&versions, &two), [None, None, Some("3.0.0".to_owned())]);
    }

    fn versions() -> Versions {
        serde_json::from_value(serde_json::json!({"cc91585323b9": "1.0.0", "7320535e664d": "2.0.0"})).unwrap()
    }

    #[test]
    fn revisions_are_shown_by_their_versions() {
        for (text, shown) in [
            ("run 3 × web cc91585323b9", "run 3 × web 1.0.0"),
            (
                "traffic of web to 7320535e664d 10%, cc91585323b9 90%",
                "traffic of web to 2.0.0 10%, 1.0.0 90%",
            ),
            ("7.9 % arrived at 7320535e664d, 10 % should", "7.9 % arrived at 2.0.0, 10 % should"),
            ("\x1b[2m7320535e664d\x1b[0m ███", "\x1b[2m2.0.0\x1b[0m ███"),
            ("cc91585323b9", "1.0.0"),
        ] {
            assert_eq!(versions().shown_in(text), shown);
        }
    }

    #[test]
    fn what_only_contains_a_revision_stays() {
        for text in [
            "",
            "shop-web-cc91585323b9-0 runs",
            "sha256:cc91585323b9cc91585323b9",
            "aacc91585323b9",
            "of 000000000000",
            "/srv/cc91585323b9",
        ] {
            assert_eq!(versions().shown_in(text), text);
        }
    }
}
