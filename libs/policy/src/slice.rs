//! What of all rights concerns one somebody: kept for the next question, within bounds.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use cedar_policy::{
    Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId, PolicySet, RestrictedExpression, SlotId,
};
use model::Timestamp;
use parking_lot::Mutex;

use crate::{Grant, Place, Subject};

/// Most somebodies whose rights are kept ready.
const SUBJECTS: usize = 1024;
/// Most places that are kept ready for one of them.
const PLACES: usize = 128;

/// The policies that concern one somebody: all that are written out, and their roles.
pub(crate) struct Roles {
    pub(crate) policies: PolicySet,
    /// By the name of the linked policy: the role, and the grant.
    pub(crate) links: BTreeMap<String, Grant>,
    /// From then on a grant in it counts for nothing any more.
    until: Option<Timestamp>,
    principal: Entity,
}

/// The policies and everybody and everything that they may speak of, for one somebody on one place.
#[derive(Clone)]
pub(crate) struct Slice {
    pub(crate) roles: Arc<Roles>,
    pub(crate) entities: Arc<Entities>,
    pub(crate) principal: EntityUid,
    pub(crate) resource: EntityUid,
}

/// The name of a kind or of an entity as Cedar has it.
pub(crate) fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind: EntityTypeName = kind.parse().map_err(|error| format!("{kind}: {error}"))?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn place_uid(place: &Place) -> Result<EntityUid, String> {
    uid(place.level().entity(), &place.to_string())
}

impl Roles {
    fn of(subject: &Subject, all: &PolicySet, grants: &[Grant], now: Timestamp) -> Result<Roles, String> {
        let principal = uid(subject.kind().entity(), &subject.key())?;
        let mut roles = Roles {
            policies: all.clone(),
            links: BTreeMap::new(),
            until: None,
            principal: entity(subject, principal.clone())?,
        };
        for grant in grants.iter().filter(|grant| grant.to.reaches(subject) && grant.is_in_force(now)) {
            let name = format!("{}#{}", grant.role, roles.links.len());
            let slots = HashMap::from([
                (SlotId::principal(), principal.clone()),
                (SlotId::resource(), place_uid(&grant.on)?),
            ]);
            let linked = roles.policies.link(PolicyId::new(&grant.role), PolicyId::new(&name), slots);
            linked.map_err(|error| format!("role {}: {error}", grant.role))?;
            roles.links.insert(name, grant.clone());
            roles.until = roles.until.into_iter().chain(grant.until).min();
        }
        Ok(roles)
    }

    fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

fn entity(subject: &Subject, uid_of: EntityUid) -> Result<Entity, String> {
    let groups = subject.groups().iter().filter_map(|group| Some((subject.organisation()?, group)));
    let parents: HashSet<EntityUid> = groups
        .map(|(organisation, group)| uid("Group", &format!("{organisation}/{group}")))
        .collect::<Result<_, _>>()?;
    let name = RestrictedExpression::new_string(subject.to_string());
    Entity::new(uid_of, HashMap::from([("name".to_owned(), name)]), parents)
        .map_err(|error| error.to_string())
}

/// The place and all that it lies in, and whoever asks.
fn entities(base: &Entities, principal: &Entity, place: &Place) -> Result<Entities, String> {
    let mut all = vec![principal.clone()];
    let mut here = Some(place.clone());
    while let Some(place) = here {
        here = place.parent();
        let parents = here.as_ref().map(place_uid).transpose()?.into_iter().collect();
        all.push(Entity::new_no_attrs(place_uid(&place)?, parents));
    }
    base.clone().add_entities(all, None).map_err(|error| error.to_string())
}

struct Kept {
    roles: Arc<Roles>,
    places: HashMap<Place, Slice>,
}

/// The slices of one version of the rights. When it is full, all is forgotten: what is asked for is made anew.
#[derive(Default)]
pub(crate) struct Slices {
    kept: Mutex<HashMap<Subject, Kept>>,
}

impl Slices {
    /// The slice of this somebody on this place, at this moment. `base` holds the actions and their groups.
    pub(crate) fn get(
        &self,
        (subject, place): (&Subject, &Place),
        (all, base): (&PolicySet, &Entities),
        grants: &[Grant],
        now: Timestamp,
    ) -> Result<Slice, String> {
        let known = {
            let kept = self.kept.lock();
            match kept.get(subject).filter(|kept| kept.roles.is_in_force(now)) {
                Some(own) => match own.places.get(place) {
                    Some(slice) => return Ok(slice.clone()),
                    None => Some(own.roles.clone()),
                },
                None => None,
            }
        };
        let roles = match known {
            Some(roles) => roles,
            None => Arc::new(Roles::of(subject, all, grants, now)?),
        };
        let slice = Slice {
            entities: Arc::new(entities(base, &roles.principal, place)?),
            principal: roles.principal.uid(),
            resource: place_uid(place)?,
            roles: roles.clone(),
        };
        self.keep(subject, place, roles, &slice);
        Ok(slice)
    }

    fn keep(&self, subject: &Subject, place: &Place, roles: Arc<Roles>, slice: &Slice) {
        let mut kept = self.kept.lock();
        if kept.len() >= SUBJECTS && !kept.contains_key(subject) {
            kept.clear();
        }
        let own = kept
            .entry(subject.clone())
            .or_insert_with(|| Kept { roles: roles.clone(), places: HashMap::new() });
        if !Arc::ptr_eq(&own.roles, &roles) {
            *own = Kept { roles, places: HashMap::new() };
        }
        if own.places.len() >= PLACES {
            own.places.clear();
        }
        own.places.insert(place.clone(), slice.clone());
    }

    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.len(), kept.values().map(|own| own.places.len()).max().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_by_people_and_by_places() {
        let (slices, policies, base) = (Slices::default(), PolicySet::new(), Entities::empty());
        let ask = |who: &str, place: &str| {
            let (who, place) = (who.parse().unwrap(), place.parse().unwrap());
            slices.get((&who, &place), (&policies, &base), &[], Timestamp(0)).unwrap();
        };

        for number in 0..SUBJECTS + 10 {
            ask(&format!("user:acme/u{number}"), "acme");
        }
        assert_eq!(slices.sizes(), (10, 1), "full once, then begun anew");
        for number in 0..PLACES + 10 {
            ask("user:acme/u1033", &format!("acme/p{number}"));
        }
        assert!(slices.sizes().1 <= PLACES, "{:?}", slices.sizes());
    }
}
