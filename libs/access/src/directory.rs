//! An organisation's people and programs and what they have, as the events tell it; and what may be added.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ground::Secret;
use model::{Digest, Timestamp, Token};

use crate::{
    ApiKey, Event, Factor, KEY_AT_MOST, KeyKind, Kind, Link, Member, RecoveryCodes, Scopes, recovery,
};

/// Most members, projects, and keys that were ever given out, of one organisation.
const MEMBERS: usize = 100_000;
/// Most groups that one member is in.
const GROUPS: usize = 256;
/// Keys of one member that are good at the same time: the old one and the new one while they change.
const LIVE_KEYS: usize = 2;
/// How long the link of the first run is good.
const LINK: Duration = Duration::from_secs(60 * 60);

/// What a member has to show who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Whose.
    pub member: Member,
    /// What it is for.
    pub kind: KeyKind,
    /// What it may be used for at most.
    pub scopes: Scopes,
    /// When it ends.
    pub until: Timestamp,
    digest: Digest,
    at: Timestamp,
    revoked: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    groups: BTreeSet<Token>,
    disabled: bool,
    /// What is not younger than this is void.
    void: Option<Timestamp>,
    factors: BTreeSet<Factor>,
    step: Option<u64>,
    recovery: BTreeSet<Digest>,
}

/// An organisation's people and programs and what they have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    organisation: Option<Token>,
    link: Option<(Digest, Timestamp)>,
    projects: BTreeMap<Token, BTreeSet<Token>>,
    members: BTreeMap<Member, Known>,
    keys: BTreeMap<String, Credential>,
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is there already.
    #[error("{0} is there already")]
    There(String),
    /// It is not there.
    #[error("there is no {0}")]
    NotThere(String),
    /// There are too many.
    #[error("there are {most} {what} already, which is the most")]
    Many {
        /// Of what.
        what: &'static str,
        /// The most.
        most: usize,
    },
    /// The kind of key or factor does not fit the kind of member.
    #[error("{member} cannot have {what}")]
    Kind {
        /// Whose it would be.
        member: Member,
        /// What.
        what: &'static str,
    },
    /// A key would be good for too long, or not at all.
    #[error("until: a key is good for a year at most and ends after now; asked for {0}")]
    Until(Timestamp),
    /// Scopes that are none.
    #[error("scopes: name 1 to 64 actions, such as deployment.view or target.*")]
    Scopes,
    /// Disabled.
    #[error("{0} is disabled")]
    Disabled(Member),
    /// The link is not the one, was used, or its time is over.
    #[error("the link is unknown, used or over; make a new one where the engine runs")]
    Link,
    /// The code was not taken. It is not said why.
    #[error("the code is wrong, used or over")]
    Code,
}

