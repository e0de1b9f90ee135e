//! Every operation of the engine, in one table: who may be asked for it at all, on what, and what kind of act it is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Level;

/// Who may ever hold the right to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// People and programs.
    Anyone,
    /// People only: it is answered for by somebody.
    People,
    /// Services of the engine among themselves.
    Engine,
}

/// Acts that roles give together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Looking.
    Look,
    /// Having a plan made.
    Plan,
    /// Having something deployed.
    Deploy,
    /// Pausing, going on and turning back what is under way.
    Steer,
    /// Approving the plan of somebody else.
    Approve,
    /// Setting things right by hand.
    Operate,
    /// Asking the experts.
    Advise,
    /// Reading and taking out what the audit log says of everybody.
    Audit,
    /// People, their credentials and their rights.
    Administer,
    /// Asking for more rights than one has.
    Request,
    /// Taking more rights than one has, in need.
    Need,
    /// What only services of the engine say to each other.
    Engine,
}

impl Group {
    /// All of them.
    pub const ALL: [Group; 12] = [
        Group::Look,
        Group::Plan,
        Group::Deploy,
        Group::Steer,
        Group::Approve,
        Group::Operate,
        Group::Advise,
        Group::Audit,
        Group::Administer,
        Group::Request,
        Group::Need,
        Group::Engine,
    ];

    /// The name that policies use: `Action::"look"`.
    pub fn name(self) -> &'static str {
        match self {
            Group::Look => "look",
            Group::Plan => "plan",
            Group::Deploy => "deploy",
            Group::Steer => "steer",
            Group::Approve => "approve",
            Group::Operate => "operate",
            Group::Advise => "advise",
            Group::Audit => "audit",
            Group::Administer => "administer",
            Group::Request => "request",
            Group::Need => "need",
            Group::Engine => "engine",
        }
    }
}

const ENGINE: &[Level] = &[Level::Engine];
const ORGANISATION: &[Level] = &[Level::Organisation];
const TARGET: &[Level] = &[Level::Target];
/// Something that is asked for on any place of an organisation.
const PLACES: &[Level] = &[Level::Organisation, Level::Project, Level::Environment, Level::Target];

/// Reads, or changes something; delicate: a person proves anew that it is them, at most five minutes before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Reads,
    Changes,
    Delicate,
}
use Effect::{Changes, Delicate, Reads};

macro_rules! actions {
    ($($variant:ident $id:literal $group:ident $who:ident $on:ident $effect:ident $about:literal;)*) => {
        /// One operation of the engine.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action { $(#[doc = $about] $variant,)* }

        impl Action {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Action] = &[$(Action::$variant),*];

            fn row(self) -> (&'static str, Group, Who, &'static [Level], Effect, &'static str) {
                match self {
                    $(Action::$variant => ($id, Group::$group, Who::$who, $on, $effect, $about),)*
                }
            }
        }
    };
}

