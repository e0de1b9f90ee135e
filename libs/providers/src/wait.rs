//! How long a vendor wants us to stay away, in all the forms in which vendors say it.
//!
//! In this order: `retry-after-ms`, `retry-after` (seconds, decimals, an HTTP date), Google's `RetryInfo` in the body,
//! "try again in 1.5s" in a message, and the reset time of a rate limit whose remainder is nothing. A date is read
//! against the answer's own `date` header, so that our clock does not matter; against our clock where there is none.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// The longest wait that is believed: a vendor that says 10⁶ seconds means "not today".
pub const LONGEST: Duration = Duration::from_secs(3600);

/// The wait asked for, at most [`LONGEST`]. None: the vendor does not say, or says nonsense.
pub fn asked(headers: &HeaderMap, body: &Value) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let date = text("date").and_then(http_date).unwrap_or_else(Timestamp::now);

    let wait = text("retry-after-ms")
        .and_then(|millis| seconds(millis).map(|wait| wait / 1000))
        .or_else(|| {
            text("retry-after").and_then(|value| seconds(value).or_else(|| until(http_date(value)?, date)))
        })
        .or_else(|| retry_info(body))
        .or_else(|| in_words(body))
        .or_else(|| {
            let spent = ["requests", "tokens", "input-tokens", "output-tokens"];
            let waits = spent.iter().filter_map(|what| {
                let openai = text(&format!("x-ratelimit-remaining-{what}"))
                    .filter(|left| *left == "0")
                    .and_then(|_| go_duration(text(&format!("x-ratelimit-reset-{what}"))?));
                let anthropic = text(&format!("anthropic-ratelimit-{what}-remaining"))
                    .filter(|left| *left == "0")
                    .and_then(|_| {
                        text(&format!("anthropic-ratelimit-{what}-reset"))?.parse::<Timestamp>().ok()
                    })
                    .and_then(|at| until(at, date));
                openai.or(anthropic)
            });
            waits.max()
        })?;
    Some(wait.min(LONGEST))
}

/// The vendor's word on whether to ask again.
pub fn should_retry(headers: &HeaderMap) -> Option<bool> {
    match headers.get("x-should-retry")?.as_bytes() {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// A number of seconds, whole or not. Not a number, negative or endless: none.
fn seconds(text: &str) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    let sound = number.is_finite() && number >= 0.0;
    // Nothing beyond the longest wait matters, and a duration cannot hold everything a float can.
    sound.then(|| Duration::from_secs_f64(number.min(1e9)))
}

/// All three date formats that RFC 9110 obliges a client to read, and the same as in mail, with a zone in digits.
fn http_date(text: &str) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(text).ok().and_then(|at| Timestamp::try_from(at).ok());
    date.or_else(|| jiff::fmt::rfc2822::parse(text).ok().map(|at| at.timestamp()))
}

