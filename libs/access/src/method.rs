//! Ways to show who somebody is, behind one trait: whoever asks does not know which one it was.

use ground::Secret;
use model::Timestamp;

use crate::{
    ApiKey, BadPassword, Directory, Factor, Issuer, Kind, Member, Scopes, Stored, TotpSecret, key::BadKey,
};

/// What somebody shows.
pub enum Proof {
    /// A key.
    Key(Secret),
    /// A password, and where one is needed a code of the app.
    Password {
        /// Who they say they are.
        member: Member,
        /// The password.
        password: Secret,
        /// The code of the app.
        code: Option<Secret>,
    },
    /// A token of another issuer.
    Token(Secret),
}

/// Who somebody is, as it was shown.
#[derive(Clone, Debug, PartialEq)]
pub enum Authenticated {
    /// A member, by a key, which narrows what they may do.
    ByKey {
        /// Who.
        member: Member,
        /// What the key may be used for at most.
        scopes: Scopes,
    },
    /// A person.
    ByPassword {
        /// Who.
        member: Member,
        /// The step of the code of the app: it is to be journalled as used before anything is given out. None: one factor.
        step: Option<u64>,
    },
    /// Somebody whom another issuer vouches for.
    ByToken(crate::Foreign),
}

/// Why it is not shown who somebody is. What differs here is for the log: whoever asks is told the first line only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAuthenticated {
    /// The method is not for what was shown.
    #[error("this is not shown in this way")]
    OtherMethod,
    /// The key is not one.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// It is unknown, over, void, or of somebody who is disabled.
    #[error("not known, or not good any more")]
    Unknown,
    /// The password is right, and the second factor is missing or wrong.
    #[error("the code of the app is missing, wrong or used")]
    Code,
    /// The token is not one that counts.
    #[error(transparent)]
    Token(#[from] crate::BadToken),
    /// It could not be worked on.
    #[error(transparent)]
    Password(#[from] BadPassword),
}

/// A way to show who somebody is.
pub trait Method: Send + Sync {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// Who it is, at this moment. Adds nothing to any journal: what follows from it is said in the answer.
    fn authenticate(
        &self,
        proof: &Proof,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Authenticated, NotAuthenticated>;
}

/// By a key.
pub struct Keys;

impl Method for Keys {
    fn name(&self) -> &'static str {
        "key"
    }

    fn authenticate(
        &self,
        proof: &Proof,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Authenticated, NotAuthenticated> {
        let Proof::Key(text) = proof else { return Err(NotAuthenticated::OtherMethod) };
        let key = ApiKey::parse(text.reveal())?;
        let known = directory.key(&key, now).ok_or(NotAuthenticated::Unknown)?;
        Ok(Authenticated::ByKey { member: known.member.clone(), scopes: known.scopes.clone() })
    }
}

/// By a password and a code of the app. What is stored of both is asked of whoever keeps it. Each check takes 64 MiB of
/// memory for its time: whoever runs it lets only a few run at once.
pub struct Passwords<P, T> {
    /// What is stored of somebody's password.
    pub stored: P,
    /// What somebody's app shares with the engine.
    pub app: T,
}

impl<P, T> Method for Passwords<P, T>
where
    P: Fn(&Member) -> Option<Stored> + Send + Sync,
    T: Fn(&Member) -> Option<TotpSecret> + Send + Sync,
{
    fn name(&self) -> &'static str {
        "password"
    }

    fn authenticate(
        &self,
        proof: &Proof,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Authenticated, NotAuthenticated> {
        let Proof::Password { member, password, code } = proof else {
            return Err(NotAuthenticated::OtherMethod);
        };
        let may = member.kind == Kind::User
            && directory.groups(member).is_some()
            && directory.has(member, Factor::Password);
        let stored = if may { (self.stored)(member) } else { None };
        // The same work for nobody and for somebody who is disabled as for a wrong password.
        if !Stored::verify(stored.as_ref(), password)? {
            return Err(NotAuthenticated::Unknown);
        }
        if !directory.has(member, Factor::Totp) {
            return Ok(Authenticated::ByPassword { member: member.clone(), step: None });
        }
        let app = (self.app)(member).ok_or(NotAuthenticated::Code)?;
        let code = code.as_ref().ok_or(NotAuthenticated::Code)?;
        let step = app.check(code.reveal(), now, directory.last_step(member));
        let step = step.ok_or(NotAuthenticated::Code)?;
        Ok(Authenticated::ByPassword { member: member.clone(), step: Some(step) })
    }
}

/// By a token of an issuer that is believed.
pub struct Tokens(pub Issuer);

impl Method for Tokens {
    fn name(&self) -> &'static str {
        "token"
    }

    fn authenticate(
        &self,
        proof: &Proof,
        _: &Directory,
        now: Timestamp,
    ) -> Result<Authenticated, NotAuthenticated> {
        let Proof::Token(text) = proof else { return Err(NotAuthenticated::OtherMethod) };
        Ok(Authenticated::ByToken(self.0.authenticate(text.reveal(), now)?))
    }
}
