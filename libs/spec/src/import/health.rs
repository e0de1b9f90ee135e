//! A service's health check as a probe: an HTTP probe where the command is plainly one, else the command itself.

use std::{sync::LazyLock, time::Duration};

use model::{Span, placeholder::literal};
use regex::Regex;

use super::{
    Import, Service, is_empty,
    names::is_true,
    ports::Port,
    quantities, words,
    yaml::{Out, map, text, texts, word},
};
use crate::document::{Kind, Node, shown_word};

/// Longest time of a health check that is carried over, in seconds.
const LONGEST: u64 = 24 * 3600;

/// A request to the container itself, whatever the tool's options.
static REQUEST: LazyLock<Regex> = LazyLock::new(|| {
    #[allow(clippy::expect_used, reason = "a constant that a test compiles")]
    Regex::new(r"^(?:https?://)?(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::([0-9]{1,5}))?(/[^\s?#]*(?:\?[^\s#]*)?)?$")
        .expect("a regular expression")
});

/// What makes a command more than one request.
const SHELL: [char; 8] = ['|', '&', ';', '<', '>', '`', '$', '('];

/// What Docker takes where a health check leaves its times open.
const INTERVAL: Span = Span(Duration::from_secs(30));
const TIMEOUT: Span = Span(Duration::from_secs(30));
const RETRIES: u32 = 3;

/// How long an instance may take here to become healthy when a spec says nothing.
const DEADLINE: Duration = Duration::from_secs(60);

/// The times of a health check.
struct Times {
    interval: Span,
    timeout: Span,
    start: Span,
    retries: u32,
}

impl Import {
    /// The field `health`. A port that is only probed is added to the ports.
    pub(super) fn health(&mut self, service: &Service<'_>, ports: &mut Vec<Port>) -> Option<Out> {
        let check = service.node.get("healthcheck").filter(|check| check.kind != Kind::Null)?;
        let name = service.name;
        if check.get("disable").is_some_and(is_true) {
            self.note(format!("{name}: its health check is switched off; the module has none"));
            return None;
        }
        let Some(test) = check.get("test").filter(|test| test.kind != Kind::Null) else {
            self.note(format!("{name}: the health check of its image is not carried over"));
            return None;
        };
        let path = service.path.field("healthcheck");
        let command = match &test.kind {
            Kind::List(items) => {
                let mut given = Vec::new();
                for (at, item) in items.iter().enumerate() {
                    given.extend(self.scalar(item, &path.field("test").index(at)));
                }
                given
            }
            _ => vec!["CMD-SHELL".to_owned(), self.scalar(test, &path.field("test"))?],
        };
        let probe = match command.split_first() {
            Some((kind, _)) if kind == "NONE" => {
                self.note(format!("{name}: its health check is switched off; the module has none"));
                return None;
            }
            Some((kind, words)) if kind == "CMD" && !words.is_empty() => {
                self.request(service, words, ports).unwrap_or_else(|| command_probe(words))
            }
            Some((kind, words)) if kind == "CMD-SHELL" && !words.is_empty() => {
                self.shell(service, words, ports)
            }
            _ => {
                return self
                    .object_to(&path.field("test"), "the test begins with none of CMD, CMD-SHELL and NONE");
            }
        };
        let times = self.times(service, check);
        let mut health = vec![("probe".to_owned(), probe)];
        health.extend(self.fields(name, &times));
        Some(Out::Map(health))
    }

    /// Docker gives the shell all words that follow, of which it runs the first; the others are its `$0`, `$1`, …
    fn shell(&mut self, service: &Service<'_>, words: &[String], ports: &mut Vec<Port>) -> Out {
        if let [line] = words {
            let plain = line.trim().trim_end_matches("|| exit 1").trim();
            let words = if plain.contains(SHELL) { None } else { words::split(plain) };
            if let Some(http) = words.and_then(|words| self.request(service, &words, ports)) {
                return http;
            }
        } else {
            self.note(format!(
                "{}: of its CMD-SHELL check only the first word is run, by Docker too: write one text, or CMD",
                service.name
            ));
        }
        let shell = ["/bin/sh".to_owned(), "-c".to_owned()];
        command_probe(&[shell.as_slice(), words].concat())
    }

