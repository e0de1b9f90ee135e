//! The table of speech: everything that is said over NATS, who says it and who hears it.
//!
//! No other file spells a subject. A new line here is a new promise: choose the kind by the guarantee it needs. Who is named
//! on a line may say or hear it, and the broker lets nobody else: its permissions, what a service looks at when it starts,
//! and the tests of who may do what all come from here.

use crate::{Role, rights::Line};

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

    use crate::{
        Call, Job,
        Role::{Certifier, Experts, Operator, Orchestrator},
        Signal,
    };

    /// Any orchestrator journals the deployment.
    pub const SUBMIT: Call<Submit, Submitted> =
        Call::new("orchestrator", "submit").said_by(&[Operator]).heard_by(&[Orchestrator]);
    /// Any orchestrator plans and changes nothing.
    pub const PLAN: Call<PlanRequest, PlanReply> =
        Call::new("orchestrator", "plan").said_by(&[Operator]).heard_by(&[Orchestrator]);
    /// Any orchestrator folds the journal.
    pub const STATUS: Call<StatusRequest, StatusReply> =
        Call::new("orchestrator", "status").said_by(&[Operator]).heard_by(&[Orchestrator]);
    /// Any orchestrator lists.
    pub const LIST: Call<ListRequest, ListReply> =
        Call::new("orchestrator", "list").said_by(&[Operator]).heard_by(&[Orchestrator]);
    /// Any orchestrator reads the journal.
    pub const HISTORY: Call<HistoryRequest, HistoryReply> =
        Call::new("orchestrator", "history").said_by(&[Operator, Certifier]).heard_by(&[Orchestrator]);
    /// Any orchestrator journals the command.
    pub const COMMAND: Call<Command, Accepted> =
        Call::new("orchestrator", "command").said_by(&[Operator]).heard_by(&[Orchestrator]);
    /// Any orchestrator shows or holds a target.
    pub const TARGET: Call<TargetCommand, TargetView> =
        Call::new("orchestrator", "target").said_by(&[Operator]).heard_by(&[Orchestrator]);
    /// The orchestrator fills in what should run and asks the agents.
    pub const DRIFT: Call<DriftRequest, DriftReply> =
        Call::new("orchestrator", "drift").said_by(&[Operator]).heard_by(&[Orchestrator]);
    /// What a target holds, or taking away what nothing asks for; the orchestrator holds the target meanwhile and asks
    /// the agents.
    pub const HOLDINGS: Call<HoldingsRequest, HoldingsReply> =
        Call::new("orchestrator", "holdings").said_by(&[Operator]).heard_by(&[Orchestrator]);
    /// Which journals cannot be used; any orchestrator names them, or journals that a person passes over one.
    pub const JOURNAL: Call<JournalRequest, JournalReply> =
        Call::new("orchestrator", "journal").said_by(&[Operator]).heard_by(&[Orchestrator]);
    /// What experts think of a plan; any orchestrator journals it.
    pub const ADVICE: Job<AdviceReport> =
        Job::new("orchestrator", "advice").said_by(&[Experts]).heard_by(&[Orchestrator]);
    /// Every orchestrator says that it lives, by replica.
    pub const BEAT: Signal<Beat> =
        Signal::new("orchestrator", "beat").said_by(&[Orchestrator]).heard_by(&[Orchestrator, Operator]);
    /// By replica; that orchestrator hands over what it owns.
    pub const DRAIN: Signal<Drain> =
        Signal::new("orchestrator", "drain").said_by(&[Operator]).heard_by(&[Orchestrator]);
}

/// What the agents answer, do and say.
pub mod agents {
    use model::{
        command::{DriftReply, DriftRequest, HoldingsReply, HoldingsRequest, ReviewRequest, Reviews},
        deployment::{StepAnswer, StepJob, StepProgress, StepQuestion, StepStop},
    };

    use crate::{
        Call,
        Role::{Operator, Orchestrator, Runner},
        Signal,
    };

