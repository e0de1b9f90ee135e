//! What can be typed. `--help` of each command teaches by example.

pub mod experts;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use model::{DeploymentId, Digest, Span, TargetId};

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

const EVERYWHERE: &str = "Options of every command";

/// A target as it is typed.
fn target(text: &str) -> Result<TargetId, String> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is not a target: expected environment.platform.name, such as default.process.shop; \
             `codectl list` shows them"
        )
    })
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// `text` for people or `json` for programs: one document, or one per line where things are followed.
    #[arg(
        long,
        short,
        global = true,
        value_enum,
        default_value = "text",
        env = "CODE_OUTPUT",
        hide_possible_values = true,
        hide_env_values = true,
        help_heading = EVERYWHERE
    )]
    pub output: Output,
    /// Address of the engine's NATS server. Default: the engine that `codectl up` started here, else port 4222.
    #[arg(long, global = true, env = "CODE_NATS_URL", hide_env_values = true, help_heading = EVERYWHERE)]
    pub nats: Option<String>,
    /// NATS credentials file.
    #[arg(long, global = true, env = "CODE_NATS_CREDENTIALS", hide_env_values = true, help_heading = EVERYWHERE)]
    pub credentials: Option<PathBuf>,
    /// Where `codectl up` keeps its data. Default: `.code` in your home.
    #[arg(long, global = true, env = "CODE_HOME", hide_env_values = true, help_heading = EVERYWHERE)]
    pub home: Option<PathBuf>,
    /// Who you are, as it stands in the journal. Default: your user name.
    #[arg(long = "as", global = true, env = "CODE_USER", hide_env_values = true, help_heading = EVERYWHERE)]
    pub who: Option<String>,
    /// `auto`: on a terminal unless NO_COLOR is set; `always`; `never`.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "auto",
        hide_possible_values = true,
        help_heading = EVERYWHERE
    )]
    pub color: Color,
    /// How long to wait for an answer of the engine.
    #[arg(long, global = true, default_value = "10s", help_heading = EVERYWHERE)]
    pub timeout: Span,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Also into files and pipes.
    Always,
    /// Not at all.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the whole engine here, in one process, on a NATS server of its own
    #[command(
        after_help = "Example:\n  codectl up            # stays in the foreground, Ctrl-C stops it\n  codectl up --detach   # goes on in the background until `codectl down`"
    )]
    Up(Up),
    /// Stop the engine that `codectl up` started; what was deployed goes on running
    #[command(
        after_help = "Example:\n  codectl down              # what was deployed goes on running\n  codectl down --instances"
    )]
    Down(Down),
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
    /// Approve a plan
    #[command(
        after_help = "Example:\n  codectl approve dep-… --plan sha256:…   # `codectl explain` shows the digest"
    )]
    Approve(Approve),
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
    /// Port of the NATS server; 0 takes the one it had here before, else a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Settings of the services, TOML.
    #[arg(long)]
    pub config: Option<PathBuf>,
}

/// `down`
#[derive(Debug, Args)]
pub struct Down {
    /// Also stop every instance that was deployed on the process platform.
    #[arg(long)]
    pub instances: bool,
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