    fn times(&mut self, service: &Service<'_>, check: &Node) -> Times {
        let path = service.path.field("healthcheck");
        let mut times =
            Times { interval: INTERVAL, timeout: TIMEOUT, start: Span::seconds(0), retries: RETRIES };
        for entry in check.entries().iter().filter(|entry| !is_empty(&entry.value)) {
            let (name, key) = (service.name, entry.key.as_str());
            let place = match key {
                "interval" => &mut times.interval,
                "timeout" => &mut times.timeout,
                "start_period" => &mut times.start,
                "retries" => {
                    match self.scalar(&entry.value, &path.field(key)).map(|text| text.parse::<u32>()) {
                        // Docker takes 0 for its default.
                        Some(Ok(0)) => {}
                        Some(Ok(count)) => times.retries = count,
                        _ => self.note(format!("{name}: `retries` of its health check is no number")),
                    }
                    continue;
                }
                "test" | "disable" => continue,
                key if key.starts_with("x-") => continue,
                "start_interval" => {
                    self.note(format!(
                        "{name}: `start_interval` of its health check is not carried over: `interval` holds from the \
                         start"
                    ));
                    continue;
                }
                key => {
                    let key = shown_word(key);
                    self.note(format!("{name}: `{key}` of its health check is not carried over"));
                    continue;
                }
            };
            let Some(given) = self.scalar(&entry.value, &path.field(key)) else { continue };
            match quantities::span(&given).filter(|span| span.0.as_secs() <= LONGEST) {
                Some(span) if span.0.is_zero() => {}
                Some(span) => {
                    *place = span;
                    if given.trim().parse::<f64>().is_ok() {
                        self.note(format!(
                            "{name}: `{key}: {given}` is taken for seconds; Compose wants a unit"
                        ));
                    }
                }
                None => {
                    let given = shown_word(&given);
                    self.note(format!("{name}: `{key}: {given}` of its health check is not carried over"));
                }
            }
        }
        times
    }

    /// An instance is healthy with the first probe that succeeds, and given up when the start period is over and as
    /// many in a row as `retries` says have failed.
    fn fields(&mut self, name: &str, times: &Times) -> Vec<(String, Out)> {
        let Times { interval, timeout, start, retries } = *times;
        let allowed = start.0.saturating_add(interval.0.saturating_mul(retries));
        let deadline = Span(allowed.min(Duration::from_secs(24 * 3600)).max(DEADLINE));
        if deadline.0 > allowed {
            let allowed = Span(allowed);
            self.note(format!(
                "{name}: an instance has {deadline} to become healthy; Compose calls it unhealthy after {allowed}"
            ));
        } else if deadline.0 < allowed {
            self.note(format!("{name}: an instance has {deadline} to become healthy, the most there is"));
        }
        vec![
            ("interval".to_owned(), text(&interval.to_string())),
            ("timeout".to_owned(), text(&timeout.to_string())),
            ("healthyAfter".to_owned(), text("0s")),
            ("healthyDeadline".to_owned(), text(&deadline.to_string())),
            ("unhealthyThreshold".to_owned(), word(retries)),
        ]
    }

    /// An HTTP probe, when the command asks the container itself and fails as a probe does: by an answer of 400 or
    /// more. `curl` does so only with `-f`; one that follows redirects or sends another method stays a command.
    fn request(&mut self, service: &Service<'_>, command: &[String], ports: &mut Vec<Port>) -> Option<Out> {
        let (program, options) = command.split_first()?;
        let program = program.rsplit('/').next().unwrap_or_default();
        let (harmless, fails): (&[&str], bool) = match program {
            "curl" => {
                let fails = options.iter().any(|option| {
                    matches!(option.as_str(), "-f" | "-fs" | "-fsS" | "-sf" | "-sSf" | "--fail")
                });
                (
                    &[
                        "-f",
                        "-fs",
                        "-fsS",
                        "-sf",
                        "-sSf",
                        "--fail",
                        "-s",
                        "-S",
                        "-sS",
                        "--silent",
                        "--show-error",
                        "-o",
                        "/dev/null",
                    ],
                    fails,
                )
            }
            "wget" => (
                &[
                    "-q",
                    "--quiet",
                    "-nv",
                    "--no-verbose",
                    "-O",
                    "-O-",
                    "-qO-",
                    "-qO",
                    "-",
                    "/dev/null",
                    "--spider",
                    "--tries=1",
                    "--output-document=-",
                ],
                true,
            ),
            _ => return None,
        };
        let others: Vec<&String> =
            options.iter().filter(|option| !harmless.contains(&option.as_str())).collect();
        let [url] = others[..] else { return None };
        if url.starts_with("https") || !fails {
            return None;
        }
        let found = REQUEST.captures(url)?;
        let port = match found.get(1) {
            Some(port) => Port(port.as_str().parse().ok().filter(|port| *port > 0)?),
            None => Port(80),
        };
        let asked = found.get(2).map_or("/", |path| path.as_str());
        self.note(format!(
            "{}: {program} became a probe from outside, GET {} on port {}: it must listen on more than localhost",
            service.name,
            shown_word(asked),
            port.0
        ));
        let mut http = vec![("path".to_owned(), text(asked))];
        if !ports.contains(&port) {
            ports.push(port);
        }
        if ports.first() != Some(&port) {
            http.push(("port".to_owned(), text(&port.name())));
        }
        Some(map([("http", Out::Map(http))]))
    }
}

fn command_probe(words: &[String]) -> Out {
    map([("command", texts(words.iter().map(|word| literal(word))))])
}