    /// Findings on a plan; the agents change nothing.
    pub const REVIEW: Call<ReviewRequest, Reviews> =
        Call::new("agents", "review").said_by(&[Orchestrator]).heard_by(&[Runner]);
    /// The agents look at the platform.
    pub const DRIFT: Call<DriftRequest, DriftReply> =
        Call::new("agents", "drift").said_by(&[Orchestrator]).heard_by(&[Runner]);
    /// What a target holds; under a fence the agents take away what nothing asks for.
    pub const HOLDINGS: Call<HoldingsRequest, HoldingsReply> =
        Call::new("agents", "holdings").said_by(&[Orchestrator]).heard_by(&[Runner]);
    /// The owner of a deployment hands a step to a lane, by the agent's name; one runner takes it and says who it is.
    pub const STEP: Call<StepJob, StepAnswer> =
        Call::new("agents", "step").of_a_name().said_by(&[Orchestrator]).heard_by(&[Runner]);
    /// The owner asks a runner by its id how a step goes; the runner holds the answer while it runs.
    pub const STEP_STATE: Call<StepQuestion, StepAnswer> =
        Call::new("agents", "step-state").of_a_name().said_by(&[Orchestrator]).heard_by(&[Runner]);
    /// An owner asks all runners who has a step; only who has it, or its end, answers.
    pub const STEP_FIND: Call<StepQuestion, StepAnswer> =
        Call::new("agents", "step-find").of_all().said_by(&[Orchestrator]).heard_by(&[Runner]);
    /// Runners say how far they are, by deployment; watchers hear. Never decided on.
    pub const PROGRESS: Signal<StepProgress> =
        Signal::new("step", "progress").said_by(&[Runner, Orchestrator]).heard_by(&[Operator]);
    /// The orchestrator says it, by deployment; the runner stops. Missing it is safe: the fence rules.
    pub const STOP: Signal<StepStop> =
        Signal::new("step", "stop").said_by(&[Orchestrator]).heard_by(&[Runner]);
}

/// What the experts' service answers, does and says.
pub mod experts {
    use model::expert::{
        AdviceJob, Consultation, ConsultationEvent, ConsultationLine, ConsultationProgress,
        ConsultationReply, ConsultationRequest, ConsultationsReply, ConsultationsRequest, ExpertsReply,
        ExpertsRequest, Matter, PlanAdvice, Question, ReplayReply, TestReply, TestRequest,
    };

    use crate::{
        Call, Door, Event, Job, Log,
        Role::{Experts, Operator, Orchestrator},
        Signal, Task,
    };

    /// A panel answers, one opinion comes back.
    pub const ASK: Call<Question, Consultation> =
        Call::new("experts", "ask").said_by(&[Operator]).heard_by(&[Experts]);
    /// About a plan that is only looked at.
    pub const ADVISE_NOW: Call<Matter, PlanAdvice> =
        Call::new("experts", "advise").said_by(&[Orchestrator]).heard_by(&[Experts]);
    /// About a deployment's plan; the answer is [`super::orchestrator::ADVICE`].
    pub const ADVISE: Job<AdviceJob> =
        Job::new("experts", "advise").said_by(&[Orchestrator]).heard_by(&[Experts]);
    /// Who can be asked, and what is left to spend.
    pub const LIST: Call<ExpertsRequest, ExpertsReply> =
        Call::new("experts", "list").said_by(&[Operator]).heard_by(&[Experts]);
    /// Every expert judges a good and a bad plan; a client that goes away stops the asking.
    pub const TEST: Task<TestRequest, ConsultationProgress, TestReply> =
        Task::new("experts", "test").said_by(&[Operator]).heard_by(&[Experts]);
    /// Past consultations.
    pub const HISTORY: Call<ConsultationsRequest, ConsultationsReply> =
        Call::new("experts", "history").said_by(&[Operator]).heard_by(&[Experts]);
    /// One consultation.
    pub const SHOW: Call<ConsultationRequest, ConsultationReply> =
        Call::new("experts", "show").said_by(&[Operator]).heard_by(&[Experts]);
    /// One consultation, computed again.
    pub const REPLAY: Call<ConsultationRequest, ReplayReply> =
        Call::new("experts", "replay").said_by(&[Operator]).heard_by(&[Experts]);
    /// How far a consultation is, by question. Never decided on.
    pub const PROGRESS: Signal<ConsultationProgress> =
        Signal::new("consultation", "progress").said_by(&[Experts]).heard_by(&[Experts, Operator]);
    /// An opinion is formed; audit hears it with everything that is stored.
    pub const FORMED: Event<ConsultationLine> = Event::new("consultation", "formed").said_by(&[Experts]);
    /// What was asked, what came of it, what became of the deployment.
    pub const JOURNAL: Log<ConsultationEvent> =
        Log::new("consultation").said_by(&[Experts]).heard_by(&[Experts]);
    /// An expert that is a program of someone else's is asked, by the expert's name. The shapes are in docs/experts.md.
    pub const PLUG_IN: Door = Door::new("expert").said_by(&[Experts]);
}

/// What the consensus workers answer; calls are shared by all of them.
pub mod consensus {
    use model::expert::{Opinion, WeighRequest, WeighVotes, WeighedVotes};

