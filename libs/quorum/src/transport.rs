//! How frames get to another member.

use std::time::Duration;

use crate::{types::Peer, wire::Frame};

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// Nobody is there; nothing was done.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// Something went wrong underway; it may have been done.
    #[error("no answer: {0}")]
    Unanswered(String),
}

/// Carries a frame to a member and its answer back.
#[async_trait::async_trait]
pub(crate) trait Transport: Send + Sync + 'static {
    /// Asks; returns within `within`.
    async fn ask(&self, peer: &Peer, frame: Frame, within: Duration) -> Result<Frame, Lost>;
}

/// Answers frames.
#[async_trait::async_trait]
pub(crate) trait Serve: Send + Sync + 'static {
    async fn answer(&self, frame: Frame) -> Frame;
}
