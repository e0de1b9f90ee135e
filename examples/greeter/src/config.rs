//! What the greeter can be told, by environment or by flag. A flag wins over the environment.
//!
//! Unknown flags are refused. Unknown variables are not: Kubernetes adds `GREETER_SERVICE_HOST` and the
//! like to whatever runs beside a service of that name.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

/// Every setting: its flag, its variable and what it means.
const SETTINGS: &[(&str, &str, &str)] = &[
    ("--port", "PORT", "0 to 65535, 0 takes a free one and says which; default 8080"),
    ("--host", "GREETER_HOST", "address to listen on; default 0.0.0.0, as a container needs it"),
    ("--version", "GREETER_VERSION", "what it says its version is; default dev"),
    ("--instance", "CODE_INSTANCE", "what it says its name is; default local"),
    ("--error-rate", "GREETER_ERROR_RATE", "0 to 1, share of / and /echo answered with 500; default 0"),
    ("--latency", "GREETER_LATENCY", "wait before each answer of / and /echo, such as 20ms; default 0ms"),
    ("--start-delay", "GREETER_START_DELAY", "wait before it listens, such as 2s; default 0ms"),
    ("--never-ready", "GREETER_NEVER_READY", "true: /health always answers 503; default false"),
    ("--crash-after", "GREETER_CRASH_AFTER", "end at this age, such as 3s, without finishing anything"),
    ("--exit-code", "GREETER_EXIT_CODE", "0 to 255, of that end; default 1; alone: end at once"),
    ("--leak", "GREETER_LEAK", "memory kept for each / and /echo, such as 64KiB, up to 1 GiB in all"),
    ("--openapi", "GREETER_OPENAPI", "file with the JSON of /openapi.json; default: a built-in document"),
    ("--effect-ledger", "CODE_EFFECT_LEDGER", "file that gets one line per start and per clean stop"),
];

#[derive(Debug, PartialEq)]
pub enum Command {
    Serve(Config),
    Help,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub host: IpAddr,
    pub port: u16,
    pub version: String,
    pub instance: String,
    /// 0 to 1.
    pub error_rate: f64,
    pub latency: Duration,
    pub start_delay: Duration,
    pub never_ready: bool,
    pub crash: Option<Crash>,
    /// Bytes kept for each request.
    pub leak: usize,
    pub openapi: Option<PathBuf>,
    pub effect_ledger: Option<PathBuf>,
}

/// The planned end. With exit code 0 it is the end of a job that is done, and counts as a clean stop.
#[derive(Debug, Clone, PartialEq)]
pub struct Crash {
    /// Since the start of the process; the start delay counts.
    pub after: Duration,
    pub exit_code: u8,
}

#[derive(Debug, PartialEq)]
pub enum Invalid {
    UnknownFlag(String),
    MissingValue(String),
    Value { variable: &'static str, value: String, wanted: &'static str },
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFlag(flag) => write!(f, "unknown flag {flag}; --help names those there are"),
            Self::MissingValue(flag) => write!(f, "flag {flag} needs a value"),
            Self::Value { variable, value, wanted } => write!(f, "{variable} is {value:?}, not {wanted}"),
        }
    }
}

pub fn help() -> String {
    let mut text = "usage: greeter [FLAG VALUE]...   a small HTTP service to deploy\n\n".to_owned();
    for (flag, variable, meaning) in SETTINGS {
        text += &format!("  {flag:<16} {variable:<20} {meaning}\n");
    }
    text + "\nAnswers GET /, GET /health, GET /openapi.json and POST /echo.\n"
}