actions! {
    DeploymentView "deployment.view" Look Anyone PLACES Reads "Show deployments, their journals, steps, evidence and logs.";
    DeploymentPlan "deployment.plan" Plan Anyone TARGET Reads "Show what a spec would change.";
    DeploymentSubmit "deployment.submit" Deploy Anyone TARGET Changes "Have a spec deployed.";
    DeploymentForce "deployment.force" Operate People TARGET Delicate "Have a spec deployed that was quarantined.";
    DeploymentApprove "deployment.approve" Approve People TARGET Delicate "Approve the plan of a deployment.";
    DeploymentPromote "deployment.promote" Steer Anyone TARGET Changes "Let a step that waits go on.";
    DeploymentPromoteFull "deployment.promote-full" Operate People TARGET Delicate "Skip all pauses and analyses that are left.";
    DeploymentPause "deployment.pause" Steer Anyone TARGET Changes "Begin no further step.";
    DeploymentResume "deployment.resume" Steer Anyone TARGET Changes "Go on after a pause.";
    DeploymentAbort "deployment.abort" Steer Anyone TARGET Changes "Turn back what is under way, or withdraw it.";
    DeploymentRollback "deployment.rollback" Steer Anyone TARGET Changes "Deploy again what was promoted before.";
    DeploymentRetry "deployment.retry" Operate Anyone TARGET Changes "Try a way back that failed once more.";
    DeploymentClose "deployment.close" Operate People TARGET Delicate "Give up a way back: it was set right by hand.";
    TargetView "target.view" Look Anyone PLACES Reads "Show targets, their queues, locks and quarantines.";
    TargetDrift "target.drift" Look Anyone TARGET Reads "Compare what runs with what should.";
    TargetHoldings "target.holdings" Look Anyone TARGET Reads "Show the instances on a target.";
    TargetHold "target.hold" Operate Anyone TARGET Changes "Let no deployment have the lock.";
    TargetRelease "target.release" Operate Anyone TARGET Changes "Let deployments have the lock again.";
    TargetClear "target.clear" Operate People TARGET Delicate "Take away instances that nothing asks for.";
    EngineView "engine.view" Look Anyone ENGINE Reads "Show the services of the engine and how they are.";
    EngineDrain "engine.drain" Operate Anyone ENGINE Changes "Let a copy of a service hand over its work.";
    JournalView "journal.view" Look Anyone PLACES Reads "Show records of journals that cannot be read.";
    JournalSkip "journal.skip" Operate People PLACES Delicate "Pass over records of journals that cannot be read.";
    ExpertView "expert.view" Look Anyone PLACES Reads "Show experts and what they said.";
    ExpertAsk "expert.ask" Advise Anyone PLACES Changes "Put a question to the experts, which costs money.";
    ExpertTest "expert.test" Advise Anyone PLACES Changes "Try the experts on questions with known answers.";
    CertificateView "certificate.view" Look Anyone PLACES Reads "Show certificates and the keys that they are checked with.";
    AuditProve "audit.prove" Look Anyone ORGANISATION Reads "Prove that a fact is in the audit log, and that the log only grew.";
    AuditSearch "audit.search" Audit Anyone ORGANISATION Reads "Search the audit log.";
    AuditExport "audit.export" Audit Anyone ORGANISATION Reads "Take entries of the audit log and reports on them out.";
    PolicyView "policy.view" Look Anyone ORGANISATION Reads "Show policies, roles and grants, and explain decisions.";
    PolicyChange "policy.change" Administer People ORGANISATION Delicate "Put other policies, roles or grants in force.";
    IdentityView "identity.view" Look Anyone ORGANISATION Reads "Show people, programs and their groups.";
    IdentityChange "identity.change" Administer People ORGANISATION Delicate "Add, change and disable people, programs, groups, projects and environments.";
    CredentialIssue "credential.issue" Administer People ORGANISATION Delicate "Give a program a key.";
    CredentialRevoke "credential.revoke" Administer People ORGANISATION Changes "End keys and sessions of somebody.";
    AccessRequest "access.request" Request People PLACES Changes "Ask for a role until a certain time.";
    AccessReview "access.review" Administer People PLACES Delicate "Grant or refuse what somebody asked for; close what was taken in need.";
    AccessBreakGlass "access.break-glass" Need People PLACES Delicate "Take more rights at once, in need, for an hour at most.";
    EngineSpeak "engine.speak" Engine Engine ENGINE Changes "What services of the engine ask each other.";
}

impl Action {
    /// The name in policies, decisions and commands: `deployment.approve`.
    pub fn id(self) -> &'static str {
        self.row().0
    }

    /// What roles give together with it.
    pub fn group(self) -> Group {
        self.row().1
    }

    /// Who may ever hold the right to it.
    pub fn who(self) -> Who {
        self.row().2
    }

    /// What it is done to.
    pub fn on(self) -> &'static [Level] {
        self.row().3
    }

    /// It changes something, or costs something.
    pub fn changes(self) -> bool {
        self.row().4 != Reads
    }

    /// A person must have shown a second factor within the last five minutes.
    pub fn is_delicate(self) -> bool {
        self.row().4 == Delicate
    }

    /// One sentence.
    pub fn about(self) -> &'static str {
        self.row().5
    }

    /// Its place in the table.
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// The text is not an action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an action; they are in docs/rights.md, such as deployment.approve")]
pub struct BadAction(pub String);

impl FromStr for Action {
    type Err = BadAction;