fn until(at: Timestamp, now: Timestamp) -> Option<Duration> {
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

/// `error.details[] { "@type": "…RetryInfo", "retryDelay": "38s" }`; in streams the error may stand in an array.
fn retry_info(body: &Value) -> Option<Duration> {
    let body = body.get(0).unwrap_or(body);
    let details = body.get("error")?.get("details")?.as_array()?;
    let delay = details.iter().find_map(|detail| {
        detail.get("@type")?.as_str()?.ends_with("RetryInfo").then(|| detail.get("retryDelay")?.as_str())?
    })?;
    seconds(delay.strip_suffix('s')?)
}

/// "try again in 1.5s", "retry in 20ms", "in 2 minutes", as in OpenAI's and Google's messages.
fn in_words(body: &Value) -> Option<Duration> {
    let body = body.get(0).unwrap_or(body);
    let error = body.get("error").unwrap_or(body);
    let message = error.get("message").or(Some(error))?.as_str()?.to_ascii_lowercase();
    let start = ["try again in ", "retry in ", "retry after "]
        .iter()
        .find_map(|phrase| Some(message.find(phrase)? + phrase.len()))?;
    let rest = &message[start..];
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
    // The full stop of "in 20." belongs to the sentence.
    let number: f64 = rest[..end].trim_end_matches('.').parse().ok()?;
    let unit = rest[end..].trim_start();
    // "6m0s" is one duration of Go's.
    if let Some(whole) = go_duration(rest.split_whitespace().next()?.trim_end_matches(['.', ','])) {
        return Some(whole);
    }
    let scale = if unit.starts_with("ms") || unit.starts_with("milli") {
        0.001
    } else if unit.starts_with('m') {
        60.0
    } else if unit.starts_with('h') {
        3600.0
    } else {
        1.0
    };
    seconds(&(number * scale).to_string())
}

/// Go's form: `1s`, `6m0s`, `20ms`, `1h2m3.5s`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut total = 0.0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (scale, length) = match rest.as_bytes() {
            [b'm', b's', ..] => (0.001, 2),
            [b'h', ..] => (3600.0, 1),
            [b'm', ..] => (60.0, 1),
            [b's', ..] => (1.0, 1),
            _ => return None,
        };
        total += number * scale;
        rest = &rest[length..];
    }
    seconds(&total.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn every_form_of_a_wait_is_understood() {
        const NOW: (&str, &str) = ("date", "Wed, 25 Nov 2026 20:00:00 GMT");
        let info = json!({"error": {"details": [
            {"@type": "type.googleapis.com/google.rpc.Help"},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "38.5s"},
        ]}});
        let says = |message: &str| json!({"error": {"message": message}});
        let cases = [
            (headers(&[("retry-after", "7")]), Value::Null, Some(7_000)),
            (headers(&[("retry-after", "0.25")]), Value::Null, Some(250)),
            (headers(&[("retry-after", "Wed, 25 Nov 2026 20:00:30 GMT"), NOW]), Value::Null, Some(30_000)),
            (headers(&[("retry-after", "Wed, 25 Nov 2026 19:00:00 GMT"), NOW]), Value::Null, Some(0)),
            (
                headers(&[("retry-after", "Wednesday, 25-Nov-26 20:00:30 GMT"), NOW]),
                Value::Null,
                Some(30_000),
            ),
            (headers(&[("retry-after", "Wed Nov 25 20:00:30 2026"), NOW]), Value::Null, Some(30_000)),
            (headers(&[("retry-after", "Wed Nov  4 20:00:30 2026"), NOW]), Value::Null, Some(0)),
            (
                headers(&[
                    ("retry-after", "Wed, 25 Nov 2026 20:00:30 GMT"),
                    ("date", "Wednesday, 25-Nov-26 20:00:20 GMT"),
                ]),
                Value::Null,
                Some(10_000),
            ),
            (headers(&[("retry-after-ms", "1500"), ("retry-after", "9")]), Value::Null, Some(1_500)),
            (headers(&[("retry-after", "1000000")]), Value::Null, Some(3_600_000)),
            (headers(&[("retry-after", "-5")]), Value::Null, None),
            (headers(&[("retry-after", "inf")]), Value::Null, None),
            (headers(&[("retry-after", "soon")]), Value::Null, None),
            (headers(&[]), info.clone(), Some(38_500)),
            (headers(&[]), json!([info]), Some(38_500)),
            (headers(&[]), says("Rate limit reached. Please try again in 1.5s. Visit us."), Some(1_500)),
            (headers(&[]), says("Please try again in 20ms."), Some(20)),
            (headers(&[]), says("Please retry in 6m0s."), Some(360_000)),
            (headers(&[]), says("please try again in 2 minutes"), Some(120_000)),
            (headers(&[]), says("Try again in 20."), Some(20_000)),
            (headers(&[]), says("Too many requests"), None),
            (
                headers(&[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "1m0.5s")]),
                Value::Null,
                Some(60_500),
            ),
            (
                headers(&[("x-ratelimit-remaining-tokens", "5"), ("x-ratelimit-reset-tokens", "6m0s")]),
                Value::Null,
                None,
            ),
            (
                headers(&[
                    ("anthropic-ratelimit-requests-remaining", "0"),
                    ("anthropic-ratelimit-requests-reset", "2026-11-25T20:00:09Z"),
                    NOW,
                ]),
                Value::Null,
                Some(9_000),
            ),
        ];

        for (headers, body, millis) in cases {
            let wait = asked(&headers, &body);
            assert_eq!(wait, millis.map(Duration::from_millis), "{headers:?} {body}");
        }
    }

    #[test]
    fn a_date_without_the_vendors_clock_is_read_against_ours() {
        let far = Timestamp::now() + jiff::SignedDuration::from_hours(30 * 24);
        let past = Timestamp::now() - jiff::SignedDuration::from_hours(24);
        let date = |at: Timestamp| httpdate::fmt_http_date(at.into());

        for (at, wait) in [(far, LONGEST), (past, Duration::ZERO)] {
            assert_eq!(asked(&headers(&[("retry-after", &date(at))]), &Value::Null), Some(wait));
            let both = [("retry-after", &*date(at)), ("date", "no date")];
            assert_eq!(asked(&headers(&both), &Value::Null), Some(wait));
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it_and_no_wait_is_longer_than_an_hour(value in "[ -~]{0,40}", message in ".{0,80}") {
            let headers = headers(&[("retry-after", value.as_str()), ("date", "Wed, 25 Nov 2026 20:00:00 GMT")]);
            let said = format!("try again in {message}");

            for wait in [asked(&headers, &Value::Null), asked(&HeaderMap::new(), &json!({"error": {"message": said}}))] {
                prop_assert!(wait.is_none_or(|wait| wait <= LONGEST));
            }
        }
    }
}
