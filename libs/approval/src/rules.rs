//! The operator's rules: whose approvals a deployment waits for, and whether enough people gave theirs.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    DeploymentSpec, Principal, Span, Token,
    approval::{Clause, Rule, Terms, When},
    spec::SecretRef,
};

use crate::signers::Signers;

/// What the name of a group begins with in a list of people.
const GROUP: &str = "group:";
/// Most people of one clause, most clauses of one rule, most rules.
const MOST_PEOPLE: u8 = 10;
const MOST_CLAUSES: usize = 8;
const MOST_RULES: usize = 32;

/// What the operator asks of deployments to one environment, or to all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Require {
    /// Only of this environment; none: of all.
    pub environment: Option<String>,
    /// All of them have to hold, by different people. `of` names people and groups (`group:NAME`); empty: anyone who has a
    /// key.
    pub all: Vec<Clause>,
}

/// What the operator wants of approvals: in force together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rulebook {
    signers: Signers,
    groups: BTreeMap<String, Vec<String>>,
    require: Vec<Require>,
    lasts: Span,
    verified: bool,
}

impl Rulebook {
    /// Puts it together. Every name in it must be there.
    ///
    /// # Errors
    /// Everything that is wrong: the field, and why with the cure.
    pub fn new(
        signers: Signers,
        groups: BTreeMap<String, Vec<String>>,
        require: Vec<Require>,
        lasts: Span,
        verified: bool,
    ) -> Result<Rulebook, Vec<(String, String)>> {
        let mut wrong = Vec::new();
        let names = signers.names();
        let unknown = |who: &String| {
            format!("{who:?} has no key in the file of signers: add a line for them, or take them out here")
        };
        for (group, people) in &groups {
            for who in people.iter().filter(|who| !names.contains(*who)) {
                wrong.push((format!("groups.{group}"), unknown(who)));
            }
        }
        if require.len() > MOST_RULES {
            wrong.push((
                "require".to_owned(),
                format!("has {} rules, at most {MOST_RULES} are taken", require.len()),
            ));
        }
        let book = Rulebook { signers, groups, require, lasts, verified };
        for (at, rule) in book.require.iter().enumerate() {
            if rule.all.is_empty() || rule.all.len() > MOST_CLAUSES {
                let text = format!("has {} clauses, a rule has 1 to {MOST_CLAUSES}", rule.all.len());
                wrong.push((format!("require[{at}].all"), text));
            }
            for (place, clause) in rule.all.iter().enumerate() {
                let field = format!("require[{at}].all[{place}]");
                if !(1..=MOST_PEOPLE).contains(&clause.count) {
                    let text = format!("{} is not a number of people: 1 to {MOST_PEOPLE}", clause.count);
                    wrong.push((format!("{field}.count"), text));
                }
                for entry in &clause.of {
                    match entry.strip_prefix(GROUP) {
                        Some(group) if !book.groups.contains_key(group) => {
                            let text = format!("there is no group {group:?}: define it under groups");
                            wrong.push((format!("{field}.of"), text));
                        }
                        None if !names.contains(entry) => wrong.push((format!("{field}.of"), unknown(entry))),
                        _ => {}
                    }
                }
                let (may, needed) = (book.people(&clause.of).len(), usize::from(clause.count));
                if may < needed {
                    let text = format!("asks for {needed} people and {may} may: name more, or ask for fewer");
                    wrong.push((field, text));
                }
            }
        }
        if wrong.is_empty() { Ok(book) } else { Err(wrong) }
    }

    /// The people whom a list means, in order; an empty one means everybody.
    fn people(&self, of: &[String]) -> Vec<String> {
        let means = |entry: &String, who: &String| match entry.strip_prefix(GROUP) {
            Some(group) => self.groups.get(group).is_some_and(|people| people.contains(who)),
            None => is_meant(who, entry),
        };
        let mut names = self.signers.names();
        names.retain(|who| of.is_empty() || of.iter().any(|entry| means(entry, who)));
        names
    }

    /// Whose approvals this release waits for; none: nobody's. What the spec asks for is one more rule.
    pub fn terms(&self, spec: &DeploymentSpec) -> Option<Terms> {
        let here = |rule: &&Require| {
            rule.environment.as_ref().is_none_or(|environment| *environment == *spec.environment.as_str())
        };
        let clause = |clause: &Clause| Clause { of: self.people(&clause.of), ..clause.clone() };
        let own = self.require.iter().filter(here);
        let mut rules: Vec<Rule> =
            own.map(|rule| Rule { all: rule.all.iter().map(clause).collect() }).collect();
        if let Some(asked) = &spec.gates.approvals {
            let of = self.people(&asked.from);
            rules.push(Rule { all: vec![Clause { count: asked.required, of, when: None }] });
        }
        if rules.is_empty() {
            return None;
        }
        let may: BTreeSet<&String> =
            rules.iter().flat_map(|rule| &rule.all).flat_map(|clause| &clause.of).collect();
        let signers = self.signers.lines_of(|name| may.iter().any(|who| who.as_str() == name));
        Some(Terms { signers, lasts: self.lasts, verified: self.verified, rules })
    }
}

