//! Options of every command.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use model::Span;

const EVERYWHERE: &str = "Options of every command";

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
    /// File with the operator's key of NATS. Default: the key in the folder of `--home`, which `codectl up` made.
    #[arg(long, global = true, env = "CODE_OPERATOR_KEY", hide_env_values = true, help_heading = EVERYWHERE)]
    pub nats_key: Option<PathBuf>,
    /// Where `codectl up` keeps its data. Default: `.code` in your home.
    #[arg(long, global = true, env = "CODE_HOME", hide_env_values = true, help_heading = EVERYWHERE)]
    pub home: Option<PathBuf>,
    /// Who you say you are, as it stands in the journal, unauthenticated. 1 to 200 bytes. Default: your user name.
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