    use crate::{
        Call,
        Role::{Consensus, Experts, Operator},
    };

    /// One opinion on full answers.
    pub const WEIGH: Call<WeighRequest, Opinion> =
        Call::new("consensus", "weigh").said_by(&[Experts]).heard_by(&[Consensus]);
    /// About many questions at once, votes only.
    pub const WEIGH_VOTES: Call<WeighVotes, WeighedVotes> =
        Call::new("consensus", "weigh-votes").said_by(&[Operator]).heard_by(&[Consensus]);
}

/// What is known about deployments.
pub mod deployment {
    use model::view::Summary;

    use crate::{
        Event, Log,
        Role::{Certifier, Experts, Operator, Orchestrator},
    };

    /// The orchestrator decides on it; people follow it.
    pub const JOURNAL: Log<model::Event> = Log::new("deployment")
        .said_by(&[Orchestrator])
        .heard_by(&[Orchestrator, Operator])
        .read_by(&[Experts]);
    /// A deployment moved on.
    pub const CHANGED: Event<Summary> = Event::new("deployment", "changed").said_by(&[Orchestrator]);
    /// A deployment is over.
    pub const CLOSED: Event<Summary> =
        Event::new("deployment", "closed").said_by(&[Orchestrator]).heard_by(&[Experts, Certifier]);
}

/// What is known about targets.
pub mod target {
    use model::target::TargetEvent;

    use crate::{Log, Role::Orchestrator};

    /// The orchestrator decides on it: locks, queue, snapshot, quarantine.
    pub const JOURNAL: Log<TargetEvent> =
        Log::new("target").said_by(&[Orchestrator]).heard_by(&[Orchestrator]);
}

/// What data planes say.
pub mod traffic {
    use model::route::TrafficCount;

    use crate::{
        Role::{Runner, Traffic},
        Signal,
    };

    /// Every data plane says it four times a second, by target; gates hear.
    pub const COUNT: Signal<TrafficCount> =
        Signal::new("traffic", "count").said_by(&[Traffic]).heard_by(&[Runner]);
}

/// What the audit log hears and answers.
pub mod audit {
    use model::audit::{
        AuditAppend, AuditAwait, AuditAwaited, AuditConsistency, AuditConsistencyRequest, AuditEntries,
        AuditEntriesRequest, AuditPage, AuditProof, AuditProofRequest, AuditReceipts, AuditRecord,
        AuditReport, AuditReportRequest, AuditSearch, AuditStatus, AuditStatusRequest,
    };

    use crate::{
        Call, Role,
        Role::{Audit, Certifier, Operator, Orchestrator},
        Trail,
    };

    /// What no journal holds, such as a denied call; the audit log keeps it.
    pub const TRAIL: Trail<AuditRecord> = Trail::new("record").said_by(Role::SERVICES);
    /// Facts of which the receipt is waited for.
    pub const APPEND: Call<AuditAppend, AuditReceipts> =
        Call::new("audit", "append").said_by(&[Certifier]).heard_by(&[Audit]);
    /// An entry of a journal is waited for until it is in the log.
    pub const AWAIT: Call<AuditAwait, AuditAwaited> =
        Call::new("audit", "await").said_by(&[Orchestrator, Certifier]).heard_by(&[Audit]);
    /// The log's state and its signed checkpoint.
    pub const STATUS: Call<AuditStatusRequest, AuditStatus> =
        Call::new("audit", "status").said_by(&[Operator]).heard_by(&[Audit]);
    /// The proof of a leaf.
    pub const PROVE: Call<AuditProofRequest, AuditProof> =
        Call::new("audit", "prove").said_by(&[Operator, Certifier]).heard_by(&[Audit]);
    /// Whether an older state is the beginning of the signed one.
    pub const CONSISTENCY: Call<AuditConsistencyRequest, AuditConsistency> =
        Call::new("audit", "consistency").said_by(&[Operator]).heard_by(&[Audit]);
    /// Leaves in order.
    pub const ENTRIES: Call<AuditEntriesRequest, AuditEntries> =
        Call::new("audit", "entries").said_by(&[Operator]).heard_by(&[Audit]);
    /// Leaves by what is searched for.
    pub const SEARCH: Call<AuditSearch, AuditPage> =
        Call::new("audit", "search").said_by(&[Operator]).heard_by(&[Audit]);
    /// Counts and security events.
    pub const REPORT: Call<AuditReportRequest, AuditReport> =
        Call::new("audit", "report").said_by(&[Operator]).heard_by(&[Audit]);
}

