//! What can be typed. `--help` of each command teaches by example.

pub mod access;
pub mod experts;
mod global;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use model::{DeploymentId, Digest, Span, TargetId};

pub use global::{Color, Global, Output};

/// Deploys releases, watches them, and takes them back when they misbehave.
#[derive(Debug, Parser)]
#[command(
    name = "codectl",
    version,
    after_help = "Begin with `codectl up` in one terminal and, in another,\n  \
                  codectl plan shop.yaml\n  codectl apply shop.yaml --watch\n\n\
                  Exit status: 0 done or promoted, 1 failed, 2 invalid input, 3 engine unreachable,\n\
                  10 rolled back, 11 rejected, 12 needs a human, 13 cancelled, 14 superseded, 20 still under way."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Everywhere.
    #[command(flatten)]
    pub global: Global,
}

/// A target as it is typed.
fn target(text: &str) -> Result<TargetId, String> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is not a target: expected environment.platform.name, such as default.process.shop; \
             `codectl list` shows them"
        )
    })
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the whole engine here, on a NATS server of its own, and its data plane beside it
    #[command(
        after_help = "Example:\n  codectl up            # stays in the foreground, Ctrl-C stops it\n  codectl up --detach   # goes on in the background until `codectl down`"
    )]
    Up(Up),
    /// Stop the engine that `codectl up` started; what was deployed goes on running and stays reachable
    #[command(
        after_help = "Example:\n  codectl down         # what was deployed goes on running, and its data plane serves on\n  codectl down --all   # ends these too"
    )]
    Down(Down),
    /// Carry traffic; `codectl up` starts it
    #[command(hide = true)]
    Plane(Plane),
    /// Tell the whole story in one terminal: canary, bad release, killed orchestrator
    Demo(Demo),
    /// Show what would be done: differences, steps, gates, way back, digest; changes nothing
    #[command(
        after_help = "Example:\n  codectl plan shop.yaml\n  codectl apply shop.yaml --plan sha256:…   # refuses any other plan"
    )]
    Plan(SpecFile),
    /// Deploy a spec
    #[command(
        after_help = "Example:\n  codectl apply shop.yaml --watch\n  codectl apply shop.yaml --plan sha256:… --watch\n  codectl apply shop.yaml --force 'fixed the database by hand'"
    )]
    Apply(Apply),
    /// Show where a deployment is; the exit status tells the verdict
    #[command(
        after_help = "Example:\n  codectl status\n  codectl status dep-… --output json\n\nExit status: 0 promoted, 10 rolled back, 11 rejected, 12 needs a human, 13 cancelled, 14 superseded, 20 under way."
    )]
    Status(Which),
    /// Follow a deployment live: steps, traffic, gates
    #[command(
        after_help = "Ctrl-C ends the watching and leaves the deployment alone; exit status 20.\n\nExample:\n  codectl watch"
    )]
    Watch(Which),
    /// Say why a deployment is where it is: gate, measured value, limit, what can move it on
    #[command(after_help = "Example:\n  codectl explain")]
    Explain(Which),
    /// List deployments, newest first
    #[command(after_help = "Example:\n  codectl list --active\n  codectl list --target default.process.shop")]
    List(List),
    /// Show a deployment's journal
    History(Which),
    /// Show records of journals that cannot be used, and have them passed over
    #[command(subcommand)]
    Journal(Journal),
    /// Let a waiting deployment go on
    #[command(
        after_help = "Example:\n  codectl promote dep-…               # ends the pause that is open now\n  codectl promote dep-… --full        # skips all remaining pauses and analyses\n  codectl promote dep-… --expect 12   # only if nothing happened since you looked"
    )]
    Promote(Promote),
    /// Begin nothing new until resumed
    Pause(Guarded),
    /// Go on after a pause
    Resume(Guarded),
    /// Turn back; before the change begins it is withdrawn
    #[command(
        after_help = "Example:\n  codectl abort dep-… --reason 'wrong day'\n  codectl abort dep-… --close   # a human was called and has set things right"
    )]
    Abort(Abort),
    /// Try the way back again after a human was called, or deploy an ended release once more
    #[command(
        after_help = "Example:\n  codectl retry dep-…\n  codectl retry dep-… --force 'fixed the database by hand'"
    )]
    Retry(Retry),
    /// Go back to the release before the one that runs, or to the one a deployment made
    #[command(
        after_help = "Example:\n  codectl rollback default.process.shop --watch\n  codectl rollback default.process.shop --to dep-…"
    )]
    Rollback(Rollback),
    /// Approve a plan, signed where the engine knows signers
    #[command(
        after_help = "Example:\n  codectl approve dep-… --plan sha256:…   # `codectl explain` shows the digest; signs by your ssh-agent\n  \
                      codectl approve dep-… --plan sha256:… --as ann --key ~/.ssh/id_ed25519\n\n\
                      Signed on another machine:\n  \
                      codectl approve dep-… --plan sha256:… --as ann --print > approval.json\n  \
                      ssh-keygen -Y sign -n code-approval@code.example -f ~/.ssh/id_ed25519 approval.json\n  \
                      codectl approve dep-… --plan sha256:… --statement approval.json --signature approval.json.sig"
    )]
    Approve(Approve),
    /// Say no to a plan: the deployment is rejected; signed where the engine knows signers
    #[command(after_help = "Example:\n  codectl deny dep-… --plan sha256:… --reason 'not on a Friday'")]
    Deny(Deny),
    /// Show who approved a plan, by which key, and what is missing
    #[command(after_help = "Example:\n  codectl approvals        # of the newest that waits for people")]
    Approvals(Which),
    /// Show, hold or let go of a target
    #[command(subcommand)]
    Lock(Lock),
    /// Show what a target holds, and take away what nothing asks for
    #[command(subcommand)]
    Target(Holdings),
    /// Show what a spec would change, field by field
    Diff(SpecFile),
    /// Compare what runs with what should
    #[command(
        after_help = "Example:\n  codectl drift default.process.shop   # exit status 1 when something differs"
    )]
    Drift(Target),
    /// Show, verify and export the signed certificate of a deployment
    #[command(subcommand)]
    Certificate(crate::commands::certificate::Command),
    /// Ask the circle of experts, and look at what they said
    #[command(subcommand)]
    Experts(experts::Experts),
    /// Follow everything that happens
    #[command(after_help = "Example:\n  codectl events --output json\n  codectl events dep-… --all")]
    Events(Events),
    /// Check a spec without an engine; every complaint has line and column
    #[command(
        after_help = "Example:\n  codectl validate shop.yaml\n  codectl import compose compose.yaml | codectl validate -"
    )]
    Validate(SpecFile),
    /// Print the JSON Schema of the spec
    Schema,
    /// Turn a foreign file into a spec
    #[command(subcommand)]
    Import(Import),
    /// Read, prove and check the audit log
    #[command(subcommand)]
    Audit(crate::commands::audit::Audit),
    /// Say who may speak with the engine over NATS
    #[command(subcommand)]
    Access(access::Access),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  codectl completions bash > /etc/bash_completion.d/codectl")]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Say what is missing on this machine and how to get it
    Doctor,
}

