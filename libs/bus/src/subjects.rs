//! The table of speech: everything that is said over NATS, who says it and who hears it.
//!
//! No other file spells a subject. A new line here is a new promise: choose the kind by the guarantee it needs.

/// What the orchestrator answers and hears.
pub mod orchestrator {
    use model::{
        command::{
            Accepted, Command, DriftReply, DriftRequest, HistoryReply, HistoryRequest, ListReply,
            ListRequest, PlanReply, PlanRequest, StatusReply, StatusRequest, Submit, Submitted,
            TargetCommand, TargetView,
        },
        deployment::StepReport,
    };
    use wire::{Beat, Drain};

    use crate::{Call, Job, Signal};

    /// Clients and the inbox ask; any orchestrator journals the deployment.
    pub const SUBMIT: Call<Submit, Submitted> = Call::new("orchestrator", "submit");
    /// Clients ask; any orchestrator plans and changes nothing.
    pub const PLAN: Call<PlanRequest, PlanReply> = Call::new("orchestrator", "plan");
    /// Clients ask; any orchestrator folds the journal.
    pub const STATUS: Call<StatusRequest, StatusReply> = Call::new("orchestrator", "status");
    /// Clients ask; any orchestrator lists.
    pub const LIST: Call<ListRequest, ListReply> = Call::new("orchestrator", "list");
    /// Clients ask; any orchestrator reads the journal.
    pub const HISTORY: Call<HistoryRequest, HistoryReply> = Call::new("orchestrator", "history");
    /// Clients ask; any orchestrator journals the command.
    pub const COMMAND: Call<Command, Accepted> = Call::new("orchestrator", "command");
    /// Clients ask; any orchestrator shows or holds a target.
    pub const TARGET: Call<TargetCommand, TargetView> = Call::new("orchestrator", "target");
    /// Clients ask; the orchestrator fills in what should run and asks the agents.
    pub const DRIFT: Call<DriftRequest, DriftReply> = Call::new("orchestrator", "drift");
    /// Agents say how a step goes; any orchestrator journals it.
    pub const REPORT: Job<StepReport> = Job::new("orchestrator", "report");
    /// Every orchestrator says that it lives, by replica; the others and `codectl` hear.
    pub const BEAT: Signal<Beat> = Signal::new("orchestrator", "beat");
    /// Operators say it, by replica; that orchestrator hands over what it owns.
    pub const DRAIN: Signal<Drain> = Signal::new("orchestrator", "drain");
}

/// What the agents answer, do and say.
pub mod agents {
    use model::{
        command::{DriftReply, DriftRequest, ReviewRequest, Reviews},
        deployment::{StepJob, StepProgress, StepStop},
    };

    use crate::{Call, Job, Signal};

    /// The orchestrator asks for findings on a plan; the agents change nothing.
    pub const REVIEW: Call<ReviewRequest, Reviews> = Call::new("agents", "review");
    /// The orchestrator asks; the agents look at the platform.
    pub const DRIFT: Call<DriftRequest, DriftReply> = Call::new("agents", "drift");
    /// The orchestrator sends a step; one runner of the agent's lane does it. The lane is the agent's name.
    pub const STEP: Job<StepJob> = Job::new("agents", "step");
    /// Runners say how far they are, by deployment; watchers hear. Never decided on.
    pub const PROGRESS: Signal<StepProgress> = Signal::new("step", "progress");
    /// The orchestrator says it, by deployment; the runner stops. Missing it is safe: the fence rules.
    pub const STOP: Signal<StepStop> = Signal::new("step", "stop");
}

/// What is known about deployments.
pub mod deployment {
    use model::view::Summary;

    use crate::{Event, Log};

    /// The orchestrator writes and decides on it; traffic, agents and clients may read.
    pub const JOURNAL: Log<model::Event> = Log::new("deployment");
    /// The orchestrator says that a deployment moved on; lists and notifiers hear.
    pub const CHANGED: Event<Summary> = Event::new("deployment", "changed");
    /// The orchestrator says that a deployment is over; audit and the certifier hear.
    pub const CLOSED: Event<Summary> = Event::new("deployment", "closed");
}

/// What is known about targets.
pub mod target {
    use model::target::TargetEvent;

    use crate::Log;

    /// The orchestrator writes and decides on it: locks, queue, snapshot, quarantine.
    pub const JOURNAL: Log<TargetEvent> = Log::new("target");
}

/// What data planes say.
pub mod traffic {
    use model::route::TrafficCount;

    use crate::Signal;

    /// Every data plane says it four times a second, by target; gates and watchers hear.
    pub const COUNT: Signal<TrafficCount> = Signal::new("traffic", "count");
}

/// Values that are shared by compare-and-set.
pub mod buckets {
    use model::route::RouteTable;

    use crate::Bucket;

    /// The deployment agent writes under `RouteTable::key`; every data plane watches.
    pub const ROUTES: Bucket<RouteTable> = Bucket::new("routes");
    /// The performance agent writes baselines by module and revision, and reads them in later deployments.
    pub const MEASUREMENTS: Bucket<serde_json::Value> = Bucket::new("measurements");
}

/// The nouns that have a log; each gets its streams.
pub(crate) const LOGS: &[&str] = &[deployment::JOURNAL.noun, target::JOURNAL.noun];
/// The buckets that exist.
pub(crate) const BUCKETS: &[&str] = &[buckets::ROUTES.name, buckets::MEASUREMENTS.name];
