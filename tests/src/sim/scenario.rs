//! What is deployed, what is wrong with it, what people do meanwhile, and how it must end.

mod catalogue;
mod parts;

use model::{
    DeploymentId, DeploymentSpec, Phase, Span, Token, Verdict, command::Action, deployment::Mode,
    plan::Revision,
};

use super::world::Flaw;

pub use catalogue::{all, named};

/// One story.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// `strategy/variant`.
    pub name: String,
    /// What runs at the beginning.
    pub baseline: Option<DeploymentSpec>,
    /// What is asked for, in this order.
    pub releases: Vec<Release>,
    /// What people do.
    pub people: Vec<Person>,
    /// What is wrong with which revision.
    pub flaws: Vec<(Token, Revision, Flaw)>,
    /// How each release ends when nothing else happens.
    pub ends: Vec<Verdict>,
    /// What experts say when they are asked; none: they never answer.
    pub panel: Option<model::expert::Action>,
    /// How long experts may take.
    pub advice: Span,
    /// Replicas of the orchestrator there are.
    pub replicas: usize,
    /// Runners of agents there are.
    pub runners: usize,
    /// How long all of it may take, in virtual milliseconds, faults included.
    pub limit: i64,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Release {
    /// Known by this.
    pub id: DeploymentId,
    /// What is asked for.
    pub spec: DeploymentSpec,
    /// Through all gates, or back.
    pub mode: Mode,
    /// Why a quarantine is overruled.
    pub force: Option<String>,
    /// When it is asked for.
    pub after: When,
}

/// A moment in the story.
#[derive(Clone, Debug, PartialEq)]
pub enum When {
    /// At once.
    Begin,
    /// The release (by its place) waits at a step that only a person ends.
    WaitsForPromote(usize),
    /// The release is in this phase, or waits with the target in another's hands.
    Phase(usize, Phase),
    /// The release has a step open whose id contains this.
    Open(usize, &'static str),
    /// The release is over.
    Over(usize),
}

/// What one person does once.
#[derive(Clone, Debug)]
pub struct Person {
    /// Who.
    pub name: &'static str,
    /// At which release, by its place.
    pub release: usize,
    /// When.
    pub when: When,
    /// How long after, in milliseconds.
    pub delay: i64,
    /// What.
    pub action: Wanted,
}

/// What a person wants; the plan's digest is only known once there is a plan.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// As it stands.
    Do(Action),
    /// Approve the plan there is.
    Approve,
    /// No person at all: every instance of this revision dies.
    Strike(Token, Revision),
}

impl Scenario {
    /// The same story on two orchestrators and two runners, as a small installation has them.
    pub fn by_two(mut self) -> Scenario {
        (self.replicas, self.runners) = (2, 2);
        self
    }

    /// The same story with deadlines that no clock jump of an hour reaches.
    pub fn patient(mut self) -> Scenario {
        let specs = self.releases.iter_mut().map(|release| &mut release.spec);
        for spec in specs {
            spec.deadlines.total = "23h".parse().expect("a span");
            spec.deadlines.step = "5h".parse().expect("a span");
            spec.deadlines.rollback = "20h".parse().expect("a span");
        }
        self.advice = "5h".parse().expect("a span");
        self.limit += 12 * 3_600_000;
        self
    }
}
