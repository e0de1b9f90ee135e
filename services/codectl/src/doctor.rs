//! What is missing on this machine, and how to get it.

use std::{path::Path, process::Command};

use crate::{
    cli::Global,
    commands::journal,
    connect::connect,
    engine,
    failure::Failure,
    home::{self, Home},
    output::{self, paint},
    plane,
};

struct Check {
    name: &'static str,
    needed_for: &'static str,
    required: bool,
    found: Result<String, String>,
}

/// Looks at everything. Exit status 1 when something required is missing.
pub async fn doctor(global: &Global) -> Result<u8, Failure> {
    let mut checks = of_the_engine(global).await;
    checks.extend(of_the_machine());
    let missing = checks.iter().any(|check| check.required && check.found.is_err());
    if output::json() {
        output::document(&checks.iter().map(Check::document).collect::<Vec<_>>());
    } else {
        checks.iter().for_each(Check::say);
        output::line(if missing { paint::bad("not ready") } else { paint::good("ready") });
    }
    Ok(u8::from(missing))
}

impl Check {
    fn document(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name, "neededFor": self.needed_for, "required": self.required,
            "found": self.found.as_ref().ok(), "cure": self.found.as_ref().err(),
        })
    }

    fn say(&self) {
        match &self.found {
            Ok(found) => output::line(format!("{} {}  {}", paint::good("✓"), self.name, paint::faint(found))),
            Err(cure) => {
                let sign = if self.required { paint::bad("✗") } else { paint::warn("!") };
                let needed = paint::faint(format!("for {}", self.needed_for));
                output::line(format!("{sign} {}  {needed}", self.name));
                output::line(format!("    {cure}"));
            }
        }
    }
}

/// What the engine itself stands on, and how the one of this home is.
async fn of_the_engine(global: &Global) -> Vec<Check> {
    vec![
        Check {
            name: "nats-server 2.14 or newer",
            needed_for: "everything",
            required: true,
            found: nats_server(),
        },
        Check {
            name: "process groups and /proc",
            needed_for: "the process platform",
            required: true,
            found: proc(),
        },
        Check {
            name: "room on the disk of the engine's home",
            needed_for: "the engine's journals",
            required: true,
            found: room(&Home::of(global)),
        },
        Check {
            name: "the engine of this home",
            needed_for: "deployments",
            required: Home::of(global).process().is_some(),
            found: running(global).await,
        },
        Check {
            name: "the data plane of this home",
            needed_for: "whoever uses what was deployed",
            required: serves(global).await,
            found: carrying(global).await,
        },
    ]
}

/// What is only needed by some.
fn of_the_machine() -> [Check; 3] {
    [
        Check {
            name: "Docker Engine",
            needed_for: "the docker platform, container images",
            required: false,
            found: docker(),
        },
        Check {
            name: "docker-compose or the compose plug-in",
            needed_for: "make compose-test",
            required: false,
            found: version("docker-compose", "--version")
                .or_else(|_| run("docker", &["compose", "version"]))
                .map_err(|_| "install docker-compose (Debian) or the compose plug-in".to_owned()),
        },
        Check {
            name: "nginx",
            needed_for: "the data plane's benchmark",
            required: false,
            found: run("nginx", &["-v"]).map_err(|_| "tools/setup.sh --all installs nginx-light".to_owned()),
        },
    ]
}

fn nats_server() -> Result<String, String> {
    let cure = "run tools/setup.sh, or put nats-server on PATH".to_owned();
    let program = bus::server::find_program().map_err(|error| error.to_string())?;
    let found = run(&program.to_string_lossy(), &["--version"]).map_err(|_| cure.clone())?;
    let number = found.rsplit('v').next().unwrap_or_default();
    let mut parts = number.split('.').filter_map(|part| part.trim().parse::<u32>().ok());
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) if (major, minor) >= (2, 14) => {
            Ok(format!("{found} at {}", program.display()))
        }
        _ => Err(format!("{found} is too old; {cure}")),
    }
}

fn proc() -> Result<String, String> {
    if Path::new("/proc/self/stat").exists() {
        Ok("/proc is there".to_owned())
    } else {
        Err("needs Linux with /proc".to_owned())
    }
}

fn room(home: &Home) -> Result<String, String> {
    let limits = engine::limits(None).map_err(|failure| failure.text)?;
    home::check_room(&home.0, &limits).map_err(|failure| failure.text)?;
    let free = home::room(&home.0).map_err(|error| error.to_string())?;
    Ok(format!("{} MiB free below {}", free >> 20, home.0.display()))
}

/// Whether the engine here answers, and which journals it has set aside.
async fn running(global: &Global) -> Result<String, String> {
    let home = Home::of(global);
    let Some((pid, _)) = home.process() else {
        return Ok(format!("none runs in {}", home.0.display()));
    };
    let told = async { journal::set_aside(&connect(global).await?).await };
    let told =
        told.await.map_err(|failure| format!("process {pid} runs and does not answer: {}", failure.text))?;
    let held: Vec<_> = told.unreadable.iter().filter(|found| found.holds_up).collect();
    let Some(first) = held.first() else { return Ok(format!("process {pid}; no journal is set aside")) };
    Err(format!(
        "{} set aside: {} {} at sequence {} ({}); see codectl journal list",
        match held.len() {
            1 => "1 journal is".to_owned(),
            more => format!("{more} journals are"),
        },
        first.log,
        first.id,
        first.seq,
        first.why
    ))
}

/// Whether somebody should be served from this home.
async fn serves(global: &Global) -> bool {
    let home = Home::of(global);
    home.process().is_some() || !plane::Files::of(&home.0).ports().await.is_empty()
}

/// Whether the data plane here serves, and where.
async fn carrying(global: &Global) -> Result<String, String> {
    let home = Home::of(global);
    let files = plane::Files::of(&home.0);
    let ports: Vec<String> = files.ports().await.iter().map(u16::to_string).collect();
    let Some(serving) = files.serving() else {
        return match (ports.is_empty(), home.process()) {
            (true, None) => Ok(format!("none runs in {}, and there is nothing to serve", home.0.display())),
            (_, None) => Err(format!("nobody serves at {}: start one with codectl up", ports.join(", "))),
            (_, Some(_)) => {
                Err(format!("none runs; the engine starts it again, see {}", files.log().display()))
            }
        };
    };
    let pid = serving.pid;
    match plane::ask(&serving).await {
        Ok(None) if ports.is_empty() => Ok(format!("process {pid}, {}/metrics", serving.health)),
        Ok(None) => Ok(format!("process {pid}, serves at {}, {}/metrics", ports.join(", "), serving.health)),
        Ok(Some(why)) => Err(format!("process {pid} is not ready: {why}")),
        Err(why) => Err(format!("process {pid} runs and does not answer: {why}")),
    }
}

fn docker() -> Result<String, String> {
    run("docker", &["version", "--format", "{{.Server.Version}}"])
        .map_err(|_| "install docker.io (tools/setup.sh --all) and start the daemon".to_owned())
}

fn version(program: &str, flag: &str) -> Result<String, String> {
    run(program, &[flag])
}

/// The first line a program prints, on either stream.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| error.to_string())?;
    let text = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let first = String::from_utf8_lossy(text).lines().next().unwrap_or_default().trim().to_owned();
    if output.status.success() && !first.is_empty() { Ok(first) } else { Err(first) }
}
