//! Reads, proves and checks the audit log. What checks needs no engine and no network: files, and a policy that says
//! whom to trust. Exit status: 0 it holds, 1 it does not, 2 it cannot be told,
//! 4 it holds and tells of a fork.

mod check;
mod show;

use std::{fs, net::SocketAddr, path::PathBuf};

use audit::export::Format;
use clap::{Args, Subcommand};
use ledger::{Policy, SignedCheckpoint, VerifyingKey};
use model::{Span, Timestamp};

use crate::{cli::Global, failure::Failure, home::Home, output};

/// `audit`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Show what happens as it is signed
    #[command(
        after_help = "Example:\n  codectl audit tail --last 20\n  codectl audit tail --follow --output json"
    )]
    Tail(Tail),
    /// Search what happened, newest first
    #[command(
        after_help = "Example:\n  codectl audit search --subject dep-…\n  codectl audit search --action 'deployment.*' --outcome failed --since 24h\n  codectl audit search --actor unauthenticated:ann"
    )]
    Search(Search),
    /// Get the proof that an entry is in the log: a file that is checked offline
    #[command(
        after_help = "Example:\n  codectl audit prove 1041 --out entry.tlog-proof\n  codectl audit check entry.tlog-proof entry.json --policy log.policy"
    )]
    Prove(Prove),
    /// Check a proof offline
    Check(Check),
    /// Check a whole log from its files: every entry, every hash, the signatures, the counts of every source
    #[command(
        after_help = "Example:\n  codectl audit verify                                  # the log of the engine here\n  codectl audit verify --log /backup/log --policy trust.policy --known old.checkpoint\n\nExit status: 0 valid, 1 not valid, 2 it cannot be told, 4 valid, but a source had lost what it said (fork)."
    )]
    Verify(Verify),
    /// Check that one checkpoint extends another
    #[command(
        after_help = "Example:\n  codectl audit consistency old.checkpoint new.checkpoint --policy trust.policy"
    )]
    Consistency(Consistency),
    /// Write the log for other tools
    #[command(
        after_help = "Example:\n  codectl audit export --format ocsf > events.jsonl\n  codectl audit export --format cef --from 1000"
    )]
    Export(Export),
    /// Count what happened, and show what the rules found
    Report(Report),
    /// Show the state of the log: sizes, sources, alarms, keys
    Status,
    /// Run a witness: it cosigns a log's checkpoints as long as the log only grows; belongs on another machine
    #[command(
        after_help = "Example:\n  codectl audit witness --name witness.example.com/1 --state /var/lib/witness --log 'code.internal/audit+…'"
    )]
    Witness(Witness),
    /// Make the keys of a log and its witness before either runs, and the policy that trusts both
    #[command(
        after_help = "Example:\n  codectl audit prepare --log-state audit --witness-state witness --name witness.example.com/1 \\\n    --url https://witness.example.com --to trust.policy"
    )]
    Prepare(Prepare),
}

/// `audit tail`
#[derive(Debug, Args)]
pub struct Tail {
    /// Begin so many entries before the end.
    #[arg(long, default_value_t = 20)]
    pub last: u64,
    /// Begin with this entry.
    #[arg(long, conflicts_with = "last")]
    pub from: Option<u64>,
    /// Go on as entries come.
    #[arg(long, short)]
    pub follow: bool,
}

