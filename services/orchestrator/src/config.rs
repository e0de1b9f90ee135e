//! Settings of the orchestrator.

use std::{collections::BTreeMap, path::PathBuf};

use chassis::config::Config;
use ground::Ranges;
use model::{Span, approval::Clause, fault::Complaint, spec::GateMode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[orchestrator]`, `CODE_ORCHESTRATOR_*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OrchestratorConfig {
    /// How often it says that it lives. 10 ms to 5 s. Default 500 ms.
    pub beat: Span,
    /// An owner that was silent for so long, while the journal answers, is replaced. At least three beats, at most
    /// 10 min. Default 3 s.
    pub silence: Span,
    /// How often everything that is not over is looked at without a cause. 100 ms to 1 h. Default 15 s.
    pub sweep: Span,
    /// When experts that have not answered are asked again. 100 ms to 1 h. Default 60 s.
    pub resend: Span,
    /// How many ended deployments are kept for lists. 0 to 100000. Default 1000.
    pub remembered: usize,
    /// The mildest gate for experts on every deployment: `off`, `advise` or `require`. A spec can only be stricter.
    /// Default `off`.
    pub experts: GateMode,
    /// How long experts may take; then `advise` goes on without them and `require` rejects. 1 s to 30 min. Default
    /// 60 s.
    pub advice: Span,
    /// Nothing that changes what runs is begun before the audit log has it on disk; the way back waits for nobody. Needs
    /// the audit service. Default false; the engine of `codectl up` sets it.
    pub audited: bool,
    /// How many answers of experts are journalled side by side. 1 to 4096. Default 256.
    pub concurrency: usize,
    /// Whose signatures approve what.
    pub approvals: ApprovalSettings,
}

/// `[orchestrator.approvals]`: who approves, by signing. Without `signers` whoever says a name approves, unauthenticated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApprovalSettings {
    /// OpenSSH's file `allowed_signers`: who may approve, and by which keys. Read again when it changes. Default none:
    /// approvals are not signed.
    pub signers: Option<PathBuf>,
    /// Names for several people of the file, meant by `group:NAME`.
    pub groups: BTreeMap<String, Vec<String>>,
    /// What every deployment needs, beside what its spec asks for. At most 32.
    pub require: Vec<Requirement>,
    /// How long an approval counts, at most. 1 min to 7 days. Default 24 h.
    pub lasts: Span,
    /// A hardware key must have asked for its PIN or a finger. Default false: it must have been touched.
    pub verified: bool,
}

/// Approvals that every deployment to an environment needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Only of this environment. Default: of all.
    #[serde(default)]
    pub environment: Option<String>,
    /// All of them have to hold, by different people: `count` of the people and groups in `of` (empty: anyone in the file),
    /// always or `when = "secrets_touched"`.
    pub all: Vec<Clause>,
}

impl Default for ApprovalSettings {
    fn default() -> Self {
        ApprovalSettings {
            signers: None,
            groups: BTreeMap::new(),
            require: Vec::new(),
            lasts: Span::seconds(24 * 3600),
            verified: false,
        }
    }
}

impl Default for OrchestratorConfig {
    fn default() -> Self {
        OrchestratorConfig {
            beat: Span::millis(500),
            silence: Span::seconds(3),
            sweep: Span::seconds(15),
            resend: Span::seconds(60),
            remembered: 1000,
            experts: GateMode::Off,
            advice: Span::seconds(60),
            audited: false,
            concurrency: 256,
            approvals: ApprovalSettings::default(),
        }
    }
}

impl Config for OrchestratorConfig {
    const SERVICE: &'static str = "orchestrator";

    fn check(&self) -> Result<(), Vec<Complaint>> {
        let mut ranges = Ranges::default();
        if self.silence.0 < self.beat.0 * 3 {
            let message = format!("{} is less than three beats of {}", self.silence, self.beat);
            ranges.complain("silence", message, "a lost beat must not look like a death: raise it");
        }
        ranges.check("beat", self.beat, Span::millis(10)..=Span::seconds(5), "");
        ranges.check("silence", self.silence, Span::millis(30)..=Span::seconds(600), "");
        ranges.check("sweep", self.sweep, Span::millis(100)..=Span::seconds(3600), "");
        ranges.check("advice", self.advice, Span::seconds(1)..=Span::seconds(1800), "");
        ranges.check("resend", self.resend, Span::millis(100)..=Span::seconds(3600), "");
        ranges.check("remembered", self.remembered, 0..=100_000, "lines");
        ranges.check("concurrency", self.concurrency, 1..=4096, "handlers");
        let approvals = &self.approvals;
        let (shortest, longest) = (Span::seconds(60), Span::seconds(7 * 24 * 3600));
        ranges.check("approvals.lasts", approvals.lasts, shortest..=longest, "");
        if approvals.signers.is_none() && !(approvals.require.is_empty() && approvals.groups.is_empty()) {
            let cure = "name the file of signers, or take groups and require out: nobody could meet them";
            ranges.complain("approvals.signers", "is not set, and groups or require are", cure);
        }
        ranges.done()
    }
}