/// `up`
#[derive(Debug, Args)]
pub struct Up {
    /// Go on in the background.
    #[arg(long)]
    pub detach: bool,
    /// Port of the NATS server; 0 takes the one it had here before, else a free one. The port of `/metrics` is kept too.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Settings of the services, TOML.
    #[arg(long)]
    pub config: Option<PathBuf>,
}

/// `down`
#[derive(Debug, Args)]
pub struct Down {
    /// Also stop the data plane, and every instance that was deployed from this home, on every platform.
    #[arg(long)]
    pub all: bool,
    /// Settings of the services, as `codectl up` was given them.
    #[arg(long)]
    pub config: Option<PathBuf>,
}

/// `plane`
#[derive(Debug, Args)]
pub struct Plane {
    /// Settings of the services, TOML.
    #[arg(long)]
    pub config: Option<PathBuf>,
}

/// `demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Keep the folder with the engine's data and logs.
    #[arg(long)]
    pub keep: bool,
    /// Requests per second of the constant load.
    #[arg(long, default_value_t = 100)]
    pub rate: u32,
}

/// A spec.
#[derive(Debug, Args)]
pub struct SpecFile {
    /// YAML or JSON; `-` reads stdin.
    pub file: PathBuf,
}

/// `apply`
#[derive(Debug, Args)]
pub struct Apply {
    /// YAML or JSON; `-` reads stdin.
    pub file: PathBuf,
    /// Only if the plan is still this one.
    #[arg(long)]
    pub plan: Option<Digest>,
    /// Follow it live until the verdict.
    #[arg(long, short)]
    pub watch: bool,
    /// Run a spec again that was rolled back; say why.
    #[arg(long, value_name = "REASON")]
    pub force: Option<String>,
    /// The same id asks for the same deployment, however often it is sent.
    #[arg(long)]
    pub request_id: Option<String>,
}

