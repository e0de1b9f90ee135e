//! The one question, and the one place where it is answered.

use std::{collections::BTreeMap, sync::Arc};

use cedar_policy::{
    Authorizer, Decision as Answer, Entities, EntityUid, PolicySet, Request, Response, Schema,
};
use model::Digest;

use crate::{
    Action, Decision, Facts, Grant, Kind, Level, Place, Reason, Subject, Verdict, Who,
    clauses::Permit,
    slice::{Slice, Slices, uid},
};

/// Most things that are named as missing.
const MISSING: usize = 8;

/// May this somebody do this, here and now?
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Who, as it was proven.
    pub subject: Subject,
    /// What.
    pub action: Action,
    /// Where.
    pub place: Place,
    /// What is true now.
    pub facts: Facts,
}

/// Rights that were read and found right.
pub(crate) struct Loaded {
    pub(crate) policies: PolicySet,
    pub(crate) grants: Vec<Grant>,
    pub(crate) schema: &'static Schema,
    /// The actions and their groups.
    pub(crate) actions: &'static Entities,
    pub(crate) permits: Vec<Permit>,
    pub(crate) roles: BTreeMap<String, Permit>,
    pub(crate) digest: Digest,
}

/// All rights of an installation at one version. Made by [`crate::load`]; another version is another one of these.
pub struct Rights(State);

enum State {
    Open { loaded: Arc<Loaded>, grants: Vec<Grant>, actions: Vec<EntityUid>, slices: Slices },
    Closed(String),
}

impl Rights {
    /// Rights that could not be loaded: everything is denied, with this reason.
    pub fn closed(why: impl Into<String>) -> Rights {
        Rights(State::Closed(why.into()))
    }

    pub(crate) fn open(loaded: Loaded) -> Rights {
        let grants = loaded.grants.clone();
        Rights::of(Arc::new(loaded), grants)
    }

    fn of(loaded: Arc<Loaded>, grants: Vec<Grant>) -> Rights {
        let actions: Result<Vec<EntityUid>, String> =
            Action::ALL.iter().map(|action| uid("Action", action.id())).collect();
        match actions {
            Ok(actions) => Rights(State::Open { loaded, grants, actions, slices: Slices::default() }),
            Err(why) => Rights::closed(why),
        }
    }

    /// The same rights and, beside them, these grants for a time: what was asked for and granted, or taken in need. They
    /// come from the journals of [`crate::Elevation`], not from files, and do not change the digest. A grant of a role that
    /// is not there is an error that names it.
    pub fn with_temporary(&self, more: impl IntoIterator<Item = Grant>) -> Result<Rights, String> {
        let State::Open { loaded, .. } = &self.0 else { return Err(self.why_closed().to_owned()) };
        let mut grants = loaded.grants.clone();
        for grant in more {
            if !loaded.roles.contains_key(&grant.role) {
                return Err(format!("there is no role {:?} that {} could have", grant.role, grant.shown()));
            }
            if grant.until.is_none() {
                return Err(format!("role {} for {} ends at no time", grant.role, grant.shown()));
            }
            grants.push(grant);
        }
        Ok(Rights::of(loaded.clone(), grants))
    }

    /// What policies and grants of files are known by, whatever order and layout they are written in.
    pub fn digest(&self) -> Digest {
        match &self.0 {
            State::Open { loaded, .. } => loaded.digest.clone(),
            State::Closed(_) => Digest::of_bytes(b"no rights"),
        }
    }

    /// The names of all roles.
    pub fn roles(&self) -> Vec<&str> {
        match &self.0 {
            State::Open { loaded, .. } => loaded.roles.keys().map(String::as_str).collect(),
            State::Closed(_) => Vec::new(),
        }
    }

    fn why_closed(&self) -> &str {
        match &self.0 {
            State::Open { .. } => "",
            State::Closed(why) => why,
        }
    }

    /// The answer, with its reasons. Whoever wants to know in advance asks the same.
    pub fn authorize(&self, question: &Question) -> Decision {
        let mut decision = Decision {
            decision: Verdict::Deny,
            principal: question.subject.to_string(),
            action: question.action,
            resource: format!("{} {}", question.place.level().word(), question.place),
            determining: Vec::new(),
            missing: Vec::new(),
            hint: None,
            rights: self.digest(),
        };
        if is_foreign(&question.subject, &question.place) {
            decision.decision = Verdict::NotFound;
            return decision;
        }
        let State::Open { loaded, grants, actions, slices } = &self.0 else {
            decision.hint = Some(format!(
                "nothing is permitted, because the rights were not loaded: {}",
                self.why_closed()
            ));
            return decision;
        };
        if let Some(why) = never(question) {
            decision.missing.push(why);
            return decision;
        }
        let prepared = slices
            .get(
                (&question.subject, &question.place),
                (&loaded.policies, loaded.actions),
                grants,
                question.facts.now,
            )
            .and_then(|slice| Ok((request(question, &slice, actions, loaded.schema)?, slice)));
        match prepared {
            Ok((request, slice)) => answer(loaded, question, &request, &slice, &mut decision),
            // What cannot be asked is not permitted.
            Err(why) => decision.hint = Some(format!("the question cannot be asked: {why}")),
        }
        decision
    }
}

/// A question made ready to be put to Cedar and to nothing else: the baseline that our share of the cost is measured against.
pub struct Bare {
    policies: PolicySet,
    entities: Entities,
    request: Request,
}

impl Bare {
    /// Cedar says that it may be done. Not an answer: nobody looks at errors, tenants and what is never done.
    pub fn ask(&self) -> bool {
        Authorizer::new().is_authorized(&self.request, &self.policies, &self.entities).decision()
            == Answer::Allow
    }
}

