//! Who may speak on the bus: one user of the broker for each role.

use std::{fmt, str::FromStr};

/// A user of the broker. What it may say and hear follows from the table of speech, [`crate::subjects`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The service that decides.
    Orchestrator,
    /// The service that does.
    Runner,
    /// The part of the agents that signs certificates.
    Certifier,
    /// The data plane.
    Traffic,
    /// The service that asks experts.
    Experts,
    /// The workers that compute opinions.
    Consensus,
    /// The service that keeps the audit log.
    Audit,
    /// Makes streams and consumers, and does nothing else.
    Provisioner,
    /// People and their programs: what `codectl` is.
    Operator,
    /// Looks after the broker itself, in an account of its own.
    System,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 10] = [
        Role::Orchestrator,
        Role::Runner,
        Role::Certifier,
        Role::Traffic,
        Role::Experts,
        Role::Consensus,
        Role::Audit,
        Role::Provisioner,
        Role::Operator,
        Role::System,
    ];

    /// The services of the engine.
    pub(crate) const SERVICES: &[Role] = &[
        Role::Orchestrator,
        Role::Runner,
        Role::Certifier,
        Role::Traffic,
        Role::Experts,
        Role::Consensus,
        Role::Audit,
    ];

    /// The user's name: of its key file, of its inbox, and in log lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Orchestrator => "orchestrator",
            Role::Runner => "agents-runner",
            Role::Certifier => "agents-certifier",
            Role::Traffic => "traffic",
            Role::Experts => "experts",
            Role::Consensus => "consensus",
            Role::Audit => "audit",
            Role::Provisioner => "provisioner",
            Role::Operator => "operator",
            Role::System => "system",
        }
    }

    /// The service that speaks in this role; none when no service does.
    pub const fn service(self) -> Option<&'static str> {
        match self {
            Role::Runner | Role::Certifier => Some("agents"),
            Role::Orchestrator | Role::Traffic | Role::Experts | Role::Consensus | Role::Audit => {
                Some(self.as_str())
            }
            Role::Provisioner | Role::Operator | Role::System => None,
        }
    }

    /// The role in which a service speaks unless it says otherwise.
    pub fn of_service(service: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.service() == Some(service))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No role has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no user of the engine: the users are {all}", all = Role::ALL.map(Role::as_str).join(", "))]
pub struct NoRole(String);

impl FromStr for Role {
    type Err = NoRole;

    fn from_str(name: &str) -> Result<Role, NoRole> {
        Role::ALL.into_iter().find(|role| role.as_str() == name).ok_or_else(|| NoRole(name.to_owned()))
    }
}
