//! What happens to an organisation's directory, as its journal tells it. None of it is a secret.

use model::{Digest, Timestamp, Token};
use serde::{Deserialize, Serialize};

use crate::{KeyKind, Member, Scopes};

/// How a person shows that it is them, beside a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// What they know. What is stored of it is kept apart.
    Password,
    /// What they have: an app. What it shares with the engine is kept apart.
    Totp,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An organisation begins; its first admin comes by the link of which this is the digest.
    Founded {
        /// Its name.
        organisation: Token,
        /// Of the link.
        link: Digest,
        /// When the link ends.
        until: Timestamp,
    },
    /// The link was used; it never is again.
    FirstRun {
        /// By whom.
        admin: Member,
        /// When.
        at: Timestamp,
    },
    /// A project, which has environments.
    ProjectAdded {
        /// Its name.
        project: Token,
    },
    /// An environment of a project.
    EnvironmentAdded {
        /// Of this project.
        project: Token,
        /// Its name.
        environment: Token,
    },
    /// A person or a program.
    MemberAdded {
        /// Who.
        member: Member,
        /// When.
        at: Timestamp,
    },
    /// They may do nothing any more, and all that they had is void.
    MemberDisabled {
        /// Who.
        member: Member,
        /// When.
        at: Timestamp,
    },
    /// They may again; what they had stays void.
    MemberEnabled {
        /// Who.
        member: Member,
        /// When.
        at: Timestamp,
    },
    /// All that they had at this moment is void: keys, sessions, families of refresh tokens.
    AllRevoked {
        /// Of whom.
        member: Member,
        /// When.
        at: Timestamp,
    },
    /// A member is in a group.
    GroupJoined {
        /// Who.
        member: Member,
        /// In which.
        group: Token,
    },
    /// A member is in a group no more.
    GroupLeft {
        /// Who.
        member: Member,
        /// In which.
        group: Token,
    },
    /// A member has a key.
    KeyIssued {
        /// Whose.
        member: Member,
        /// What names it.
        id: String,
        /// What it is for.
        kind: KeyKind,
        /// Of the whole key.
        digest: Digest,
        /// What it may be used for at most.
        scopes: Scopes,
        /// When.
        at: Timestamp,
        /// When it ends.
        until: Timestamp,
    },
    /// A key is void.
    KeyRevoked {
        /// What names it.
        id: String,
        /// When.
        at: Timestamp,
    },
    /// A person has another factor than before; all that they had is void.
    FactorSet {
        /// Whose.
        member: Member,
        /// Which.
        factor: Factor,
        /// When.
        at: Timestamp,
    },
    /// A code of the app was used, and with it all of its step and before.
    StepUsed {
        /// Whose.
        member: Member,
        /// The step.
        step: u64,
    },
    /// A person has other recovery codes than before.
    RecoveryMade {
        /// Whose.
        member: Member,
        /// Of the codes.
        digests: Vec<Digest>,
    },
    /// A recovery code was used; it never is again.
    RecoveryUsed {
        /// Whose.
        member: Member,
        /// Of the code.
        digest: Digest,
    },
}
