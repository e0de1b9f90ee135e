//! The table of speech: everything that is said over NATS, who says it and who hears it.
//!
//! No other file spells a subject. A new line here is a new promise: choose the kind by the guarantee it needs.

/// What the orchestrator answers and hears.
pub mod orchestrator {
    use model::{
        command::{
            Accepted, Command, DriftReply, DriftRequest, HistoryReply, HistoryRequest, HoldingsReply,
            HoldingsRequest, ListReply, ListRequest, PlanReply, PlanRequest, StatusReply, StatusRequest,
            Submit, Submitted, TargetCommand, TargetView,
        },
        expert::AdviceReport,
        journal::{JournalReply, JournalRequest},
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
    /// Clients ask what a target holds, or have taken away what nothing asks for; the orchestrator holds the target
    /// meanwhile and asks the agents.
    pub const HOLDINGS: Call<HoldingsRequest, HoldingsReply> = Call::new("orchestrator", "holdings");
    /// Clients ask which journals cannot be used; any orchestrator names them, or journals that a person passes over one.
    pub const JOURNAL: Call<JournalRequest, JournalReply> = Call::new("orchestrator", "journal");
    /// The experts' service says what experts think of a plan; any orchestrator journals it.
    pub const ADVICE: Job<AdviceReport> = Job::new("orchestrator", "advice");
    /// Every orchestrator says that it lives, by replica; the others and `codectl` hear.
    pub const BEAT: Signal<Beat> = Signal::new("orchestrator", "beat");
    /// Operators say it, by replica; that orchestrator hands over what it owns.
    pub const DRAIN: Signal<Drain> = Signal::new("orchestrator", "drain");
}

/// What the agents answer, do and say.
pub mod agents {
    use model::{
        command::{DriftReply, DriftRequest, HoldingsReply, HoldingsRequest, ReviewRequest, Reviews},
        deployment::{StepAnswer, StepJob, StepProgress, StepQuestion, StepStop},
    };

    use crate::{Call, Signal};

    /// The orchestrator asks for findings on a plan; the agents change nothing.
    pub const REVIEW: Call<ReviewRequest, Reviews> = Call::new("agents", "review");
    /// The orchestrator asks; the agents look at the platform.
    pub const DRIFT: Call<DriftRequest, DriftReply> = Call::new("agents", "drift");
    /// The orchestrator asks what a target holds; under a fence the agents take away what nothing asks for.
    pub const HOLDINGS: Call<HoldingsRequest, HoldingsReply> = Call::new("agents", "holdings");
    /// The owner of a deployment hands a step to a lane, by the agent's name; one runner takes it and says who it is.
    pub const STEP: Call<StepJob, StepAnswer> = Call::new("agents", "step");
    /// The owner asks a runner by its id how a step goes; the runner holds the answer while it runs.
    pub const STEP_STATE: Call<StepQuestion, StepAnswer> = Call::new("agents", "step-state");
    /// An owner asks all runners who has a step; only who has it, or its end, answers.
    pub const STEP_FIND: Call<StepQuestion, StepAnswer> = Call::new("agents", "step-find");
    /// Runners say how far they are, by deployment; watchers hear. Never decided on.
    pub const PROGRESS: Signal<StepProgress> = Signal::new("step", "progress");
    /// The orchestrator says it, by deployment; the runner stops. Missing it is safe: the fence rules.
    pub const STOP: Signal<StepStop> = Signal::new("step", "stop");
}

/// What the experts' service answers, does and says.
pub mod experts {
    use model::expert::{
        AdviceJob, Consultation, ConsultationEvent, ConsultationLine, ConsultationProgress,
        ConsultationReply, ConsultationRequest, ConsultationsReply, ConsultationsRequest, ExpertsReply,
        ExpertsRequest, Matter, PlanAdvice, Question, ReplayReply, TestReply, TestRequest,
    };

    use crate::{Call, Door, Event, Job, Log, Signal};

    /// Anyone asks; a panel answers, one opinion comes back.
    pub const ASK: Call<Question, Consultation> = Call::new("experts", "ask");
    /// The orchestrator asks about a plan that is only looked at.
    pub const ADVISE_NOW: Call<Matter, PlanAdvice> = Call::new("experts", "advise");
    /// The orchestrator asks about a deployment's plan; the answer is [`super::orchestrator::ADVICE`].
    pub const ADVISE: Job<AdviceJob> = Job::new("experts", "advise");
    /// Clients ask who can be asked, and what is left to spend.
    pub const LIST: Call<ExpertsRequest, ExpertsReply> = Call::new("experts", "list");
    /// Clients have every expert judge a good and a bad plan.
    pub const TEST: Call<TestRequest, TestReply> = Call::new("experts", "test");
    /// Clients list past consultations.
    pub const HISTORY: Call<ConsultationsRequest, ConsultationsReply> = Call::new("experts", "history");
    /// Clients look at one consultation.
    pub const SHOW: Call<ConsultationRequest, ConsultationReply> = Call::new("experts", "show");
    /// Clients have one consultation computed again.
    pub const REPLAY: Call<ConsultationRequest, ReplayReply> = Call::new("experts", "replay");
    /// The experts' service says how far it is, by question; watchers hear. Never decided on.
    pub const PROGRESS: Signal<ConsultationProgress> = Signal::new("consultation", "progress");
    /// The experts' service says that an opinion is formed; audit hears.
    pub const FORMED: Event<ConsultationLine> = Event::new("consultation", "formed");
    /// The experts' service writes: what was asked, what came of it, what became of the deployment.
    pub const JOURNAL: Log<ConsultationEvent> = Log::new("consultation");
    /// The experts' service asks an expert that is a program of someone else's, by the expert's name. The shapes are in
    /// docs/experts.md.
    pub const PLUG_IN: Door = Door::new("expert");
}

/// What the consensus workers answer; calls are shared by all of them.
pub mod consensus {
    use model::expert::{Opinion, WeighRequest, WeighVotes, WeighedVotes};

