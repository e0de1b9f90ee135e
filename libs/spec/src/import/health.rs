//! A service's health check as a probe: an HTTP probe where the command is plainly one, else the command itself.

use std::sync::LazyLock;

use regex::Regex;

use super::{
    Import, Service,
    ports::Port,
    quantities, words,
    yaml::{Out, map, text, texts, word},
};
use crate::document::{Kind, Node, shown_word};

/// A request to the container itself, whatever the tool's options.
static REQUEST: LazyLock<Regex> = LazyLock::new(|| {
    #[allow(clippy::expect_used, reason = "a constant that a test compiles")]
    Regex::new(r"^(?:https?://)?(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::([0-9]{1,5}))?(/[^\s?#]*(?:\?[^\s#]*)?)?$")
        .expect("a regular expression")
});

/// What makes a command more than one request.
const SHELL: [char; 8] = ['|', '&', ';', '<', '>', '`', '$', '('];

impl Import {
    /// The field `health`. A port that is only probed is added to the ports.
    pub(super) fn health(&mut self, service: &Service<'_>, ports: &mut Vec<Port>) -> Option<Out> {
        let check = service.node.get("healthcheck")?;
        if matches!(check.get("disable").map(|node| &node.kind), Some(Kind::Bool(true))) {
            self.note(format!("{}: its health check is switched off; the module has none", service.name));
            return None;
        }
        let Some(test) = check.get("test") else {
            self.note(format!("{}: the health check of its image is not carried over", service.name));
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
            Some((kind, [])) if kind == "NONE" => {
                self.note(format!("{}: its health check is switched off; the module has none", service.name));
                return None;
            }
            Some((kind, words)) if kind == "CMD" && !words.is_empty() => {
                self.request(words, ports).unwrap_or_else(|| map([("command", texts(words.to_vec()))]))
            }
            Some((kind, [line])) if kind == "CMD-SHELL" => {
                let shell =
                    || map([("command", texts(["/bin/sh".to_owned(), "-c".to_owned(), line.clone()]))]);
                let plain = line.trim().trim_end_matches("|| exit 1").trim();
                let words = if plain.contains(SHELL) { None } else { words::split(plain) };
                words.and_then(|words| self.request(&words, ports)).unwrap_or_else(shell)
            }
            _ => {
                return self
                    .object_to(&path.field("test"), "the test begins with none of CMD, CMD-SHELL and NONE");
            }
        };
        let mut health = vec![("probe".to_owned(), probe)];
        health.extend(self.times(service, check));
        Some(Out::Map(health))
    }

    fn times(&mut self, service: &Service<'_>, check: &Node) -> Vec<(String, Out)> {
        let path = service.path.field("healthcheck");
        let mut fields = Vec::new();
        let mut start = None;
        for entry in check.entries() {
            let path = path.field(&entry.key);
            let name = match entry.key.as_str() {
                "interval" => "interval",
                "timeout" => "timeout",
                "start_period" => "start",
                "retries" => {
                    match self.scalar(&entry.value, &path).and_then(|text| text.parse::<u32>().ok()) {
                        Some(count) if count > 0 => {
                            fields.push(("unhealthyThreshold".to_owned(), word(count)))
                        }
                        _ => {
                            self.note(format!("{}: `retries` of its health check is no number", service.name))
                        }
                    }
                    continue;
                }
                "test" | "disable" => continue,
                key => {
                    self.note(format!(
                        "{}: `{}` of its health check is not carried over",
                        service.name,
                        shown_word(key)
                    ));
                    continue;
                }
            };
            let Some(given) = self.scalar(&entry.value, &path) else { continue };
            match quantities::span(&given).filter(|span| !span.0.is_zero() && span.0.as_secs() <= 3600) {
                Some(span) if name == "start" => start = Some(span),
                Some(span) => fields.push((name.to_owned(), text(&span.to_string()))),
                None if name == "start" && matches!(given.as_str(), "0" | "0s") => {}
                None => self.note(format!(
                    "{}: `{}: {}` of its health check is not carried over",
                    service.name,
                    entry.key,
                    shown_word(&given)
                )),
            }
        }
        if let Some(start) = start.filter(|start| start.0.as_secs() > 60) {
            fields.push(("healthyDeadline".to_owned(), text(&start.to_string())));
            self.note(format!(
                "{}: an instance has {start} to become healthy, its start period",
                service.name
            ));
        }
        fields
    }

    /// An HTTP probe, when the command is curl or wget asking the container itself.
    fn request(&mut self, command: &[String], ports: &mut Vec<Port>) -> Option<Out> {
        let (program, options) = command.split_first()?;
        if !matches!(program.rsplit('/').next(), Some("curl" | "wget")) {
            return None;
        }
        let plain = |option: &&String| {
            matches!(
                option.trim_start_matches('-'),
                "f" | "fs"
                    | "fsS"
                    | "sf"
                    | "sSf"
                    | "fsSL"
                    | "s"
                    | "S"
                    | "L"
                    | "q"
                    | "qO"
                    | "O"
                    | "o"
                    | "nv"
                    | "I"
                    | "fail"
                    | "silent"
                    | "show-error"
                    | "location"
                    | "spider"
                    | "quiet"
                    | "no-verbose"
                    | "tries=1"
                    | "/dev/null"
                    | ""
                    | "output-document=-"
                    | "qO-"
                    | "O-"
                    | "head"
            )
        };
        let others: Vec<&String> = options.iter().filter(|option| !plain(option)).collect();
        let [url] = others[..] else { return None };
        if url.starts_with("https") {
            return None;
        }
        let found = REQUEST.captures(url)?;
        let port = match found.get(1) {
            Some(port) => Port(port.as_str().parse().ok().filter(|port| *port > 0)?),
            None => Port(80),
        };
        let asked = found.get(2).map_or("/", |path| path.as_str());
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
