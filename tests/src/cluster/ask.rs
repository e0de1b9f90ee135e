//! What people and programs ask an engine, and waiting for what becomes of it.

use std::{collections::BTreeMap, time::Duration};

use bus::subjects;
use model::{
    DeploymentId, Fault, Phase, Record, TargetId, Verdict,
    command::{
        Action, Command, DriftReply, DriftRequest, HistoryRequest, ListRequest, PlanReply, PlanRequest,
        StatusRequest, Submit, TargetAction, TargetCommand, TargetView,
    },
    deployment::Mode,
    view::{DeploymentView, StepStatus, Summary},
};
use serde_json::Value;
use testkit::eventually;

use super::{Cluster, load};

/// How long one question may take.
pub const ASK: Duration = Duration::from_secs(10);
/// How long a deployment may take to get anywhere; two cores may be shared by several tests.
pub const PATIENCE: Duration = Duration::from_secs(90);

impl Cluster {
    /// Submits as ann.
    pub async fn submit(&self, spec: &Value) -> DeploymentId {
        self.try_submit(&submit(spec.to_string())).await.unwrap()
    }

    /// Submits, or says why not.
    pub async fn try_submit(&self, submit: &Submit) -> Result<DeploymentId, Fault> {
        let answer = self.ann.call(&subjects::orchestrator::SUBMIT, submit, ASK).await;
        answer.map(|submitted| submitted.deployment).map_err(fault)
    }

    /// Submits as ann and waits for the end.
    pub async fn deploy(&self, spec: &Value) -> DeploymentView {
        let id = self.submit(spec).await;
        self.closed(&id).await
    }

    /// Submits as ann and waits for the promotion.
    pub async fn promote(&self, spec: &Value) -> DeploymentView {
        let view = self.deploy(spec).await;
        assert_eq!(view.summary.verdict, Some(Verdict::Promoted), "{}", told(&view));
        view
    }

    /// The plan as it would be.
    pub async fn plan(&self, spec: &Value) -> PlanReply {
        let request = PlanRequest { document: spec.to_string() };
        self.ann.call(&subjects::orchestrator::PLAN, &request, ASK).await.unwrap()
    }

    /// As it stands.
    pub async fn view(&self, id: &DeploymentId) -> Result<DeploymentView, Fault> {
        let request = StatusRequest { deployment: id.clone() };
        let answer = self.ann.call(&subjects::orchestrator::STATUS, &request, ASK).await;
        answer.map(|reply| reply.view).map_err(fault)
    }

    /// Waits until it is so; fails at once when the deployment ends otherwise.
    pub async fn until(
        &self,
        id: &DeploymentId,
        what: &str,
        wanted: impl Fn(&DeploymentView) -> bool,
    ) -> DeploymentView {
        eventually(what, PATIENCE, || async {
            let view = self.view(id).await.map_err(|fault| fault.message)?;
            if wanted(&view) {
                return Ok(view);
            }
            assert!(view.summary.phase != Phase::Closed, "{what}: it ended before:\n{}", told(&view));
            Err(told(&view))
        })
        .await
    }

    /// Waits for the end.
    pub async fn closed(&self, id: &DeploymentId) -> DeploymentView {
        self.until(id, "the deployment ends", |view| view.summary.phase == Phase::Closed).await
    }

    /// Waits until a pause is open.
    pub async fn pauses(&self, id: &DeploymentId) -> DeploymentView {
        self.until(id, "it pauses", |view| open_pause(view).is_some()).await
    }

    /// The journal.
    pub async fn history(&self, id: &DeploymentId) -> Vec<Record> {
        let request = HistoryRequest { deployment: id.clone() };
        self.ann.call(&subjects::orchestrator::HISTORY, &request, ASK).await.unwrap().records
    }