impl Directory {
    /// As these events tell it.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Directory {
        let mut directory = Directory::default();
        for event in events {
            directory.apply(event);
        }
        directory
    }

    /// One event more.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Founded { organisation, link, until } => {
                self.organisation = Some(organisation.clone());
                self.link = Some((link.clone(), *until));
            }
            Event::FirstRun { admin, .. } => {
                self.link = None;
                self.known(admin);
            }
            Event::ProjectAdded { project } => {
                self.projects.entry(project.clone()).or_default();
            }
            Event::EnvironmentAdded { project, environment } => {
                self.projects.entry(project.clone()).or_default().insert(environment.clone());
            }
            Event::MemberAdded { member, .. } => {
                self.known(member);
            }
            Event::MemberDisabled { member, at } => {
                self.known(member).disabled = true;
                self.known(member).make_void(*at);
            }
            Event::MemberEnabled { member, at } => {
                self.known(member).disabled = false;
                self.known(member).make_void(*at);
            }
            Event::AllRevoked { member, at } => self.known(member).make_void(*at),
            Event::GroupJoined { member, group } => {
                self.known(member).groups.insert(group.clone());
            }
            Event::GroupLeft { member, group } => {
                self.known(member).groups.remove(group);
            }
            Event::KeyIssued { member, id, kind, digest, scopes, at, until } => {
                let key = Credential {
                    member: member.clone(),
                    kind: *kind,
                    scopes: scopes.clone(),
                    until: *until,
                    digest: digest.clone(),
                    at: *at,
                    revoked: false,
                };
                self.keys.insert(id.clone(), key);
            }
            Event::KeyRevoked { id, .. } => {
                if let Some(key) = self.keys.get_mut(id) {
                    key.revoked = true;
                }
            }
            Event::FactorSet { member, factor, at } => {
                let known = self.known(member);
                known.factors.insert(*factor);
                known.make_void(*at);
                if *factor == Factor::Totp {
                    known.step = None;
                }
            }
            Event::StepUsed { member, step } => {
                let known = self.known(member);
                known.step = known.step.max(Some(*step));
            }
            Event::RecoveryMade { member, digests } => {
                self.known(member).recovery = digests.iter().cloned().collect();
            }
            Event::RecoveryUsed { member, digest } => {
                self.known(member).recovery.remove(digest);
            }
        }
    }

    fn known(&mut self, member: &Member) -> &mut Known {
        self.members.entry(member.clone()).or_default()
    }

    /// The organisation; none before it was founded.
    pub fn organisation(&self) -> Option<&Token> {
        self.organisation.as_ref()
    }

    /// The projects with their environments.
    pub fn projects(&self) -> &BTreeMap<Token, BTreeSet<Token>> {
        &self.projects
    }

    /// The members, with whether they may do anything.
    pub fn members(&self) -> impl Iterator<Item = (&Member, bool)> {
        self.members.iter().map(|(member, known)| (member, !known.disabled))
    }

    /// The groups of a member who may do anything; none: there is no such member, or they are disabled.
    pub fn groups(&self, member: &Member) -> Option<&BTreeSet<Token>> {
        self.members.get(member).filter(|known| !known.disabled).map(|known| &known.groups)
    }

    /// A member has this factor.
    pub fn has(&self, member: &Member, factor: Factor) -> bool {
        self.members.get(member).is_some_and(|known| known.factors.contains(&factor))
    }

    /// The step of the last code of the app that a member used.
    pub fn last_step(&self, member: &Member) -> Option<u64> {
        self.members.get(member)?.step
    }

    /// How many recovery codes a member has left.
    pub fn recovery_codes(&self, member: &Member) -> usize {
        self.members.get(member).map_or(0, |known| known.recovery.len())
    }

    /// What a member got at this moment counts: they may do anything, and it is younger than what was made void.
    pub fn stands(&self, member: &Member, begun: Timestamp) -> bool {
        let known = self.members.get(member);
        known.is_some_and(|known| !known.disabled && known.void.is_none_or(|void| begun > void))
    }

    /// What a key stands for, when it counts at this moment.
    pub fn key(&self, key: &ApiKey, now: Timestamp) -> Option<&Credential> {
        let found = self.keys.get(key.id())?;
        let is_it = found.kind == key.kind() && found.digest == key.digest();
        (is_it && self.is_live(found, now)).then_some(found)
    }

    fn is_live(&self, key: &Credential, now: Timestamp) -> bool {
        !key.revoked && now < key.until && self.stands(&key.member, key.at)
    }

    fn member(&self, member: &Member) -> Result<&Known, Refused> {
        self.members.get(member).ok_or_else(|| Refused::NotThere(member.to_string()))
    }

    fn able(&self, member: &Member) -> Result<&Known, Refused> {
        let known = self.member(member)?;
        if known.disabled { Err(Refused::Disabled(member.clone())) } else { Ok(known) }
    }

    /// Begins an organisation. Nobody is in it but by the link, once, within an hour.
    pub fn found(&self, organisation: Token, link: &Link, now: Timestamp) -> Result<Event, Refused> {
        match &self.organisation {
            Some(there) => Err(Refused::There(format!("organisation {there}"))),
            None => Ok(Event::Founded { organisation, link: link.digest(), until: now.plus(LINK) }),
        }
    }

    /// The first person comes, by the link.
    pub fn first_run(&self, typed: &Secret, admin: Member, now: Timestamp) -> Result<Event, Refused> {
        let good = self
            .link
            .as_ref()
            .is_some_and(|(digest, until)| *digest == Link::digest_of(typed.reveal()) && now < *until);
        if admin.kind != Kind::User {
            return Err(Refused::Kind { member: admin, what: "the first place" });
        }
        if good { Ok(Event::FirstRun { admin, at: now }) } else { Err(Refused::Link) }
    }

    /// Adds a project.
    pub fn add_project(&self, project: Token) -> Result<Event, Refused> {
        if self.projects.contains_key(&project) {
            return Err(Refused::There(format!("project {project}")));
        }
        bounded("projects", self.projects.len(), MEMBERS)?;
        Ok(Event::ProjectAdded { project })
    }

    /// Adds an environment to a project.
    pub fn add_environment(&self, project: Token, environment: Token) -> Result<Event, Refused> {
        let environments =
            self.projects.get(&project).ok_or_else(|| Refused::NotThere(format!("project {project}")))?;
        if environments.contains(&environment) {
            return Err(Refused::There(format!("environment {project}/{environment}")));
        }
        bounded("environments", environments.len(), GROUPS)?;
        Ok(Event::EnvironmentAdded { project, environment })
    }

    /// Adds a member. The name of one who is disabled is not given away.
    pub fn add_member(&self, member: Member, now: Timestamp) -> Result<Event, Refused> {
        if self.members.contains_key(&member) {
            return Err(Refused::There(member.to_string()));
        }
        bounded("members", self.members.len(), MEMBERS)?;
        Ok(Event::MemberAdded { member, at: now })
    }

    /// They may do nothing any more, from this moment on.
    pub fn disable(&self, member: &Member, now: Timestamp) -> Result<Event, Refused> {
        self.able(member)?;
        Ok(Event::MemberDisabled { member: member.clone(), at: now })
    }

    /// They may again. What they had stays void.
    pub fn enable(&self, member: &Member, now: Timestamp) -> Result<Event, Refused> {
        if !self.member(member)?.disabled {
            return Err(Refused::There(member.to_string()));
        }
        Ok(Event::MemberEnabled { member: member.clone(), at: now })
    }

    /// All that they have is void, from this moment on.
    pub fn revoke_all(&self, member: &Member, now: Timestamp) -> Result<Event, Refused> {
        self.member(member)?;
        Ok(Event::AllRevoked { member: member.clone(), at: now })
    }

    /// Puts a member into a group.
    pub fn join(&self, member: &Member, group: Token) -> Result<Event, Refused> {
        let known = self.able(member)?;
        if known.groups.contains(&group) {
            return Err(Refused::There(format!("{member} in group {group}")));
        }
        bounded("groups of one member", known.groups.len(), GROUPS)?;
        Ok(Event::GroupJoined { member: member.clone(), group })
    }

    /// Takes a member out of a group.
    pub fn leave(&self, member: &Member, group: Token) -> Result<Event, Refused> {
        if !self.member(member)?.groups.contains(&group) {
            return Err(Refused::NotThere(format!("{member} in group {group}")));
        }
        Ok(Event::GroupLeft { member: member.clone(), group })
    }

    /// Gives a member a key. Two are good at the same time, so that one can be changed for another.
    pub fn issue_key(
        &self,
        member: &Member,
        key: &ApiKey,
        scopes: Scopes,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Event, Refused> {
        self.able(member)?;
        match (member.kind, key.kind()) {
            (Kind::User, KeyKind::Personal)
            | (Kind::ServiceAccount, KeyKind::Service)
            | (Kind::Publisher, KeyKind::Publisher) => {}
            _ => return Err(Refused::Kind { member: member.clone(), what: "a key of this kind" }),
        }
        if until <= now || until > now.plus(KEY_AT_MOST) {
            return Err(Refused::Until(until));
        }
        if !scopes.are_formed() {
            return Err(Refused::Scopes);
        }
        if self.keys.contains_key(key.id()) {
            return Err(Refused::There(format!("key {}", key.id())));
        }
        let live = self.keys.values().filter(|one| one.member == *member && self.is_live(one, now)).count();
        bounded("keys of one member", live, LIVE_KEYS)?;
        bounded("keys", self.keys.len(), MEMBERS)?;
        Ok(Event::KeyIssued {
            member: member.clone(),
            id: key.id().to_owned(),
            kind: key.kind(),
            digest: key.digest(),
            scopes,
            at: now.max(self.after_void(member)),
            until,
        })
    }

    /// What is begun now must be younger than what was made void, also by a clock that went back in between.
    fn after_void(&self, member: &Member) -> Timestamp {
        let void = self.members.get(member).and_then(|known| known.void);
        void.map_or(Timestamp(i64::MIN), |void| Timestamp(void.0.saturating_add(1)))
    }

    /// Makes a key void.
    pub fn revoke_key(&self, id: &str, now: Timestamp) -> Result<Event, Refused> {
        match self.keys.get(id) {
            Some(key) if !key.revoked => Ok(Event::KeyRevoked { id: id.to_owned(), at: now }),
            _ => Err(Refused::NotThere("key that could be revoked".to_owned())),
        }
    }

    /// A person has another factor than before: whoever came in with the old one is out.
    pub fn set_factor(&self, member: &Member, factor: Factor, now: Timestamp) -> Result<Event, Refused> {
        self.able(member)?;
        if member.kind != Kind::User {
            return Err(Refused::Kind { member: member.clone(), what: "a factor" });
        }
        Ok(Event::FactorSet { member: member.clone(), factor, at: now })
    }

    /// A code of the app was right at this step: it is used up.
    pub fn use_step(&self, member: &Member, step: u64) -> Result<Event, Refused> {
        match self.able(member)?.step {
            Some(last) if step <= last => Err(Refused::Code),
            _ => Ok(Event::StepUsed { member: member.clone(), step }),
        }
    }

    /// A person has other recovery codes than before.
    pub fn make_recovery(&self, member: &Member, codes: &RecoveryCodes) -> Result<Event, Refused> {
        self.able(member)?;
        if member.kind != Kind::User {
            return Err(Refused::Kind { member: member.clone(), what: "recovery codes" });
        }
        Ok(Event::RecoveryMade { member: member.clone(), digests: codes.digests() })
    }

    /// A recovery code, when it is one of theirs: it is used up.
    pub fn use_recovery(&self, member: &Member, typed: &Secret) -> Result<Event, Refused> {
        let digest = recovery::digest(typed.reveal());
        let is_theirs = self.able(member).is_ok_and(|known| known.recovery.contains(&digest));
        if is_theirs {
            Ok(Event::RecoveryUsed { member: member.clone(), digest })
        } else {
            Err(Refused::Code)
        }
    }
}

impl Known {
    fn make_void(&mut self, at: Timestamp) {
        self.void = self.void.max(Some(at));
    }
}

fn bounded(what: &'static str, there: usize, most: usize) -> Result<(), Refused> {
    if there < most { Ok(()) } else { Err(Refused::Many { what, most }) }
}