/// A deployment.
#[derive(Debug, Args)]
pub struct Which {
    /// `dep-…`; none means the newest.
    pub deployment: Option<DeploymentId>,
}

/// `list`
#[derive(Debug, Args)]
pub struct List {
    /// Only of this target: `environment.platform.name`.
    #[arg(long, value_parser = target)]
    pub target: Option<TargetId>,
    /// Only those that are not over.
    #[arg(long)]
    pub active: bool,
    /// At most so many.
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
}

/// A command that may name the revision it was decided on.
#[derive(Debug, Args)]
pub struct Guarded {
    /// `dep-…`; none means the newest that waits for this, else the newest that is not over.
    pub deployment: Option<DeploymentId>,
    /// Only if the journal is still at this revision (see `status`).
    #[arg(long, value_name = "REVISION")]
    pub expect: Option<u64>,
}

/// `promote`
#[derive(Debug, Args)]
pub struct Promote {
    /// Which.
    #[command(flatten)]
    pub guarded: Guarded,
    /// Skip all remaining pauses and analyses.
    #[arg(long)]
    pub full: bool,
}

/// `abort`
#[derive(Debug, Args)]
pub struct Abort {
    /// Which.
    #[command(flatten)]
    pub guarded: Guarded,
    /// Why.
    #[arg(long, default_value = "no reason given")]
    pub reason: String,
    /// A human was called and has set things right by hand: end it and free the target.
    #[arg(long)]
    pub close: bool,
}

/// `retry`
#[derive(Debug, Args)]
pub struct Retry {
    /// Which.
    #[command(flatten)]
    pub guarded: Guarded,
    /// Why a release that was rolled back may run again.
    #[arg(long, value_name = "REASON")]
    pub force: Option<String>,
    /// Follow it live until the verdict.
    #[arg(long, short)]
    pub watch: bool,
}

/// `rollback`
#[derive(Debug, Args)]
pub struct Rollback {
    /// `environment.platform.name`.
    #[arg(value_parser = target)]
    pub target: TargetId,
    /// Back to the release this deployment made; none means the one before the last.
    #[arg(long, value_name = "DEPLOYMENT")]
    pub to: Option<DeploymentId>,
    /// Follow it live until the verdict.
    #[arg(long, short)]
    pub watch: bool,
}

/// `approve`
#[derive(Debug, Args)]
pub struct Approve {
    /// Which.
    #[command(flatten)]
    pub guarded: Guarded,
    /// The plan you have seen.
    #[arg(long)]
    pub plan: Digest,
    /// Why; it is part of what is signed.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// How it is signed.
    #[command(flatten)]
    pub signing: Signing,
}

