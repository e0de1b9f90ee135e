//! The orchestrators themselves.

use bus::{Beat, Drain, subjects};
use futures::{Stream, StreamExt};
use model::ReplicaId;

use crate::{Client, Error};

impl Client {
    /// The beats of one orchestrator or of all, from now on.
    pub async fn beats(
        &self,
        replica: Option<&str>,
    ) -> Result<impl Stream<Item = Beat> + Send + Unpin + use<>, Error> {
        let said = self.bus.listen(&subjects::orchestrator::BEAT, replica).await?;
        Ok(said.map(|beat| beat.message))
    }

    /// Asks an orchestrator to hand over what it owns; its beats tell when it does.
    pub async fn drain(&self, replica: &ReplicaId) -> Result<(), Error> {
        let drain = Drain { replica: replica.clone() };
        Ok(self.bus.signal(&subjects::orchestrator::DRAIN, replica.as_str(), &drain).await?)
    }
}