/// What the world asks for by CloudEvents.
pub mod inbox {
    use crate::{Inbox, Role::Orchestrator};

    /// A deployment; any orchestrator journals it. Every publisher says it, under its own name.
    pub const SUBMIT: Inbox = Inbox::new("deployment", "submit").heard_by(&[Orchestrator]);
}

/// Bytes that are known by their digest.
pub mod evidence {
    use crate::{
        Evidence,
        Role::{Audit, Certifier, Experts, Operator, Runner},
    };

    /// Reports of tests, answers of experts, certificates, facts that are too large for the audit log.
    pub const ALL: Evidence =
        Evidence::new("evidence").said_by(&[Runner, Experts, Audit]).read_by(&[Certifier, Operator]);
}

/// Values that are shared by compare-and-set.
pub mod buckets {
    use model::{audit::AuditFence, route::RouteTable};

    use crate::{
        Bucket,
        Role::{Audit, Certifier, Experts, Operator, Runner, Traffic},
    };

    /// The deployment agent writes under `RouteTable::key`; every data plane watches.
    pub const ROUTES: Bucket<RouteTable> = Bucket::new("routes").said_by(&[Runner]).heard_by(&[Traffic]);
    /// The performance agent writes baselines by module and revision, and reads them in later deployments.
    pub const MEASUREMENTS: Bucket<serde_json::Value> = Bucket::new("measurements").said_by(&[Runner]);
    /// The certifier writes by deployment where the certificate is; clients read.
    pub const CERTIFICATES: Bucket<model::certificate::CertificateEntry> =
        Bucket::new("certificates").said_by(&[Certifier]).read_by(&[Operator]);
    /// The certifier writes by the key's id with which public keys it signs, and when each is in force; clients read.
    pub const SIGNING_KEYS: Bucket<serde_json::Value> =
        Bucket::new("signing-keys").said_by(&[Certifier, Operator]);
    /// The audit service writes who sequences the log and what it signs, under the log's name.
    pub const AUDIT_FENCE: Bucket<AuditFence> = Bucket::new("audit-fence").said_by(&[Audit]);
    /// The experts' service writes how often each expert was right, by expert and version, from the ends of deployments.
    pub const EXPERTS: Bucket<serde_json::Value> = Bucket::new("experts").said_by(&[Experts]);
    /// The experts' service writes what was spent, by day.
    pub const SPENDING: Bucket<serde_json::Value> = Bucket::new("spending").said_by(&[Experts]);
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

/// Who hears everything that is stored, as it is stored.
pub(crate) const HEARS_ALL: &[Role] = &[Role::Audit];

/// Every line.
pub(crate) static LINES: &[&dyn Line] = &[
    &orchestrator::SUBMIT,
    &orchestrator::PLAN,
    &orchestrator::STATUS,
    &orchestrator::LIST,
    &orchestrator::HISTORY,
    &orchestrator::COMMAND,
    &orchestrator::TARGET,
    &orchestrator::DRIFT,
    &orchestrator::HOLDINGS,
    &orchestrator::JOURNAL,
    &orchestrator::ADVICE,
    &orchestrator::BEAT,
    &orchestrator::DRAIN,
    &agents::REVIEW,
    &agents::DRIFT,
    &agents::HOLDINGS,
    &agents::STEP,
    &agents::STEP_STATE,
    &agents::STEP_FIND,
    &agents::PROGRESS,
    &agents::STOP,
    &experts::ASK,
    &experts::ADVISE_NOW,
    &experts::ADVISE,
    &experts::LIST,
    &experts::TEST,
    &experts::HISTORY,
    &experts::SHOW,
    &experts::REPLAY,
    &experts::PROGRESS,
    &experts::FORMED,
    &experts::JOURNAL,
    &experts::PLUG_IN,
    &consensus::WEIGH,
    &consensus::WEIGH_VOTES,
    &deployment::JOURNAL,
    &deployment::CHANGED,
    &deployment::CLOSED,
    &target::JOURNAL,
    &traffic::COUNT,
    &audit::TRAIL,
    &audit::APPEND,
    &audit::AWAIT,
    &audit::STATUS,
    &audit::PROVE,
    &audit::CONSISTENCY,
    &audit::ENTRIES,
    &audit::SEARCH,
    &audit::REPORT,
    &buckets::ROUTES,
    &buckets::MEASUREMENTS,
    &buckets::CERTIFICATES,
    &buckets::SIGNING_KEYS,
    &buckets::AUDIT_FENCE,
    &buckets::EXPERTS,
    &buckets::SPENDING,
    &inbox::SUBMIT,
    &evidence::ALL,
];
