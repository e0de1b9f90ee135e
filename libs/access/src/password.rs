//! Passwords: argon2id, and what may be one.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use ground::Secret;

use crate::random::{NoChance, bytes};

/// KiB of memory that one check takes. Whoever runs it lets only a few run at a time.
const MEMORY: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// Fewest characters.
const FEWEST: usize = 12;
/// Most bytes. A longer one is refused: nothing is cut off.
const MOST: usize = 256;
/// What somebody has to try before they come upon it, at least: 10^8 times.
const GUESSES: u64 = 100_000_000;

/// A password that may be used as one.
pub struct Password(Secret);

/// Why a text cannot be a password. It is not part of the error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    /// Too short.
    #[error("the password has {0} characters: take at least {FEWEST}")]
    Short(usize),
    /// Too long.
    #[error("the password has {0} bytes: take at most {MOST}")]
    Long(usize),
    /// Among the first that are tried.
    #[error(
        "the password is common, or made of common parts or of your own name: take one that a password manager makes, or four words that nobody would put together"
    )]
    Common,
    /// It could not be worked on.
    #[error(transparent)]
    NoChance(#[from] NoChance),
    /// The memory for it is not there, or what was stored cannot be read.
    #[error("the password cannot be worked on: {0}")]
    Argon(String),
}

impl Password {
    /// A text that may be a password. `own` are words that belong to whoever it is for: their name, their organisation.
    /// There are no rules on digits and signs: length counts, and that it is not among those that are tried first.
    pub fn new(text: &str, own: &[&str]) -> Result<Password, BadPassword> {
        let characters = text.chars().count();
        if characters < FEWEST {
            return Err(BadPassword::Short(characters));
        }
        if text.len() > MOST {
            return Err(BadPassword::Long(text.len()));
        }
        if zxcvbn::zxcvbn(text, own).guesses() < GUESSES {
            return Err(BadPassword::Common);
        }
        Ok(Password(Secret::new(text)))
    }

    /// What is stored of it. To be kept where it cannot be read: whoever has it can guess at home.
    pub fn store(&self) -> Result<Stored, BadPassword> {
        let salt = bytes::<16>()?;
        let hash = argon()?.hash_password_with_salt(self.0.reveal().as_bytes(), &salt);
        hash.map(|hash| Stored(Secret::new(hash.to_string())))
            .map_err(|error| BadPassword::Argon(error.to_string()))
    }
}

/// What is stored of a password: a PHC text with its salt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored(Secret);

/// Checked where there is nobody of that name, so that the answer takes as long. It is of no password.
const NOBODY: &str =
    "$argon2id$v=19$m=65536,t=3,p=1$bm9ib2R5IGhhcyB0aGlz$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

impl Stored {
    /// From where it was kept.
    pub fn from_text(text: impl Into<String>) -> Stored {
        Stored(Secret::new(text))
    }

    /// To where it is kept.
    pub fn text(&self) -> &Secret {
        &self.0
    }

    /// The password is the one that was stored. Where nothing is stored, the same work is done and the answer is no.
    pub fn verify(stored: Option<&Stored>, typed: &Secret) -> Result<bool, BadPassword> {
        let against = stored.map_or(NOBODY, |stored| stored.0.reveal());
        if !against.starts_with(&format!("$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}$")) {
            return Err(BadPassword::Argon("it was stored with other settings: set it anew".to_owned()));
        }
        // A text that is too long never became a password; no work is done on it, whoever it is said to be of.
        let fits = typed.reveal().len() <= MOST
            && argon()?.verify_password(typed.reveal().as_bytes(), against).is_ok();
        Ok(fits && stored.is_some())
    }
}

fn argon() -> Result<Argon2<'static>, BadPassword> {
    let params = Params::new(MEMORY, PASSES, LANES, Some(32))
        .map_err(|error| BadPassword::Argon(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "velvet orbit cactus ledger";

    #[test]
    fn a_password_is_known_again_and_no_other_is() {
        let stored = Password::new(GOOD, &[]).unwrap().store().unwrap();

        assert_eq!(Stored::verify(Some(&stored), &Secret::new(GOOD)), Ok(true));
        for other in ["", "velvet orbit cactus ledge", "velvet orbit cactus ledger "] {
            assert_eq!(Stored::verify(Some(&stored), &Secret::new(other)), Ok(false), "{other}");
        }
        assert!(!format!("{stored:?}").contains("argon2id"), "{stored:?}");
        assert!(!stored.text().reveal().contains(GOOD));
        assert_ne!(Password::new(GOOD, &[]).unwrap().store().unwrap(), stored, "salted by chance");
    }

    /// The work is that of argon2 with these settings; what nobody has is read like what somebody has.
    #[test]
    fn for_nobody_the_same_work_is_done_and_the_answer_is_no() {
        assert_eq!(Stored::verify(None, &Secret::new(GOOD)), Ok(false));
        assert_eq!(Stored::verify(Some(&Stored::from_text(NOBODY)), &Secret::new(GOOD)), Ok(false));
        let weaker = Stored::from_text(NOBODY.replace("m=65536", "m=8"));
        assert!(matches!(Stored::verify(Some(&weaker), &Secret::new(GOOD)), Err(BadPassword::Argon(_))));
    }

    /// A text that argon2 could not read would be refused without work, and tell that nobody is there.
    #[test]
    fn what_nobody_has_is_a_text_that_argon2_works_on() {
        use argon2::password_hash::phc::PasswordHash;

        let read = PasswordHash::new(NOBODY).unwrap();
        let params = Params::try_from(&read).unwrap();

        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (MEMORY, PASSES, LANES));
        assert_eq!(read.hash.unwrap().len(), 32);
    }

    #[test]
    fn what_is_tried_first_is_no_password() {
        let own = ["ann.miller", "acme"];
        let of = |text: &str| Password::new(text, &own).err();

        assert_eq!(of("short"), Some(BadPassword::Short(5)));
        assert_eq!(of("ééééééééééé"), Some(BadPassword::Short(11)), "characters count, not bytes");
        assert_eq!(of(&"x".repeat(257)), Some(BadPassword::Long(257)));
        for common in [
            "password1234",
            "passwordpassword",
            "qwertyuiop123",
            "aaaaaaaaaaaaaaaa",
            "123456789012345",
            "ann.miller2026",
            "acmeacmeacme",
            "iloveyou12345",
            "P@ssw0rd1234",
        ] {
            assert_eq!(of(common), Some(BadPassword::Common), "{common}");
        }
        for good in [GOOD, "vI7#kq2Lx9!bTz4w", "ein Esel kauft drei Trompeten", "пять синих коробок утром"]
        {
            assert_eq!(of(good), None, "{good}");
        }
    }
}