impl Rights {
    /// The question, ready for Cedar alone; none where it cannot be asked.
    pub fn bare(&self, question: &Question) -> Option<Bare> {
        let State::Open { loaded, grants, actions, slices } = &self.0 else { return None };
        let who = (&question.subject, &question.place);
        let slice = slices.get(who, (&loaded.policies, loaded.actions), grants, question.facts.now).ok()?;
        let request = request(question, &slice, actions, loaded.schema).ok()?;
        Some(Bare { policies: slice.roles.policies.clone(), entities: (*slice.entities).clone(), request })
    }
}

/// It belongs to another organisation, and whoever asks is no part of the engine.
fn is_foreign(subject: &Subject, place: &Place) -> bool {
    match (subject.organisation(), place.organisation()) {
        (_, None) => false,
        (None, Some(_)) => subject.kind() != Kind::Service,
        (Some(own), Some(theirs)) => own != theirs,
    }
}

/// Why nobody of this kind may ever do this, or nobody at all here.
fn never(question: &Question) -> Option<String> {
    let (action, kind) = (question.action, question.subject.kind());
    match action.who() {
        Who::People if kind != Kind::User => {
            return Some(format!("a person: {action} is never done by a program"));
        }
        Who::Engine if kind != Kind::Service => {
            return Some(format!("a service of the engine: {action} is said by nobody else"));
        }
        Who::People | Who::Engine | Who::Anyone => {}
    }
    if !action.on().contains(&question.place.level()) {
        let levels: Vec<&str> = action.on().iter().copied().map(Level::word).collect();
        return Some(format!("{action} is done on: {}", levels.join(", ")));
    }
    None
}

fn request(
    question: &Question,
    slice: &Slice,
    actions: &[EntityUid],
    schema: &Schema,
) -> Result<Request, String> {
    let action = actions.get(question.action.index()).ok_or("the action is not in the table")?;
    let context = question.facts.context(&question.place)?;
    Request::new(slice.principal.clone(), action.clone(), slice.resource.clone(), context, Some(schema))
        .map_err(|error| error.to_string())
}

fn answer(loaded: &Loaded, question: &Question, request: &Request, slice: &Slice, decision: &mut Decision) {
    let response = Authorizer::new().is_authorized(request, &slice.roles.policies, &slice.entities);

    // Cedar passes over a policy that errs. Had it been a forbid, what it forbids would be permitted.
    let errors: Vec<Reason> = response
        .diagnostics()
        .errors()
        .map(|error| {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            let id: &str = error.policy_id().as_ref();
            Reason {
                policy: id.split('#').next().unwrap_or(id).to_owned(),
                message: error.inner().to_string(),
                grant: None,
            }
        })
        .collect();
    if !errors.is_empty() {
        decision.determining = errors;
        decision.determining.sort();
        decision.hint = Some(
            "a policy cannot be worked out, so nothing it may be about is permitted: have it corrected"
                .to_owned(),
        );
        return;
    }

    decision.determining = reasons(slice, &response);
    if response.decision() == Answer::Allow {
        decision.decision = Verdict::Allow;
        return;
    }
    let cure = |reason: &Reason| {
        let id = cedar_policy::PolicyId::new(&reason.policy);
        loaded.policies.annotation(&id, "cure").map(str::to_owned)
    };
    decision.hint = decision.determining.iter().find_map(cure);
    decision.missing = missing(loaded, question, request, slice);
    if decision.hint.is_none() && !decision.missing.is_empty() {
        decision.hint =
            Some("an admin grants roles; access.request asks for one until a certain time".to_owned());
    }
}

fn reasons(slice: &Slice, response: &Response) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = response
        .diagnostics()
        .reason()
        .map(|id| {
            let name: &str = id.as_ref();
            let message = slice.roles.policies.annotation(id, "message").unwrap_or_default().to_owned();
            match slice.roles.links.get(name) {
                Some(grant) => Reason { policy: grant.role.clone(), message, grant: Some(grant.shown()) },
                None => Reason { policy: name.to_owned(), message, grant: None },
            }
        })
        .collect();
    reasons.sort();
    reasons
}

/// What would have to hold for a permit to apply; empty when one does and something else forbids it.
fn missing(loaded: &Loaded, question: &Question, request: &Request, slice: &Slice) -> Vec<String> {
    let action = question.action;
    let granted = slice.roles.links.values().filter(|grant| question.place.is_in(&grant.on));
    let held = granted.filter_map(|grant| loaded.roles.get(&grant.role)).filter(|role| role.covers(action));
    let written = loaded
        .permits
        .iter()
        .filter(|permit| permit.covers(action) && permit.is_about(request, &slice.entities));

    let mut missing = Vec::new();
    for permit in held.chain(written) {
        match permit.first_unmet(request, &slice.entities) {
            None => return Vec::new(),
            Some(condition) => {
                let line = format!("policy {}: {condition}", permit.id);
                if !missing.contains(&line) && missing.len() < MISSING {
                    missing.push(line);
                }
            }
        }
    }
    if missing.is_empty() {
        missing.extend(missing_role(loaded, question));
    }
    missing
}

/// The roles that give the right, on the place that they would be granted on.
fn missing_role(loaded: &Loaded, question: &Question) -> Option<String> {
    let covering = loaded.roles.values().filter(|role| role.covers(question.action));
    let names: Vec<&str> =
        covering.map(|role| role.id.as_str()).filter(|name| *name != crate::BREAK_GLASS).collect();
    let place = question.place.at_most(Level::Environment);
    (!names.is_empty()).then(|| format!("role {} on {} {place}", names.join(" or "), place.level().word()))
}
