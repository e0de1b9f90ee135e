//! Targets: their lock and queue, what they hold, and what differs from what should run.

use std::time::Duration;

use bus::subjects;
use model::{
    TargetId,
    command::{
        DriftReply, DriftRequest, HoldingsReply, HoldingsRequest, TargetAction, TargetCommand, TargetView,
    },
};

use crate::{Client, Error};

/// Longer than stopping what is left over takes.
const CLEARING: Duration = Duration::from_secs(70);

impl Client {
    /// Shows a target, holds it, or lets it go.
    pub async fn target(&self, target: &TargetId, action: TargetAction) -> Result<TargetView, Error> {
        let command = TargetCommand { target: target.clone(), action };
        self.ask(&subjects::orchestrator::TARGET, &command).await
    }

    /// What a target holds. With `take_away` what nothing asks for is stopped first, which may take a minute.
    pub async fn holdings(&self, target: &TargetId, take_away: bool) -> Result<HoldingsReply, Error> {
        let request =
            HoldingsRequest { target: target.clone(), take_away, spec: None, trial: None, clear: None };
        self.ask_within(&subjects::orchestrator::HOLDINGS, &request, CLEARING).await
    }

    /// What differs between what runs and what was promoted.
    pub async fn drift(&self, target: &TargetId) -> Result<DriftReply, Error> {
        let request = DriftRequest { target: target.clone(), spec: None, under_way: None };
        self.ask(&subjects::orchestrator::DRIFT, &request).await
    }
}