/// `deny`
#[derive(Debug, Args)]
pub struct Deny {
    /// Which.
    #[command(flatten)]
    pub guarded: Guarded,
    /// The plan you have seen.
    #[arg(long)]
    pub plan: Digest,
    /// Why.
    #[arg(long)]
    pub reason: String,
    /// How it is signed.
    #[command(flatten)]
    pub signing: Signing,
}

/// How an approval is signed: by the ssh-agent unless something else is named.
#[derive(Debug, Args)]
pub struct Signing {
    /// Sign with this key, by ssh-keygen, which asks for its passphrase; the .pub file of a key that your ssh-agent holds
    /// will do.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["print", "statement"])]
    pub key: Option<PathBuf>,
    /// Only print what is to be signed, to sign it elsewhere; nothing is sent.
    #[arg(long, conflicts_with = "statement")]
    pub print: bool,
    /// What `--print` printed.
    #[arg(long, value_name = "FILE", requires = "signature")]
    pub statement: Option<PathBuf>,
    /// The signature over it, of `ssh-keygen -Y sign`.
    #[arg(long, value_name = "FILE", requires = "statement")]
    pub signature: Option<PathBuf>,
    /// How long it is to count. Default: as long as the engine lets it.
    #[arg(long, value_name = "SPAN")]
    pub lasts: Option<Span>,
}

/// A target.
#[derive(Debug, Args)]
pub struct Target {
    /// `environment.platform.name`.
    #[arg(value_parser = target)]
    pub target: TargetId,
}

/// `journal`
#[derive(Debug, Subcommand)]
pub enum Journal {
    /// Which deployments and targets are set aside; exit status 1 when one is
    List,
    /// What cannot be used of one journal
    Show {
        /// `dep-…`, or a target as `environment--platform--name`.
        id: String,
    },
    /// Record in the journal that records count for nothing; the engine then goes on with what is left
    #[command(
        after_help = "Example:\n  codectl journal show dep-…\n  codectl journal skip dep-… --seq 12 --reason 'written by hand'"
    )]
    Skip {
        /// `dep-…`, or a target as `environment--platform--name`.
        id: String,
        /// Its sequence, as `codectl journal show` tells it; once for each.
        #[arg(long, required = true)]
        seq: Vec<u64>,
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

/// `lock`
#[derive(Debug, Subcommand)]
pub enum Lock {
    /// Who holds the target, who waits, what it last ran well, what is quarantined
    Show(Target),
    /// No deployment gets the target from now on
    Hold {
        /// Which.
        #[command(flatten)]
        target: Target,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Deployments may again
    Release(Target),
}

/// `target`
#[derive(Debug, Subcommand)]
pub enum Holdings {
    /// Which instances are there, and which of them the release that was promoted last asks for
    Show(Target),
    /// Take away instances that nothing asks for, such as those of a deployment that a human closed
    #[command(
        after_help = "The target is held meanwhile. Refused while a deployment holds it.\n\nExample:\n  codectl target show default.process.shop\n  codectl target clear default.process.shop"
    )]
    Clear(Target),
}

/// `events`
#[derive(Debug, Args)]
pub struct Events {
    /// Only of this deployment.
    pub deployment: Option<DeploymentId>,
    /// Begin with everything that is still stored.
    #[arg(long)]
    pub all: bool,
}

/// `import`
#[derive(Debug, Subcommand)]
pub enum Import {
    /// A Compose file; what could not be carried over is named
    Compose {
        /// The Compose file.
        file: PathBuf,
        /// Name of the application. Default: the file's own, else its folder's.
        #[arg(long)]
        name: Option<String>,
        /// Environment of the application.
        #[arg(long)]
        environment: Option<String>,
        /// Take the services of this profile along; may be given several times, `*` means all. Default: what
        /// COMPOSE_PROFILES lists.
        #[arg(long)]
        profile: Vec<String>,
        /// Values of variables that the environment does not have. Default: `.env` beside the Compose file.
        #[arg(long)]
        env_file: Option<PathBuf>,
    },
}