    /// A person says something about a deployment.
    pub async fn command(
        &self,
        id: &DeploymentId,
        by: &str,
        expect: Option<u64>,
        action: Action,
    ) -> Result<u64, Fault> {
        let command = Command { deployment: id.clone(), expect, action };
        let answer =
            self.nats.connect_operator(by).await.call(&subjects::orchestrator::COMMAND, &command, ASK).await;
        answer.map(|accepted| accepted.version).map_err(fault)
    }

    /// The target of the release `shop`.
    pub fn target_id(&self, platform: &str) -> TargetId {
        format!("{}.{platform}.shop", self.environment).parse().unwrap()
    }

    /// A person says something about a target.
    pub async fn target(&self, platform: &str, by: &str, action: TargetAction) -> TargetView {
        let command = TargetCommand { target: self.target_id(platform), action };
        self.nats
            .connect_operator(by)
            .await
            .call(&subjects::orchestrator::TARGET, &command, ASK)
            .await
            .unwrap()
    }

    /// What runs and should not, or the other way round.
    pub async fn drift(&self, platform: &str) -> DriftReply {
        let request = DriftRequest { target: self.target_id(platform), spec: None, under_way: None };
        self.ann.call(&subjects::orchestrator::DRIFT, &request, ASK).await.unwrap()
    }

    /// All deployments, newest first.
    pub async fn list(&self) -> Vec<Summary> {
        let list = self.ann.call(&subjects::orchestrator::LIST, &ListRequest::default(), ASK).await;
        list.unwrap().deployments
    }

    /// Waits until some orchestrator answers.
    pub async fn answers(&self) {
        eventually("an orchestrator answers", PATIENCE, || async {
            let list = self.ann.call(&subjects::orchestrator::LIST, &ListRequest::default(), ASK).await;
            list.map(|_| ())
        })
        .await;
    }

    /// Which versions answer `number` requests on the first port.
    pub async fn versions(&self, number: u32) -> BTreeMap<String, u32> {
        load::versions(self.port, number).await
    }

    /// Which versions answer `number` requests on a port.
    pub async fn versions_at(&self, port: u16, number: u32) -> BTreeMap<String, u32> {
        load::versions(port, number).await
    }

    /// Only this version answers.
    pub async fn is_served_by(&self, version: &str) {
        assert_eq!(self.versions(30).await, BTreeMap::from([(version.to_owned(), 30)]));
    }

    /// The old release serves alone, and the lock is free: what every failure has to end in.
    pub async fn is_back_on(&self, platform: &str, version: &str) {
        self.is_served_by(version).await;
        let target = self.target(platform, "ann", TargetAction::Show {}).await;
        assert_eq!((target.holder, target.queue.len()), (None, 0));
    }
}

/// A request with nothing special about it.
pub fn submit(document: String) -> Submit {
    Submit { document, request_id: None, plan: None, force: None, mode: Mode::Apply }
}

fn fault(error: bus::Error) -> Fault {
    match error {
        bus::Error::Fault(fault) => fault,
        other => Fault::new(other.code(), other.to_string()),
    }
}

/// The pause that is open, if any.
pub fn open_pause(view: &DeploymentView) -> Option<String> {
    let open = |status| matches!(status, StepStatus::Scheduled | StepStatus::Running);
    view.steps
        .iter()
        .find(|step| step.id.as_str().contains("pause") && open(step.status))
        .map(|step| step.id.to_string())
}

/// Everything a person would want to know of it, for a failed assertion.
pub fn told(view: &DeploymentView) -> String {
    let mut lines =
        vec![format!("{} {:?}: {}", view.summary.phase, view.summary.verdict, view.explanation.headline)];
    lines.extend(view.explanation.details.iter().map(|detail| format!("  {detail}")));
    for step in view.steps.iter().filter(|step| step.status != StepStatus::Waiting) {
        lines.push(format!("  {:<32} {:?} {} {}", step.id.as_str(), step.status, step.attempt, step.reason));
    }
    lines.join("\n")
}
