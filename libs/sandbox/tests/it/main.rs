//! What a confined program really cannot do, tried by real calls from inside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod held;
mod probe;
mod tried;

use std::{collections::BTreeMap, path::Path, time::Duration};

use sandbox::{Ended, Launch, Limits, Missing, Profile, Unenforced};

/// Longer than anything here may take on a busy machine.
const LONG: Duration = Duration::from_secs(60);
const KEPT: usize = 4096;

fn launch(folder: &Path, program: &Path, arguments: &[&str], profile: Profile) -> Launch {
    Launch {
        program: program.to_owned(),
        arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        folder: folder.to_owned(),
        user: None,
        profile,
        limits: Limits::default(),
        missing: Missing::Named,
    }
}

async fn shell(folder: &Path, script: &str, within: Duration) -> Ended {
    let launch = launch(folder, Path::new("/bin/sh"), &["-c", script], Profile::guarded());
    launch.run("code-test", KEPT).unwrap().wait(within, std::future::pending()).await.unwrap()
}

/// Has this very program try something from inside; how that went, and what was not in force.
async fn tries(folder: &Path, profile: Profile, what: &str, on: &str) -> (probe::Outcome, Vec<Unenforced>) {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "probe::inside", "--ignored", "--nocapture"];
    let mut launch = launch(folder, &program, &arguments, profile);
    launch.environment.insert(probe::WHAT.to_owned(), what.to_owned());
    launch.environment.insert(probe::ON.to_owned(), on.to_owned());
    let running = launch.run("code-test", KEPT).unwrap();
    let unenforced = running.unenforced.clone();
    let ended = running.wait(LONG, std::future::pending()).await.unwrap();
    (probe::Outcome::of(&ended), unenforced)
}
