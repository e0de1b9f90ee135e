//! How vendors tell their limits: headers on every answer, and waits in all their forms.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::scenario::{Vendor, WaitForm};

/// A header.
pub(crate) type Header = (&'static str, String);

/// Now, for dates in headers: a vendor's clock, which is nobody's business but its own.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Seconds since 1970, as `created` in answers.
pub(crate) fn created() -> i64 {
    now().as_second()
}

/// The headers that stand on every answer, errors too. `limited`: the rate limit is used up for so many seconds.
pub(crate) fn headers(vendor: Vendor, number: usize, limited: Option<f64>) -> Vec<Header> {
    let id = format!("req_{number:012}");
    let left = if limited.is_some() { 0 } else { u64::MAX };
    let span = Duration::try_from_secs_f64(limited.unwrap_or(60.0)).unwrap_or_default();
    match vendor {
        Vendor::Anthropic => {
            let reset = now().saturating_add(span).map(|at| at.to_string()).unwrap_or_default();
            let mut all = vec![
                ("request-id", id),
                ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000".into()),
            ];
            for (limit, remaining, until, most) in [
                (
                    "anthropic-ratelimit-requests-limit",
                    "anthropic-ratelimit-requests-remaining",
                    "anthropic-ratelimit-requests-reset",
                    4000,
                ),
                (
                    "anthropic-ratelimit-tokens-limit",
                    "anthropic-ratelimit-tokens-remaining",
                    "anthropic-ratelimit-tokens-reset",
                    400_000,
                ),
                (
                    "anthropic-ratelimit-input-tokens-limit",
                    "anthropic-ratelimit-input-tokens-remaining",
                    "anthropic-ratelimit-input-tokens-reset",
                    320_000,
                ),
                (
                    "anthropic-ratelimit-output-tokens-limit",
                    "anthropic-ratelimit-output-tokens-remaining",
                    "anthropic-ratelimit-output-tokens-reset",
                    80_000,
                ),
            ] {
                all.extend([
                    (limit, most.to_string()),
                    (remaining, left.min(most).to_string()),
                    (until, reset.clone()),
                ]);
            }
            all
        }
        Vendor::Openai => vec![
            ("x-request-id", id),
            ("openai-version", "2020-10-01".into()),
            ("openai-processing-ms", "12".into()),
            ("x-ratelimit-limit-requests", "10000".into()),
            ("x-ratelimit-remaining-requests", left.min(9999).to_string()),
            ("x-ratelimit-reset-requests", format!("{}ms", span.as_millis())),
            ("x-ratelimit-limit-tokens", "2000000".into()),
            ("x-ratelimit-remaining-tokens", "1999000".into()),
            ("x-ratelimit-reset-tokens", "6m0s".into()),
        ],
        Vendor::Openrouter => vec![("x-generation-id", format!("gen-{number:012}"))],
        Vendor::Gemini => vec![("x-gemini-service-tier", "standard".into())],
        Vendor::Deepseek => vec![("x-ds-trace-id", id)],
        Vendor::Ollama => Vec::new(),
    }
}

/// How a wait is told: in a header, in words, in details of the body.
#[derive(Default)]
pub(crate) struct Wait {
    pub headers: Vec<Header>,
    pub words: String,
    pub details: Vec<Value>,
}

pub(crate) fn wait(form: WaitForm, seconds: f64) -> Wait {
    let span = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let header = |name, value: String| Wait { headers: vec![(name, value)], ..Wait::default() };
    match form {
        WaitForm::Seconds => header("retry-after", span.as_secs_f64().ceil().to_string()),
        WaitForm::Decimals => header("retry-after", seconds.to_string()),
        WaitForm::Date => {
            let at = now().saturating_add(span).unwrap_or_default();
            let date = at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            header("retry-after", date)
        }
        WaitForm::Millis => header("retry-after-ms", span.as_millis().to_string()),
        WaitForm::RetryInfo => Wait {
            details: vec![json!({
                "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s"),
            })],
            ..Wait::default()
        },
        WaitForm::Words => Wait { words: format!(" Please try again in {seconds}s."), ..Wait::default() },
        WaitForm::Untold => Wait::default(),
    }
}