/// `audit search`
#[derive(Debug, Args)]
pub struct Search {
    /// Who did it, as an entry names them: `unauthenticated:ann` for who only said that name, a replica, a runner.
    #[arg(long, value_name = "KIND:NAME")]
    pub actor: Option<String>,
    /// What was done, such as `deployment.approved`; `*` at the end for all that begin so.
    #[arg(long)]
    pub action: Option<String>,
    /// To what, such as `dep-…`.
    #[arg(long)]
    pub subject: Option<String>,
    /// `done`, `denied` or `failed`.
    #[arg(long, value_parser = outcome)]
    pub outcome: Option<model::audit::AuditOutcome>,
    /// A part of the reason.
    #[arg(long)]
    pub text: Option<String>,
    /// When: see below.
    #[command(flatten)]
    pub time: Time,
    /// Only entries before this one: the last one of the page before.
    #[arg(long)]
    pub before: Option<u64>,
    /// At most so many, 1 to 1000.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

/// A time.
#[derive(Debug, Args)]
pub struct Time {
    /// Not before: `2026-01-31T12:00:00Z`, or so long ago, such as `24h`.
    #[arg(long, value_parser = instant)]
    pub since: Option<Timestamp>,
    /// Before.
    #[arg(long, value_parser = instant)]
    pub until: Option<Timestamp>,
}

impl Time {
    /// Both, if anything can be between them.
    fn range(&self) -> Result<(Option<Timestamp>, Option<Timestamp>), Failure> {
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => Err(Failure::invalid(format!(
                "--since {since} is not before --until {until}: nothing is between them"
            ))),
            range => Ok(range),
        }
    }
}

/// `audit prove`
#[derive(Debug, Args)]
pub struct Prove {
    /// Which entry: its index, or its source and count such as `LOG_deployment_2:17`.
    pub entry: String,
    /// Where the proof is written, such as `entry.tlog-proof`; the entry is written beside it, ending in `.json`. Default:
    /// the proof to standard output.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// `audit check`
#[derive(Debug, Args)]
pub struct Check {
    /// The proof.
    pub proof: PathBuf,
    /// The entry, byte for byte.
    pub entry: PathBuf,
    /// Whom to trust.
    #[command(flatten)]
    pub trust: TrustFile,
}

/// Whom to trust.
#[derive(Debug, Args)]
pub struct TrustFile {
    /// A policy: the log's keys, witnesses, how many must have cosigned. Default: the keys of the engine here, without
    /// witnesses; good for trying, not for distrusting the engine.
    #[arg(long)]
    pub policy: Option<PathBuf>,
}

/// `audit verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// The folder of the log's public files. Default: that of the engine here.
    #[arg(long)]
    pub log: Option<PathBuf>,
    /// Whom to trust.
    #[command(flatten)]
    pub trust: TrustFile,
    /// A checkpoint, or a proof, from elsewhere that the log must extend; may be given several times.
    #[arg(long)]
    pub known: Vec<PathBuf>,
    /// Another copy of the log: names the first entry in which they differ.
    #[arg(long)]
    pub against: Option<PathBuf>,
}

/// `audit consistency`
#[derive(Debug, Args)]
pub struct Consistency {
    /// The older checkpoint.
    pub old: PathBuf,
    /// The newer one.
    pub new: PathBuf,
    /// The folder of the log's public files, where the proof is made from. Default: that of the engine here.
    #[arg(long)]
    pub log: Option<PathBuf>,
    /// Whom to trust.
    #[command(flatten)]
    pub trust: TrustFile,
}

/// `audit export`
#[derive(Debug, Args)]
pub struct Export {
    /// `jsonl`, `cloudevents`, `ocsf` or `cef`.
    #[arg(long, default_value = "jsonl")]
    pub format: Format,
    /// Begin with this entry.
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// From a folder of a log's public files, without an engine.
    #[arg(long)]
    pub log: Option<PathBuf>,
}

/// `audit report`
#[derive(Debug, Args)]
pub struct Report {
    /// When.
    #[command(flatten)]
    pub time: Time,
}

/// `audit witness`
#[derive(Debug, Args)]
pub struct Witness {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:7380")]
    pub listen: SocketAddr,
    /// Its memory and its key.
    #[arg(long)]
    pub state: PathBuf,
    /// The name of its key.
    #[arg(long)]
    pub name: String,
    /// A key of a log it watches; once per key. `codectl audit status` shows them.
    #[arg(long = "log", required_unless_present = "policy")]
    pub logs: Vec<VerifyingKey>,
    /// A trust policy whose logs it watches.
    #[arg(long, conflicts_with = "logs")]
    pub policy: Option<PathBuf>,
}