/// `--flag value` and `--flag=value` are the same.
pub fn read(
    arguments: impl Iterator<Item = String>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Command, Invalid> {
    let mut given: HashMap<&str, String> = HashMap::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        if argument == "--help" || argument == "-h" {
            return Ok(Command::Help);
        }
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        let Some((_, variable, _)) = SETTINGS.iter().find(|(known, ..)| *known == flag) else {
            return Err(Invalid::UnknownFlag(flag));
        };
        let value = value.or_else(|| arguments.next()).ok_or(Invalid::MissingValue(flag))?;
        given.insert(variable, value);
    }
    // A variable that is set to nothing is as good as not set: templates leave such behind.
    let text = &|variable: &'static str| {
        given.get(variable).cloned().or_else(|| environment(variable)).filter(|value| !value.is_empty())
    };
    let crash_after = parsed(text, "GREETER_CRASH_AFTER", "a duration such as 20ms, 1.5s or 2m", duration)?;
    let exit_code =
        parsed(text, "GREETER_EXIT_CODE", "an exit code from 0 to 255", |code| code.parse().ok())?;
    Ok(Command::Serve(Config {
        host: parsed(text, "GREETER_HOST", "an IP address", |host| host.parse().ok())?
            .unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
        port: parsed(text, "PORT", "a port from 0 to 65535", |port| port.parse().ok())?.unwrap_or(8080),
        version: text("GREETER_VERSION").unwrap_or_else(|| "dev".to_owned()),
        instance: text("CODE_INSTANCE").unwrap_or_else(|| "local".to_owned()),
        error_rate: parsed(text, "GREETER_ERROR_RATE", "a share from 0 to 1", share)?.unwrap_or(0.0),
        latency: parsed(text, "GREETER_LATENCY", "a duration such as 20ms, 1.5s or 2m", duration)?
            .unwrap_or_default(),
        start_delay: parsed(text, "GREETER_START_DELAY", "a duration such as 20ms, 1.5s or 2m", duration)?
            .unwrap_or_default(),
        never_ready: parsed(text, "GREETER_NEVER_READY", "true or false", truth)?.unwrap_or(false),
        crash: (crash_after.is_some() || exit_code.is_some())
            .then(|| Crash { after: crash_after.unwrap_or_default(), exit_code: exit_code.unwrap_or(1) }),
        leak: parsed(text, "GREETER_LEAK", "a size such as 64KiB or 1MiB", size)?.unwrap_or(0),
        openapi: text("GREETER_OPENAPI").map(PathBuf::from),
        effect_ledger: text("CODE_EFFECT_LEDGER").map(PathBuf::from),
    }))
}

fn parsed<T>(
    text: &impl Fn(&'static str) -> Option<String>,
    variable: &'static str,
    wanted: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Invalid> {
    let Some(value) = text(variable) else { return Ok(None) };
    match parse(value.trim()) {
        Some(parsed) => Ok(Some(parsed)),
        None => Err(Invalid::Value { variable, value, wanted }),
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

fn size(text: &str) -> Option<usize> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit {
        "" | "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        _ => return None,
    };
    Some((number * factor) as usize)
}

/// `1.5s` is 1.5 and `s`. Signs and exponents are no part of a number here.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

fn share(text: &str) -> Option<f64> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share))
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "true" | "yes" => Some(true),
        "0" | "false" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Command, Invalid> {
        read(arguments.iter().map(|argument| (*argument).to_owned()), |name| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn config(arguments: &[&str], environment: &[(&str, &str)]) -> Config {
        match read_from(arguments, environment).unwrap() {
            Command::Serve(config) => config,
            Command::Help => panic!("asked for help"),
        }
    }

    #[test]
    fn a_flag_wins_over_the_environment() {
        let config = config(&["--port", "1", "--version=b"], &[("PORT", "2"), ("GREETER_VERSION", "a")]);

        assert_eq!((config.port, config.version.as_str()), (1, "b"));
    }

    #[test]
    fn nothing_set_means_a_service_that_behaves() {
        let config = config(&[], &[("GREETER_CRASH_AFTER", "")]);

        assert_eq!((config.port, config.error_rate, config.leak), (8080, 0.0, 0));
        assert_eq!((config.crash, config.never_ready), (None, false));
    }

    #[test]
    fn durations_and_sizes_have_units() {
        let config = config(
            &[],
            &[("GREETER_LATENCY", "20ms"), ("GREETER_START_DELAY", "1.5s"), ("GREETER_LEAK", "64KiB")],
        );

        assert_eq!(config.latency, Duration::from_millis(20));
        assert_eq!(config.start_delay, Duration::from_millis(1500));
        assert_eq!(config.leak, 65_536);
    }

    #[test]
    fn an_exit_code_alone_ends_at_once() {
        let config = config(&[], &[("GREETER_EXIT_CODE", "3")]);

        assert_eq!(config.crash, Some(Crash { after: Duration::ZERO, exit_code: 3 }));
    }

    #[test]
    fn what_does_not_parse_is_refused_with_its_name_and_value() {
        let refused = [
            ("GREETER_LATENCY", "20"),
            ("GREETER_LATENCY", "-1s"),
            ("GREETER_ERROR_RATE", "1.1"),
            ("GREETER_ERROR_RATE", "NaN"),
            ("GREETER_EXIT_CODE", "256"),
            ("GREETER_NEVER_READY", "maybe"),
            ("PORT", "http"),
        ];

        for (variable, value) in refused {
            let message = read_from(&[], &[(variable, value)]).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{variable} is \"{value}\", not ")), "{message}");
        }
        assert_eq!(read_from(&["--prot", "1"], &[]), Err(Invalid::UnknownFlag("--prot".to_owned())));
        assert_eq!(read_from(&["--port"], &[]), Err(Invalid::MissingValue("--port".to_owned())));
    }

    #[test]
    fn help_names_every_setting() {
        assert_eq!(read_from(&["--port", "1", "--help"], &[]), Ok(Command::Help));
        assert!(
            SETTINGS.iter().all(|(flag, variable, _)| help().contains(flag) && help().contains(variable))
        );
    }
}
