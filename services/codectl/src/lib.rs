//! The operator's command line, the whole engine in one process, and its data plane in another.
//!
//! It asks the engine through the same calls as any other client and never writes a journal, a route or a platform
//! itself. The only crate that links several services: `codectl up` starts them through the `start` that their own
//! `main.rs` calls.

mod cli;
mod commands;
mod connect;
mod demo;
mod doctor;
mod engine;
mod failure;
mod home;
mod output;
mod plane;
mod sources;
mod ssh;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use failure::Failure;

/// Does what the arguments say; the exit status is documented in `codectl --help`.
pub fn main() -> ExitCode {
    if agents::output::serve_if_asked() {
        return ExitCode::SUCCESS;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            return output::misused(&error);
        }
    };
    output::set_up(&cli.global);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::failed(&Failure::other(format!("starting the runtime: {error}"))),
    };
    let outcome = runtime.block_on(run(cli));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => output::failed(&failure),
    }
}

async fn run(cli: Cli) -> Result<u8, Failure> {
    chassis::install_crypto();
    let global = &cli.global;
    match cli.command {
        Command::Up(up) => engine::up(global, up).await,
        Command::Down(down) => engine::down(global, &down).await,
        Command::Plane(asked) => plane::serve(global, asked).await,
        Command::Demo(demo) => demo::run(global, &demo).await,
        Command::Plan(file) => commands::plan::plan(global, &file).await,
        Command::Apply(apply) => commands::apply::apply(global, apply).await,
        Command::Status(which) => commands::show::status(global, which).await,
        Command::Watch(which) => commands::watch::watch(global, which).await,
        Command::Explain(which) => commands::show::explain(global, which).await,
        Command::List(list) => commands::show::list(global, list).await,
        Command::History(which) => commands::show::history(global, which).await,
        Command::Journal(journal) => commands::journal::journal(global, journal).await,
        Command::Promote(promote) => commands::act::promote(global, promote).await,
        Command::Pause(guarded) => commands::act::pause(global, guarded).await,
        Command::Resume(guarded) => commands::act::resume(global, guarded).await,
        Command::Abort(abort) => commands::act::abort(global, abort).await,
        Command::Retry(retry) => commands::act::retry(global, retry).await,
        Command::Rollback(rollback) => commands::apply::rollback(global, rollback).await,
        Command::Approve(approve) => commands::approve::approve(global, approve).await,
        Command::Deny(deny) => commands::approve::deny(global, deny).await,
        Command::Approvals(which) => commands::approve::show(global, which).await,
        Command::Lock(lock) => commands::target::lock(global, lock).await,
        Command::Target(holdings) => commands::target::holdings(global, holdings).await,
        Command::Diff(file) => commands::plan::diff(global, &file).await,
        Command::Drift(target) => commands::target::drift(global, target).await,
        Command::Certificate(command) => commands::certificate::run(global, command).await,
        Command::Experts(command) => commands::experts::experts(global, command).await,
        Command::Events(events) => commands::events::events(global, events).await,
        Command::Validate(file) => commands::local::validate(&file),
        Command::Schema => commands::local::schema(),
        Command::Import(import) => commands::local::import(import),
        Command::Access(access) => commands::access::access(global, access).await,
        Command::Audit(audit) => commands::audit::audit(global, audit).await,
        Command::Completions { shell } => commands::local::completions(shell),
        Command::Doctor => doctor::doctor(global).await,
    }
}