    use crate::Call;

    /// The experts' service asks for one opinion on full answers.
    pub const WEIGH: Call<WeighRequest, Opinion> = Call::new("consensus", "weigh");
    /// Anyone asks about many questions at once, votes only.
    pub const WEIGH_VOTES: Call<WeighVotes, WeighedVotes> = Call::new("consensus", "weigh-votes");
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

/// What the audit log hears and answers.
pub mod audit {
    use model::audit::{
        AuditAppend, AuditAwait, AuditAwaited, AuditConsistency, AuditConsistencyRequest, AuditEntries,
        AuditEntriesRequest, AuditPage, AuditProof, AuditProofRequest, AuditReceipts, AuditRecord,
        AuditReport, AuditReportRequest, AuditSearch, AuditStatus, AuditStatusRequest,
    };

    use crate::{Call, Trail};

    /// Every service says what no journal holds, such as a denied call; the audit log keeps it.
    pub const TRAIL: Trail<AuditRecord> = Trail::new("record");
    /// Services hand over facts and wait for the receipt before a step of high impact.
    pub const APPEND: Call<AuditAppend, AuditReceipts> = Call::new("audit", "append");
    /// Services and the certifier wait until an entry of a journal is in the log.
    pub const AWAIT: Call<AuditAwait, AuditAwaited> = Call::new("audit", "await");
    /// Clients ask for the log's state and its signed checkpoint.
    pub const STATUS: Call<AuditStatusRequest, AuditStatus> = Call::new("audit", "status");
    /// Clients and the certifier ask for the proof of a leaf.
    pub const PROVE: Call<AuditProofRequest, AuditProof> = Call::new("audit", "prove");
    /// Clients ask whether an older state is the beginning of the signed one.
    pub const CONSISTENCY: Call<AuditConsistencyRequest, AuditConsistency> =
        Call::new("audit", "consistency");
    /// Clients read leaves in order.
    pub const ENTRIES: Call<AuditEntriesRequest, AuditEntries> = Call::new("audit", "entries");
    /// Clients search.
    pub const SEARCH: Call<AuditSearch, AuditPage> = Call::new("audit", "search");
    /// Clients ask for counts and security events.
    pub const REPORT: Call<AuditReportRequest, AuditReport> = Call::new("audit", "report");
}

/// Values that are shared by compare-and-set.
pub mod buckets {
    use model::{audit::AuditFence, route::RouteTable};

    use crate::Bucket;

    /// The deployment agent writes under `RouteTable::key`; every data plane watches.
    pub const ROUTES: Bucket<RouteTable> = Bucket::new("routes");
    /// The performance agent writes baselines by module and revision, and reads them in later deployments.
    pub const MEASUREMENTS: Bucket<serde_json::Value> = Bucket::new("measurements");
    /// The certifier writes by deployment where the certificate is; clients read.
    pub const CERTIFICATES: Bucket<model::certificate::CertificateEntry> = Bucket::new("certificates");
    /// The certifier writes by the key's id with which public keys it signs, and when each is in force; clients read.
    pub const SIGNING_KEYS: Bucket<serde_json::Value> = Bucket::new("signing-keys");
    /// The audit service writes who sequences the log and what it signs, under the log's name.
    pub const AUDIT_FENCE: Bucket<AuditFence> = Bucket::new("audit-fence");
    /// The experts' service writes how often each expert was right, by expert and version, from the ends of deployments.
    pub const EXPERTS: Bucket<serde_json::Value> = Bucket::new("experts");
    /// The experts' service writes what was spent, by day.
    pub const SPENDING: Bucket<serde_json::Value> = Bucket::new("spending");
}

/// The nouns that have a log; each gets its streams.
pub(crate) const LOGS: &[&str] = &[deployment::JOURNAL.noun, target::JOURNAL.noun, experts::JOURNAL.noun];
/// The buckets that exist.
pub(crate) const BUCKETS: &[&str] = &[
    buckets::ROUTES.name,
    buckets::MEASUREMENTS.name,
    buckets::CERTIFICATES.name,
    buckets::SIGNING_KEYS.name,
    buckets::EXPERTS.name,
    buckets::SPENDING.name,
    buckets::AUDIT_FENCE.name,
];
