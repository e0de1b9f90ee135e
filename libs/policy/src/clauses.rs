//! Permits taken apart, so that the answer "no" can name what is missing.

use cedar_policy::{
    ActionConstraint, Authorizer, Decision, Entities, EntityUid, Policy, PolicyId, PolicySet, Request,
    Template,
};
use serde_json::{Value, json};

use crate::{Action, schema::DELICATE};

/// Most conditions of one policy that are told apart; what is behind them is one.
const CONDITIONS: usize = 32;

/// One condition, as text and as a policy that permits exactly where it holds.
struct Condition {
    text: String,
    alone: PolicySet,
}

/// A permit taken apart.
pub(crate) struct Permit {
    /// Its `@id`.
    pub(crate) id: String,
    /// Who, what and where, without conditions; none for a role, whose grant says it.
    scope: Option<PolicySet>,
    /// The actions it is about, by their names and the names of their groups; none for all.
    actions: Option<Vec<String>>,
    conditions: Vec<Condition>,
}

impl Permit {
    /// Takes a policy apart; what cannot be taken apart is told of as a whole.
    pub(crate) fn of_policy(policy: &Policy) -> Option<Permit> {
        let parts = policy.to_json().ok()?;
        let mut scope = parts.clone();
        *scope.get_mut("conditions")? = json!([]);
        Some(Permit {
            id: policy.id().to_string(),
            scope: Some(alone(scope)?),
            actions: names(policy.action_constraint()),
            conditions: conditions(&parts),
        })
    }

    /// Takes a role apart.
    pub(crate) fn of_role(role: &Template) -> Option<Permit> {
        Some(Permit {
            id: role.id().to_string(),
            scope: None,
            actions: names(role.action_constraint()),
            conditions: conditions(&role.to_json().ok()?),
        })
    }

    /// It is about this action.
    pub(crate) fn covers(&self, action: Action) -> bool {
        self.actions.as_ref().is_none_or(|names| {
            names.iter().any(|name| {
                name == action.id()
                    || name == action.group().name()
                    || (action.is_delicate() && name == DELICATE)
            })
        })
    }

    /// It is about this request, its conditions aside.
    pub(crate) fn is_about(&self, request: &Request, entities: &Entities) -> bool {
        self.scope.as_ref().is_some_and(|scope| holds(scope, request, entities))
    }

    /// The first condition that does not hold, or cannot be looked at.
    pub(crate) fn first_unmet(&self, request: &Request, entities: &Entities) -> Option<&str> {
        let unmet = self.conditions.iter().find(|condition| !holds(&condition.alone, request, entities));
        unmet.map(|condition| condition.text.as_str())
    }
}

fn holds(alone: &PolicySet, request: &Request, entities: &Entities) -> bool {
    Authorizer::new().is_authorized(request, alone, entities).decision() == Decision::Allow
}

/// The names of the actions and groups of a scope; none where it takes all.
fn names(constraint: ActionConstraint) -> Option<Vec<String>> {
    let name = |uid: EntityUid| uid.id().unescaped().to_owned();
    match constraint {
        ActionConstraint::Any => None,
        ActionConstraint::In(all) => Some(all.into_iter().map(name).collect()),
        ActionConstraint::Eq(one) => Some(vec![name(one)]),
    }
}

/// A set of nothing but this policy.
fn alone(parts: Value) -> Option<PolicySet> {
    let policy = Policy::from_json(Some(PolicyId::new("alone")), parts).ok()?;
    PolicySet::from_policies([policy]).ok()
}

fn conditions(parts: &Value) -> Vec<Condition> {
    let mut found = Vec::new();
    for clause in parts["conditions"].as_array().into_iter().flatten() {
        if clause["kind"] == "when" {
            split(&clause["body"], &mut found);
        } else {
            found.push(clause.clone());
        }
    }
    found.iter().filter_map(condition).collect()
}

/// `a && b && c` is three conditions.
fn split(body: &Value, found: &mut Vec<Value>) {
    match body.get("&&") {
        Some(both) if found.len() < CONDITIONS => {
            split(&both["left"], found);
            split(&both["right"], found);
        }
        _ => found.push(json!({"kind": "when", "body": body})),
    }
}

fn condition(clause: &Value) -> Option<Condition> {
    let all = json!({"op": "All"});
    let alone = alone(json!({
        "effect": "permit", "principal": all, "action": all, "resource": all, "conditions": [clause],
    }))?;
    let written = alone.policies().next()?.to_cedar()?;
    let inside = written.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}'));
    let text = inside.map_or(written.as_str(), |(inside, _)| inside);
    // Cedar itself turns `unless { a }` into `when { !(a) }`.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(Condition { text, alone })
}
