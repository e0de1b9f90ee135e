//! Deployments: asked for, looked at, acted on, followed.

use bus::{Entry, Start, subjects};
use futures::Stream;
use model::{
    DeploymentId, DeploymentSpec, Event, Phase, Record,
    command::{
        Accepted, Action, Command, HistoryRequest, ListRequest, PlanReply, PlanRequest, StatusRequest,
        Submit, Submitted,
    },
    journal::{JournalAction, JournalReply, JournalRequest},
    view::{DeploymentView, Summary},
};

use crate::{Client, Error, Watch};

/// As many as one list may hold.
const ALL: u32 = 1000;

impl Client {
    /// Asks for a deployment. The same request id asks for the same one, however often.
    pub async fn submit(&self, submit: &Submit) -> Result<Submitted, Error> {
        self.ask(&subjects::orchestrator::SUBMIT, submit).await
    }

    /// What a spec, as YAML or JSON text, would change; nothing is changed.
    pub async fn plan(&self, document: String) -> Result<PlanReply, Error> {
        self.ask(&subjects::orchestrator::PLAN, &PlanRequest { document }).await
    }

    /// One deployment as it stands.
    pub async fn status(&self, deployment: &DeploymentId) -> Result<DeploymentView, Error> {
        let request = StatusRequest { deployment: deployment.clone() };
        Ok(self.ask(&subjects::orchestrator::STATUS, &request).await?.view)
    }

    /// Deployments, newest first.
    pub async fn list(&self, request: &ListRequest) -> Result<Vec<Summary>, Error> {
        Ok(self.ask(&subjects::orchestrator::LIST, request).await?.deployments)
    }

    /// Deployments that wait for a person's approval, newest first.
    pub async fn approvals(&self) -> Result<Vec<Summary>, Error> {
        let request = ListRequest { target: None, active: true, limit: Some(ALL) };
        let mut waiting = self.list(&request).await?;
        waiting.retain(|summary| summary.phase == Phase::AwaitingApproval);
        Ok(waiting)
    }

    /// The newest deployment, or the newest in one of `phases` where one is; with `active`, among those that are not over.
    pub async fn newest(&self, active: bool, phases: &[Phase]) -> Result<DeploymentId, Error> {
        let limit = if phases.is_empty() { 1 } else { ALL };
        let list = self.list(&ListRequest { target: None, active, limit: Some(limit) }).await?;
        let waiting = list.iter().find(|summary| phases.contains(&summary.phase));
        let found = waiting.or(list.first()).map(|summary| summary.deployment.clone());
        found.ok_or(if active { Error::NoneUnderWay } else { Error::NoDeployment })
    }

    /// The records of a deployment's journal, in order.
    pub async fn history(&self, deployment: &DeploymentId) -> Result<Vec<Record>, Error> {
        let request = HistoryRequest { deployment: deployment.clone() };
        Ok(self.ask(&subjects::orchestrator::HISTORY, &request).await?.records)
    }

    /// The spec that a deployment was asked for with, as its journal holds it.
    pub async fn spec(&self, deployment: &DeploymentId) -> Result<Box<DeploymentSpec>, Error> {
        let records = self.history(deployment).await?;
        let spec = records.into_iter().flat_map(|record| record.events).find_map(|event| match event {
            Event::Received { spec, .. } => Some(spec),
            _ => None,
        });
        spec.ok_or_else(|| Error::NoSpec(deployment.clone()))
    }

    /// Does something with a deployment; with `expect` only when its journal still stands at that version.
    pub async fn act(
        &self,
        deployment: &DeploymentId,
        expect: Option<u64>,
        action: Action,
    ) -> Result<Accepted, Error> {
        let command = Command { deployment: deployment.clone(), expect, action };
        self.ask(&subjects::orchestrator::COMMAND, &command).await
    }

    /// Follows one deployment until it is over or calls for a person.
    pub async fn watch(&self, deployment: &DeploymentId) -> Result<Watch, Error> {
        Watch::begin(self, deployment).await
    }

    /// Follows the journals of all deployments, from their beginning or from now on, as long as it is read.
    pub async fn events(
        &self,
        start: Start,
    ) -> Result<impl Stream<Item = Entry<Event>> + Send + Unpin + use<>, Error> {
        Ok(self.bus.follow(&subjects::deployment::JOURNAL, start).await?)
    }

    /// Names, shows or passes over records of journals that cannot be used.
    pub async fn journals(&self, action: JournalAction) -> Result<JournalReply, Error> {
        let request = JournalRequest { action };
        self.ask(&subjects::orchestrator::JOURNAL, &request).await
    }
}