fn is_meant(who: &str, entry: &str) -> bool {
    let signer = who.parse().map(|name| Principal::Signer { name });
    signer.is_ok_and(|signer| signer.is_meant_by(entry))
}

/// The modules are given other secrets than before: the fact behind [`When::SecretsTouched`].
pub fn touches_secrets(spec: &DeploymentSpec, before: Option<&DeploymentSpec>) -> bool {
    let of = |spec: &DeploymentSpec| -> BTreeMap<Token, Vec<SecretRef>> {
        let with = spec.modules.iter().filter(|module| !module.secrets.is_empty());
        with.map(|module| (module.name.clone(), module.secrets.clone())).collect()
    };
    of(spec) != before.map(of).unwrap_or_default()
}

/// The requirement in words: clauses joined by ` and `, rules by `; `.
pub fn in_words(terms: &Terms) -> String {
    let clause = |clause: &Clause| {
        let when = clause.when.map(|when| format!(" when {}", when.as_str())).unwrap_or_default();
        format!("{} of {}{when}", clause.count, clause.of.join(", "))
    };
    let rule = |rule: &Rule| rule.all.iter().map(clause).collect::<Vec<_>>().join(" and ");
    terms.rules.iter().map(rule).collect::<Vec<_>>().join("; ")
}

/// The clauses of a rule that are asked for, as things stand.
fn asked(rule: &Rule, touched: bool) -> impl Iterator<Item = &Clause> {
    rule.all.iter().filter(move |clause| match clause.when {
        None => true,
        Some(When::SecretsTouched) => touched,
    })
}

/// Who may approve, as things stand.
pub(crate) fn may(terms: &Terms, touched: bool) -> BTreeSet<&str> {
    let clauses = terms.rules.iter().flat_map(|rule| asked(rule, touched));
    clauses.flat_map(|clause| &clause.of).map(String::as_str).collect()
}

/// What is missing when these people approved, each rule for itself: empty when nothing is. Within a rule everybody fills
/// one place, and places are given so that as many as can be are filled.
pub(crate) fn missing(terms: &Terms, touched: bool, people: &BTreeSet<&str>) -> Vec<String> {
    let mut missing = Vec::new();
    for rule in &terms.rules {
        let clauses: Vec<&Clause> = asked(rule, touched).collect();
        let places: Vec<&Clause> = clauses
            .iter()
            .flat_map(|clause| std::iter::repeat_n(*clause, usize::from(clause.count)))
            .collect();
        let filled = filled(&places, people);
        for clause in clauses {
            let free = places
                .iter()
                .zip(&filled)
                .filter(|(place, who)| std::ptr::eq(**place, clause) && who.is_none());
            let free = free.count();
            if free > 0 {
                let others: Vec<&str> =
                    clause.of.iter().map(String::as_str).filter(|who| !people.contains(who)).collect();
                let others = if others.is_empty() {
                    "people who did not yet, and there is none".to_owned()
                } else {
                    others.join(", ")
                };
                missing.push(format!("{free} more of {others}"));
            }
        }
    }
    missing
}

/// Who fills each place: a matching that no other one beats, by augmenting paths.
fn filled<'a>(places: &[&'a Clause], people: &BTreeSet<&'a str>) -> Vec<Option<&'a str>> {
    let mut filled = vec![None; places.len()];
    for who in people {
        seat(who, places, &mut filled, &mut BTreeSet::new());
    }
    filled
}

fn seat<'a>(
    who: &'a str,
    places: &[&'a Clause],
    filled: &mut Vec<Option<&'a str>>,
    tried: &mut BTreeSet<usize>,
) -> bool {
    for (at, place) in places.iter().enumerate() {
        if !place.of.iter().any(|one| one == who) || !tried.insert(at) {
            continue;
        }
        let sits = filled.get(at).copied().flatten();
        if sits.is_none_or(|other| seat(other, places, filled, tried)) {
            if let Some(seat) = filled.get_mut(at) {
                *seat = Some(who);
            }
            return true;
        }
    }
    false
}