    fn from_str(text: &str) -> Result<Action, BadAction> {
        let found = Action::ALL.iter().copied().find(|action| action.id() == text);
        found.ok_or_else(|| BadAction(text.chars().take(60).collect()))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl Serialize for Action {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Action, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

use Action as A;

/// What each call of the engine asks for: the right to one of these, by what the request says. A call that is missing here
/// fails a test.
pub const CALLS: &[(&str, &[Action])] = &[
    ("orchestrator.submit", &[A::DeploymentSubmit, A::DeploymentRollback, A::DeploymentForce]),
    ("orchestrator.plan", &[A::DeploymentPlan]),
    ("orchestrator.status", &[A::DeploymentView]),
    ("orchestrator.list", &[A::DeploymentView]),
    ("orchestrator.history", &[A::DeploymentView]),
    (
        "orchestrator.command",
        &[
            A::DeploymentPromote,
            A::DeploymentPromoteFull,
            A::DeploymentPause,
            A::DeploymentResume,
            A::DeploymentAbort,
            A::DeploymentRetry,
            A::DeploymentClose,
            A::DeploymentApprove,
        ],
    ),
    ("orchestrator.target", &[A::TargetView, A::TargetHold, A::TargetRelease]),
    ("orchestrator.drift", &[A::TargetDrift]),
    ("orchestrator.holdings", &[A::TargetHoldings, A::TargetClear]),
    ("orchestrator.journal", &[A::JournalView, A::JournalSkip]),
    ("agents.review", &[A::EngineSpeak]),
    ("agents.drift", &[A::EngineSpeak]),
    ("agents.holdings", &[A::EngineSpeak]),
    ("agents.step", &[A::EngineSpeak]),
    ("agents.step-state", &[A::EngineSpeak]),
    ("agents.step-find", &[A::EngineSpeak]),
    ("experts.ask", &[A::ExpertAsk]),
    ("experts.advise", &[A::EngineSpeak]),
    ("experts.list", &[A::ExpertView]),
    ("experts.test", &[A::ExpertTest]),
    ("experts.history", &[A::ExpertView]),
    ("experts.show", &[A::ExpertView]),
    ("experts.replay", &[A::ExpertView]),
    ("consensus.weigh", &[A::EngineSpeak]),
    ("consensus.weigh-votes", &[A::EngineSpeak]),
    ("audit.append", &[A::EngineSpeak]),
    ("audit.await", &[A::EngineSpeak]),
    ("audit.status", &[A::AuditProve]),
    ("audit.prove", &[A::AuditProve]),
    ("audit.consistency", &[A::AuditProve]),
    ("audit.entries", &[A::AuditExport]),
    ("audit.search", &[A::AuditSearch]),
    ("audit.report", &[A::AuditExport]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_name_means_one_action_and_is_read_again() {
        let names: BTreeSet<&str> = A::ALL.iter().map(|action| action.id()).collect();

        assert_eq!(names.len(), A::ALL.len());
        for (place, action) in A::ALL.iter().enumerate() {
            assert_eq!(action.id().parse::<Action>(), Ok(*action));
            assert_eq!(action.index(), place);
        }
        assert!("deployment.aprove".parse::<Action>().is_err());
    }

    #[test]
    fn what_is_delicate_is_done_by_people() {
        for action in A::ALL.iter().filter(|action| action.is_delicate()) {
            assert_eq!(action.who(), Who::People, "{action}");
        }
    }

    /// Reads the table of subjects as text: this crate stands below nothing that speaks.
    #[test]
    fn every_call_of_the_engine_asks_for_a_right() {
        let table = include_str!("../../bus/src/subjects.rs").split_whitespace().collect::<String>();
        let mut declared = BTreeSet::new();
        for kind in ["=Call::new(", "=Task::new("] {
            for rest in table.split(kind).skip(1) {
                let mut words = rest.split('"');
                let (service, verb) = (words.nth(1).unwrap(), words.nth(1).unwrap());
                declared.insert(format!("{service}.{verb}"));
            }
        }
        let known: BTreeSet<String> = CALLS.iter().map(|(name, _)| (*name).to_owned()).collect();

        assert!(declared.len() > 30, "only {} calls were found", declared.len());
        assert_eq!(declared, known);
        assert_eq!(CALLS.len(), known.len());
    }
}
