//! What is missing on this machine, and how to get it.

use std::{path::Path, process::Command};

use crate::{
    failure::Failure,
    output::{self, paint},
};

struct Check {
    name: &'static str,
    needed_for: &'static str,
    required: bool,
    found: Result<String, String>,
}

/// Looks at everything. Exit status 1 when something required is missing.
pub fn doctor() -> Result<u8, Failure> {
    let checks = [
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
    ];
    let missing = checks.iter().any(|check| check.required && check.found.is_err());
    if output::json() {
        let list: Vec<_> = checks
            .iter()
            .map(|check| {
                serde_json::json!({
                    "name": check.name, "neededFor": check.needed_for, "required": check.required,
                    "found": check.found.as_ref().ok(), "cure": check.found.as_ref().err(),
                })
            })
            .collect();
        output::document(&list);
        return Ok(u8::from(missing));
    }
    for check in &checks {
        match &check.found {
            Ok(found) => {
                output::line(format!("{} {}  {}", paint::good("✓"), check.name, paint::faint(found)))
            }
            Err(cure) => {
                let sign = if check.required { paint::bad("✗") } else { paint::warn("!") };
                output::line(format!(
                    "{sign} {}  {}",
                    check.name,
                    paint::faint(format!("for {}", check.needed_for))
                ));
                output::line(format!("    {cure}"));
            }
        }
    }
    output::line(if missing { paint::bad("not ready") } else { paint::good("ready") });
    Ok(u8::from(missing))
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