/// `audit prepare`
#[derive(Debug, Args)]
pub struct Prepare {
    /// The audit service's `state_dir`.
    #[arg(long)]
    pub log_state: PathBuf,
    /// The log's name, as in its configuration.
    #[arg(long, default_value = "code.internal/audit")]
    pub origin: String,
    /// The witness's folder.
    #[arg(long)]
    pub witness_state: PathBuf,
    /// The name of the witness's key.
    #[arg(long)]
    pub name: String,
    /// Where the log reaches the witness.
    #[arg(long)]
    pub url: String,
    /// Where the policy is written.
    #[arg(long)]
    pub to: PathBuf,
}

fn outcome(text: &str) -> Result<model::audit::AuditOutcome, String> {
    let read = serde_json::from_value(serde_json::Value::String(text.to_owned()));
    read.map_err(|_| format!("{text:?} is not an outcome: expected done, denied or failed"))
}

fn instant(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = text.parse::<Span>() {
        let ago = i64::try_from(ago.0.as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp(output::now().0.saturating_sub(ago)));
    }
    let read = text.parse::<jiff::Timestamp>();
    read.map(|at| Timestamp(at.as_millisecond())).map_err(|_| {
        format!("{text:?} is not a time: expected 2026-01-31T12:00:00Z, or so long ago, such as 24h")
    })
}

/// Does it.
pub async fn audit(global: &Global, audit: Audit) -> Result<u8, Failure> {
    match audit {
        Audit::Tail(tail) => show::tail(global, &tail).await,
        Audit::Search(search) => show::search(global, search).await,
        Audit::Prove(prove) => show::prove(global, &prove).await,
        Audit::Check(check) => check::check(global, &check),
        Audit::Verify(verify) => check::verify(global, &verify),
        Audit::Consistency(consistency) => check::consistency(global, &consistency),
        Audit::Export(export) => show::export(global, &export).await,
        Audit::Report(report) => show::report(global, report).await,
        Audit::Status => show::status(global).await,
        Audit::Witness(witness) => check::witness(witness).await,
        Audit::Prepare(prepare) => check::prepare(prepare),
    }
}

/// The folder of the audit log of the engine here.
fn folder(global: &Global) -> PathBuf {
    Home::of(global).0.join("audit")
}

/// The checkpoint that a folder of a log shows.
fn shown(folder: &std::path::Path) -> Result<SignedCheckpoint, Failure> {
    let shown = ledger::store::Reader::new(folder, 0).checkpoint();
    shown.map_err(|error| Failure::invalid(chassis::chain(&error)))?.ok_or_else(|| no_log(folder))
}

fn no_log(folder: &std::path::Path) -> Failure {
    Failure::invalid(format!(
        "{} has no checkpoint\n  the public files of a log are wanted: `checkpoint` and the folder `tile`",
        folder.display()
    ))
}

/// The public files that were named, else those of the engine here.
fn log_folder(global: &Global, named: Option<&PathBuf>) -> PathBuf {
    named.cloned().unwrap_or_else(|| folder(global).join("log"))
}

fn policy(global: &Global, trust: &TrustFile) -> Result<Policy, Failure> {
    let path = match &trust.policy {
        Some(path) => path.clone(),
        None => folder(global).join("log.policy"),
    };
    let text = text(&path).map_err(|failure| match &trust.policy {
        Some(_) => failure,
        None => Failure::invalid(format!(
            "{}\n  whom to trust is said by --policy FILE, or by the engine in --home",
            failure.text
        )),
    })?;
    text.parse().map_err(|error| Failure::invalid(format!("{}: {error}", path.display())))
}

fn text(path: &std::path::Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::invalid(format!("reading {}: {error}", path.display())))
}
