//! The link that makes the first admin: for one time and a short while, so that no account is there by default.

use ground::Secret;
use model::Digest;

use crate::{base62, random::NoChance};

/// A secret that is good once. Only its digest is kept.
pub struct Link(Secret);

impl Link {
    /// A new one, with 256 bits of chance.
    pub fn new() -> Result<Link, NoChance> {
        Ok(Link(Secret::new(base62::random(43)?)))
    }

    /// What is written behind the address of the page.
    pub fn text(&self) -> &Secret {
        &self.0
    }

    /// What is kept of it.
    pub fn digest(&self) -> Digest {
        Link::digest_of(self.0.reveal())
    }

    pub(crate) fn digest_of(text: &str) -> Digest {
        Digest::of_bytes(format!("first run {text}").as_bytes())
    }
}
