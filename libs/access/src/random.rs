//! Chance, from the one crypto provider.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// There was no chance to be had; nothing is made of less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoChance;

/// So many random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], NoChance> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoChance)?;
    Ok(bytes)
}
