//! Requests that must succeed against a revision: every one with what came back.

use model::{Digest, GateResult, Outcome, Span, Timestamp, Token, plan::Revision, spec::Smoke};
use serde::{Deserialize, Serialize};
use stats::Histogram;

use crate::verdict::verdict;

/// Requests that are listed; the others are only counted.
const LISTED: usize = 1000;

/// A smoke test that was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Smoked {
    /// The module.
    pub module: Token,
    /// The revision that was asked.
    pub revision: Revision,
    /// What was asked and expected.
    pub test: Smoke,
    /// How long an answer could take.
    pub timeout: Span,
    /// The requests, at most 1,000, in the order in which they ended.
    pub requests: Vec<Request>,
    /// The requests after these, of which only numbers are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<More>,
}

/// One request and what came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Which way it went: an instance, or the data plane.
    pub way: String,
    /// What was asked for.
    pub url: String,
    /// It went through the data plane, which was asked for this revision.
    pub preview: bool,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// The status; none: there was no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Digest of the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Digest>,
    /// Whether the body contained the text that was asked for; none: none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contained: Option<bool>,
    /// The revision that said to have answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why there was no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Requests that were only counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct More {
    /// How many.
    pub requests: u64,
    /// Of these, not as expected.
    pub failed: u64,
    /// Latencies of those that were as expected.
    pub latency: Histogram,
}

impl Request {
    /// What was wrong with it; none: it was as expected.
    pub fn wrong(&self, test: &Smoke, revision: &Revision) -> Option<String> {
        let url = &self.url;
        if let Some(error) = &self.error {
            return Some(error.clone());
        }
        match self.status {
            Some(status) if status == test.status => {}
            Some(status) => return Some(format!("GET {url} answered {status}, expected {}", test.status)),
            None => return Some(format!("GET {url} was not answered")),
        }
        if let Some(text) = &test.contains
            && self.contained != Some(true)
        {
            return Some(format!("GET {url} answered without {text:?}"));
        }
        let by = self.by.as_ref().filter(|by| self.preview && by.as_str() != revision.as_str());
        by.map(|by| format!("GET {url} was answered by revision {by}"))
    }
}

impl Smoked {
    /// Nothing asked yet.
    pub fn new(module: &Token, revision: &Revision, test: &Smoke, timeout: Span) -> Smoked {
        let (module, revision, test) = (module.clone(), revision.clone(), test.clone());
        Smoked { module, revision, test, timeout, requests: Vec::new(), more: None }
    }

    /// Takes a request in; what was wrong with it.
    pub fn take(&mut self, request: Request) -> Option<String> {
        let wrong = request.wrong(&self.test, &self.revision);
        if self.requests.len() < LISTED {
            self.requests.push(request);
            return wrong;
        }
        let more = self.more.get_or_insert_default();
        more.requests += 1;
        match &wrong {
            Some(_) => more.failed += 1,
            None => more.latency.record_micros(request.micros),
        }
        wrong
    }

    /// No request may fail.
    pub fn judge(&self, at: Timestamp) -> GateResult {
        let more = self.more.clone().unwrap_or_default();
        let (mut failed, mut latency) = (more.failed, more.latency);
        for request in &self.requests {
            match request.wrong(&self.test, &self.revision) {
                Some(_) => failed += 1,
                None => latency.record_micros(request.micros),
            }
        }
        let asked = more.requests.saturating_add(self.requests.len() as u64);
        let quantile = |q| {
            latency.quantile(q).map_or("-".to_owned(), |micros| {
                format!("{} ms", model::number((micros / 100.0).round() / 10.0))
            })
        };
        let (half, most) = (quantile(0.5), quantile(0.99));
        let text = format!("{failed} of {asked} requests failed; half within {half}, 99 % within {most}");
        let good = failed == 0 && asked > 0;
        let outcome = if good { Outcome::Succeeded } else { Outcome::Failed };
        let measured = Some(failed as f64);
        verdict(&self.test.gate(), (outcome, measured), Smoke::LIMIT.to_owned(), asked, text, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smoked(contains: Option<&str>) -> Smoked {
        let test = Smoke {
            path: "/health".to_owned(),
            status: 200,
            contains: contains.map(str::to_owned),
            times: 1,
        };
        let revision = "bbb".parse().unwrap();
        Smoked::new(&"web".parse().unwrap(), &revision, &test, Span::seconds(5))
    }

    fn good() -> Request {
        Request {
            way: "the data plane".to_owned(),
            url: "http://127.0.0.1:80/health".to_owned(),
            preview: true,
            at: Timestamp(1),
            micros: 900,
            status: Some(200),
            body: Some(Digest::of_bytes(b"ok")),
            contained: Some(true),
            by: Some("bbb".to_owned()),
            error: None,
        }
    }

    #[test]
    fn a_request_is_as_expected_in_all_that_was_asked() {
        for (request, wrong) in [
            (good(), None),
            (Request { status: Some(500), ..good() }, Some("answered 500, expected 200")),
            (Request { status: None, ..good() }, Some("was not answered")),
            (Request { contained: Some(false), ..good() }, Some("without \"up\"")),
            (Request { contained: None, ..good() }, Some("without \"up\"")),
            (Request { by: Some("aaa".to_owned()), ..good() }, Some("by revision aaa")),
            (Request { by: Some("aaa".to_owned()), preview: false, ..good() }, None),
            (Request { error: Some("refused".to_owned()), ..good() }, Some("refused")),
        ] {
            let mut smoked = smoked(Some("up"));
            let told = smoked.take(request);

            let gate = smoked.judge(Timestamp(2));
            assert_eq!(told.is_some(), wrong.is_some(), "{told:?}");
            assert!(told.unwrap_or_default().contains(wrong.unwrap_or_default()));
            assert_eq!(gate.outcome == Outcome::Succeeded, wrong.is_none());
            assert_eq!((gate.measured, gate.samples), (Some(f64::from(u8::from(wrong.is_some()))), 1));
        }
    }

    #[test]
    fn ten_thousand_requests_are_counted_and_a_thousand_of_them_are_listed() {
        let mut smoked = smoked(None);
        for at in 0..10_000_u32 {
            smoked.take(Request { status: Some(if at % 1000 == 7 { 500 } else { 200 }), ..good() });
        }

        let gate = smoked.judge(Timestamp(2));

        assert_eq!((gate.measured, gate.samples, gate.outcome), (Some(10.0), 10_000, Outcome::Failed));
        assert_eq!(smoked.requests.len(), LISTED);
        assert!(serde_json::to_vec(&smoked).unwrap().len() < crate::MOST_BYTES);
    }

    #[test]
    fn no_request_at_all_is_no_pass() {
        assert_eq!(smoked(None).judge(Timestamp(2)).outcome, Outcome::Failed);
    }
}
