//! A plan that is only looked at: what would be done with a spec now, and what stands in its way, in the words in which a
//! deployment of it would be refused.

use approval::{Rulebook, in_words};
use model::{
    Digest, Plan, Principal, Timestamp, Token,
    command::{Drift, DriftRequest, PlanReply, ReviewReply, ReviewRequest},
    deployment::Mode,
    expert::{Matter, PlanAdvice},
    plan::Versions,
    spec::{DeploymentSpec, GateMode, Gates},
};

use super::{
    Policy,
    compile::{Error, compile},
    decide::refusal,
    target::Target,
    view::releases,
    way_back::way_back,
};

/// For how long looking at the same plan again is the same question, in milliseconds.
const AGAIN_MS: i64 = 600_000;

/// What others say about a plan.
#[derive(Debug, Default)]
pub struct Heard {
    /// What the checking agents found.
    pub reviews: Vec<ReviewReply>,
    /// What runs and is not as it was promoted.
    pub drifts: Vec<Drift>,
    /// What experts say.
    pub advice: Option<PlanAdvice>,
    /// Who could not be asked, and why.
    pub unheard: Vec<String>,
}

/// A spec against its target.
pub struct Preview<'a> {
    spec: DeploymentSpec,
    target: &'a Target,
    plan: Plan,
    gate: GateMode,
    signing: Option<String>,
}

impl<'a> Preview<'a> {
    /// What would be done now.
    ///
    /// # Errors
    /// The spec cannot be planned from what runs.
    pub fn new(
        spec: DeploymentSpec,
        target: &'a Target,
        policy: Policy,
        approvals: Option<&Rulebook>,
    ) -> Result<Preview<'a>, Error> {
        let plan = compile(&spec, target.snapshot.as_ref(), Mode::Apply)?;
        let gate = spec.gates.experts.max(policy.experts);
        let signing = approvals.and_then(|rulebook| rulebook.terms(&spec)).map(|terms| in_words(&terms));
        Ok(Preview { spec, target, plan, gate, signing })
    }

    /// What the checking agents are asked.
    pub fn review(&self) -> ReviewRequest {
        ReviewRequest {
            spec: self.spec.clone(),
            baseline: self.target.snapshot.as_ref().map(|snapshot| snapshot.spec.clone()),
            plan: self.plan.clone(),
        }
    }

    /// What experts are asked until then, on whose behalf; none when the gate asks nobody. Looking again within ten minutes
    /// is the same question and costs nothing; later it is asked anew, because experts who were silent may answer.
    pub fn matter(
        &self,
        reviews: &[ReviewReply],
        caller: Principal,
        now: Timestamp,
        until: Timestamp,
    ) -> Option<Matter> {
        if self.gate == GateMode::Off {
            return None;
        }
        let question: Token =
            format!("plan-{}-{}", self.plan.digest().short(), now.0 / AGAIN_MS).parse().ok()?;
        Some(Matter {
            question,
            spec: Box::new(self.spec.clone()),
            baseline: self.target.snapshot.as_ref().map(|snapshot| Box::new(snapshot.spec.clone())),
            plan: Box::new(self.plan.clone()),
            findings: reviews.to_vec(),
            caller,
            until,
        })
    }

    /// What runs and is not as it was promoted last is asked for by this; none while a deployment changes the target, when
    /// that is as it should be.
    pub fn look(&self) -> Option<DriftRequest> {
        let snapshot = self.target.snapshot.as_ref().filter(|_| self.target.holder.is_none())?;
        let (target, spec) = (snapshot.spec.target_id(), Some(snapshot.spec.clone()));
        Some(DriftRequest { target, spec, under_way: None })
    }

    /// The answer.
    pub fn reply(self, heard: Heard) -> PlanReply {
        let versions = Versions::of(releases(&self.spec, self.target.snapshot.as_ref()));
        let obstacles = self.obstacles(&heard.reviews, heard.advice.as_ref());
        let mut obstacles: Vec<String> =
            obstacles.iter().map(|text| versions.shown_in(text).into_owned()).collect();
        obstacles.extend(heard.unheard);
        PlanReply {
            digest: self.plan.digest(),
            gates: Gates { experts: self.gate, ..self.spec.gates.clone() },
            signing: self.signing.clone(),
            soak: self.spec.soak_time(),
            advice: heard.advice,
            way_back: self.way_back(),
            versions,
            plan: self.plan,
            reviews: heard.reviews,
            obstacles,
            drifts: heard.drifts,
        }
    }

    fn obstacles(&self, reviews: &[ReviewReply], advice: Option<&PlanAdvice>) -> Vec<String> {
        let (spec, target) = (&self.spec, self.target);
        let mut obstacles: Vec<String> =
            refusal::quarantined(&Digest::of(spec), target).into_iter().collect();
        let full = || target.has_room().err().map(|full| full.to_string());
        match refusal::busy(spec, target).or_else(full) {
            Some(text) => obstacles.push(text),
            None => obstacles.extend(
                target
                    .holder
                    .as_ref()
                    .map(|(holder, _)| format!("{holder} holds the target; {} wait", target.queue.len())),
            ),
        }
        obstacles.extend(target.held.as_ref().map(ToString::to_string));
        let failed = reviews.iter().filter(|review| !review.passed);
        obstacles
            .extend(failed.map(|review| format!("{} would refuse it: {}", review.agent, review.summary)));
        obstacles.extend(advice.and_then(|advice| refusal::not_approved(self.gate, Some(advice), "")));
        obstacles
    }

    fn way_back(&self) -> Vec<String> {
        if let Some(step) = &self.plan.no_return_after {
            return vec![format!("none after {step}: it cannot be undone, and a person is called instead")];
        }
        let steps = way_back(&self.spec, &self.plan, self.target.snapshot.as_ref());
        steps.iter().map(|step| format!("{}. {}", step.wave + 1, step.describe())).collect()
    }
}
