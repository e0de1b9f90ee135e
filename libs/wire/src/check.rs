//! Small conversions that every message shares.

use std::{fmt::Display, str::FromStr};

use model::{Fence, TargetId};

use crate::{Error, proto};

/// Decodes the protobuf frame of a message named `name`.
pub(crate) fn frame<P: prost::Message + Default>(name: &'static str, bytes: &[u8]) -> Result<P, Error> {
    P::decode(bytes).map_err(|source| Error::Malformed { name, source })
}

/// What a field's error names.
#[derive(Clone, Copy)]
pub(crate) struct At(pub &'static str);

impl At {
    pub(crate) fn bad(self, field: &'static str, reason: impl Display) -> Error {
        Error::Field { name: self.0, field, reason: reason.to_string() }
    }

    /// Parses an id, a name or a digest.
    pub(crate) fn text<T: FromStr>(self, field: &'static str, text: &str) -> Result<T, Error>
    where
        T::Err: Display,
    {
        text.parse().map_err(|error| self.bad(field, error))
    }

    pub(crate) fn some<T>(self, field: &'static str, value: Option<T>) -> Result<T, Error> {
        value.ok_or_else(|| self.bad(field, "is missing"))
    }

    pub(crate) fn fence(self, field: &'static str, fence: Option<proto::Fence>) -> Result<Fence, Error> {
        let fence = self.some(field, fence)?;
        Ok(Fence { lock: fence.lock, epoch: fence.epoch })
    }

    pub(crate) fn target(
        self,
        field: &'static str,
        target: Option<proto::Target>,
    ) -> Result<TargetId, Error> {
        let target = self.some(field, target)?;
        Ok(TargetId {
            environment: self.text(field, &target.environment)?,
            platform: self.text(field, &target.platform)?,
            name: self.text(field, &target.name)?,
        })
    }
}

pub(crate) fn fence(fence: Fence) -> Option<proto::Fence> {
    Some(proto::Fence { lock: fence.lock, epoch: fence.epoch })
}

pub(crate) fn target(target: &TargetId) -> Option<proto::Target> {
    Some(proto::Target {
        environment: target.environment.to_string(),
        platform: target.platform.to_string(),
        name: target.name.to_string(),
    })
}

pub(crate) fn millis(span: std::time::Duration) -> u64 {
    span.as_millis().min(u128::from(u64::MAX)) as u64
}
