//! `codectl access …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model::Token;

/// `access`
#[derive(Debug, Subcommand)]
pub enum Access {
    /// Let programs publish CloudEvents, each under a name and with a key of its own
    #[command(subcommand)]
    Publisher(Outsiders),
    /// Let programs answer as experts, each under a name and with a key of its own
    #[command(subcommand)]
    Expert(Outsiders),
    /// Make the streams and consumers that are missing; `codectl up` does it by itself
    #[command(
        after_help = "The key is the provisioner's: --nats-key, else the one in the folder of --home. Sizes and copies of the streams\n\
                      come from --config or the environment, as for the services, and must be theirs.\n\n\
                      Example:\n  codectl access provision --nats nats://nats-1:4222 --nats-key provisioner.nk"
    )]
    Provision {
        /// Settings of the services, TOML.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Make the keys of an engine whose parts run by themselves, and the configuration of its NATS servers
    #[command(after_help = "Keys that are there stay. `codectl up` needs none of this.\n\n\
                      Example:\n  codectl access prepare --to /access --configuration /nats/access.conf --hand-out /keys")]
    Prepare(Prepare),
}

/// Programs of other people.
#[derive(Debug, Subcommand)]
pub enum Outsiders {
    /// Make a key, write it to a file, and have the server know it
    Add {
        /// Its name: lower-case letters, digits and `-`.
        name: Token,
        /// Where its key is written. Default: below the folder of the keys.
        #[arg(long)]
        to: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Show who has a key
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Have the server forget a key and cut off who uses it
    Remove {
        /// Its name.
        name: Token,
        #[command(flatten)]
        place: Place,
    },
}

/// Where keys and the configuration are. Default: those of the engine of `--home`.
#[derive(Debug, Args)]
pub struct Place {
    /// Folder of the keys, as `codectl access prepare --to` was given it.
    #[arg(long, value_name = "FOLDER", requires = "configuration")]
    pub keys: Option<PathBuf>,
    /// The file that the servers' configuration includes. The servers must be told to read it again (SIGHUP).
    #[arg(long, value_name = "FILE", requires = "keys")]
    pub configuration: Option<PathBuf>,
}

/// `access prepare`
#[derive(Debug, Args)]
pub struct Prepare {
    /// Folder of the keys.
    #[arg(long, value_name = "FOLDER")]
    pub to: PathBuf,
    /// The file that the servers' configuration includes: public keys, and what each may do.
    #[arg(long, value_name = "FILE")]
    pub configuration: PathBuf,
    /// Copies each key into a folder of this folder that is named after who needs it: a service, `operator`, `provisioner`.
    #[arg(long, value_name = "FOLDER")]
    pub hand_out: Option<PathBuf>,
}
