//! What copies of a service say about themselves.

use model::{ReplicaId, Timestamp, Token};
use prost::Message as _;

use crate::{
    Error, Message,
    check::{self, At},
    proto,
};

/// A running copy of a service shows that it lives. A silent one is not known to be dead: only the fence decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Which copy.
    pub replica: ReplicaId,
    /// Of which service.
    pub service: Token,
    /// When it was said, by its own clock.
    pub at: Timestamp,
    /// It hands over what it holds and takes nothing new.
    pub draining: bool,
    /// It can do its work.
    pub ready: bool,
}

impl Message for Beat {
    const NAME: &'static str = "code.v1.Beat";

    fn encode(&self) -> Vec<u8> {
        proto::Beat {
            replica: self.replica.to_string(),
            service: self.service.to_string(),
            at: self.at.0,
            draining: self.draining,
            ready: self.ready,
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let at = At(Self::NAME);
        let beat: proto::Beat = check::frame(Self::NAME, bytes)?;
        Ok(Beat {
            replica: at.text("replica", &beat.replica)?,
            service: at.text("service", &beat.service)?,
            at: Timestamp(beat.at),
            draining: beat.draining,
            ready: beat.ready,
        })
    }
}

/// Asks a copy of a service to hand over what it holds and take nothing new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Which copy.
    pub replica: ReplicaId,
}

impl Message for Drain {
    const NAME: &'static str = "code.v1.Drain";

    fn encode(&self) -> Vec<u8> {
        proto::Drain { replica: self.replica.to_string() }.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let drain: proto::Drain = check::frame(Self::NAME, bytes)?;
        Ok(Drain { replica: At(Self::NAME).text("replica", &drain.replica)? })
    }
}
